"""Skipped tasks: the signs, what is none, and the Cancelled task."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.makers import mapping, sequence
from worker.core import tasks
from worker.core.mapping import Mapping, SkipSignal, TaskBack
from worker.core.records import Kind, Ref, Snapshot, Value
from worker.core.tasks import TaskView

SIGNS = "[state_is_skipped, autoskipped_without_completer, gone_while_the_step_moved_on]"
AUTOSKIPPED: dict[str, Value] = {
    "state": "complete",
    "completed": True,
    "completedAt": "2026-03-02T10:00:00.000Z",
    "autoskipAt": "2026-03-02T10:00:00.000Z",
}


def view(
    fields: dict[str, Value] | None = None,
    *,
    completer: int | str | None = None,
    gone: bool = False,
    moved_on: bool = False,
) -> TaskView:
    """Return a call of step 3 of a sequence; a completer of "untold" is one that the answer left out."""
    told: dict[str, Value] = {"action": "call", "state": "incomplete", "completed": False, "note": None, "dueAt": None}
    relations = {} if completer == "untold" else {"completer": completer}
    task = Snapshot(Ref(Kind.TASK, 31), {**told, **(fields or {})}, relations=relations)  # type: ignore[arg-type]
    return TaskView(task, sequence(), 3, gone=gone, state_moved_on=moved_on)


def only(*signs: str) -> Mapping:
    """Return the default mapping with these signs alone."""
    return mapping((SIGNS, f"[{', '.join(signs)}]"))


# ---- the three signs


def test_a_state_of_skipped() -> None:
    """A task whose state says skipped is skipped."""
    assert tasks.skipped_by(view({"state": "skipped"}), mapping()) is SkipSignal.STATE_IS_SKIPPED


@pytest.mark.parametrize("autoskip", ["2026-03-02T10:00:00.000Z", "2026-03-02T09:59:59Z", "2026-01-01T00:00:00Z"])
def test_completed_by_nobody_at_its_autoskip(autoskip: str) -> None:
    """Completed with no completer, at or after the moment of its autoskip: skipped."""
    done = view({**AUTOSKIPPED, "autoskipAt": autoskip})
    assert tasks.skipped_by(done, mapping()) is SkipSignal.AUTOSKIPPED


@pytest.mark.parametrize(
    "fields", [{"state": "complete", "completed": None}, {"state": "incomplete", "completed": True}]
)
def test_completed_is_told_in_two_ways(fields: dict[str, Value]) -> None:
    """Either the state or the flag says that a task is completed."""
    assert tasks.skipped_by(view({**AUTOSKIPPED, **fields}), mapping()) is SkipSignal.AUTOSKIPPED


def test_gone_while_the_step_moved_on() -> None:
    """An open task that is gone while its sequence state stands on a later step was skipped."""
    assert tasks.skipped_by(view(gone=True, moved_on=True), mapping()) is SkipSignal.GONE
    pending = view({"state": "pending"}, gone=True, moved_on=True)
    assert tasks.skipped_by(pending, mapping()) is SkipSignal.GONE


# ---- what is no skip


@pytest.mark.parametrize(
    "told",
    [
        view(),
        view({"state": "pending"}),
        view(gone=True),  # the state was removed, or finished
        view(moved_on=True),  # still there
        view({"state": "complete", "completed": True}, gone=True, moved_on=True),  # it was no longer open
        view({"state": "incomplete", "completed": True}, gone=True, moved_on=True),
        view(AUTOSKIPPED, completer=8),  # somebody did it
        view(AUTOSKIPPED, completer="untold"),  # nobody is not the same as not told
        view({**AUTOSKIPPED, "autoskipAt": "2026-03-02T10:00:01Z"}),  # before its time
        view({**AUTOSKIPPED, "autoskipAt": None}),
        view({**AUTOSKIPPED, "completedAt": None}),
        view({**AUTOSKIPPED, "state": "incomplete", "completed": False}),
        view({"state": "Skipped"}),
        replace(view({"state": "skipped"}), sequence=None),  # of no sequence
        replace(view(AUTOSKIPPED), sequence=None),
        replace(view(gone=True, moved_on=True), sequence=None),
    ],
)
def test_what_is_no_skip(told: TaskView) -> None:
    """What lacks a part of a sign, or is no task of a sequence, does not count."""
    assert tasks.skipped_by(told, mapping()) is None


@pytest.mark.parametrize(
    "told, sign",
    [
        (view({"state": "skipped"}), "state_is_skipped"),
        (view(AUTOSKIPPED), "autoskipped_without_completer"),
        (view(gone=True, moved_on=True), "gone_while_the_step_moved_on"),
    ],
)
def test_signs_are_the_mappings(told: TaskView, sign: str) -> None:
    """A sign that the mapping leaves out does not count; alone it does."""
    others = [one.value for one in SkipSignal if one.value != sign]
    assert tasks.skipped_by(told, only(*others)) is None
    assert tasks.skipped_by(told, only(sign)) == sign
    assert tasks.skipped_by(told, only()) is None


# ---- since


@pytest.mark.parametrize(
    "zone, completed, counts",
    [
        ("UTC", "2026-03-02T00:00:00Z", True),
        ("UTC", "2026-03-01T23:59:59Z", False),
        ("UTC", "2026-03-09T00:00:00Z", True),
        ("Pacific/Auckland", "2026-03-01T11:00:00Z", True),  # midnight there
        ("Pacific/Auckland", "2026-03-01T10:59:59Z", False),
        ("America/New_York", "2026-03-02T04:59:59Z", False),
    ],
)
def test_history_is_cut_off(zone: str, completed: str, counts: bool) -> None:
    """Only tasks skipped on or after `since` count, by the calendar of the mapping's time zone."""
    told = mapping(("timezone: UTC", f"timezone: {zone}"), ("# since: 2026-01-01", "since: 2026-03-02"))
    done = view({**AUTOSKIPPED, "completedAt": completed, "autoskipAt": "2026-02-01T00:00:00Z"})
    assert (tasks.skipped_by(done, told) is not None) is counts


