"""Sequence actions and finished tasks, asked for in the CRM, as `outbook sync` carries them out."""

from __future__ import annotations

import json
import re

import pytest

from tests.e2e.rig import Stage
from tests.e2e.worlds import COLD, INBOUND, NOT_ACTIVE, PAUSED, PENDING, RUNNING, STATE

ACTION, SEQUENCE, OUTCOME = "cf_person_outreach_action", "cf_person_outreach_sequence", "cf_person_outreach_outcome"
ON = ("  enabled: false", "  enabled: true")
BACK = ("back_to_outreach: false", "back_to_outreach: true")
WHEN = r"\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d"


@pytest.fixture
def able(stage: Stage) -> Stage:
    """A CRM with the three fields, and a mapping that uses them."""
    for name in (ACTION, SEQUENCE, OUTCOME):
        stage.hand("add_field", field=name, data_type="string")
    stage.mapping(ON, BACK)
    return stage


@pytest.fixture
def pair(able: Stage) -> tuple[int, int]:
    """A prospect in Cold outreach and its person: (prospect, person)."""
    prospect = able.enrolled("ada@example.com")
    able.sync()
    return prospect, able.person_of(prospect)["id"]


def states(stage: Stage, prospect: int) -> list[str]:
    """The words of a prospect's sequence states."""
    found = stage.outreach.world.dump().get("sequenceState", {}).values()
    return [one["attributes"]["state"] for one in found if one["relations"]["prospect"] == prospect]


def said(stage: Stage, person: int) -> str:
    """What stands beside the action, which must be blank by now; the moment is written WHEN."""
    held = stage.of_person(person)
    assert not held.get(ACTION)
    return re.sub(WHEN, "WHEN", held[OUTCOME])


def test_every_action_in_turn(able: Stage, pair: tuple[int, int]) -> None:
    """Paused, resumed, finished, removed and added again from the CRM: label and words are there in the same pass."""
    prospect, person = pair
    story = [
        ("Pause", None, ["paused"], PAUSED, "paused in Cold outreach, WHEN"),
        ("Resume", None, ["active"], RUNNING, "resumed in Cold outreach, WHEN"),
        ("Finish", "cold outreach", ["finished"], "Finished", "finished in Cold outreach, WHEN"),
        ("Remove", str(COLD), [], NOT_ACTIVE, "removed from Cold outreach, WHEN"),
        ("Add to sequence", "Inbound follow-up", ["pending"], PENDING, "added to Inbound follow-up, WHEN"),
    ]
    for action, sequence, words, label, outcome in story:
        able.set_person(person, **{ACTION: action, SEQUENCE: sequence})
        told = able.sync()
        assert (told.outreach, told.crm) == ({"actions": 1}, {"updated": 1}), action
        assert states(able, prospect) == words
        assert able.of_person(person)[STATE] == label
        assert said(able, person) == outcome
        able.settled()


def test_a_refusal_comes_back_in_words(able: Stage, pair: tuple[int, int]) -> None:
    """Exit code 0, nothing failed, and the person says why nothing happened."""
    prospect, person = pair
    able.set_person(person, **{ACTION: "Add to sequence", SEQUENCE: "Cold outreach"})
    told = able.sync(code=0)
    assert (told.outreach, told.report["failed"], told.report["held"]) == ({}, 0, 0)
    assert said(able, person) == "not added to Cold outreach, WHEN: Prospect has already been in this sequence."
    assert states(able, prospect) == ["active"]
    able.settled()


def test_an_opt_out_in_the_crm_beats_the_wish_beside_it(able: Stage, pair: tuple[int, int]) -> None:
    """No Email and Add to sequence in one edit: nobody is added, and the opt-out arrives."""
    prospect, person = pair
    able.set_person(person, no_email=True, **{ACTION: "Add to sequence", SEQUENCE: str(INBOUND)})
    assert able.sync().outreach == {"opted_out": 1}
    assert said(able, person) == "not added to Inbound follow-up, WHEN: opted out of e-mail"
    assert len(states(able, prospect)) == 1


@pytest.mark.parametrize("how", ["direction", "writes", "only"])
def test_held_back_it_waits(able: Stage, pair: tuple[int, int], how: str) -> None:
    """Whatever forbids writes keeps the wish, counted in `held_back`, until a pass that may."""
    prospect, person = pair
    able.set_person(person, **{ACTION: "Pause"})
    arguments: tuple[str, ...] = ("--direction", "to-crm") if how == "direction" else ()
    only = able.directory / "only.txt"
    only.write_text("nobody@example.com\n", encoding="utf-8")
    switches = {"direction": {}, "writes": {"OUTBOOK_WRITES": "none"}, "only": {"OUTBOOK_ONLY": str(only)}}
    able.environ |= switches[how]
    told = able.sync(*arguments)
    assert (told.outreach, told.report["held_back"], states(able, prospect)) == ({}, 1, ["active"])
    assert able.of_person(person)[ACTION] == "Pause"
    for name in switches[how]:
        del able.environ[name]
    assert able.sync().outreach == {"actions": 1}
    assert said(able, person) == "paused in Cold outreach, WHEN"


