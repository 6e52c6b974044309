"""The mirror: the last seen copy of every record, with the addresses and references by which a record is found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from worker.core.records import Kind, Ref, Snapshot
from worker.store.database import among, chunks, upsert, upsert_columns
from worker.store.tables import AddressRow, MirrorRow, ReferenceRow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

MIRROR: sa.Table = MirrorRow.__table__  # type: ignore[attr-defined]
ADDRESS: sa.Table = AddressRow.__table__  # type: ignore[attr-defined]
REFERENCE: sa.Table = ReferenceRow.__table__  # type: ignore[attr-defined]

_COLUMNS = (
    *"fields relations fingerprint updated_at seen_at ours version deleted".split(),
    *"prospect_id sequence_id step_id state_id".split(),
)
_COMPARED = [MIRROR.c[name] for name in "id fingerprint version updated_at seen_at ours deleted".split()]
_RELATED = {
    "prospect": "prospect_id",
    "sequence": "sequence_id",
    "sequenceStep": "step_id",
    "sequenceState": "state_id",
}
SKEW = timedelta(minutes=2)
"""How far the vendor's clock may be ahead of ours."""
LATE = timedelta(minutes=15)
"""How long an older copy may still arrive: from a page asked for before, from a list that lags. After that what the vendor
shows is believed, whatever its date: its clock may have been set back."""

_json = msgspec.json.Encoder()
_moments = msgspec.json.Decoder(dict[str, datetime])
_KINDS = {kind.value: kind for kind in Kind}
"""Quicker than to ask the enumeration, of which there are many to be told."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One snapshot on its way into the mirror, with what it is compared and found by."""

    snapshot: Snapshot
    fingerprint: str
    addresses: frozenset[str] = frozenset()
    reference: int | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """A record whose values differ from what the mirror held; ``before`` is None when it is new."""

    before: Snapshot | None
    after: Snapshot


@dataclass(frozen=True, slots=True)
class Noted:
    """What differs from what the mirror held, and how many records were our own writes read back for the first time."""

    moved: list[Moved]
    echoes: int = 0


def save(
    db: sa.Connection, kind: Kind, seen: Sequence[Seen], *, now: datetime | None = None, ours: bool = False
) -> list[Moved]:
    """Bring the mirror up to date and return what changed in a mapped value, see :func:`note`."""
    return note(db, kind, seen, now=now, ours=ours).moved


def note(
    db: sa.Connection,
    kind: Kind,
    seen: Sequence[Seen],
    *,
    now: datetime | None = None,
    theirs: datetime | None = None,
    ours: bool = False,
) -> Noted:
    """Bring the mirror up to date and return what that brought. What is equal in all is not written.

    A copy that is older than the mirror's, read before our own write landed, is passed over; what answers a write of
    ``ours`` never is. Without ``now`` only versions tell which copy is the older. ``theirs`` is what the vendor's clock
    said when it showed this, ours where it is not known.
    """
    latest = {one.snapshot.ref.id: one for one in seen}
    held = sa.select(*_COMPARED).where(MIRROR.c.kind == kind, among(db, MIRROR.c.id, list(latest)))
    known = {row.id: row for row in db.execute(held)} if latest else {}
    moved: list[Seen] = []
    touched: list[Seen] = []
    echoes = 0
    for record_id, one in latest.items():
        row, snapshot = known.get(record_id), one.snapshot
        if row and _is_older(snapshot, row, None if ours else now, theirs):
            continue
        if not row or row.fingerprint != one.fingerprint or row.deleted != snapshot.deleted:
            moved.append(one)
        elif row.ours and not ours:
            echoes += 1
            touched.append(one)
        elif row.version != snapshot.version or row.updated_at != snapshot.updated_at:
            touched.append(one)
    before = load(db, kind, [one.snapshot.ref.id for one in moved if one.snapshot.ref.id in known])
    _write(db, kind, moved, [*_COLUMNS, "moved_at"], before=before, now=now, ours=ours)
    _write(db, kind, touched, _COLUMNS, now=now, ours=ours)
    _index(db, kind, moved)
    return Noted([Moved(before.get(one.snapshot.ref.id), one.snapshot) for one in moved], echoes)


