from __future__ import annotations

import pytest

from tests.e2e import worlds
from tests.e2e.rig import Stage
from tests.e2e.worlds import NO_EMAIL, STATE, TITLE


def test_a_dry_run_writes_to_neither_side(stage: Stage) -> None:
    """Something would change: exit 2 and not one write; a real pass afterwards does it all."""
    stage.enrolled("ada@example.com")
    stage.enrolled("bo@example.com", first="Bo", title=None)
    stage.person(first="Bo", last="Ashby", email="bo@example.com", title="Planner")
    told = stage.sync("--dry-run", code=2)
    assert (stage.crm_writes(), stage.outreach_writes()) == ([], [])
    assert (told.crm, told.outreach) == ({}, {})
    real = stage.sync()
    assert (real.crm, real.outreach) == ({"created": 1, "updated": 1}, {"updated": 1})


def test_a_dry_run_with_nothing_to_do_exits_with_0(stage: Stage) -> None:
    """All agree: exit 0."""
    stage.enrolled("ada@example.com")
    stage.sync()
    stage.sync("--dry-run")


def test_a_dry_run_foresees_a_skipped_task(stage: Stage) -> None:
    """A task that would be shown as Cancelled is a change too."""
    prospect = stage.prospect("ada@example.com")
    state = stage.state(prospect)
    stage.sync()
    stage.task(state, state="skipped")
    stage.sync("--dry-run", code=2)
    assert stage.cancelled() == []
    assert stage.sync().crm == {"tasks_cancelled": 1}


def test_to_crm_holds_back_what_is_for_outreach(stage: Stage) -> None:
    """Edits and opt-outs for Outreach are counted and stay queued; what is for the CRM is written."""
    prospect = stage.enrolled("ada@example.com", title="Buyer")
    other = stage.enrolled("bo@example.com", first="Bo")
    stage.sync()
    person = stage.person_of(prospect)["id"]
    stage.set_person(person, title="Planner")
    stage.set_person(stage.person_of(other)["id"], no_email=True)
    stage.set_prospect(prospect, lastName="Ashcombe")
    stage.forget_calls()
    told = stage.sync("--direction", "to-crm")
    assert (told.report["held_back"], told.report["held_back_opt_outs"], told.report["converged"]) == (2, 1, True)
    assert stage.outreach_writes() == []
    assert stage.of_person(person)["person_last_name"] == "Ashcombe"
    assert stage.person_of(other)[STATE] == worlds.OPTED_OUT
    told = stage.sync()
    assert told.report["held_back"] == 0
    assert stage.of_prospect(prospect)["title"] == "Planner"
    assert stage.of_prospect(other)["emailOptedOut"] is True
    stage.settled()


def test_to_outreach_holds_back_what_is_for_the_crm(stage: Stage) -> None:
    """Creations, updates, opt-outs and tasks for the CRM are counted and stay queued."""
    prospect = stage.enrolled("ada@example.com", title="Buyer")
    stage.sync()
    person = stage.person_of(prospect)["id"]
    new = stage.prospect("bo@example.com", first="Bo", emailOptedOut=True)
    state = stage.state(new)
    task = stage.task(state, state="skipped")
    stage.set_prospect(prospect, title="Engineer")
    stage.set_person(person, last="Ashcombe")
    stage.forget_calls()
    told = stage.sync("--direction", "to-outreach")
    assert stage.crm_writes() == []
    assert stage.of_prospect(prospect)["lastName"] == "Ashcombe"
    assert (told.report["held_back"], told.report["held_back_opt_outs"]) == (2, 1)
    assert told.report["converged"] is True
    told = stage.sync()
    assert told.report["held_back"] == 0
    assert stage.of_person(person)[TITLE] == "Engineer"
    assert stage.person_of(new)[NO_EMAIL] is True
    assert len(stage.cancelled(task)) == 1
    stage.settled()


def test_an_opt_out_at_first_sight_is_counted_when_held_back(stage: Stage) -> None:
    """No Email found at the first pass with `to-crm`: one opt-out is held back, and reported."""
    prospect = stage.enrolled("ada@example.com")
    stage.person(first="Ada", last="Ashby", email="ada@example.com", no_email=True)
    told = stage.sync("--direction", "to-crm")
    assert (told.report["held_back"], told.report["held_back_opt_outs"]) == (1, 1)
    stage.sync()
    assert stage.of_prospect(prospect)["emailOptedOut"] is True


def test_an_opt_out_of_a_held_record_is_held_back_and_delivered_later(stage: Stage) -> None:
    """With `to-outreach` nobody is ticked though two could be it; the next full pass ticks both."""
    stage.enrolled("ada@example.com", emailOptedOut=True)
    twins = [stage.person(first="Ada", last=f"Ashby {n}", email="ada@example.com") for n in (1, 2)]
    told = stage.sync("--direction", "to-outreach", code=3)
    assert stage.crm_writes() == []
    assert told.report["held_back_opt_outs"] == 1
    stage.sync(code=3)
    assert [stage.of_person(one)[NO_EMAIL] for one in twins] == [True, True]


def test_an_opt_out_of_a_failing_record_is_held_back_and_delivered_later(stage: Stage) -> None:
    """A record with an unmapped state and No Email: with `to-crm` kept, opted out in Outreach by the next full pass."""
    prospect = stage.prospect("ada@example.com")
    state = stage.state(prospect)
    stage.sync()
    stage.set_state(state, state="on_holiday")
    stage.set_person(stage.person_of(prospect)["id"], no_email=True)
    stage.sync("--direction", "to-crm", code=None)
    assert not stage.of_prospect(prospect).get("emailOptedOut")
    stage.sync(code=None)
    assert stage.of_prospect(prospect)["emailOptedOut"] is True


@pytest.mark.parametrize("rounds", [1, 2])
def test_writes_none_plans_and_writes_nothing(stage: Stage, rounds: int) -> None:
    """OUTBOOK_WRITES=none: polls, counts what is held back, exit 0; delivered once writes are allowed."""
    prospect = stage.enrolled("ada@example.com")
    stage.environ["OUTBOOK_WRITES"] = "none"
    for _ in range(rounds):
        told = stage.sync()
        assert (told.report["held_back"], told.report["converged"]) == (1, True)
        assert (stage.crm_writes(), stage.outreach_writes()) == ([], [])
    del stage.environ["OUTBOOK_WRITES"]
    assert stage.sync().crm == {"created": 1}
    assert stage.person_of(prospect)[STATE] == worlds.RUNNING


def test_only_writes_the_pilots_alone(stage: Stage) -> None:
    """OUTBOOK_ONLY: those named by address, prospect or person are written, all others kept, opt-outs counted."""
    named = stage.enrolled("ada@example.com")
    by_id = stage.enrolled("bo@example.com", first="Bo")
    out = stage.enrolled("cy@example.com", first="Cy", emailOptedOut=True)
    linked = stage.enrolled("di@example.com", first="Di", title="Buyer")
    person = stage.person(first="Di", last="Ashby", email="di@example.com")
    only = stage.directory / "only.txt"
    only.write_text(f"ADA@example.com\nprospect:{by_id}\nperson:{person}\n", encoding="utf-8")
    stage.environ["OUTBOOK_ONLY"] = str(only)
    told = stage.sync()
    assert (told.report["held_back"], told.report["held_back_opt_outs"]) == (1, 1)
    assert {one.get(worlds.ID) for one in stage.people()} == {str(named), str(by_id), str(linked)}
    del stage.environ["OUTBOOK_ONLY"]
    stage.sync()
    assert stage.person_of(out)[NO_EMAIL] is True
