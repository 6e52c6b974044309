from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.rig import Stage
from tests.e2e.worlds import COLD, INBOUND

AUTOSKIPPED: dict[str, Any] = {
    "state": "complete",
    "completed": True,
    "completedAt": "2026-01-06T10:00:00.000Z",
    "autoskipAt": "2026-01-06T10:00:00.000Z",
}


@pytest.fixture
def active(stage: Stage) -> tuple[int, int]:
    """A prospect on the second step of Cold outreach: (prospect, state)."""
    prospect = stage.prospect("ada@example.com")
    return prospect, stage.state(prospect, COLD, step=2)


def test_the_cancelled_task_bears_every_field(stage: Stage, active: tuple[int, int]) -> None:
    """Status, readable name, the note, the day it was due, the person as contact, and the Outreach task's id."""
    prospect, state = active
    task = stage.task(
        state, order=2, state="skipped", note="Ask about the fair", dueAt="2026-03-02T23:30:00.000Z", action="call"
    )
    told = stage.sync()
    assert told.crm == {"created": 1, "tasks_cancelled": 1}
    (written,) = stage.cancelled()
    expected = {
        "activity_status": "Cancelled",
        "name": "Skipped call: Cold outreach, step 2",
        "description": "Ask about the fair",
        "due": "2026-03-02,0,Etc/UTC",
        "primary_contact_id": stage.person_of(prospect)["id"],
        "primary_contact_type": "Private::Crm::Person",
        "cf_task_outreach_id": str(task),
    }
    assert {name: written[name] for name in expected} == expected
    stage.settled()


def test_due_dates_fall_in_the_mappings_time_zone(stage: Stage, active: tuple[int, int]) -> None:
    """Half past eleven at night in UTC is the next day in Berlin."""
    stage.mapping(("timezone: UTC", "timezone: Europe/Berlin"))
    stage.task(active[1], order=2, state="skipped", dueAt="2026-03-02T23:30:00.000Z")
    stage.sync()
    assert stage.cancelled()[0]["due"] == "2026-03-03,0,Etc/UTC"


def test_completed_by_nobody_after_autoskip_counts(stage: Stage, active: tuple[int, int]) -> None:
    """Completed without a completer and not before autoskipAt: skipped."""
    task = stage.task(active[1], order=2, **AUTOSKIPPED)
    assert stage.sync().crm["tasks_cancelled"] == 1
    assert len(stage.cancelled(task)) == 1


def test_completed_otherwise_does_not_count(stage: Stage, active: tuple[int, int]) -> None:
    """By somebody, before autoskipAt, without autoskipAt: not skipped; nor is an open task."""
    by_hand = stage.task(active[1], order=2, **AUTOSKIPPED)
    stage.tell({"op": "set", "type": "task", "id": by_hand, "relations": {"completer": 1}})
    stage.task(active[1], order=2, **{**AUTOSKIPPED, "autoskipAt": "2026-01-06T10:00:01.000Z"})
    stage.task(active[1], order=2, **{**AUTOSKIPPED, "autoskipAt": None})
    stage.task(active[1], order=2)
    assert "tasks_cancelled" not in stage.sync().crm
    assert stage.cancelled() == []


def test_gone_while_the_step_moved_on_counts(stage: Stage, active: tuple[int, int]) -> None:
    """An open task that a by-id look-up no longer finds, its state now on a later step: skipped, with its own step."""
    task = stage.task(active[1], order=2, note="Call her")
    stage.sync()
    stage.tell({"op": "skip_task", "task": task, "how": "gone"})
    told = stage.sync()
    assert told.crm["tasks_cancelled"] == 1
    assert stage.cancelled(task)[0]["name"] == "Skipped call: Cold outreach, step 2"
    assert stage.cancelled(task)[0]["description"] == "Call her"
    stage.settled()


@pytest.mark.parametrize("what", ["finished", "removed"])
def test_gone_with_its_state_at_an_end_does_not_count(stage: Stage, active: tuple[int, int], what: str) -> None:
    """The state finished or was removed: a task that vanished with it was not skipped."""
    task = stage.task(active[1], order=2)
    stage.sync()
    stage.tell({"op": "delete", "type": "task", "id": task})
    if what == "finished":
        stage.tell({"op": "finish", "state": active[1]})
    else:
        stage.tell({"op": "delete", "type": "sequenceState", "id": active[1]})
    stage.sync()
    assert stage.cancelled() == []


def test_still_there_while_the_step_moved_on_does_not_count(stage: Stage, active: tuple[int, int]) -> None:
    """The state moved on and the task is still open: not skipped, now or after being completed by somebody."""
    task = stage.task(active[1], order=2)
    stage.sync()
    stage.tell({"op": "advance", "state": active[1]})
    stage.sync()
    assert stage.cancelled() == []
    stage.tell({"op": "complete_task", "task": task})
    stage.sync()
    assert stage.cancelled() == []


def test_signals_are_the_mappings_to_take_out(stage: Stage, active: tuple[int, int]) -> None:
    """A sign that the mapping no longer lists does not count."""
    signs = "[state_is_skipped, autoskipped_without_completer, gone_while_the_step_moved_on]"
    stage.mapping((f"skipped_when: {signs}", "skipped_when: [state_is_skipped]"))
    stage.task(active[1], order=2, **AUTOSKIPPED)
    skipped = stage.task(active[1], order=2, state="skipped")
    stage.sync()
    assert [one["cf_task_outreach_id"] for one in stage.cancelled()] == [str(skipped)]