def _is_older(snapshot: Snapshot, row: Any, now: datetime | None, theirs: datetime | None) -> bool:  # noqa: ANN401 - a row of the driver
    if snapshot.version is not None and row.version is not None:
        return bool(snapshot.version < row.version)
    if now is None or snapshot.updated_at is None or row.updated_at is None:
        return False
    # Outreach has no versions. A row dated in the vendor's future, whose clock may have been set back since, must not blind
    # us to what is edited today.
    lately = row.seen_at is None or now < row.seen_at + LATE
    return bool(lately and snapshot.updated_at < row.updated_at <= (theirs or now) + SKEW)


def _write(
    db: sa.Connection,
    kind: Kind,
    seen: Sequence[Seen],
    update: Sequence[str],
    *,
    before: Mapping[int, Snapshot] = MappingProxyType({}),
    now: datetime | None = None,
    ours: bool = False,
) -> None:
    """Write records, and of those the mirror holds what is to ``update``; a column at a time, for a page has a thousand."""
    if not seen:
        return
    ordered = sorted(seen, key=lambda one: one.snapshot.ref.id)
    all_of = [one.snapshot for one in ordered]
    columns: dict[str, list[Any]] = {
        "kind": [kind.value] * len(all_of),
        "id": [one.ref.id for one in all_of],
        "fields": [_json.encode(one.fields).decode() for one in all_of],
        "relations": [_json.encode(one.relations).decode() for one in all_of],
        "moved_at": [_moved_at(one, before.get(one.ref.id)) for one in all_of] if before else ["{}"] * len(all_of),
        "fingerprint": [one.fingerprint for one in ordered],
        "updated_at": [one.updated_at for one in all_of],
        "seen_at": [now] * len(all_of),
        "ours": [ours or None] * len(all_of),
        "version": [one.version for one in all_of],
        "deleted": [one.deleted for one in all_of],
    }
    related = {column: [one.relations.get(name) for one in all_of] for name, column in _RELATED.items()}
    upsert_columns(db, MIRROR, columns | related, key=("kind", "id"), update=update)


def _moved_at(snapshot: Snapshot, before: Snapshot | None) -> str:
    """Return when each attribute was last seen to change: now for those that differ, else as remembered."""
    if before is None:
        return "{}"
    told = dict(before.moved_at)
    if snapshot.updated_at is not None:
        moved = (name for name, value in snapshot.fields.items() if before.fields.get(name) != value)
        told.update(dict.fromkeys(moved, snapshot.updated_at))
    return _json.encode(told).decode()


def _index(db: sa.Connection, kind: Kind, moved: Sequence[Seen]) -> None:
    """Keep addresses and references in step with the records that changed."""
    if kind in {Kind.PROSPECT, Kind.PERSON}:
        _replace(db, ADDRESS, kind, {one.snapshot.ref.id: one.addresses for one in moved}, "address")
    if kind in {Kind.PERSON, Kind.CRM_TASK}:
        told = {one.snapshot.ref.id: {one.reference} if one.reference is not None else set() for one in moved}
        _replace(db, REFERENCE, kind, told, "outreach_id")


def _replace(
    db: sa.Connection, table: sa.Table, kind: Kind, values: Mapping[int, Collection[Any]], column: str
) -> None:
    for part in chunks(list(values)):
        db.execute(sa.delete(table).where(table.c.kind == kind, among(db, table.c.record_id, part)))
    rows = [
        {"kind": kind.value, "record_id": record_id, column: value}
        for record_id, told in values.items()
        for value in sorted(told)
    ]
    key = ("kind", "record_id", column) if column == "address" else ("kind", "record_id")
    upsert(db, table, rows, key=key, update=())


