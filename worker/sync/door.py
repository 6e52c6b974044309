"""The door of the store: what a vendor tells of somebody who was forgotten is dropped here, whichever way it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core import transforms
from worker.core.mapping import PERSON_ADDRESSES
from worker.core.records import Kind
from worker.core.tasks import CONTACT
from worker.store import forgotten
from worker.store.forgotten import Circle
from worker.sync import streams

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from worker.core.mapping import Mapping
    from worker.core.records import Snapshot
    from worker.store.links import Name, Names

_OF_SOMEBODY = frozenset({Kind.PROSPECT, Kind.PERSON, Kind.STATE, Kind.TASK, Kind.CRM_TASK})


def admitted(
    db: sa.Connection, kind: Kind, snapshots: Sequence[Snapshot], *, mapping: Mapping, names: Names, now: datetime
) -> Sequence[Snapshot]:
    """Return the snapshots that are of nobody who was forgotten; one query for a page, none of it while nobody was.

    A record that is known by its address or its reference alone is forgotten under its id, too, with what was kept of it: its
    sequence states and tasks name nothing else.
    """
    if kind not in _OF_SOMEBODY or not snapshots:
        return snapshots
    forgotten.guard(db)
    if not forgotten.anybody(db):
        return snapshots
    called = [_names(one, mapping, names) for one in snapshots]
    known = forgotten.since(db, {name for told in called for name in told}, names)
    if not known:
        return snapshots
    whose = [any(name in known for name in told) for told in called]
    _learn(db, [one for one, gone in zip(snapshots, whose, strict=True) if gone], set(known), names=names, now=now)
    return [one for one, gone in zip(snapshots, whose, strict=True) if not gone]


def strangers(db: sa.Connection, kind: Kind, ids: Iterable[int], names: Names) -> set[int]:
    """Return the prospects or people among these ids who were not forgotten; all ids of any other kind."""
    wanted = set(ids)
    if kind not in {Kind.PROSPECT, Kind.PERSON} or not wanted or not forgotten.anybody(db):
        return wanted
    called = {_called(kind, one, names): one for one in wanted}
    return wanted - {called[name] for name in forgotten.since(db, called, names)}


def _called(kind: Kind, record_id: int, names: Names) -> Name:
    prospect, person = (record_id, None) if kind is Kind.PROSPECT else (None, record_id)
    return names.of(prospect=prospect, person=person, addresses=())[0]


def _names(one: Snapshot, mapping: Mapping, names: Names) -> list[Name]:
    kind = one.ref.kind
    if kind is Kind.PROSPECT:
        return names.of(prospect=one.ref.id, person=None, addresses=_addresses(one))
    if kind is Kind.PERSON:
        reference = streams.seen(one, mapping).reference
        return names.of(prospect=reference, person=one.ref.id, addresses=_addresses(one))
    if kind is Kind.CRM_TASK:
        contact = str(one.fields.get(CONTACT) or "")
        return names.of(prospect=None, person=int(contact) if contact.isdecimal() else None, addresses=())
    return names.of(prospect=one.relations.get("prospect"), person=None, addresses=())


def _addresses(one: Snapshot) -> frozenset[str]:
    return transforms.addresses(one, ("emails",) if one.ref.kind is Kind.PROSPECT else PERSON_ADDRESSES)


def _learn(db: sa.Connection, dropped: Sequence[Snapshot], known: set[Name], *, names: Names, now: datetime) -> None:
    new = Circle()
    for one in dropped:
        kind, number = one.ref.kind, one.ref.id
        if kind in {Kind.PROSPECT, Kind.PERSON} and _called(kind, number, names) not in known:
            ids = frozenset({number})
            addresses = _addresses(one)
            new |= (
                Circle(ids, addresses=addresses) if kind is Kind.PROSPECT else Circle(people=ids, addresses=addresses)
            )
    if new != Circle():
        new = forgotten.circle(db, new)
        forgotten.remember(db, new, names, now)
        forgotten.erase(db, new)