def test_tasks_outside_sequences_do_not_count(stage: Stage, active: tuple[int, int]) -> None:
    """A task that somebody wrote by hand, skipped or autoskipped, makes nothing in the CRM."""
    told = {"action": "call", "taskType": "manual", **AUTOSKIPPED}
    stage.make("task", told, prospect=active[0], subject=active[0])
    stage.make("task", {**told, "state": "skipped"}, prospect=active[0], subject=active[0])
    stage.sync()
    assert stage.cancelled() == []


def test_since_cuts_history_off(stage: Stage, active: tuple[int, int]) -> None:
    """With `since` only tasks skipped on or after that day are shown."""
    stage.mapping(("  # since: 2026-01-01", "  since: 2026-02-01"))
    stage.task(active[1], order=2, state="skipped", stateChangedAt="2026-01-31T23:59:59.000Z")
    new = stage.task(active[1], order=2, state="skipped", stateChangedAt="2026-02-01T00:00:00.000Z")
    stage.sync()
    assert [one["cf_task_outreach_id"] for one in stage.cancelled()] == [str(new)]


def test_a_task_waits_for_its_person(stage: Stage) -> None:
    """Skipped before its prospect has a person: written in the very pass that brings the person."""
    prospect = stage.prospect()
    state = stage.state(prospect)
    task = stage.task(state, state="skipped")
    told = stage.sync()
    assert (told.crm, told.report["converged"]) == ({}, True)
    stage.set_prospect(prospect, emails=["ada@example.com"])
    assert stage.sync().crm == {"created": 1, "tasks_cancelled": 1}
    assert stage.cancelled(task)[0]["primary_contact_id"] == stage.person_of(prospect)["id"]


def test_a_deleted_task_is_written_once_again(stage: Stage, active: tuple[int, int]) -> None:
    """Deleted in the CRM it comes back once, with all its fields; the tombstone stays."""
    task = stage.task(active[1], order=2, state="skipped", note="Ask")
    stage.sync()
    first = stage.cancelled(task)[0]["id"]
    stage.hand("delete", type="task", id=first)
    told = stage.sync()
    assert told.crm.get("tasks_cancelled") == 1
    (again,) = stage.cancelled(task)
    assert (again["id"] != first, again["description"], again["activity_status"]) == (True, "Ask", "Cancelled")
    stage.settled()


def test_a_task_closed_by_hand_stays_as_it_is(stage: Stage, active: tuple[int, int]) -> None:
    """What people do with the Cancelled task in the CRM is theirs."""
    task = stage.task(active[1], order=2, state="skipped")
    stage.sync()
    stage.hand("set", type="task", id=stage.cancelled(task)[0]["id"], fields={"activity_status": "Complete"})
    stage.sync()
    assert stage.cancelled(task)[0]["activity_status"] == "Complete"


def test_a_lost_data_directory_makes_no_second_task(stage: Stage, active: tuple[int, int]) -> None:
    """A new store finds the task by its reference and writes none."""
    stage.task(active[1], order=2, state="skipped")
    stage.sync()
    stage.store("second")
    told = stage.sync()
    assert "tasks_cancelled" not in told.crm
    assert len(stage.cancelled()) == 1
    stage.settled()


def test_a_task_follows_a_person_created_again(stage: Stage, active: tuple[int, int]) -> None:
    """Its person deleted and created again: the same task points at the new one, and no second task is made."""
    prospect, state = active
    task = stage.task(state, order=2, state="skipped")
    stage.sync()
    before = stage.cancelled(task)[0]
    stage.delete_person(stage.person_of(prospect)["id"])
    stage.sync()
    (after,) = stage.cancelled(task)
    assert (after["id"], after["primary_contact_id"]) == (before["id"], stage.person_of(prospect)["id"])
    stage.settled()


def test_a_task_follows_to_the_winner_of_a_merge(stage: Stage, active: tuple[int, int]) -> None:
    """Its person merged into another one: the task points at the winner."""
    prospect, state = active
    task = stage.task(state, order=2, state="skipped")
    stage.sync()
    winner = stage.person(first="Ada", last="Ashby", email="winner@example.com")
    stage.hand("merge", winner=winner, loser=stage.person_of(prospect)["id"])
    stage.sync()
    assert [one["primary_contact_id"] for one in stage.cancelled(task)] == [winner]


def test_a_task_completed_after_it_was_shown_stays(stage: Stage, active: tuple[int, int]) -> None:
    """Exactly one a task: later changes in Outreach make neither a second one nor a new one."""
    task = stage.task(active[1], order=2, state="skipped")
    stage.sync()
    stage.tell({"op": "set", "type": "task", "id": task, "attributes": {"note": "again", "state": "skipped"}})
    stage.sync()
    assert len(stage.cancelled()) == 1


def test_a_lost_reply_makes_no_second_task(stage: Stage, active: tuple[int, int]) -> None:
    """The CRM made the task and its answer was lost: found by its reference, one task in the end."""
    stage.task(active[1], order=2, state="skipped")
    stage.break_crm("lost_reply", path="tasks")
    stage.sync()
    assert len(stage.cancelled()) == 1
    stage.settled()


def test_many_sequences_name_the_task_by_its_own(stage: Stage) -> None:
    """The name tells the task's own sequence and step, whatever decides the person's state."""
    prospect = stage.prospect("ada@example.com")
    stage.state(prospect, COLD, step=3)
    other = stage.state(prospect, INBOUND, "finished", step=1)
    stage.task(other, order=1, state="skipped", action="action_item")
    stage.sync()
    assert stage.cancelled()[0]["name"] == "Skipped action item: Inbound follow-up, step 1"
