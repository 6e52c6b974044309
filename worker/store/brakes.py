"""What counts towards the brakes: how many records a kind of write has touched within a day, and what was approved."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from worker.store.database import upsert
from worker.store.tables import BrakeRow

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

BRAKE: sa.Table = BrakeRow.__table__  # type: ignore[attr-defined]
WINDOW = timedelta(hours=24)
APPROVAL = 0
THROUGH = "first pass through"
"""The fact that tells when everything had been read and written once: what counts as new counts from then on."""


def note(db: sa.Connection, key: str, record_ids: Iterable[int], now: datetime) -> None:
    """Count records towards a brake; one that is counted already keeps its time."""
    rows = [{"key": key, "record_id": one, "at": now} for one in sorted(set(record_ids))]
    upsert(db, BRAKE, rows, key=("key", "record_id"), update=())


def count(db: sa.Connection, key: str, now: datetime, *, beside: Iterable[int] = ()) -> int:
    """Return how many records count towards a brake now, those ``beside`` the ones counted already included."""
    fresh = BRAKE.c.at > now - WINDOW
    query = sa.select(BRAKE.c.record_id).where(BRAKE.c.key == key, BRAKE.c.record_id != APPROVAL, fresh)
    return len({row.record_id for row in db.execute(query)} | set(beside))


def is_off(db: sa.Connection, key: str, now: datetime) -> bool:
    """Tell whether somebody approved what this brake held within the last day: it then holds nothing."""
    query = sa.select(BRAKE.c.at).where(BRAKE.c.key == key, BRAKE.c.record_id == APPROVAL, BRAKE.c.at > now - WINDOW)
    return db.execute(query).first() is not None


def approve(db: sa.Connection, key: str, now: datetime) -> list[int]:
    """Take a brake off for a day and return the records that counted towards it."""
    upsert(db, BRAKE, [{"key": key, "record_id": APPROVAL, "at": now}], key=("key", "record_id"), update=("at",))
    rows = db.execute(sa.select(BRAKE.c.record_id).where(BRAKE.c.key == key, BRAKE.c.record_id != APPROVAL))
    return [row.record_id for row in rows]


def noted(db: sa.Connection, key: str) -> list[int]:
    """Return the records that count towards a brake, or once did."""
    query = sa.select(BRAKE.c.record_id).where(BRAKE.c.key == key, BRAKE.c.record_id != APPROVAL)
    return list(db.execute(query.order_by(BRAKE.c.record_id)).scalars())


def forget(db: sa.Connection, key: str) -> None:
    """Let no record count towards a brake any more; an approval stands."""
    db.execute(sa.delete(BRAKE).where(BRAKE.c.key == key, BRAKE.c.record_id != APPROVAL))


def prune(db: sa.Connection, now: datetime) -> None:
    """Forget what no longer counts."""
    db.execute(sa.delete(BRAKE).where(BRAKE.c.at <= now - WINDOW))
