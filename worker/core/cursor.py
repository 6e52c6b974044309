"""How far a stream has been read: where a run begins, where its watermark goes. Times are the server's own."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

OVERLAP = timedelta(seconds=90)
LONG_OVERLAP = timedelta(minutes=10)
SHORT_OVERLAP = timedelta(seconds=45)
"""Every second run of a crowded stream begins so long before the end of the last one, by the server's time."""
EVERY_SECOND, EVERY_TENTH = 2, 10
A_DAY = timedelta(days=1)
SAFETY = timedelta(seconds=60)
"""A record saved just now may carry a time that lies behind one we have already seen (facts, delivery B.4)."""


def begin(watermark: datetime | None, polls: int) -> datetime | None:
    """Return the time from which a run reads, inclusive; None reads everything. Every tenth poll looks back further."""
    if watermark is None:
        return None
    return watermark - (LONG_OVERLAP if _is_long(polls) else OVERLAP)


def begin_crowded(watermark: datetime, polls: int, short_from: datetime | None) -> datetime:
    """Return the same for a stream whose overlap takes a page of its own: every second run makes do with a short one.

    ``short_from`` is the watermark that the last short run had. The run after it makes up for it, however long it waited:
    what became visible less than :data:`OVERLAP` late is found by one of the two.
    """
    if is_short(polls):
        return watermark + SAFETY - SHORT_OVERLAP
    full = watermark - (LONG_OVERLAP if _is_long(polls) else OVERLAP)
    return full if short_from is None else min(full, short_from + SAFETY - OVERLAP)


def is_short(polls: int) -> bool:
    """Tell whether this run of a crowded stream makes do with a short overlap."""
    return polls % EVERY_SECOND == 0


def judges(polls: int) -> bool:
    """Tell whether this run shows if the overlap is crowded: one that is never short, nor looks back further."""
    return not is_short(polls) and not _is_long(polls)


def _is_long(polls: int) -> bool:
    return polls % EVERY_TENTH == EVERY_TENTH - 1


def advance(watermark: datetime | None, newest_seen: datetime | None, server_time: datetime) -> datetime | None:
    """Return the watermark after a run that was read to its end.

    It never passes the server's own time less the safety margin, so that a record dated 2099 cannot blind the stream. It
    goes back only with the server's clock: what is edited now is dated by that. By a day at most, for an answer may lie.
    """
    if watermark is not None and server_time < watermark:
        return max(server_time - SAFETY, watermark - A_DAY)
    if newest_seen is None:
        return watermark
    moved = min(newest_seen, server_time - SAFETY)
    return moved if watermark is None else max(watermark, moved)
