"""Sights: through which channel a change was seen first, counted by stream and day. That is how loss is measured."""

from __future__ import annotations

from datetime import UTC, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import sqlalchemy as sa

from worker.store.database import accumulate
from worker.store.tables import SightRow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from worker.core.records import Kind

SIGHT: sa.Table = SightRow.__table__  # type: ignore[attr-defined]
KEPT = timedelta(days=400)


class Channel(StrEnum):
    """How a change comes to be seen."""

    WEBHOOK = "webhook"
    POLL = "poll"
    EVENTS = "events"
    SWEEP = "sweep"
    RECONCILE = "reconcile"


SECOND_NET = (Channel.SWEEP, Channel.RECONCILE)
"""What these show first, all others have missed: counted only of records that every poll had come by (status: caught only by
the sweep). It should read 0."""


def count(db: sa.Connection, stream: Kind, channel: Channel, records: int, now: datetime) -> None:
    """Add changes that this channel was the first to show; nought costs nothing."""
    if not records:
        return
    row = {"stream": stream.value, "channel": channel.value, "day": day(now), "records": records}
    accumulate(db, SIGHT, [row], key=("stream", "channel", "day"), total="records")


def told(db: sa.Connection, since: datetime) -> dict[tuple[str, str], int]:
    """Return the counts by stream and channel of the days from that of ``since`` on."""
    total = sa.func.sum(SIGHT.c.records).label("total")
    query = sa.select(SIGHT.c.stream, SIGHT.c.channel, total).where(SIGHT.c.day >= day(since))
    rows = db.execute(query.group_by(SIGHT.c.stream, SIGHT.c.channel))
    return {(row.stream, row.channel): int(row.total) for row in rows}


def missed(seen: Mapping[tuple[str, str], int]) -> int:
    """Return how many of the changes that were ``told`` only the second net has caught, the sweep or the comparison."""
    return sum(records for (_, channel), records in seen.items() if channel in SECOND_NET)


def clean(db: sa.Connection, now: datetime) -> None:
    """Drop the counts of long ago."""
    db.execute(sa.delete(SIGHT).where(SIGHT.c.day < now - KEPT))


def day(at: datetime) -> datetime:
    """Return the beginning of the day of a moment, by UTC."""
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
