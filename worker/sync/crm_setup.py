"""What the mapping names and the CRM lacks, and how it is made: fields and picklist entries, nothing that exists changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.core import errors
from worker.core.mapping import Computed
from worker.core.records import Kind
from worker.core.transforms import Compare
from worker.remote import workbooks_setup as remote
from worker.sync import fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from collections.abc import Mapping as Dict

    from worker.core.mapping import Mapping
    from worker.remote.workbooks import FieldInfo, Workbooks

TEXT, LONG_TEXT, INTEGER, MOMENT, FLAG, PICKLIST = "string", "text", "integer", "datetime", "boolean", "picklist"
_COMPUTED = {
    Computed.PROSPECT_ID: TEXT,
    Computed.SEQUENCE_STATE: PICKLIST,
    Computed.SEQUENCE_STATE_UPDATED_AT: MOMENT,
    Computed.SEQUENCE_NAME: TEXT,
    Computed.SEQUENCE_STEP: INTEGER,
    Computed.SEQUENCES: LONG_TEXT,
    Computed.OPTED_OUT: FLAG,
    Computed.SYNC_REQUEST: FLAG,
    Computed.ERROR: LONG_TEXT,
}
_COPIED = {Compare.INTEGER: INTEGER, Compare.DATETIME: MOMENT, Compare.FLAG: FLAG}
_HELD_AS = {
    TEXT: {"string", "text", "picklist_data"},
    LONG_TEXT: {"text"},
    INTEGER: {"integer"},
    MOMENT: {"datetime", "var_date_time"},
    FLAG: {"boolean"},
    PICKLIST: {"picklist_data", "picklist"},
}
"""The metadata's data types that serve."""
SPOKEN = {
    TEXT: "text",
    LONG_TEXT: "long text",
    INTEGER: "whole number",
    MOMENT: "date and time",
    FLAG: "checkbox",
    PICKLIST: "picklist",
}
RECORDS = {Kind.PERSON: "Person", Kind.CRM_TASK: "Task"}
WAIT_S, STEP_S = 60.0, 2.0


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to make: a field (with the labels of its picklist, if it is one), or ``labels`` a picklist still lacks."""

    kind: Kind
    field: str
    data_type: str = ""
    labels: tuple[str, ...] = ()
    picklist_id: int | None = None
    after: int = 0

    @property
    def is_field(self) -> bool:
        """Whether the field itself is to be made."""
        return bool(self.data_type)

    def __str__(self) -> str:
        """Return it as a person reads it."""
        named = ", ".join(self.labels)
        if not self.is_field:
            return f"{RECORDS[self.kind]}, {self.field}: add to its picklist: {named}"
        kind = SPOKEN[self.data_type] + (f" with the entries {named}" if self.labels else "")
        return f"{RECORDS[self.kind]}, {self.field}: new field, {kind}"

    @property
    def by_hand(self) -> str:
        """How somebody makes it in Workbooks itself."""
        if not self.is_field:
            return f"by hand: Configuration, Picklists, the list of {self.field}: add {', '.join(self.labels)}"
        what = f"add a custom field '{remote.title_of(self.kind, self.field)}', {SPOKEN[self.data_type]}"
        what += f" with the entries {', '.join(self.labels)}" if self.labels else ""
        return f"by hand: Configuration, Record Types, {RECORDS[self.kind]}: {what}; its API name must come out as {self.field}"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is not as the mapping needs it and was not made, and what somebody can do about it."""

    field: str
    words: str
    by_hand: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One field of the mapping as the CRM should have it."""

    kind: Kind
    field: str
    data_type: str
    labels: tuple[str, ...] = ()


def wanted(mapping: Mapping) -> Iterator[Wanted]:
    """Yield the fields that the mapping writes or reads in the CRM, with what each has to hold."""
    for line in mapping.fields:
        data_type = _COMPUTED[line.computed] if line.computed else _COPIED.get(line.compare, TEXT)
        labels = tuple(mapping.labels.values()) if line.computed is Computed.SEQUENCE_STATE else ()
        yield Wanted(Kind.PERSON, line.crm, data_type, labels)
    if mapping.actions is not None:
        yield Wanted(Kind.PERSON, mapping.actions.action, PICKLIST, tuple(mapping.actions.words.values()))
        yield Wanted(Kind.PERSON, mapping.actions.sequence, TEXT)
        yield Wanted(Kind.PERSON, mapping.actions.outcome, TEXT)
    yield Wanted(Kind.CRM_TASK, mapping.task.reference, TEXT)
    yield Wanted(Kind.CRM_TASK, "activity_status", PICKLIST, (mapping.task.status,))


def look(crm: Workbooks, mapping: Mapping) -> tuple[list[Step], list[Trouble]]:
    """Return what is to be made and what stands in the way; ContractBroken if the CRM does not show its fields."""
    metadata = crm.metadata(fields.KINDS)
    if metadata is None or not all(metadata.get(kind) for kind in fields.KINDS):
        words = "the CRM does not show this key what fields it has: nothing can be compared, make them by hand (README)"
        raise errors.ContractBroken(words, system=Kind.PERSON.system)
    steps: list[Step] = []
    troubles: list[Trouble] = []
    for one in wanted(mapping):
        if "[" in one.field:
            continue  # told by the association's own type, and always there
        found = _compared(crm, one, metadata[one.kind])
        if isinstance(found, Trouble):
            troubles.append(found)
        elif found is not None:
            steps.append(found)
    return steps, troubles


def _compared(crm: Workbooks, one: Wanted, known: Dict[str, FieldInfo]) -> Step | Trouble | None:
    info = known.get(one.field)
    if info is None:
        if not one.field.startswith(remote.PREFIXES[one.kind]):
            return Trouble(
                one.field, f"the CRM has no field '{one.field}', and it is no custom field: mend the mapping"
            )
        return Step(one.kind, one.field, one.data_type, one.labels)
    if info.datatype not in _HELD_AS[one.data_type]:
        words = f"it is there as {info.datatype}, and the mapping needs {SPOKEN[one.data_type]}; it is left as it is"
        return Trouble(one.field, words, f"make another field, or change what the mapping says of {one.field}")
    if not one.labels or info.unrestricted or info.picklist_id is None:
        return None
    offered = crm.picklist(info.picklist_id) or ()
    absent = tuple(label for label in one.labels if label not in offered)
    return Step(one.kind, one.field, "", absent, info.picklist_id, len(offered)) if absent else None


def make(crm: Workbooks, steps: Sequence[Step], *, sleep: Callable[[float], None]) -> tuple[list[Step], list[Trouble]]:
    """Make one thing after the other; return what was made and what was not. What was made stays if the rest fails."""
    done: list[Step] = []
    troubles: list[Trouble] = []
    for step in steps:
        try:
            words = _field(crm, step, sleep=sleep) if step.is_field else _entries(crm, step, step.picklist_id)
        except remote.NotMade as refusal:
            words = str(refusal)
        if words:
            troubles.append(Trouble(step.field, words, step.by_hand))
        else:
            done.append(step)
    return done, troubles


def _field(crm: Workbooks, step: Step, *, sleep: Callable[[float], None]) -> str:
    """Make a field and wait until it can be used; return what is wrong with it, if anything is."""
    picklist = None
    if step.data_type == PICKLIST:
        picklist = remote.make_picklist(crm, remote.title_of(step.kind, step.field))
        held = crm.picklist(picklist) or ()
        lacking = Step(step.kind, step.field, "", tuple(one for one in step.labels if one not in held), after=len(held))
        if words := _entries(crm, lacking, picklist):
            return words
    made = remote.make_field(crm, step.kind, step.field, step.data_type, picklist)
    if made.column and made.column != step.field:
        return f"the CRM made it under the name '{made.column}': write that into the mapping, or take it away there"
    waited = 0.0
    while not made.available and not remote.is_available(crm, made.id):
        if waited >= WAIT_S:
            return f"made, but still not available after {WAIT_S:.0f} s: run the same again later"
        sleep(STEP_S)
        waited += STEP_S
    return ""


def _entries(crm: Workbooks, step: Step, picklist_id: int | None) -> str:
    refused = remote.add_entries(crm, picklist_id or 0, step.labels, after=step.after)
    return "; ".join(f"'{label}': {words}" for label, words in refused.items())
