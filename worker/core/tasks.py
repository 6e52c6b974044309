"""Skipped tasks: whether an Outreach task was skipped, by which sign, and what the CRM's Cancelled task holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.core import transforms
from worker.core.mapping import SkipSignal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.core.mapping import Mapping, TaskBack
    from worker.core.records import Snapshot, Value
    from worker.core.states import SequenceView

PERSON_CLASS = "Private::Crm::Person"
STATUS, NAME, DESCRIPTION, DUE = "activity_status", "name", "description", "due_date"
CONTACT, CONTACT_TYPE = "primary_contact_id", "primary_contact_type"
COMPLETE, ADVANCE = "markComplete", "advance"
ATTRIBUTES = (
    "action",
    "autoskipAt",
    "completed",
    "completedAt",
    "dueAt",
    "note",
    "state",
    "stateChangedAt",
    "updatedAt",
)
RELATIONS = ("completer", "prospect", "sequence", "sequenceState", "sequenceStep")


@dataclass(frozen=True, slots=True)
class TaskView:
    """One Outreach task with what surrounds it. ``gone`` says that a look-up by id no longer found it.

    ``state_moved_on`` says that its sequence state still runs and stands on a later step.
    """

    task: Snapshot
    sequence: SequenceView | None
    step: int | None
    gone: bool = False
    state_moved_on: bool = False


def is_open(task: Snapshot) -> bool:
    """Tell whether the task still waits to be done."""
    return task.fields.get("state") != "complete" and not transforms.flag(task.fields.get("completed"))


def skipped_by(view: TaskView, mapping: Mapping) -> SkipSignal | None:
    """Return the sign by which the task counts as skipped, None if it does not. Only tasks of a sequence can."""
    if view.sequence is None or _too_old(view, mapping):
        return None
    signals = mapping.task.skipped_when
    fields = view.task.fields
    if SkipSignal.STATE_IS_SKIPPED in signals and fields.get("state") == "skipped":
        return SkipSignal.STATE_IS_SKIPPED
    if SkipSignal.AUTOSKIPPED in signals and _autoskipped(view.task):
        return SkipSignal.AUTOSKIPPED
    if SkipSignal.GONE in signals and view.gone and view.state_moved_on and is_open(view.task):
        return SkipSignal.GONE
    return None


def done_by_hand(
    task: Snapshot, crm_tasks: Iterable[Snapshot], rule: TaskBack, *, in_sequence: bool
) -> tuple[Snapshot, str] | None:
    """Return the CRM task that was completed or cancelled by hand and the action that does so in Outreach, None if none was.

    Outreach knows no cancelled task: one of a sequence is left behind (``advance`` is for these alone: facts, outreach-api
    6.5), any other is completed.
    """
    if not is_open(task) or task.deleted or task.fields.get("state") == "skipped":
        return None
    living = [one for one in crm_tasks if not one.deleted]
    for labels, verb in ((rule.completed, COMPLETE), (rule.cancelled, ADVANCE if in_sequence else COMPLETE)):
        for one in living:
            if transforms.clean(str(one.fields.get(STATUS) or "")) in labels:
                return one, verb
    return None


def _autoskipped(task: Snapshot) -> bool:
    """Completed by nobody, and not before the moment at which Outreach was to skip it."""
    completed_at = transforms.parse_time(task.fields.get("completedAt"))
    autoskip_at = transforms.parse_time(task.fields.get("autoskipAt"))
    completed = transforms.flag(task.fields.get("completed")) or task.fields.get("state") == "complete"
    nobody = "completer" in task.relations and task.relations["completer"] is None
    return bool(completed and nobody and completed_at and autoskip_at and autoskip_at <= completed_at)


def _too_old(view: TaskView, mapping: Mapping) -> bool:
    since = mapping.task.since
    if since is None:
        return False
    fields = view.task.fields
    moment = fields.get("completedAt") or fields.get("stateChangedAt") or fields.get("updatedAt")
    day = transforms.local_date(moment, mapping.timezone)
    return day is not None and day < since


def cancelled(view: TaskView, mapping: Mapping, person_id: int) -> dict[str, Value]:
    """Return the fields of the CRM's Cancelled task."""
    fields = view.task.fields
    due = transforms.local_date(fields.get("dueAt"), mapping.timezone)
    note = fields.get("note")
    written: dict[str, Value] = {
        NAME: task_name(view, mapping),
        STATUS: mapping.task.status,
        CONTACT: person_id,
        CONTACT_TYPE: PERSON_CLASS,
        mapping.task.reference: str(view.task.ref.id),
    }
    if isinstance(note, str) and transforms.clean(note):
        written[DESCRIPTION] = transforms.clean(note)
    if due is not None:
        written[DUE] = transforms.crm_date(due)
    return written


def task_name(view: TaskView, mapping: Mapping) -> str:
    """Return the task's name, readable: ``Skipped call: Cold outreach, step 3``."""
    action = str(view.task.fields.get("action") or "task").replace("_", " ")
    sequence = view.sequence.name if view.sequence else "?"
    step = "?" if view.step is None else str(view.step)
    return transforms.clean(mapping.task.name.format(action=action, sequence=sequence, step=step))
