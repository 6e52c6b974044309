"""What each stream reads, and how a snapshot is fingerprinted: the shape of the mirror for one mapping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.core import records, tasks, transforms
from worker.core.mapping import PERSON_ADDRESSES, Computed
from worker.core.records import Kind
from worker.core.transforms import Compare
from worker.store.mirror import Seen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from collections.abc import Mapping as Dict

    from worker.core.mapping import Mapping
    from worker.core.records import Snapshot, Value
    from worker.remote.outreach import Outreach
    from worker.remote.workbooks import Workbooks

SEQUENCE_ATTRIBUTES = ("enabled", "name", "transactional", "updatedAt")
STEP_ATTRIBUTES = ("order", "updatedAt")
STATE_ATTRIBUTES = ("activeAt", "state", "stateChangedAt", "updatedAt")
STATE_RELATIONS = ("prospect", "sequence", "sequenceStep")
CRM_TASK_COLUMNS = (tasks.CONTACT, tasks.STATUS)
ALWAYS = ("id", "lock_version", "updated_at", "is_deleted")
"""Columns that every read of the CRM asks for."""

_LISTS = {"emails": Compare.EMAIL} | dict.fromkeys(
    ("homePhones", "mobilePhones", "otherPhones", "voipPhones", "workPhones"), Compare.PHONE
)
"""Lists whose items are compared as something else than text."""


@dataclass(frozen=True, slots=True)
class Remotes:
    """The two vendors' clients."""

    outreach: Outreach
    crm: Workbooks


def attributes(kind: Kind, mapping: Mapping) -> tuple[str, ...]:
    """Return the attributes that a stream of Outreach reads."""
    fixed = {
        Kind.SEQUENCE: SEQUENCE_ATTRIBUTES,
        Kind.STEP: STEP_ATTRIBUTES,
        Kind.STATE: STATE_ATTRIBUTES,
        Kind.TASK: tasks.ATTRIBUTES,
    }
    return fixed[kind] if kind in fixed else mapping.prospect_attributes()


def relations(kind: Kind) -> tuple[str, ...]:
    """Return the to-one relations that a stream of Outreach reads."""
    return {Kind.STATE: STATE_RELATIONS, Kind.TASK: tasks.RELATIONS, Kind.STEP: ("sequence",)}.get(kind, ())


def columns(kind: Kind, mapping: Mapping, lacking: Collection[str] = ()) -> tuple[str, ...]:
    """Return the columns that a stream of the CRM reads: only the mapped ones, and of those only what the CRM has."""
    wanted = mapping.person_columns() if kind is Kind.PERSON else _task_columns(mapping)
    return (*ALWAYS, *(name for name in wanted if name not in lacking))


def seen(snapshot: Snapshot, mapping: Mapping) -> Seen:
    """Return a snapshot ready for the mirror."""
    kind = snapshot.ref.kind
    if kind is Kind.PERSON:
        told = {name: transforms.normal(mapping.compare_of(name), value) for name, value in _mapped(snapshot)}
        reference = _number(snapshot.fields.get(mapping.reference))
        return Seen(snapshot, _print(snapshot, told), transforms.addresses(snapshot, PERSON_ADDRESSES), reference)
    if kind is Kind.CRM_TASK:
        told = {name: transforms.normal(Compare.TEXT, snapshot.fields.get(name)) for name in _task_columns(mapping)}
        return Seen(snapshot, _print(snapshot, told), reference=_number(snapshot.fields.get(mapping.task.reference)))
    told = _normal(snapshot.fields)
    found = transforms.addresses(snapshot, ("emails",)) if kind is Kind.PROSPECT else frozenset()
    return Seen(snapshot, _print(snapshot, told), found)


def all_seen(snapshots: Iterable[Snapshot], mapping: Mapping) -> list[Seen]:
    """Return snapshots ready for the mirror."""
    return [seen(snapshot, mapping) for snapshot in snapshots]


def _task_columns(mapping: Mapping) -> tuple[str, ...]:
    return (*CRM_TASK_COLUMNS, mapping.task.reference)


def _mapped(snapshot: Snapshot) -> Iterable[tuple[str, Value]]:
    return ((name, value) for name, value in snapshot.fields.items() if name not in ALWAYS)


def _print(snapshot: Snapshot, told: dict[str, Value]) -> str:
    return records.fingerprint(told, {**snapshot.relations, "is_deleted": int(snapshot.deleted)})


def _normal(fields: Dict[str, Value]) -> dict[str, Value]:
    """Return Outreach's attributes as they are compared; in one go, for there are millions of them."""
    told: dict[str, Value] = {}
    for name, value in fields.items():
        if name.endswith("At"):
            if name != "updatedAt":
                told[name] = value or None  # a time, which has one spelling
        elif isinstance(value, str):
            told[name] = transforms.clean(value) or None
        elif isinstance(value, list) and name in _LISTS:
            told[name] = [transforms.normal(_LISTS[name], item) for item in value]  # type: ignore[misc]
        else:
            told[name] = value
    return told


def _number(value: Value) -> int | None:
    text = str(value or "").strip()
    return int(text) if text.isdecimal() and len(text) < 19 else None  # noqa: PLR2004 - what a 64-bit id can hold


def no_email(snapshot: Snapshot, mapping: Mapping) -> bool:
    """Tell whether a person's No Email is ticked."""
    line = mapping.field_of(Computed.OPTED_OUT)
    return bool(line and transforms.flag(snapshot.fields.get(line.crm)))


def wishes_for_outreach(person: Snapshot, mapping: Mapping) -> bool:
    """Tell whether somebody ticked that this person is to exist in Outreach."""
    line = mapping.field_of(Computed.SYNC_REQUEST)
    return bool(line and not person.deleted and transforms.flag(person.fields.get(line.crm)))
