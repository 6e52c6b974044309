from __future__ import annotations

from typing import Any

from tests.e2e import worlds
from tests.e2e.pages import EXPLAINED as SCHEMA
from tests.e2e.rig import Stage
from tests.e2e.shapes import fits


def _explained(stage: Stage, *selection: str, code: int = 0) -> dict[str, Any]:
    """What `explain --json` tells; the vendors are not asked anything for it."""
    stage.forget_calls()
    told = stage.outbook("explain", *selection, "--json")
    assert told.code == code, (told.code, told.err)
    fits(told.report, SCHEMA)
    assert (stage.outreach_calls(), stage.crm_calls()) == (0, 0)
    return told.report


def _one(stage: Stage, *selection: str) -> dict[str, Any]:
    (person,) = _explained(stage, *selection)["people"]
    return dict(person)


def _decided(person: dict[str, Any]) -> tuple[str, str]:
    (gate,) = [one for one in person["gates"] if one["decides"]]
    return gate["rule"], gate["outcome"]


def _field(person: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in person["fields"] if one["field"] == name]
    return dict(found)


def test_everybody_is_found_by_every_name(stage: Stage) -> None:
    """E-mail in any case, prospect id, person id and task id lead to the same pair; what is not known is exit 3."""
    prospect = stage.prospect("Ada@Example.com")
    task = stage.task(stage.state(prospect), state="skipped")
    stage.sync()
    person = stage.person_of(prospect)["id"]
    for words in (("--email", "aDA@example.com"), ("--prospect", str(prospect)), ("--person", str(person))):
        who = _one(stage, *words)["who"]
        assert (who["prospect"], who["person"]) == (prospect, person)
        assert who["how"] == "linked: cf_person_outreach_id holds the prospect's id, they share an e-mail address"
    (told,) = _explained(stage, "--task", str(task))["tasks"]
    assert (told["prospect"], told["person"], told["skipped_by"]) == (prospect, person, "state_is_skipped")
    assert told["crm_task"] == stage.cancelled(task)[0]["id"]
    assert told["history"][0]["after"]["activity_status"] == "Cancelled"
    lost = stage.outbook("explain", "--prospect", "999", "--email", "nobody@example.com")
    assert (lost.code, lost.out) == (3, "")
    assert "prospect:999: not found" in lost.err
    assert "`outbook sync` reads it" in lost.err
    assert stage.outbook("explain").code == 4
    assert stage.outbook("explain", "--email", "no address").code == 4


def test_the_rules_are_told_in_order_with_the_deciding_one(stage: Stage) -> None:
    """Paused in one sequence and finished in another: rule 5 and rule 2 decide there, the roll-up takes the paused one."""
    prospect = stage.prospect("ada@example.com")
    stage.state(prospect, worlds.COLD, "finished")
    stage.state(prospect, worlds.INBOUND, "paused", step=2)
    stage.sync()
    told = _one(stage, "--prospect", str(prospect))
    assert told["standing"]["label"] == worlds.PAUSED
    lines = {one["sequence"]: one for one in told["sequences"]}
    assert [rule["verdict"] for rule in lines[worlds.COLD]["rules"]] == ["no", "decides", *["not looked at"] * 4]
    assert [rule["verdict"] for rule in lines[worlds.INBOUND]["rules"]] == [*["no"] * 4, "decides", "not looked at"]
    assert (lines[worlds.COLD]["decides"], lines[worlds.INBOUND]["decides"]) == (False, True)
    assert _decided(told) == ("what differs", "nothing: both sides agree")
    assert told["plan"]["action"] == "nothing"


def test_both_sides_and_what_they_agreed_on_stand_side_by_side(stage: Stage) -> None:
    """An edit in the CRM that no pass has carried yet: now and then, the decision, masked; shown only when asked for."""
    prospect = stage.enrolled("ada@example.com", first="Adalind", title="Clerk")
    stage.sync()
    stage.set_person(stage.person_of(prospect)["id"], title="Manageress")
    stage.sync("--direction", "to-crm")
    told = _one(stage, "--prospect", str(prospect))
    title = _field(told, worlds.TITLE)
    assert (title["now"], title["agreed"]) == (
        {"workbooks": "•••(10)", "outreach": "•••(5)"},
        {"outreach": "•••(5)", "workbooks": "•••(5)"},
    )
    assert (title["writes"], title["why"]) == ({"outreach": "•••(10)"}, "changed in the CRM")
    assert (told["plan"]["outreach"], told["due"]["standing"]) == (["title"], "kept")
    assert "Adalind" not in str(told)
    open_book = _one(stage, "--prospect", str(prospect), "--show-personal")
    assert _field(open_book, worlds.TITLE)["writes"] == {"outreach": "Manageress"}
    assert open_book["history"][0]["after"]["person_first_name"] == "Adalind"