def test_the_moment_of_a_skip_without_a_completion() -> None:
    """Where no completion is told, the change of state counts, then the last change; without any time nothing is cut off."""
    told = mapping(("# since: 2026-01-01", "since: 2026-03-02"))
    old, new = "2026-03-01T12:00:00Z", "2026-03-03T12:00:00Z"
    for fields, counts in [
        ({"stateChangedAt": new, "updatedAt": old}, True),
        ({"stateChangedAt": old, "updatedAt": new}, False),
        ({"updatedAt": old}, False),
        ({"updatedAt": new}, True),
        ({}, True),
    ]:
        assert (tasks.skipped_by(view({"state": "skipped", **fields}), told) is not None) is counts


# ---- the Cancelled task


def test_the_cancelled_task() -> None:
    """Everything that the contract names is there, and nothing else."""
    one = view({"note": "Rang twice,\r\nno answer \x07", "dueAt": "2026-03-02T11:30:00.000Z"})
    assert tasks.cancelled(one, mapping(), 55) == {
        "name": "Skipped call: Cold outreach, step 3",
        "activity_status": "Cancelled",
        "description": "Rang twice,\nno answer",
        "due_date": "2026-03-02",
        "primary_contact_id": 55,
        "primary_contact_type": "Private::Crm::Person",
        "cf_task_outreach_id": "31",
    }


@pytest.mark.parametrize("note", [None, "", " \n"])
def test_a_task_without_note_or_due_date(note: str | None) -> None:
    """What Outreach does not tell is not written."""
    written = tasks.cancelled(view({"note": note}), mapping(), 55)
    assert set(written) == {
        *("name", "activity_status", "primary_contact_id", "primary_contact_type", "cf_task_outreach_id"),
    }


@pytest.mark.parametrize(
    "zone, due, day",
    [
        ("UTC", "2026-03-02T11:30:00Z", "2026-03-02"),
        ("Pacific/Auckland", "2026-03-02T11:30:00Z", "2026-03-03"),
        ("Pacific/Auckland", "2026-06-01T11:30:00Z", "2026-06-01"),  # winter there
        ("America/New_York", "2026-03-02T03:00:00Z", "2026-03-01"),
        ("UTC", "soon", None),
    ],
)
def test_the_due_date_is_a_day_of_the_mappings_zone(zone: str, due: str, day: str | None) -> None:
    """A due moment falls on the day that people of the mapping's time zone call it."""
    written = tasks.cancelled(view({"dueAt": due}), mapping(("timezone: UTC", f"timezone: {zone}")), 55)
    assert written.get("due_date") == day


@pytest.mark.parametrize(
    "template, fields, step, name",
    [
        (
            "Skipped {action}: {sequence}, step {step}",
            {"action": "action_item"},
            1,
            "Skipped action item: Cold outreach, step 1",
        ),
        (
            "Skipped {action}: {sequence}, step {step}",
            {"action": "in_person"},
            None,
            "Skipped in person: Cold outreach, step ?",
        ),
        ("Skipped {action}: {sequence}, step {step}", {"action": None}, 0, "Skipped task: Cold outreach, step 0"),
        ("{sequence} ({step}/{step})", {}, 2, "Cold outreach (2/2)"),
        ("Nicht erledigt", {}, 2, "Nicht erledigt"),
        ("{{{sequence}}}", {}, 2, "{Cold outreach}"),
    ],
)
def test_the_name_is_the_mappings(template: str, fields: dict[str, Value], step: int | None, name: str) -> None:
    """The task is called as the mapping says; what is not known reads as a question mark."""
    told = mapping(('  name: "Skipped {action}: {sequence}, step {step}"', f'  name: "{template}"'))
    one = replace(view(fields), step=step)
    assert tasks.task_name(one, told) == name
    assert tasks.cancelled(one, told, 55)["name"] == name


