"""Rounds: how far a slow walk through all records has come, and who is taking its next step just now."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from worker.store import clocks
from worker.store.database import upsert
from worker.store.tables import RoundRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

ROUND: sa.Table = RoundRow.__table__  # type: ignore[attr-defined]
LEASE = timedelta(seconds=15)
"""Short, so that a killed walker's round goes on soon; a live one renews it (``sync.case.kept_alive``)."""


@dataclass(frozen=True, slots=True)
class Round:
    """A leased round. ``place`` is the highest id it has come by, 0 before the first; ``told`` what it has counted so far.

    ``began_at`` is None until the first step is stored.
    """

    name: str
    fence: int
    place: int = 0
    began_at: datetime | None = None
    told: Mapping[str, Any] = field(default_factory=dict)


def lease(db: sa.Connection, name: str, now: datetime, *, early: bool = False) -> Round | None:
    """Take a round's lease; None while somebody else holds it, or while its next step is not due (unless ``early``)."""
    upsert(db, ROUND, [_blank(name)], key=("name",), update=())
    taken = sa.update(ROUND).where(ROUND.c.name == name, _free(now), sa.true() if early else _due(now))
    if not db.execute(taken.values(lease_until=now + LEASE, fence=ROUND.c.fence + 1)).rowcount:
        return None
    row = db.execute(sa.select(ROUND).where(ROUND.c.name == name)).one()
    return Round(name, row.fence, row.place_id, row.began_at, msgspec.json.decode(row.told))


def _blank(name: str) -> dict[str, Any]:
    return {"name": name, "place_id": 0, "fence": 0, "told": "{}", "last": "{}"}


def _free(now: datetime) -> sa.ColumnElement[bool]:
    return clocks.free(ROUND.c.lease_until, now, LEASE)


def _due(now: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(ROUND.c.next_at.is_(None), ROUND.c.next_at <= now)


def renew(db: sa.Connection, this: Round, now: datetime) -> None:
    """Keep the lease of a walker that is still alive."""
    mine = sa.and_(_mine(this), ROUND.c.lease_until.is_not(None))
    db.execute(sa.update(ROUND).where(mine).values(lease_until=now + LEASE))


def step(db: sa.Connection, this: Round, now: datetime, *, next_at: datetime) -> bool:
    """Store the round as it now stands with what its step found, and give the lease up.

    False if the lease was lost, and then what was found must not be kept.
    """
    values = {"place_id": this.place, "began_at": this.began_at or now, "told": _text(this.told)}
    return _store(db, this, {**values, "next_at": next_at, "lease_until": None})


def finish(db: sa.Connection, this: Round, now: datetime, *, next_at: datetime) -> bool:
    """Close a round that came to its end, and remember what it counted; False if the lease was lost."""
    last = {"began_at": (this.began_at or now).isoformat(), **this.told}
    values = {"place_id": 0, "began_at": None, "ended_at": now, "told": "{}", "last": _text(last)}
    return _store(db, this, {**values, "next_at": next_at, "lease_until": None})


def leave(db: sa.Connection, this: Round, *, next_at: datetime, trouble: str | None = None) -> None:
    """Give the lease up after a fault, which ``trouble`` tells; the round goes on from its last step."""
    told = {**this.told, "trouble": trouble} if trouble else this.told
    _store(db, this, {"told": _text(told), "next_at": next_at, "lease_until": None})


def note_due(db: sa.Connection, names: Sequence[str], now: datetime) -> None:
    """Let rounds of which nobody knows when they are due be due from now on."""
    upsert(db, ROUND, [_blank(name) for name in names], key=("name",), update=())
    unknown = sa.and_(ROUND.c.name.in_(names), ROUND.c.next_at.is_(None))
    db.execute(sa.update(ROUND).where(unknown).values(next_at=now))


def restart(db: sa.Connection, name: str, told: Mapping[str, Any] | None = None) -> None:
    """Let a round begin anew at once, with what it is ``told``; whoever is taking a step of it loses the lease."""
    upsert(db, ROUND, [_blank(name)], key=("name",), update=())
    fresh = {"place_id": 0, "began_at": None, "told": _text(told or {}), "next_at": None, "lease_until": None}
    db.execute(sa.update(ROUND).where(ROUND.c.name == name).values(**fresh, fence=ROUND.c.fence + 1))


def _store(db: sa.Connection, this: Round, values: Mapping[str, Any]) -> bool:
    return bool(db.execute(sa.update(ROUND).where(_mine(this)).values(**values)).rowcount)


def _mine(this: Round) -> sa.ColumnElement[bool]:
    return sa.and_(ROUND.c.name == this.name, ROUND.c.fence == this.fence)


def _text(told: Mapping[str, Any]) -> str:
    return msgspec.json.encode(told).decode()


@dataclass(frozen=True, slots=True)
class Standing:
    """How a round stands, for whoever looks on: the one under way, and what the last whole one counted."""

    name: str
    place: int
    began_at: datetime | None
    ended_at: datetime | None
    next_at: datetime | None
    told: Mapping[str, Any]
    last: Mapping[str, Any]


def standings(db: sa.Connection) -> list[Standing]:
    """Return how every round stands, by name."""
    return [
        Standing(
            name=row.name,
            place=row.place_id,
            began_at=row.began_at,
            ended_at=row.ended_at,
            next_at=row.next_at,
            told=msgspec.json.decode(row.told),
            last=msgspec.json.decode(row.last),
        )
        for row in db.execute(sa.select(ROUND).order_by(ROUND.c.name))
    ]
