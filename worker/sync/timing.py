"""When a stream is read next: what the store knows of it and of the webhooks, weighed by ``core.pacing``."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from worker.core import pacing
from worker.core.records import Kind
from worker.store import cursors, webhooks

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy as sa

    from worker.store.database import Store

BY_WEBHOOK = frozenset({Kind.PROSPECT, Kind.STATE, Kind.TASK, Kind.SEQUENCE})
"""Streams that webhooks tell of: Outreach has none for steps (facts, outreach-api 7.1), the CRM has none at all."""


def is_due(store: Store, stream: Kind, shortest_s: float, now: datetime) -> bool:
    """Tell whether a stream is to be read now. One that was left in the middle, or in trouble, is."""
    with store.read() as db:
        row = cursors.row_of(db, stream)
        if row is None or row.primed_at is None or row.trouble or row.run_began is not None or row.watermark is None:
            return True
        return pacing.is_due(_facts(db, row, shortest_s), now)


def plan_next(store: Store, stream: Kind, shortest_s: float, now: datetime) -> None:
    """Write down when a stream is likely read next, for whoever looks on; what happens meanwhile may bring that forward."""
    with store.write() as db:
        row = cursors.row_of(db, stream)
        if row is not None and row.polled_at is not None:
            cursors.plan_next(db, stream, row.polled_at + pacing.interval(_facts(db, row, shortest_s), now))


def _facts(db: sa.Connection, row: sa.Row, shortest_s: float) -> pacing.Facts:  # type: ignore[type-arg]
    pulse = webhooks.pulse(db) if Kind(row.stream) in BY_WEBHOOK else webhooks.NO_PULSE
    return pacing.Facts(
        shortest=timedelta(seconds=shortest_s),
        polled_at=row.polled_at,
        moved_at=row.moved_at or row.primed_at,
        late_at=row.late_at,
        arrived_at=pulse.arrived_at,
        waiting_since=pulse.waiting_since,
    )
