"""The backlog: how the outbox stands, for reports, for the sweep and for whoever looks on."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from worker.core.records import Kind, Ref
from worker.store.database import CHUNK, chunks
from worker.store.outbox import CHANGE, HOLD, Lane, Standing, free

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Counts:
    """How the outbox stands. ``due`` can be claimed now, ``leased`` is being worked on, ``deferred`` waits for its time."""

    due: int = 0
    leased: int = 0
    deferred: int = 0
    dead: int = 0
    holds: int = 0
    kept: int = 0
    kept_opt_outs: int = 0
    next_at: datetime | None = None

    @property
    def open(self) -> int:
        """What still has to happen by itself, or failed to."""
        return self.due + self.leased + self.deferred + self.dead


def count(db: sa.Connection, now: datetime, *, among: Mapping[Kind, Sequence[int]] | None = None) -> Counts:
    """Return how the outbox stands, with ``among`` only that of some records: theirs, and what concerns everybody."""
    if among is None:
        every = sa.select(sa.func.count()).select_from(HOLD)
        return _count(db, now, sa.true(), int(db.execute(every).scalar_one()))
    told, keys = Counts(), set(db.execute(_of_everybody()).scalars())
    for kind, ids in among.items():
        for part in chunks(sorted(set(ids))):
            mine = sa.and_(CHANGE.c.kind == kind, CHANGE.c.record_id.in_(part))
            held = sa.select(CHANGE.c.hold_key).where(mine, CHANGE.c.state == Standing.HELD)
            keys.update(db.execute(held.distinct()).scalars())
            told = _added(told, _count(db, now, mine, 0))
    return replace(told, holds=len(keys))


def _of_everybody() -> sa.Select[Any]:
    """Return the entries on which no single record hangs, such as a field that the CRM lacks."""
    hanging = sa.select(CHANGE.c.id).where(CHANGE.c.hold_key == HOLD.c.key)
    return sa.select(HOLD.c.key).where(sa.not_(hanging.exists()))


def _added(one: Counts, other: Counts) -> Counts:
    names = [part.name for part in fields(Counts) if part.name != "next_at"]
    moments = [at for at in (one.next_at, other.next_at) if at is not None]
    told = {name: getattr(one, name) + getattr(other, name) for name in names}
    return Counts(**told, next_at=min(moments, default=None))


def _count(db: sa.Connection, now: datetime, which: sa.ColumnElement[bool], held: int) -> Counts:
    due = CHANGE.c.state == Standing.DUE
    leased = sa.and_(due, CHANGE.c.lease_until.is_not(None), CHANGE.c.lease_until >= now)
    later = sa.and_(due, CHANGE.c.next_at > now, sa.not_(leased))
    kept = CHANGE.c.state == Standing.KEPT
    told = {
        "leased": sa.func.sum(sa.case((leased, 1), else_=0)),
        "deferred": sa.func.sum(sa.case((later, 1), else_=0)),
        "all_due": sa.func.sum(sa.case((due, 1), else_=0)),
        "dead": sa.func.sum(sa.case((CHANGE.c.state == Standing.DEAD, 1), else_=0)),
        "kept": sa.func.sum(sa.case((kept, 1), else_=0)),
        "kept_opt_outs": sa.func.sum(sa.case((sa.and_(kept, CHANGE.c.lane == Lane.OPT_OUT), 1), else_=0)),
        "next_at": sa.func.min(sa.case((due, CHANGE.c.next_at))),
    }
    row = db.execute(sa.select(*(expression.label(name) for name, expression in told.items())).where(which)).one()
    leased_n, deferred = int(row.leased or 0), int(row.deferred or 0)
    return Counts(
        due=int(row.all_due or 0) - leased_n - deferred,
        leased=leased_n,
        deferred=deferred,
        dead=int(row.dead or 0),
        holds=held,
        kept=int(row.kept or 0),
        kept_opt_outs=int(row.kept_opt_outs or 0),
        next_at=row.next_at,
    )


def dead_letters(db: sa.Connection) -> list[tuple[str, int]]:
    """Return the causes of dead letters, each with how many records failed of it, the most first."""
    query = sa.select(CHANGE.c.error, sa.func.count().label("records")).where(CHANGE.c.state == Standing.DEAD)
    rows = db.execute(query.group_by(CHANGE.c.error).order_by(sa.func.count().desc(), CHANGE.c.error))
    return [(str(row.error), row.records) for row in rows]


def put_off(db: sa.Connection) -> list[tuple[str, int]]:
    """Return why changes wait for their next try, each with how many do."""
    query = sa.select(CHANGE.c.error, sa.func.count().label("records")).where(
        CHANGE.c.state == Standing.DUE, CHANGE.c.error.is_not(None)
    )
    return [
        (str(row.error), row.records) for row in db.execute(query.group_by(CHANGE.c.error).order_by(CHANGE.c.error))
    ]


def waiting_ids(db: sa.Connection, kind: Kind) -> list[int]:
    """Return the ids of records that are to be seen to by themselves: now, later, or once nothing holds them back."""
    waiting = (Standing.DUE.value, Standing.KEPT.value)
    query = sa.select(CHANGE.c.record_id).where(CHANGE.c.kind == kind, CHANGE.c.state.in_(waiting))
    return list(db.execute(query.order_by(CHANGE.c.record_id)).scalars())


def stranded_ids(db: sa.Connection, kind: Kind) -> list[int]:
    """Return the ids of records that wait for another one to be there first."""
    query = sa.select(CHANGE.c.record_id).where(CHANGE.c.kind == kind, CHANGE.c.state == Standing.WAITING)
    return list(db.execute(query.order_by(CHANGE.c.record_id)).scalars())


def due_ids(db: sa.Connection, kind: Kind, now: datetime) -> list[int]:
    """Return the ids of records whose change could be claimed now."""
    query = sa.select(CHANGE.c.record_id).where(CHANGE.c.kind == kind, CHANGE.c.state == Standing.DUE)
    return [row.record_id for row in db.execute(query.where(CHANGE.c.next_at <= now).order_by(CHANGE.c.id))]


def leased(db: sa.Connection, kind: Kind, ids: Iterable[int], now: datetime) -> set[int]:
    """Return which records somebody is working on just now, and keep the rows of the others as they are for the moment."""
    found: set[int] = set()
    for part in chunks(sorted(set(ids))):
        query = sa.select(CHANGE.c.record_id, CHANGE.c.lease_until).where(
            CHANGE.c.kind == kind, CHANGE.c.record_id.in_(part)
        )
        rows = db.execute(query.with_for_update())
        found.update(row.record_id for row in rows if row.lease_until is not None and row.lease_until >= now)
    return found


def told(db: sa.Connection, kind: Kind, ids: Iterable[int]) -> dict[int, tuple[Standing, str | None]]:
    """Return where the open changes of some records stand, and why."""
    found: dict[int, tuple[Standing, str | None]] = {}
    for part in chunks(sorted(set(ids))):
        query = sa.select(CHANGE).where(CHANGE.c.kind == kind, CHANGE.c.record_id.in_(part))
        found.update((row.record_id, (Standing(row.state), row.error)) for row in db.execute(query))
    return found


def claimable(db: sa.Connection, now: datetime) -> dict[Lane, int]:
    """Return how many changes could be claimed now, by lane."""
    query = sa.select(CHANGE.c.lane, sa.func.count().label("rows")).where(
        CHANGE.c.state == Standing.DUE, CHANGE.c.next_at <= now, free(now)
    )
    return {Lane(row.lane): row.rows for row in db.execute(query.group_by(CHANGE.c.lane))}


def lanes_due(db: sa.Connection, now: datetime) -> set[Lane]:
    """Return the lanes in which anything is due, claimed or not: found by the index, however much that is."""
    due = sa.and_(CHANGE.c.state == Standing.DUE, CHANGE.c.kind.in_(list(Kind)), CHANGE.c.next_at <= now)
    query = sa.select(*(sa.exists().where(due, CHANGE.c.lane == int(lane)) for lane in Lane))
    return {lane for lane, any_due in zip(Lane, db.execute(query).one(), strict=True) if any_due}


def unsettled_ids(db: sa.Connection, kind: Kind) -> list[int]:
    """Return the records of a kind that still wait to be seen to, held ones too, dead letters not."""
    waiting = (Standing.DUE.value, Standing.HELD.value)
    query = sa.select(CHANGE.c.record_id).where(CHANGE.c.kind == kind, CHANGE.c.state.in_(waiting))
    return [row.record_id for row in db.execute(query)]


def hanging(db: sa.Connection, keys: Iterable[str]) -> dict[str, list[Ref]]:
    """Return by the key of an entry which records hang on it."""
    wanted = sorted(set(keys))
    found: dict[str, list[Ref]] = {}
    for start in range(0, len(wanted), CHUNK):
        query = sa.select(CHANGE.c.hold_key, CHANGE.c.kind, CHANGE.c.record_id).where(
            CHANGE.c.hold_key.in_(wanted[start : start + CHUNK])
        )
        for row in db.execute(query):
            found.setdefault(row.hold_key, []).append(Ref(Kind(row.kind), row.record_id))
    return found
