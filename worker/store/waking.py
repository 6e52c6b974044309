"""Changes that wait for something else are made due once it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from worker.core.records import Kind
from worker.store import mirror
from worker.store.database import chunks
from worker.store.outbox import CHANGE, Standing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


def wake_tasks(db: sa.Connection, prospect_ids: Sequence[int], now: datetime) -> None:
    """Make due the tasks that wait for one of these prospects to have a person, told by themselves or by their state."""
    for part in chunks(list(prospect_ids)):
        _wake(db, Kind.TASK, CHANGE.c.record_id.in_(mirror.tasks_of(part)), now)


def wake_everything(db: sa.Connection, kind: Kind, now: datetime) -> None:
    """Make due whatever of a kind waits."""
    _wake(db, kind, sa.true(), now)


def _wake(db: sa.Connection, kind: Kind, which: sa.ColumnElement[bool], now: datetime) -> None:
    """Make due what waits, and keep from waiting what somebody is looking at just now."""
    waiting = CHANGE.c.state == Standing.WAITING
    found = sa.update(CHANGE).where(CHANGE.c.kind == kind, sa.or_(waiting, CHANGE.c.lease_until.is_not(None)), which)
    next_at = sa.case((waiting, sa.literal(now, CHANGE.c.next_at.type)), else_=CHANGE.c.next_at)
    state = sa.case((waiting, Standing.DUE.value), else_=CHANGE.c.state)
    db.execute(found.values(state=state, next_at=next_at, generation=CHANGE.c.generation + 1))


def wake_put_off(db: sa.Connection, now: datetime) -> int:
    """Make due whatever was put off to a later moment; return how many records that is."""
    later = sa.update(CHANGE).where(
        CHANGE.c.state == Standing.DUE, CHANGE.c.lease_until.is_(None), CHANGE.c.next_at > now
    )
    return int(db.execute(later.values(next_at=now)).rowcount)