def load(db: sa.Connection, kind: Kind, ids: Iterable[int]) -> dict[int, Snapshot]:
    """Return the snapshots of those records that the mirror holds, tombstones included."""
    found: dict[int, Snapshot] = {}
    for part in chunks(sorted(set(ids))):
        rows = db.execute(sa.select(MIRROR).where(MIRROR.c.kind == kind, among(db, MIRROR.c.id, part)))
        found.update((row.id, _snapshot(row)) for row in rows)
    return found


def every(db: sa.Connection, kind: Kind) -> dict[int, Snapshot]:
    """Return all living records of a kind of which there are few, such as sequences."""
    rows = db.execute(sa.select(MIRROR).where(MIRROR.c.kind == kind, MIRROR.c.deleted == sa.false()))
    return {row.id: _snapshot(row) for row in rows}


def living(db: sa.Connection, kind: Kind) -> list[int]:
    """Return the ids of all living records of a kind, ascending."""
    query = sa.select(MIRROR.c.id).where(MIRROR.c.kind == kind, MIRROR.c.deleted == sa.false())
    return list(db.execute(query.order_by(MIRROR.c.id)).scalars())


def portions(db: sa.Connection, kind: Kind, *, size: int = 1000) -> Iterator[list[Snapshot]]:
    """Return all living records of a kind, ascending, a portion at a time."""
    after = 0
    while True:
        query = sa.select(MIRROR).where(MIRROR.c.kind == kind, MIRROR.c.id > after, MIRROR.c.deleted == sa.false())
        rows = list(db.execute(query.order_by(MIRROR.c.id).limit(size)))
        if not rows:
            return
        yield [_snapshot(row) for row in rows]
        after = rows[-1].id


def all_referred(db: sa.Connection, kind: Kind) -> set[int]:
    """Return every Outreach id that a CRM record of a kind carries."""
    return set(db.execute(sa.select(REFERENCE.c.outreach_id).where(REFERENCE.c.kind == kind)).scalars())


def related(
    db: sa.Connection, kind: Kind, relation: str, ids: Iterable[int], *, deleted: bool = False
) -> dict[int, list[Snapshot]]:
    """Return the living records of a kind by the id of what they belong to, such as all states of some prospects."""
    column = MIRROR.c[_RELATED[relation]]
    found: dict[int, list[Snapshot]] = {}
    for part in chunks(sorted(set(ids))):
        query = sa.select(MIRROR).where(MIRROR.c.kind == kind, among(db, column, part))
        if not deleted:
            query = query.where(MIRROR.c.deleted == sa.false())
        # Sorted here: asked for an order SQLite goes through every record of the kind, for that index has it.
        for row in sorted(db.execute(query), key=lambda row: row.id):
            found.setdefault(getattr(row, column.name), []).append(_snapshot(row))
    return found


def tasks_of(prospect_ids: Sequence[int]) -> sa.CompoundSelect[Any]:
    """Return a query of the tasks of some prospects, told by themselves or by their state.

    Two queries made one, for each has an index: with both as alternatives every task there is would be looked at.
    """
    of = sa.select(MIRROR.c.id).where(MIRROR.c.kind == Kind.TASK)
    states = sa.select(MIRROR.c.id).where(MIRROR.c.kind == Kind.STATE, MIRROR.c.prospect_id.in_(prospect_ids))
    return sa.union(of.where(MIRROR.c.prospect_id.in_(prospect_ids)), of.where(MIRROR.c.state_id.in_(states)))


def _snapshot(row: Any) -> Snapshot:  # noqa: ANN401 - a row of the driver
    return Snapshot(
        ref=Ref(_KINDS[row.kind], row.id),
        fields=msgspec.json.decode(row.fields),
        updated_at=row.updated_at,
        version=row.version,
        deleted=row.deleted,
        relations=msgspec.json.decode(row.relations),
        moved_at={} if row.moved_at == "{}" else _moments.decode(row.moved_at),
    )


def _told(table: sa.Table) -> sa.ColumnElement[str]:
    """Return the kind as no index has it: by that of kinds SQLite would go through every row of one, not the few asked for."""
    return table.c.kind.concat("")


