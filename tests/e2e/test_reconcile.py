"""Both sides compared on the command line: coverage, who disagrees and who is right, what was missed, and the repair."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.rig import Stage
from tests.e2e.worlds import EMAIL, ID, NOT_ACTIVE, PAUSED, RUNNING, STATE, TITLE


def compared(stage: Stage, *arguments: str, code: int = 0) -> dict[str, Any]:
    """What `outbook reconcile --json` reports, ending with this code."""
    told = stage.outbook("reconcile", "--json", *arguments)
    assert told.code == code, (told.code, told.out, told.err)
    found: dict[str, Any] = json.loads(told.out)
    return found


def in_step(stage: Stage, *emails: str) -> list[int]:
    """Prospects in a sequence whom a pass has brought to the CRM, well before whatever comes next."""
    made = [stage.enrolled(email, first=f"P{n}", title="Chemist") for n, email in enumerate(emails)]
    stage.sync()
    stage.later(3600)
    stage.sync()
    return made


def test_two_sides_in_step_agree(stage: Stage) -> None:
    """Every pair is read on both sides and compared; nothing differs, nothing is written, exit 0."""
    in_step(stage, "ada@example.com", "bea@example.com", "cy@example.com")
    stage.forget_calls()
    told = compared(stage)
    assert (told["coverage"], told["complete"], told["pairs"], told["compared"]) == (100.0, True, 3, 3)
    assert (told["differences"], told["found"], told["missed"]) == (0, {}, {})
    assert told["read"] == {"people": 3, "prospects": 3, "sequenceStates": 3}
    assert (stage.crm_writes(), stage.outreach_writes()) == ([], [])
    assert "100 % of the pairs compared, 0 differences" in stage.outbook("status").out
    stage.settled()


def test_a_field_that_differs_is_told_with_who_is_right(stage: Stage) -> None:
    """Edited by hand: the mapping's one-way field is Outreach's, the title travels back; both are told and neither written."""
    (ada,) = in_step(stage, "ada@example.com")
    person = stage.person_of(ada)["id"]
    stage.set_person(person, **{STATE: "Finished", TITLE: "Physicist"})
    told = compared(stage, code=2)
    assert told["found"] == {"fields": 1}
    (finding,) = told["findings"]
    assert (finding["prospect"], finding["people"]) == (ada, [person])
    assert {one["field"]: one["right"] for one in finding["fields"]} == {STATE: "outreach", TITLE: "workbooks"}
    assert all(one["why"] for one in finding["fields"])
    assert "Physicist" not in json.dumps(told)
    assert stage.person_of(ada)[STATE] == "Finished"


def test_a_repair_sets_it_right_through_the_ordinary_pass(stage: Stage) -> None:
    """The plan is told first; then both sides hold what they should, and the next comparison finds nothing."""
    ada, bea = in_step(stage, "ada@example.com", "bea@example.com")
    stage.set_person(stage.person_of(ada)["id"], **{STATE: "Finished", TITLE: "Physicist"})
    told = stage.outbook("reconcile", "--repair", "--json")
    report = json.loads(told.out)
    assert told.code == 0, told.err
    assert "to be set right: fields 1" in told.err
    assert report["repair"]["opened"] == 1
    assert (report["repair"]["pass"]["chosen"], report["repair"]["pass"]["crm"]["updated"]) == (1, 1)
    assert (stage.person_of(ada)[STATE], stage.of_prospect(ada)["title"]) == (RUNNING, "Physicist")
    assert stage.person_of(bea)[STATE] == RUNNING
    assert compared(stage)["differences"] == 0


def test_a_change_that_nothing_else_showed_is_caught_and_counted(stage: Stage) -> None:
    """A state moved without a stamp or an event: only the comparison sees it; it counts it, and the next pass applies it."""
    (ada,) = in_step(stage, "ada@example.com")
    stage.enrolled("bea@example.com")
    stage.sync()
    world: Any = stage.outreach.world
    states = world.store["sequenceState"]
    states.change(states.rows[min(states.rows)], {"state": "paused"}, {})
    stage.settled()
    told = compared(stage, code=2)
    assert (told["missed"], told["found"]) == ({"sequenceStates": 1}, {"fields": 1})
    assert stage.rows("SELECT stream, records FROM sight WHERE channel = 'reconcile'") == [("sequenceStates", 1)]
    stage.sync()
    assert stage.person_of(ada)[STATE] == PAUSED
    assert compared(stage)["missed"] == {}


def test_what_is_gone_in_outreach_shows(stage: Stage) -> None:
    """A state and a prospect removed without a word: both people are told to differ, and a repair says Not Active."""
    ada, bea = in_step(stage, "ada@example.com", "bea@example.com")
    (state,) = (s for s in stage.outreach.world.dump()["sequenceState"].values() if s["relations"]["prospect"] == ada)
    stage.tell({"op": "delete", "type": "sequenceState", "id": state["id"]})
    stage.tell({"op": "delete", "type": "prospect", "id": bea})
    told = compared(stage, code=2)
    assert told["found"] == {"fields": 1, "prospect_gone": 1}
    compared(stage, "--repair")
    assert [one[STATE] for one in stage.people()] == [NOT_ACTIVE, NOT_ACTIVE]
    assert compared(stage)["differences"] == 0


def test_whoever_is_gone_in_the_crm_shows(stage: Stage) -> None:
    """A deleted person is to be made again; one that cannot be seen was not compared, and waits for a person."""
    ada, bea = in_step(stage, "ada@example.com", "bea@example.com")
    stage.delete_person(stage.person_of(ada)["id"])
    hidden = stage.person_of(bea)["id"]
    stage.hand("hide", type="person", id=hidden)
    told = compared(stage, code=2)
    assert (told["coverage"], told["pairs"], told["found"]) == (50.0, 2, {"person_deleted": 1, "unreadable": 1})
    report = compared(stage, "--repair", code=3)
    assert (report["repair"]["held"], report["repair"]["pass"]["crm"]["recreated"]) == (1, 1)
    held = json.loads(stage.outbook("held", "list", "--json").out)["held"]
    assert [(one["kind"], f"person {hidden}" in one["words"]) for one in held] == [("unreadable", True)]
    stage.hand("unhide", type="person", id=hidden)
    assert compared(stage, "--repair")["coverage"] == 100.0
    assert json.loads(stage.outbook("held", "list", "--json").out)["held"] == []


def test_a_prospect_in_a_sequence_without_a_person_shows(stage: Stage) -> None:
    """Nobody was created yet: the plan would; who is left out by the mapping is no difference."""
    in_step(stage, "ada@example.com")
    bea = stage.enrolled("bea@example.com")
    stage.enrolled(first="No", last="Address")
    stage.environ["OUTBOOK_WRITES"] = "none"
    stage.sync()
    told = compared(stage, code=2)
    assert (told["found"], told["findings"][0]["prospect"]) == ({"no_person": 1}, bea)
    del stage.environ["OUTBOOK_WRITES"]
    compared(stage, "--repair")
    assert stage.person_of(bea)[STATE] == RUNNING


def test_orphans_and_doubles_only_ever_become_entries(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id that Outreach lacks, an id borne by two, an address borne by two: told once each, held, never merged."""
    monkeypatch.setattr("worker.sync.identify.CRM_PAGE", 1)
    (ada,) = in_step(stage, "ada@example.com")
    first = stage.person_of(ada)["id"]
    orphan = stage.person(first="Or", last="Phan", reference="999999")
    second = stage.person(first="Ada", last="Ashby", reference=str(ada), email="ADA@example.com")
    stage.sync()
    told = compared(stage, code=2)
    assert told["found"] == {"orphan": 2, "same_reference": 1, "same_address": 1}
    by_kind = {one["kind"]: one for one in told["findings"] if one["kind"] != "orphan"}
    assert by_kind["same_reference"]["people"] == by_kind["same_address"]["people"] == [first, second]
    assert [one["people"] for one in told["findings"] if one["kind"] == "orphan"] == [[orphan], [second]]
    before = stage.people()
    report = compared(stage, "--repair", code=3)
    assert (report["repair"]["opened"], report["repair"]["held"]) == (0, 4)
    assert stage.people() == before
    assert "ada@" not in json.dumps(report).lower()
    stage.set_person(second, **{ID: "", EMAIL: "other@example.com"})
    stage.set_person(orphan, **{ID: ""})
    assert compared(stage, "--repair")["found"] == {}
    assert stage.rows("SELECT key FROM hold") == []


