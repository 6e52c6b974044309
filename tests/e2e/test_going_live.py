"""Going live without fear: each mistake that a first day may bring is made on purpose, and nothing comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e import crowd, worlds
from tests.e2e.rig import Stage
from tests.e2e.worlds import ID, NO_EMAIL, STATE, TITLE
from worker import bootstrap, config, tasks
from worker.bootstrap import Runtime
from worker.sync import apply, strangers

TICK = "cf_person_sync_to_outreach"
NOT_LIVE = "not live yet: outbook plan, then outbook resume"


@pytest.fixture
def real(stage: Stage) -> Iterator[Stage]:
    """The stage whose hosts pass for real ones."""
    with crowd.real_hosts(stage):
        yield stage


def writes(stage: Stage) -> list[dict[str, Any]]:
    """Everything that was done to either side."""
    return [*stage.crm_writes(), *stage.outreach_writes()]


@contextmanager
def worker(stage: Stage) -> Iterator[Runtime]:
    """What a worker has open: it applies what is due, and polls nothing unless told to."""
    settings = config.load(stage.environ, stage.directory)
    with stage.monkeypatch.context() as patch:
        patch.setattr(bootstrap, "now", stage.now)
        with bootstrap.runtime(settings) as runtime:
            yield runtime


def every_kind(stage: Stage) -> dict[str, int]:
    """Two who agree, and then everything that could be written about others: return the prospects by what befell them."""
    names = ("edited", "retitled", "deleted", "opted_out", "no_email", "skipped")
    made = {name: stage.prospect(f"{name}@example.com", first=name.title()) for name in names}
    states = {name: stage.state(one) for name, one in made.items()}
    stage.sync()
    stage.set_prospect(made["edited"], title="Engineer")
    stage.set_person(stage.person_of(made["retitled"])["id"], title="Planner")
    stage.delete_person(stage.person_of(made["deleted"])["id"])
    stage.tell({"op": "opt_out", "prospect": made["opted_out"]})
    stage.set_person(stage.person_of(made["no_email"])["id"], no_email=True)
    stage.task(states["skipped"], state="skipped")
    made["new"] = stage.enrolled("new@example.com", first="New")
    stage.person(first="Ticked", last="Ashby", email="ticked@example.com", **{TICK: True})
    stage.forget_calls()
    return made


def all_arrived(stage: Stage, made: dict[str, int]) -> None:
    """What was held back is there in the end, once."""
    assert stage.person_of(made["edited"])[TITLE] == "Engineer"
    assert stage.of_prospect(made["retitled"])["title"] == "Planner"
    assert stage.person_of(made["deleted"])[STATE] == worlds.RUNNING
    assert stage.person_of(made["opted_out"])[NO_EMAIL] is True
    assert stage.of_prospect(made["no_email"])["emailOptedOut"] is True
    assert stage.person_of(made["new"])[STATE] == worlds.RUNNING
    assert len(stage.cancelled()) == 1
    assert len(stage.people()) == len(made) + 1
    assert all(one.get(ID) for one in stage.people())


# ---- the first contact with real hosts


def test_a_lost_data_directory_meets_real_hosts_paused(real: Stage) -> None:
    """Somebody starts with an empty directory: nothing is written, not even an opt-out, and told; then nobody is doubled."""
    real.environ["OUTBOOK_ALLOW_INSECURE_HOSTS"] = "1"
    made = [real.enrolled(f"p{n}@example.com", first=f"P{n}", title=f"Title {n}") for n in range(4)]
    real.sync()
    before = {one["id"]: one[ID] for one in real.people()}
    del real.environ["OUTBOOK_ALLOW_INSECURE_HOSTS"]
    real.store("lost")
    real.set_person(real.person_of(made[0])["id"], no_email=True)
    real.tell({"op": "opt_out", "prospect": made[1]})
    real.set_prospect(made[2], title="Engineer")
    real.person(first="Ticked", last="Ashby", email="ticked@example.com", **{TICK: True})
    real.forget_calls()
    told = real.sync()
    assert (told.report["paused"], told.report["held_back_opt_outs"], writes(real)) == (True, 2, [])
    assert NOT_LIVE in told.err
    assert real.outbook("opt-in", "--prospect", str(made[0]), "--reason", "asked for it").code == 3
    with worker(real) as runtime:
        assert apply.apply_people(runtime.applier()).claimed >= 0
        strangers.apply_strangers(runtime.applier())
    assert writes(real) == []
    real.outbook("resume")
    assert real.sync().crm.get("created", 0) == 0
    assert {one["id"]: one[ID] for one in real.people() if one["id"] in before} == before
    assert [bool(real.person_of(one).get(NO_EMAIL)) for one in made[:3]] == [False, True, False]
    real.settled()


def test_a_plan_comes_before_the_first_write(real: Stage) -> None:
    """What `plan` foretells of a store that is not live, whole or for one, is what the first pass after `resume` does."""
    ada, _ = real.enrolled("ada@example.com"), real.enrolled("bo@example.com", first="Bo")
    whole = real.outbook("plan", "--json")
    one = real.outbook("plan", "--json", "--prospect", str(ada))
    assert (whole.code, one.code, writes(real)) == (2, 2, [])
    assert [told.report["totals"]["workbooks"]["created"] for told in (whole, one)] == [2, 1]
    assert real.sync().report["paused"] is True
    assert real.sync("--prospect", str(ada)).report["paused"] is True
    assert writes(real) == []
    real.outbook("resume")
    assert real.sync("--prospect", str(ada)).crm == {"created": 1}
    assert real.sync().crm == {"created": 1}


def test_a_pause_of_the_first_contact_outlives_the_next_start(real: Stage) -> None:
    """Stopped and started again it is still not live; a part of it resumed is not all of it."""
    real.enrolled("ada@example.com")
    for _ in range(2):
        assert real.sync().report["paused"] is True
    assert real.outbook("resume", "to-crm").code == 4
    assert real.sync().report["paused"] is True
    assert writes(real) == []


# ---- the copied staging database


def production(stage: Stage) -> None:
    """Both hosts answer as others than those that the store was filled from, with other people under the same ids."""
    crowd.other_tenants(stage)
    for number, one in enumerate(stage.people()):
        stage.set_person(one["id"], first=f"Other{number}", title="Chair")


def test_a_copied_staging_database_is_refused_and_after_a_rebind_paused(real: Stage) -> None:
    """Whoever follows the words to `db rebind` without a thought has still written to nobody: `plan`, then `resume`."""
    real.environ["OUTBOOK_ALLOW_INSECURE_HOSTS"] = "1"
    made = [real.enrolled(f"p{n}@example.com", first=f"P{n}", title="Buyer") for n in range(3)]
    real.sync()
    del real.environ["OUTBOOK_ALLOW_INSECURE_HOSTS"]
    production(real)
    real.forget_calls()
    for verb in ("sync", "plan", "reconcile"):
        left = real.outbook(verb)
        assert (left.code, "but this store belongs to" in left.err) == (4, True), verb
    told = real.outbook("db", "rebind", "--yes")
    assert (told.code, told.err) == (0, f"outbook: paused: {NOT_LIVE}\n")
    assert real.sync().report["paused"] is True
    assert writes(real) == []
    assert [real.of_prospect(one)["title"] for one in made] == ["Buyer"] * 3
    assert real.outbook("plan").code == 2
    real.outbook("resume")
    assert real.sync().report["paused"] is False


def test_the_same_tenants_bound_again_are_not_paused(real: Stage) -> None:
    """A `db rebind` that changes nothing stops nothing."""
    real.sync()
    real.outbook("resume")
    assert real.outbook("db", "rebind", "--yes").err == ""
    assert real.sync().report["paused"] is False


# ---- nobody, or some


def test_writes_none_holds_every_kind_back(stage: Stage) -> None:
    """Edits each way, a deletion, opt-outs each way, a skipped task, newcomers on both sides: nothing is written."""
    made = every_kind(stage)
    stage.environ["OUTBOOK_WRITES"] = "none"
    told = stage.sync()
    assert (writes(stage), told.report["held_back_opt_outs"]) == ([], 2)
    assert told.report["held_back"] == len(made) + 1
    assert stage.outbook("opt-in", "--prospect", str(made["opted_out"]), "--reason", "asked").code == 3
    assert stage.outbook("reconcile", "--repair").code in {0, 2, 3}
    with worker(stage) as runtime:
        apply.apply_people(runtime.applier())
        strangers.apply_strangers(runtime.applier())
    assert writes(stage) == []


def test_writes_none_refuses_the_verbs_that_write_by_themselves(stage: Stage) -> None:
    """`crm setup` and `webhooks setup` make nothing at a vendor in a rehearsal, nor does the watch of the webhooks."""
    stage.environ |= {"OUTBOOK_OUTREACH__WEBHOOK_SECRET": "s" * 32, "OUTBOOK_WORKBOOKS__SETUP_API_KEY": "sim-admin-key"}
    url = ("--url", "http://127.0.0.1:9/webhooks/outreach")
    assert stage.outbook("webhooks", "setup", *url).code == 0
    stage.hand("remove_field", field="cf_person_sequence_step", type="person")
    stage.environ["OUTBOOK_WRITES"] = "none"
    stage.forget_calls()
    for verb in (("webhooks", "setup", *url), ("webhooks", "remove"), ("crm", "setup", "--yes")):
        left = stage.outbook(*verb)
        assert (left.code, "OUTBOOK_WRITES: none, and this verb writes to" in left.err) == (4, True), left.err
    assert stage.outbook("crm", "setup", "--dry-run").code == 2
    stage.later(7 * 86400)
    with worker(stage) as runtime:
        stage.monkeypatch.setattr(tasks, "runtime", lambda: runtime)
        tasks.watch_webhooks.run()
    assert writes(stage) == []


@pytest.mark.parametrize("listed", ["# nobody yet\n", "prospect:{edited}\n"])
def test_a_pilot_is_nobody_else(stage: Stage, listed: str) -> None:
    """A file of comments lets nobody be written, one name that one: of all the others nothing of any kind; later all."""
    made = every_kind(stage)
    only = stage.directory / "only.txt"
    only.write_text(listed.format(**made), encoding="utf-8")
    stage.environ["OUTBOOK_ONLY"] = str(only)
    told = stage.sync()
    mine = stage.person_of(made["edited"])
    assert {one["id"] for one in stage.crm_writes()} <= {mine["id"]}
    assert stage.outreach_writes() == []
    assert (mine.get(TITLE) == "Engineer") is ("prospect" in listed)
    assert told.report["held_back_opt_outs"] == 2
    del stage.environ["OUTBOOK_ONLY"]
    stage.sync()
    all_arrived(stage, made)
    stage.settled()


def test_a_pilots_file_that_is_gone_stops_everything(stage: Stage) -> None:
    """Moved away or misspelt while it runs: exit 4 and not everybody, for a pass and for a worker."""
    every_kind(stage)
    only = stage.directory / "only.txt"
    only.write_text("prospect:1\n", encoding="utf-8")
    stage.environ["OUTBOOK_ONLY"] = str(only)
    with worker(stage) as runtime:
        only.unlink()
        with pytest.raises(config.SettingsInvalid, match="OUTBOOK_ONLY"):
            runtime.applier()
    assert stage.sync(code=None).code == 4
    only.write_text("prospect:1\nada at example.com\n", encoding="utf-8")
    left = stage.sync(code=4)
    assert "only.txt:2: neither an e-mail address nor prospect:ID nor person:ID" in left.err
    assert writes(stage) == []


# ---- `held approve` looks again before it acts


def braked(stage: Stage, *edits: tuple[str, str]) -> None:
    """Put a mapping in force whose brakes trip at two."""
    stage.mapping(("  new_prospects: 500", "  new_prospects: 2"), *edits)


def approved(stage: Stage, *, then: Callable[[], object], pollless: bool = True) -> None:
    """Approve every brake, let something happen that no poll has brought yet, and let a worker go on."""
    assert stage.outbook("held", "approve", "--kind", "brake", "--yes").code == 0
    then()
    stage.forget_calls()
    if pollless:
        with worker(stage) as runtime:
            apply.apply_people(runtime.applier())
            strangers.apply_strangers(runtime.applier())


def deleted(stage: Stage) -> tuple[list[int], list[int]]:
    """21 of 30 linked people deleted at once, and held: their prospects and themselves."""
    everybody = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(30)]
    stage.sync()
    gone = [stage.person_of(one)["id"] for one in everybody[:21]]
    for one in gone:
        stage.delete_person(one)
    assert stage.sync(code=3).report["held"] == 1
    return everybody, gone


def test_approved_and_restored_before_a_poll_nobody_is_doubled(stage: Stage) -> None:
    """Ten are brought back in the CRM right after the approval: they are found alive, the others created again, once."""
    everybody, gone = deleted(stage)

    def restore() -> None:
        for one in gone[:10]:
            stage.hand("undelete", type="person", id=one)

    approved(stage, then=restore)
    made = [one for one in stage.crm_writes("person") if one["op"] == "create"]
    assert len(made) == 11
    stage.sync()
    assert len(stage.people()) == 30
    assert [stage.person_of(one)["id"] for one in everybody[:10]] == gone[:10]
    stage.settled()


def ticked(stage: Stage) -> list[int]:
    """Three people ticked for Outreach where two are allowed, and held."""
    braked(stage)
    stage.sync()
    people = [stage.person(first=f"P{n}", last="Ashby", email=f"p{n}@example.com", **{TICK: True}) for n in range(4)]
    assert stage.sync(code=3).report["held"] == 1
    return people


def test_approved_and_unticked_before_a_poll_nobody_is_created(stage: Stage) -> None:
    """The list was ticked by mistake: unticked, deleted or opted out since, each is as it is now, and not as it was held."""
    people = ticked(stage)

    def think_again() -> None:
        stage.set_person(people[0], **{TICK: False})
        stage.delete_person(people[1])
        stage.set_person(people[2], no_email=True)

    approved(stage, then=think_again)
    created = [one for one in stage.outreach_writes() if one["op"] == "create" and one["type"] == "prospect"]
    stage.later(900)
    stage.sync()
    known = {int(one["externalId"]): one for one in prospects(stage)}
    assert len(created) == 2
    assert sorted(known) == people[2:]
    assert (known[people[2]]["emailOptedOut"], bool(known[people[3]].get("emailOptedOut"))) == (True, False)
    stage.settled()


def test_approved_and_entered_in_outreach_before_a_poll_nobody_is_doubled(stage: Stage) -> None:
    """A user of Outreach was faster: that prospect takes the person, and no second one is made."""
    people = ticked(stage)
    approved(stage, then=lambda: stage.prospect("P0@example.com", first="P0"))
    stage.sync()
    assert len(prospects(stage)) == 4
    assert len({stage.of_person(one)[ID] for one in people}) == 4
    stage.settled()


def prospects(stage: Stage) -> list[dict[str, Any]]:
    """Everybody in Outreach."""
    return [one["attributes"] for one in stage.outreach.world.dump()["prospect"].values()]


def test_approved_and_entered_in_the_crm_before_a_poll_nobody_is_doubled(stage: Stage) -> None:
    """New people held, then one entered by hand in the CRM: that one is linked, the others are created."""
    stage.mapping(("  new_people: 500", "  new_people: 2"))
    stage.enrolled("ada@example.com")
    stage.sync()
    new = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(4)]
    assert stage.sync(code=3).report["held"] == 1
    approved(stage, then=lambda: stage.person(first="P0", last="Ashby", email="P0@example.com"))
    stage.sync()
    assert len(stage.people()) == 5
    assert all(stage.person_of(one)[STATE] == worlds.RUNNING for one in new)
    stage.settled()


def test_approved_and_filled_again_nothing_stays_empty(stage: Stage) -> None:
    """An emptied column let go, and mended in the CRM before a poll has brought that: in the end both sides have it."""
    made = [stage.enrolled(f"p{n}@example.com", first=f"P{n}", title=f"Title {n}") for n in range(25)]
    stage.sync()
    people = [stage.person_of(one)["id"] for one in made]
    for one in people:
        stage.set_person(one, title="")
    stage.sync(code=3)

    def mend() -> None:
        for n, one in enumerate(people):
            stage.set_person(one, title=f"Title {n}")

    approved(stage, then=mend)
    stage.sync()
    assert [stage.of_prospect(one)["title"] for one in made] == [f"Title {n}" for n in range(25)]
    assert [stage.of_person(one)[TITLE] for one in people] == [f"Title {n}" for n in range(25)]
    stage.settled()
