"""Cursors: how far each stream has been read, and who is reading it just now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import sqlalchemy as sa

from worker.core.records import Feed, Kind
from worker.store import clocks
from worker.store.database import upsert
from worker.store.tables import CursorRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

CURSOR: sa.Table = CursorRow.__table__  # type: ignore[attr-defined]
LEASE = timedelta(seconds=15)
"""Short, so that a killed reader's stream goes on soon; a live reader renews it (``sync.case.kept_alive``)."""

STREAMS = (Kind.SEQUENCE, Kind.STEP, Kind.PROSPECT, Kind.STATE, Kind.PERSON, Kind.TASK, Kind.CRM_TASK)
"""The order of a pass."""

_NO_RUN: dict[str, Any] = {"next_link": None, "place_at": None, "place_id": None, "run_began": None, "run_newest": None}


S = TypeVar("S", bound=Kind | Feed)


@dataclass(frozen=True, slots=True)
class Reading(Generic[S]):
    """A leased cursor. ``run_began`` is the server's time at the run's first page, None before it."""

    stream: S
    fence: int
    polls: int
    watermark: datetime | None
    primed: bool
    next_link: str | None
    place_at: datetime | None
    place_id: int | None
    run_began: datetime | None
    run_newest: datetime | None


def lease(db: sa.Connection, stream: S, now: datetime) -> Reading[S] | None:
    """Take the stream's lease; None while somebody else holds it."""
    blank = {"stream": stream.value, "polls": 0, "fence": 0}
    upsert(db, CURSOR, [blank], key=("stream",), update=())
    free = clocks.free(CURSOR.c.lease_until, now, LEASE)
    taken = sa.update(CURSOR).where(CURSOR.c.stream == stream, free)
    if not db.execute(taken.values(lease_until=now + LEASE, fence=CURSOR.c.fence + 1)).rowcount:
        return None
    row = db.execute(sa.select(CURSOR).where(CURSOR.c.stream == stream)).one()
    return Reading(
        stream=stream,
        fence=row.fence,
        polls=row.polls,
        watermark=row.watermark,
        primed=row.primed_at is not None,
        next_link=row.next_link,
        place_at=row.place_at,
        place_id=row.place_id,
        run_began=row.run_began,
        run_newest=row.run_newest,
    )


def step(db: sa.Connection, reading: Reading[Any], now: datetime, **values: object) -> bool:
    """Store the run's progress with its page; False if the lease was lost, and then the page must not be kept."""
    mine = sa.update(CURSOR).where(CURSOR.c.stream == reading.stream, CURSOR.c.fence == reading.fence)
    return bool(db.execute(mine.values(lease_until=now + LEASE, **values)).rowcount)


def renew(db: sa.Connection, reading: Reading[Any], now: datetime) -> None:
    """Keep the lease of a reader that is still alive."""
    mine = sa.and_(
        CURSOR.c.stream == reading.stream, CURSOR.c.fence == reading.fence, CURSOR.c.lease_until.is_not(None)
    )
    db.execute(sa.update(CURSOR).where(mine).values(lease_until=now + LEASE))


def finish(
    db: sa.Connection, reading: Reading[Any], *, watermark: datetime | None, now: datetime, place_id: int | None = None
) -> bool:
    """Close a run that was read to its end; False if the lease was lost. ``place_id`` is kept for the next one."""
    mine = sa.update(CURSOR).where(CURSOR.c.stream == reading.stream, CURSOR.c.fence == reading.fence)
    values = {
        "watermark": watermark,
        "primed_at": sa.func.coalesce(CURSOR.c.primed_at, sa.literal(now, CURSOR.c.primed_at.type)),
        "polls": CURSOR.c.polls + 1,
        **_NO_RUN,
        "place_id": place_id,
        "lease_until": None,
        "polled_at": now,
        "trouble": None,
    }
    return bool(db.execute(mine.values(**values)).rowcount)


def note_moved(db: sa.Connection, stream: Kind, now: datetime, *, late: bool) -> None:
    """Write down that a poll brought something new, and whether it was late: something else should have told it before."""
    told = {"moved_at": now} | ({"late_at": now} if late else {})
    db.execute(sa.update(CURSOR).where(CURSOR.c.stream == stream).values(**told))


def row_of(db: sa.Connection, stream: Kind | Feed) -> Any:  # noqa: ANN401 - a row of the driver
    """Return a stream's cursor, None if it was never read."""
    return db.execute(sa.select(CURSOR).where(CURSOR.c.stream == stream)).one_or_none()


def plan_next(db: sa.Connection, stream: Kind | Feed, at: datetime) -> None:
    """Write down when the stream is likely read next, for whoever looks on."""
    db.execute(sa.update(CURSOR).where(CURSOR.c.stream == stream).values(next_at=at))


def leave(db: sa.Connection, reading: Reading[Any], trouble: str, *, restart: bool = False) -> None:
    """Give the lease up after a fault; the run goes on from its last page, or with ``restart`` from the watermark."""
    values: dict[str, Any] = {"lease_until": None, "trouble": trouble}
    if restart:
        values |= _NO_RUN
    db.execute(
        sa.update(CURSOR).where(CURSOR.c.stream == reading.stream, CURSOR.c.fence == reading.fence).values(**values)
    )


def rewind(db: sa.Connection, streams: Sequence[Kind] = STREAMS) -> None:
    """Forget how far streams have been read; what is primed stays primed, for the mirror is still there.

    Whoever is reading one just now loses its lease, or the end of that run would bring the old watermark back.
    """
    fresh = {"watermark": None, "lease_until": None, "fence": CURSOR.c.fence + 1}
    db.execute(sa.update(CURSOR).where(CURSOR.c.stream.in_(streams)).values(**fresh, **_NO_RUN))


def unprimed(db: sa.Connection) -> set[Kind]:
    """Return the streams that have not been read to their end yet."""
    primed = set(db.execute(sa.select(CURSOR.c.stream).where(CURSOR.c.primed_at.is_not(None))).scalars())
    return {stream for stream in STREAMS if stream.value not in primed}


def all_of(db: sa.Connection) -> list[Any]:
    """Return every cursor's row."""
    return list(db.execute(sa.select(CURSOR).order_by(CURSOR.c.stream)))