def test_a_task_of_no_sequence_has_a_name_all_the_same() -> None:
    """The name can be told even where the sequence is not known."""
    assert tasks.task_name(replace(view(), sequence=None), mapping()) == "Skipped call: ?, step 3"


@given(name=st.text(max_size=20))
def test_a_sequences_name_is_no_template(name: str) -> None:
    """Braces in a sequence's name are just braces."""
    one = replace(view(), sequence=sequence(name=f"x{name}x"))
    expected = "".join(letter for letter in name.replace("\r\n", "\n").replace("\r", "\n") if _stays(letter))
    assert tasks.task_name(one, mapping()) == f"Skipped call: x{expected}x, step 3"


def _stays(letter: str) -> bool:
    return letter in "\t\n" or not (ord(letter) < 32 or 127 <= ord(letter) < 160)


@pytest.mark.parametrize(
    "fields, is_open",
    [
        ({"state": "pending"}, True),
        ({"state": "incomplete"}, True),
        ({"state": "incomplete", "completed": None}, True),
        ({"state": None, "completed": False}, True),
        ({"state": "complete"}, False),
        ({"state": "complete", "completed": False}, False),
        ({"state": "incomplete", "completed": True}, False),
    ],
)
def test_when_a_task_is_open(fields: dict[str, Value], is_open: bool) -> None:
    """A task is open until its state or its flag says otherwise."""
    assert tasks.is_open(view(fields).task) is is_open


def test_the_signs_status_and_reference_are_the_mappings() -> None:
    """Status and reference field are written as the mapping names them."""
    told = mapping(
        ('  status: "Cancelled"', '  status: "Abgesagt"'),
        ("  reference: cf_task_outreach_id", "  reference: cf_task_o_id"),
    )
    written = tasks.cancelled(view(), told, 55)
    assert (written["activity_status"], written["cf_task_o_id"]) == ("Abgesagt", "31")


# ---- done in the CRM

BACK = TaskBack(frozenset({"Complete", "Completed"}), frozenset({"Cancelled"}))


def crm_task(status: Value, *, id: int = 90, deleted: bool = False) -> Snapshot:
    """Return a task of the CRM."""
    return Snapshot(Ref(Kind.CRM_TASK, id), {"activity_status": status}, deleted=deleted)


@pytest.mark.parametrize(
    "status, in_sequence, action",
    [
        ("Complete", True, "markComplete"),
        (" Completed ", False, "markComplete"),
        ("Cancelled", True, "advance"),
        ("Cancelled", False, "markComplete"),  # Outreach knows no cancelled task
        ("New", True, None),
        (None, True, None),
        ("complete", True, None),
    ],
)
def test_done_by_hand(status: Value, in_sequence: bool, action: str | None) -> None:
    """A status that the mapping names completes the task, or lets the sequence go on without it."""
    one = crm_task(status)
    told = tasks.done_by_hand(view().task, [one], BACK, in_sequence=in_sequence)
    assert told == (None if action is None else (one, action))


@pytest.mark.parametrize("fields", [{"state": "complete"}, {"completed": True}, {"state": "skipped"}])
def test_what_is_done_already_is_not_done_again(fields: dict[str, Value]) -> None:
    """A task that is no longer open in Outreach needs nothing, whatever the CRM says."""
    assert tasks.done_by_hand(view(fields).task, [crm_task("Complete")], BACK, in_sequence=True) is None


def test_a_deleted_task_does_nothing() -> None:
    """Neither a deleted task of Outreach nor one of the CRM counts; a completed one goes before a cancelled one."""
    open_task = view().task
    gone = replace(open_task, deleted=True)
    assert tasks.done_by_hand(gone, [crm_task("Complete")], BACK, in_sequence=True) is None
    assert tasks.done_by_hand(open_task, [crm_task("Complete", deleted=True)], BACK, in_sequence=True) is None
    both = [crm_task("Cancelled", id=91), crm_task("Complete", id=92)]
    assert tasks.done_by_hand(open_task, both, BACK, in_sequence=True) == (both[1], "markComplete")