def test_a_dry_run_shows_it(able: Stage, pair: tuple[int, int]) -> None:
    """`--dry-run` ends with 2, names the wish, and does nothing."""
    prospect, person = pair
    able.set_person(person, **{ACTION: "Pause"})
    told = able.sync("--dry-run", code=2)
    assert [(one["prospect"], one["wish"]) for one in told.report["plan"]] == [(prospect, "Pause")]
    assert states(able, prospect) == ["active"]


def test_a_missing_field_is_held_and_told(stage: Stage) -> None:
    """Switched on without the fields in the CRM: three entries, exit code 3, and everything else flows."""
    stage.mapping(ON)
    prospect = stage.enrolled("ada@example.com")
    told = stage.sync(code=3)
    assert (told.report["held"], told.crm) == (3, {"created": 1})
    for name in (ACTION, SEQUENCE, OUTCOME):
        assert f"the CRM has no field '{name}' on people" in told.err
    assert stage.person_of(prospect)[STATE] == RUNNING


def test_a_task_completed_in_the_crm(able: Stage, pair: tuple[int, int]) -> None:
    """A task of the CRM that bears the number of an open Outreach task completes it, and that is an action."""
    prospect, _ = pair
    (state,) = [int(number) for number in able.outreach.world.dump()["sequenceState"]]
    task = able.task(state)
    mine = able.hand("create", type="task", fields={"name": "Call", "cf_task_outreach_id": str(task)})
    able.sync()
    able.hand("set", type="task", id=mine, fields={"activity_status": "Complete"})
    assert able.sync().outreach == {"actions": 1}
    assert able.outreach.world.dump()["task"][str(task)]["attributes"]["state"] == "complete"
    assert states(able, prospect) == ["active"]
    able.settled()


def test_the_default_mapping_asks_for_nothing_of_this(stage: Stage) -> None:
    """Not a column, a request or a write more, whatever stands in such fields and tasks."""
    for name in (ACTION, SEQUENCE, OUTCOME):
        stage.hand("add_field", field=name, data_type="string")
    prospect = stage.enrolled("ada@example.com")
    stage.sync()
    calls = stage.sync().report["calls"]
    (state,) = [int(number) for number in stage.outreach.world.dump()["sequenceState"]]
    done = {"name": "Call", "cf_task_outreach_id": str(stage.task(state)), "activity_status": "Complete"}
    stage.hand("create", type="task", fields=done)
    stage.set_person(stage.person_of(prospect)["id"], **{ACTION: "Pause", SEQUENCE: "1"})
    stage.forget_calls()
    told = stage.sync()
    assert (told.report["calls"], told.report["queued"], told.outreach, told.crm) == (calls, 0, {}, {})
    assert "outreach_action" not in json.dumps(stage.crm.journal.entries())
    assert states(stage, prospect) == ["active"]


def test_what_was_asked_is_kept(able: Stage, pair: tuple[int, int]) -> None:
    """Of an action, and of a task finished in the CRM: method, path and what was answered; refusals in Outreach's words."""
    prospect, person = pair
    able.set_person(person, **{ACTION: "Pause"})
    able.sync()
    query = "SELECT request, reply FROM exchange WHERE system = 'outreach' AND kind = '{}' AND record_id = {}"
    [(asked, answer)] = able.rows(query.format("prospects", prospect))
    assert json.loads(asked)["POST"].endswith("/actions/pause")
    assert json.loads(answer) == {"status": 200, "ok": True}
    able.set_person(person, **{ACTION: "Add to sequence", SEQUENCE: "Cold outreach"})
    able.sync()
    [(asked, answer)] = able.rows(query.format("prospects", prospect))
    assert json.loads(asked)["relationships"] == {"prospect": prospect, "sequence": COLD, "mailbox": None}
    assert json.loads(answer)["ok"] is False
    assert json.loads(answer)["refused"]
    (state,) = [int(number) for number in able.outreach.world.dump()["sequenceState"]]
    task = able.task(state)
    able.hand(
        "create", type="task", fields={"name": "Call", "activity_status": "Complete", "cf_task_outreach_id": str(task)}
    )
    able.sync()
    [(asked, answer)] = able.rows(query.format("tasks", task))
    assert json.loads(asked) == {"POST": f"/api/v2/tasks/{task}/actions/markComplete"}
    assert json.loads(answer) == {"status": 200, "ok": True}