def holders(db: sa.Connection, kind: Kind, addresses: Iterable[str]) -> dict[str, set[int]]:
    """Return which living records bear each of the addresses."""
    found: dict[str, set[int]] = {}
    for part in _parts(addresses):
        query = sa.select(ADDRESS.c.address, ADDRESS.c.record_id).join(
            MIRROR, sa.and_(MIRROR.c.kind == ADDRESS.c.kind, MIRROR.c.id == ADDRESS.c.record_id)
        )
        query = query.where(_told(ADDRESS) == kind, ADDRESS.c.address.in_(part), MIRROR.c.deleted == sa.false())
        for row in db.execute(query):
            found.setdefault(row.address, set()).add(row.record_id)
    return found


def referring(db: sa.Connection, kind: Kind, outreach_ids: Iterable[int]) -> dict[int, set[int]]:
    """Return which living CRM records carry a reference to each of the Outreach records."""
    found: dict[int, set[int]] = {}
    for part in chunks(sorted(set(outreach_ids))):
        query = sa.select(REFERENCE.c.outreach_id, REFERENCE.c.record_id).join(
            MIRROR, sa.and_(MIRROR.c.kind == REFERENCE.c.kind, MIRROR.c.id == REFERENCE.c.record_id)
        )
        query = query.where(_told(REFERENCE) == kind, REFERENCE.c.outreach_id.in_(part), MIRROR.c.deleted == sa.false())
        for row in db.execute(query):
            found.setdefault(row.outreach_id, set()).add(row.record_id)
    return found


def references(db: sa.Connection, kind: Kind, record_ids: Iterable[int]) -> dict[int, int]:
    """Return the Outreach id that each of the CRM records carries."""
    found: dict[int, int] = {}
    for part in chunks(sorted(set(record_ids))):
        query = sa.select(REFERENCE).where(REFERENCE.c.kind == kind, among(db, REFERENCE.c.record_id, part))
        found.update((row.record_id, row.outreach_id) for row in db.execute(query))
    return found


def extent(db: sa.Connection, kind: Kind, *, states: Collection[str] = ()) -> tuple[int, int]:
    """Return how many living records of a kind there are, those in some ``states`` if any are named, and the highest id."""
    query = sa.select(sa.func.count(), sa.func.max(MIRROR.c.id)).where(_living(db, kind, states))
    count, highest = db.execute(query).one()
    return int(count), int(highest or 0)


def ids_between(
    db: sa.Connection, kind: Kind, after: int, upto: int, *, limit: int, states: Collection[str] = ()
) -> list[int]:
    """Return the ids of the first ``limit`` living records of a stretch, ``upto`` included, in their order."""
    query = sa.select(MIRROR.c.id).where(_living(db, kind, states), MIRROR.c.id > after, MIRROR.c.id <= upto)
    return list(db.execute(query.order_by(MIRROR.c.id).limit(limit)).scalars())


def _living(db: sa.Connection, kind: Kind, states: Collection[str]) -> sa.ColumnElement[bool]:
    living = sa.and_(MIRROR.c.kind == kind, MIRROR.c.deleted == sa.false())
    if not states:
        return living
    if db.dialect.name == "sqlite":
        state: sa.ColumnElement[Any] = sa.func.json_extract(MIRROR.c.fields, "$.state")
    else:
        state = sa.cast(MIRROR.c.fields, postgresql.JSONB)["state"].astext
    return sa.and_(living, state.in_(sorted(states)))


def bury(db: sa.Connection, kind: Kind, ids: Iterable[int]) -> None:
    """Mark records as gone; one that was never seen becomes an empty tombstone, so that it is not asked for again."""
    blank = [Seen(Snapshot(Ref(kind, record_id), {}, deleted=True), "") for record_id in sorted(set(ids))]
    _write(db, kind, blank, ("deleted",))


def _parts(texts: Iterable[str]) -> Iterable[Sequence[str]]:
    ordered = sorted(set(texts))
    return (ordered[start : start + 500] for start in range(0, len(ordered), 500))
