"""Changes opened again because somebody asked for it: of some records, whatever became of them before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from worker.store import outbox
from worker.store.database import chunks
from worker.store.links import EXCLUSION
from worker.store.outbox import BATCH, CHANGE, Lane, Standing
from worker.store.tables import ForgottenRow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from worker.core.records import Kind
    from worker.store.links import Name

FORGOTTEN: sa.Table = ForgottenRow.__table__  # type: ignore[attr-defined]


def reopen(db: sa.Connection, kind: Kind, ids: Collection[int], now: datetime) -> int:
    """Make records due as if nothing had been tried yet, one row each; return how many. Many stand behind single edits.

    One that somebody is working on just now is looked at again right after.
    """
    lane = Lane.EDIT if len(ids) <= BATCH else Lane.BULK
    count = outbox.open_changes(db, kind, ids, lane=lane, now=now)
    fresh = {"attempts": 0, "error": None, "failed_at": None, "next_at": now}
    for part in chunks(sorted(ids)):
        mine = sa.and_(CHANGE.c.kind == kind, CHANGE.c.record_id.in_(part), CHANGE.c.lease_until.is_(None))
        db.execute(sa.update(CHANGE).where(mine).values(**fresh))
    return count


def held(db: sa.Connection, kind: Kind, ids: Iterable[int]) -> dict[int, str]:
    """Return which of the records wait for a person, and for what."""
    found: dict[int, str] = {}
    for part in chunks(sorted(set(ids))):
        query = sa.select(CHANGE.c.record_id, CHANGE.c.error).where(
            CHANGE.c.kind == kind, CHANGE.c.record_id.in_(part), CHANGE.c.state == Standing.HELD
        )
        found.update((row.record_id, row.error or "") for row in db.execute(query))
    return found


def excluded(db: sa.Connection, kind: Kind, ids: Iterable[int]) -> dict[int, str]:
    """Return which of the records the mapping leaves out, and why; not those that are to be looked at again anyway."""
    opened = sa.select(CHANGE.c.id).where(CHANGE.c.kind == kind, CHANGE.c.record_id == EXCLUSION.c.record_id)
    found: dict[int, str] = {}
    for part in chunks(sorted(set(ids))):
        query = sa.select(EXCLUSION.c.record_id, EXCLUSION.c.reason).where(
            EXCLUSION.c.kind == kind, EXCLUSION.c.record_id.in_(part), sa.not_(opened.exists())
        )
        found.update((row.record_id, row.reason) for row in db.execute(query))
    return found


def forgotten(db: sa.Connection, names: Iterable[Name]) -> set[Name]:
    """Return under which of the names somebody was erased here."""
    wanted = sorted(set(names), key=lambda name: (name.kind, name.key))
    found: set[Name] = set()
    for start in range(0, len(wanted), outbox.BATCH):
        part = wanted[start : start + outbox.BATCH]
        pairs = sa.tuple_(FORGOTTEN.c.key_kind, FORGOTTEN.c.key).in_([(name.kind, name.key) for name in part])
        known = {(row.key_kind, row.key) for row in db.execute(sa.select(FORGOTTEN).where(pairs))}
        found.update(name for name in part if (name.kind, name.key) in known)
    return found
