"""What the mapping names and the CRM lacks: found at start, hourly and at the first refusal; one entry a field.

It is no record's fault: the writing of that field stops for everybody, the rest flows, and everyone follows by themselves once
it is mended.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from worker.core import errors, transforms
from worker.core.mapping import Computed
from worker.core.records import Kind
from worker.store import meta, outbox, waking
from worker.sync import streams

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Mapping as Dict

    import sqlalchemy as sa

    from worker.core.mapping import Mapping
    from worker.remote.workbooks import FieldInfo, Workbooks
    from worker.store.database import Store

KINDS = (Kind.PERSON, Kind.CRM_TASK)
FIELD, LABEL, DENIED = "field", "label", "denied"
SEEN = 20
"""People read to learn which columns there are."""
FRESH = timedelta(hours=1)
"""How long it is believed that the CRM has every field and label, while nothing is to be written and nothing is refused."""
_COMPLETE = "fields_complete"


@dataclass(frozen=True, slots=True)
class Lack:
    """One field that cannot be written: ``what`` is FIELD if the CRM has no such field, LABEL if its picklist lacks one.

    DENIED: it is there, and the CRM takes no value of ours for it (``sync.denied``).
    """

    field: str
    what: str
    words: str

    @property
    def key(self) -> str:
        """The key of its entry."""
        return f"{self.what}:{self.field}"


def lacking(db: sa.Connection) -> frozenset[str]:
    """Return the fields that the CRM lacks: they are neither read nor written."""
    return frozenset(row.key.partition(":")[2] for row in outbox.holds(db, FIELD))


def unwritable(db: sa.Connection) -> frozenset[str]:
    """Return the fields that cannot be written: those that the CRM lacks, or lacks a label of, or takes of nobody."""
    return lacking(db) | unlabelled(db)


def unlabelled(db: sa.Connection) -> frozenset[str]:
    """Return the fields of which the CRM lacks a label, or which it takes of nobody: they are read, and not written."""
    return frozenset(row.key.partition(":")[2] for kind in (LABEL, DENIED) for row in outbox.holds(db, kind))


def are_known(db: sa.Connection, mapping: Mapping, now: datetime) -> bool:
    """Tell whether anybody has asked within the last hour, and the CRM had all that this mapping names."""
    version, _, told = (meta.get(db, _COMPLETE) or "").partition(" ")
    return version == mapping.version and timedelta(0) <= now - datetime.fromisoformat(told) < FRESH


def check(*, store: Store, crm: Workbooks, mapping: Mapping, now: datetime, refused: str | None = None) -> list[Lack]:
    """Compare the mapping with the CRM's metadata and keep the entries in step; return what is lacking.

    Where the CRM does not show its metadata, people are read instead: a column that they leave out is a field it lacks. A
    label of ours that was ``refused``, and whose list it does not show, is one it lacks, until the next look is taken
    without a refusal at hand: then it is tried once more.
    """
    lacks, unread = find(crm, mapping)
    if refused in unread:
        lacks.append(
            Lack(refused, LABEL, f"the CRM takes not every label of '{refused}', and does not show its picklist")
        )
    with store.write() as db:
        known = {row.key for kind in (FIELD, LABEL) for row in outbox.holds(db, kind)}
        known |= {row.key for row in outbox.holds(db, DENIED) if now - row.since >= FRESH}  # tried once more
        for lack in lacks:
            outbox.post_hold(db, key=lack.key, kind=lack.what, words=lack.words, now=now)
        if lacks:
            meta.forget(db, _COMPLETE)
        else:
            meta.replace(db, _COMPLETE, f"{mapping.version} {now.isoformat()}")
        doubtful = set() if refused is None else {f"{LABEL}:{name}" for name in unread}
        mended = known - {lack.key for lack in lacks} - doubtful
        if mended:
            outbox.lift(db, mended, now)
            outbox.open_all(db, Kind.PROSPECT, now=now)
            waking.wake_everything(db, Kind.TASK, now)
    return lacks


def post(store: Store, lack: Lack, now: datetime) -> None:
    """Stop the writing of one field from now on."""
    with store.write() as db:
        outbox.post_hold(db, key=lack.key, kind=lack.what, words=lack.words, now=now)


def find(crm: Workbooks, mapping: Mapping) -> tuple[list[Lack], frozenset[str]]:
    """Return what of the mapping the CRM lacks, by its metadata, and the fields of whose labels it tells nothing."""
    unread = {name for kind in KINDS for name, _ in _labelled(kind, mapping)}
    metadata = crm.metadata(KINDS)
    if metadata is None or not metadata.get(Kind.PERSON):
        return list(_unshown(crm, mapping)), frozenset(unread)
    lacks: list[Lack] = []
    for kind in KINDS:
        known = metadata.get(kind)
        if known:
            lacks += _missing(kind, known, mapping)
            lacks += _unlabelled(kind, known, mapping, crm, unread)
    return lacks, frozenset(unread)


def wanted(kind: Kind, mapping: Mapping) -> tuple[str, ...]:
    """Return the fields of one kind of CRM record that the mapping writes."""
    if kind is Kind.PERSON:
        asked = mapping.actions.columns if mapping.actions else ()
        return (*(line.crm for line in mapping.fields), *asked)
    return (mapping.task.reference,)


def _missing(kind: Kind, known: Dict[str, FieldInfo], mapping: Mapping) -> Iterator[Lack]:
    for name in wanted(kind, mapping):
        # Fields of an association, such as main_location[email], are told by the association's own type, if at all.
        if name not in known and "[" not in name:
            near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.8)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            what = "people" if kind is Kind.PERSON else "tasks"
            yield Lack(name, FIELD, f"the CRM has no field '{name}' on {what}{hint}")


def _unlabelled(
    kind: Kind, known: Dict[str, FieldInfo], mapping: Mapping, crm: Workbooks, unread: set[str]
) -> Iterator[Lack]:
    """Yield the fields whose picklists lack a label, and take those that could be read off the ``unread``."""
    for name, labels in _labelled(kind, mapping):
        info = known.get(name)
        if info is None or info.picklist_id is None or info.unrestricted:
            continue
        offered = crm.picklist(info.picklist_id)
        if not offered:
            continue  # an empty list is more likely one that we may not read than one that takes nothing
        unread.discard(name)
        absent = [label for label in labels if label not in offered]
        if absent:
            yield Lack(name, LABEL, "; ".join(_words(label, info.title or name, offered) for label in absent))


def _labelled(kind: Kind, mapping: Mapping) -> Iterator[tuple[str, Sequence[str]]]:
    line = mapping.field_of(Computed.SEQUENCE_STATE)
    if kind is Kind.PERSON and line:
        yield line.crm, tuple(mapping.labels.values())
    if kind is Kind.PERSON and mapping.actions:
        yield mapping.actions.action, tuple(mapping.actions.words.values())
    if kind is Kind.CRM_TASK:
        yield "activity_status", (mapping.task.status,)


def _words(label: str, title: str, offered: Sequence[str]) -> str:
    near = difflib.get_close_matches(label, list(offered), n=1, cutoff=0.5)
    return f"'{label}' is not in {title}" + (f"; did you mean '{near[0]}'?" if near else "")


def _unshown(crm: Workbooks, mapping: Mapping) -> Iterator[Lack]:
    for kind in KINDS:
        columns = streams.columns(kind, mapping)
        try:
            page = crm.page(kind, columns=columns, filters=[], sort=("id",), limit=SEEN)
        except errors.RecordFault:
            continue
        shown = {name for one in page.snapshots for name in one.fields}
        # Of rows that leave out whatever is blank nothing can be learnt.
        blanks = any(transforms.is_blank(value) for one in page.snapshots for value in one.fields.values())
        absent = [name for name in wanted(kind, mapping) if name not in shown] if blanks else []
        yield from (Lack(name, FIELD, f"the CRM shows no field '{name}'") for name in absent)