def test_an_address_that_two_people_share_is_no_disagreement(stage: Stage) -> None:
    """Strangers in the CRM may share an address: told, and no difference."""
    in_step(stage, "ada@example.com")
    for first in ("Una", "Uma"):
        stage.person(first=first, last="Under", email="info@example.com")
    stage.sync()
    told = compared(stage)
    assert (told["differences"], told["found"]) == (0, {"same_address": 1})
    assert compared(stage, "--repair")["repair"]["held"] == 0


def test_a_conflict_that_waits_for_somebody_is_told_as_such(stage: Stage) -> None:
    """Both sides edited and the mapping asks: nobody is right until somebody says so."""
    stage.mapping(("on_conflict: crm", "on_conflict: ask"))
    (ada,) = in_step(stage, "ada@example.com")
    stage.set_person(stage.person_of(ada)["id"], **{TITLE: "Physicist"})
    stage.set_prospect(ada, title="Botanist")
    stage.sync(code=3)
    told = compared(stage, code=2)
    assert told["found"] == {"asked": 1}
    assert [(one["field"], one["right"]) for one in told["findings"][0]["fields"]] == [(TITLE, "nobody")]


def test_a_limit_stops_and_the_next_call_goes_on(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slice by slice to the end: coverage grows, nobody is read twice, and the findings of all slices are told."""
    monkeypatch.setattr("worker.sync.identify.CRM_PAGE", 2)
    made = in_step(stage, *(f"p{n}@example.com" for n in range(4)))
    for prospect in made:
        stage.set_person(stage.person_of(prospect)["id"], **{STATE: "Finished"})
    seen = [compared(stage, "--limit", "1", code=2) for _ in range(4)]
    assert [one["coverage"] for one in seen] == [50.0, 100.0, 100.0, 100.0]
    assert [one["complete"] for one in seen] == [False, False, False, True]
    assert (seen[-1]["found"], seen[-1]["read"]["people"], len(seen[-1]["findings"])) == ({"fields": 4}, 4, 4)


def test_a_vendor_that_fails_midway_costs_only_its_slice(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3 with the vendor's words; what was compared stays so, and the next call goes on."""
    monkeypatch.setattr("worker.sync.identify.CRM_PAGE", 1)
    in_step(stage, "ada@example.com", "bea@example.com")
    stage.break_outreach("status", times=None, after=3, args={"status": 503})
    told = compared(stage, code=3)
    assert (told["coverage"], told["complete"]) == (50.0, False)
    assert told["troubles"]
    stage.mend()
    told = compared(stage, "--limit", "99")
    assert (told["coverage"], told["complete"], told["differences"]) == (100.0, True, 0)


def test_a_budget_is_heeded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget of one's own stops between slices; that of the settings ends the command with exit 6."""
    monkeypatch.setattr("worker.sync.identify.CRM_PAGE", 1)
    in_step(stage, "ada@example.com", "bea@example.com")
    assert compared(stage, "--budget", "2")["coverage"] == 50.0
    assert stage.rows("SELECT DISTINCT lane FROM call WHERE lane = 'reconcile'") == [("reconcile",)]
    stage.environ["OUTBOOK_OUTREACH__HOURLY_CALLS"] = "1"
    assert compared(stage, code=6)["complete"] is False


def test_before_the_first_pass_there_is_nothing_to_compare(stage: Stage) -> None:
    """Exit 3 and what to do next."""
    told = stage.outbook("reconcile")
    assert (told.code, "run `outbook sync` first" in told.err) == (3, True)
    assert "0 % of 0 pairs" in told.out


def test_a_comparison_that_is_stopped_says_how_to_go_on(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends it after the slice under way, with what is known so far and 130."""
    in_step(stage, "ada@example.com")
    with monkeypatch.context() as patch:
        patch.setattr("worker.cli.stopper.Stopper.wanted", lambda _self: True)
        patch.setattr("worker.cli.stopper.Stopper.exit_code", 130)
        told = stage.outbook("reconcile")
    assert (told.code, "--limit" in told.err) == (130, True)
    assert "100 % of 1 pair compared, not at its end yet" in told.out


def test_people_read_a_table(stage: Stage) -> None:
    """Without --json: coverage, counts, and each finding with who is right and why."""
    (ada,) = in_step(stage, "ada@example.com")
    stage.set_person(stage.person_of(ada)["id"], **{STATE: "Finished"})
    told = stage.outbook("reconcile")
    assert told.code == 2
    for words in ("100 % of 1 pair compared", "differences: fields 1", f"{STATE}: outreach"):
        assert words in told.out
