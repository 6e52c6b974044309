"""Both sides compared on the command line: coverage, who disagrees and who is right, what was missed, and the repair."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.rig import Stage
from tests.e2e.worlds import ID, RUNNING, STATE, TITLE


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


def unnoticed(stage: Stage, person: int, **fields: object) -> None:
    """Edit a person so that no poll will ever show it: the vendor did not stamp the edit."""
    stage.set_person(person, **fields)


def test_two_sides_in_step_agree(stage: Stage) -> None:
    """Every pair is read on both sides and compared; nothing differs, nothing is written, exit 0."""
    in_step(stage, "ada@example.com", "bea@example.com", "cy@example.com")
    stage.forget_calls()
    told = compared(stage)
    assert (told["coverage"], told["complete"], told["pairs"], told["compared"]) == (100.0, True, 3, 3)
    assert (told["differences"], told["found"], told["missed"]) == (0, {}, {})
    assert told["read"] == {"people": 3, "prospects": 3, "sequenceStates": 3}
    assert (stage.crm_writes(), stage.outreach_writes()) == ([], [])
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