def test_the_plan_is_the_one_that_is_carried_out(stage: Stage) -> None:
    """What explain says it would write is what the next pass writes."""
    prospect = stage.enrolled("ada@example.com", title="Clerk")
    stage.sync()
    stage.set_prospect(prospect, title="Manager", lastName="Byron")
    stage.environ["OUTBOOK_WRITES"] = "none"
    stage.sync()
    told = _one(stage, "--prospect", str(prospect))
    assert told["plan"]["workbooks"] == ["person_job_title", "person_last_name"]
    assert told["plan"]["kept_back"] == "kept back: OUTBOOK_WRITES=none"
    assert _decided(told) == ("may it be written", "kept back: OUTBOOK_WRITES=none")
    del stage.environ["OUTBOOK_WRITES"]
    stage.forget_calls()
    stage.sync()
    (write,) = stage.crm_writes("person")
    assert sorted(name for name in write["changes"] if name.startswith("person_")) == told["plan"]["workbooks"]


def test_an_opt_out_tells_its_evidence_and_what_is_remembered(stage: Stage) -> None:
    """A flag in Outreach and the latch under every name; lifted with a reason, the sign counts no more."""
    prospect = stage.enrolled("ada@example.com")
    state = stage.state(prospect, worlds.INBOUND, "opted_out")
    stage.sync()
    told = _one(stage, "--prospect", str(prospect))
    consent = told["consent"]
    assert (consent["opted_out"], told["standing"]["label"]) == (True, worlds.OPTED_OUT)
    assert {one["under"] for one in consent["remembered"]} == {"prospect", "person", "address"}
    assert f"sequence state {state} is opted_out" in [sign["words"] for sign in consent["signs"]]
    stage.outbook("opt-in", "--prospect", str(prospect), "--reason", "asked by phone")
    consent = _one(stage, "--prospect", str(prospect))["consent"]
    assert (consent["opted_out"], consent["remembered"]) == (False, [])
    assert [(one["counts"], one["lifted"]) for one in consent["signs"]] == [(False, "asked by phone")]


def test_who_is_excluded_held_or_failed_is_told_why(stage: Stage) -> None:
    """The gate that says no is the deciding one, in the words of the rule that said it."""
    idle = stage.prospect("idle@example.com")
    torn = stage.enrolled("torn@example.com", first="Tor")
    bad = stage.enrolled("bad@example.com", first="Bo")
    stage.person(first="Tor", email="torn@example.com")
    stage.person(first="Tora", alternate="torn@example.com")
    stage.sync(code=3)
    stage.set_person(stage.person_of(bad)["id"], email="no address")
    stage.sync(code=3)
    told = _one(stage, "--prospect", str(idle))
    assert told["excluded"] == "no person in the CRM, and never in a sequence"
    assert _decided(told)[0] == "the person in the CRM"
    told = _one(stage, "--prospect", str(torn))
    assert len(told["who"]["candidates"]) == 2
    assert (_decided(told)[0], told["held"][0]["kind"]) == ("who it is in the CRM", "ambiguous")
    told = _one(stage, "--prospect", str(bad))
    assert (_decided(told)[0], told["due"]["standing"]) == ("failed, until retried or changed", "dead")
    assert "is invalid" in told["due"]["error"]
    assert "is invalid" in {one["side"]: one for one in told["exchanges"]}["outreach"]["reply"]


def test_a_person_without_a_prospect_is_told_what_is_missing(stage: Stage) -> None:
    """Nobody ticked it; and a task nobody skipped is told as that."""
    person = stage.person(first="Bo", email="bo@example.com")
    task = stage.task(stage.state(stage.prospect("ada@example.com")))
    stage.sync()
    answer = _explained(stage, "--email", "bo@example.com", "--task", str(task))
    assert [one["person"] for one in answer["strangers"]] == [person]
    assert "nobody ticked cf_person_sync_to_outreach" in answer["strangers"][0]["why"]
    assert answer["tasks"][0]["why"] == "no sign that it was skipped: nothing is shown in the CRM"


def test_many_are_cut_at_twenty_and_said_so(stage: Stage) -> None:
    """Of 23 twenty are told, and how many more there are; --limit shows as many as wanted."""
    for number in range(23):
        stage.enrolled(f"p{number}@example.com")
    stage.sync()
    assert (len(_explained(stage, "--all")["people"]), _explained(stage, "--all")["left_out"]) == (20, 3)
    told = stage.outbook("explain", "--all", "--limit", "1")
    assert told.code == 0
    assert "22 more fit the selection" in told.err


def test_the_page_is_plain_and_hides_what_is_personal(stage: Stage) -> None:
    """In a pipe neither colour nor a name; what it says word for word stands in golden/day.txt."""
    prospect = stage.prospect("ada@example.com", first="Adalind")
    stage.state(prospect)
    stage.sync()
    told = stage.outbook("explain", "--prospect", str(prospect))
    assert told.out.splitlines()[0] == f"prospect {prospect} – person {stage.person_of(prospect)['id']}"
    assert "\x1b" not in told.out
    assert "Adalind" not in told.out
