"""Where a run begins: a stream whose overlap takes a page of its own reads all of it again every second time only.

Everywhere else the overlap comes with the page that is asked for anyway. Nothing is passed over: what shows later than the
short overlap reaches back is found one run later, and what the overlap brings news of is read in full again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core import cursor, transforms
from worker.core.records import Kind, System
from worker.store import meta

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy as sa

    from worker.store.cursors import Reading
    from worker.store.database import Store

WHOLE = frozenset({Kind.SEQUENCE})
"""Read whole each time: whether enabling a sequence moves its ``updatedAt`` is unproven, and a page holds a thousand."""
CROWDED = "crowded:"
"""Before a stream's name: the key under which stands that its overlap takes a page of its own, and the watermark that its
last short run had."""
NO_SHORT_RUN = ""


def begin(store: Store, reading: Reading[Kind]) -> datetime | None:
    """Return the time from which a run reads, inclusive; None reads everything."""
    if reading.stream in WHOLE or reading.watermark is None:
        return None
    with store.read() as db:
        crowded = meta.get(db, _key(reading))
    if crowded is None:
        return cursor.begin(reading.watermark, reading.polls)
    return cursor.begin_crowded(reading.watermark, reading.polls, transforms.parse_time(crowded))


def judge(db: sa.Connection, reading: Reading[Kind], *, newest: datetime | None, moved: int, last: bool) -> None:
    """Note what a run's first page says: whether all of it was overlap and known, and there is more.

    ``newest`` is the last change on it. The CRM's calls are not counted, and its pages are small: there nothing is noted.
    """
    if reading.stream.system is not System.OUTREACH or reading.watermark is None or reading.next_link is not None:
        return
    crowded = meta.get(db, _key(reading)) is not None
    if crowded and cursor.is_short(reading.polls):
        meta.replace(db, _key(reading), reading.watermark.isoformat())
    elif cursor.judges(reading.polls):
        known_to = reading.watermark + cursor.SAFETY
        if not last and not moved and newest is not None and newest <= known_to:
            meta.replace(db, _key(reading), NO_SHORT_RUN)
        elif crowded:
            meta.forget(db, _key(reading))


def _key(reading: Reading[Kind]) -> str:
    return f"{CROWDED}{reading.stream.value}"
