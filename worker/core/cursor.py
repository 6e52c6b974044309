"""How far a stream has been read: where a run begins, where its watermark goes. Times are the server's own."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

OVERLAP = timedelta(seconds=90)
LONG_OVERLAP = timedelta(minutes=10)
EVERY_TENTH = 10
SAFETY = timedelta(seconds=60)
"""A record saved just now may carry a time that lies behind one we have already seen (facts, delivery B.4)."""


def begin(watermark: datetime | None, polls: int) -> datetime | None:
    """Return the time from which a run reads, inclusive; None reads everything. Every tenth poll looks back further."""
    if watermark is None:
        return None
    return watermark - (LONG_OVERLAP if polls % EVERY_TENTH == EVERY_TENTH - 1 else OVERLAP)


def advance(watermark: datetime | None, newest_seen: datetime | None, server_time: datetime) -> datetime | None:
    """Return the watermark after a run that was read to its end.

    It never passes the server's own time less the safety margin, so that a record dated 2099 cannot blind the stream,
    and never goes back.
    """
    if newest_seen is None:
        return watermark
    moved = min(newest_seen, server_time - SAFETY)
    return moved if watermark is None else max(watermark, moved)
