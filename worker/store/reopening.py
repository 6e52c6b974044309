"""Changes opened again because somebody asked for it: of some records, whatever became of them before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from worker.store import outbox
from worker.store.database import chunks
from worker.store.links import EXCLUSION
from worker.store.outbox import BATCH, CHANGE, Lane, Standing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from worker.core.records import Kind


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
