"""When a stream is read next: what the store knows of it and of the webhooks, weighed by ``core.pacing``."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from worker.core import lanes, pacing
from worker.core.records import Feed, Kind, System
from worker.store import cursors, meta, webhooks

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy as sa

    from worker.store.database import Store

BY_WEBHOOK = frozenset({Kind.PROSPECT, Kind.STATE, Kind.TASK, Kind.SEQUENCE})
"""Streams that webhooks tell of: Outreach has none for steps (facts, outreach-api 7.1), the CRM has none at all."""


SLACK = "slack:"
"""Before a stream's name: the key under which it is kept how long that stream may wait where calls are short."""


def is_due(store: Store, stream: Kind, shortest_s: float, now: datetime, rate: float = 1.0) -> bool:
    """Tell whether a stream is to be read now. One that was left in the middle, or in trouble, is."""
    with store.read() as db:
        row = cursors.row_of(db, stream)
        if row is None or row.primed_at is None or row.trouble or row.run_began is not None or row.watermark is None:
            return True
        return pacing.is_due(_facts(db, row, shortest_s, rate), now)


def plan_next(
    store: Store, stream: Kind, shortest_s: float, now: datetime, *, rate: float = 1.0, moved: int = pacing.MUCH
) -> None:
    """Write down what a poll that ``moved`` so much says about the next, and when that is likely, for whoever looks on."""
    with store.write() as db:
        row = cursors.row_of(db, stream)
        if row is not None and row.polled_at is not None:
            slack = pacing.slack(_slack(db, stream), moved)
            meta.replace(db, f"{SLACK}{stream.value}", f"{slack:.3f}")
            cursors.plan_next(db, stream, row.polled_at + pacing.interval(_facts(db, row, shortest_s, rate), now))


def lane_of(store: Store, stream: Kind) -> str:
    """Return the lane of a stream's next poll: reading it whole happens once, and tells nothing of the pace."""
    with store.read() as db:
        row = cursors.row_of(db, stream)
    return lanes.LOAD if row is None or row.watermark is None else lanes.POLLS


def hints_are_due(store: Store, now: datetime, rate: float) -> bool:
    """Tell whether to look at the webhooks that wait: where calls are short, several together; what is urgent at once."""
    if rate >= 1:
        return True
    with store.read() as db:
        since = webhooks.pulse(db).waiting_since
        return since is not None and (now - since >= pacing.gathering(rate) or webhooks.any_urgent(db, now))


def feeds_are_due(store: Store, every_s: float, now: datetime, rate: float) -> bool:
    """Tell whether to read the feeds at a tick that comes every so many seconds."""
    if rate >= 1:
        return True
    with store.read() as db:
        read = [row.polled_at for feed in Feed if (row := cursors.row_of(db, feed)) is not None and row.polled_at]
        slack = min(_slack(db, stream) for stream in cursors.STREAMS if stream.system is System.OUTREACH)
    facts = pacing.Facts(timedelta(seconds=every_s), max(read, default=None), None, rate=rate, slack=slack)
    return pacing.feed_is_due(facts, now)


def _slack(db: sa.Connection, stream: Kind) -> float:
    return float(meta.get(db, f"{SLACK}{stream.value}") or 1.0)


def _facts(db: sa.Connection, row: sa.Row, shortest_s: float, rate: float) -> pacing.Facts:  # type: ignore[type-arg]
    stream = Kind(row.stream)
    short = rate < 1 and stream.system is System.OUTREACH  # nobody counts the CRM's calls
    pulse = webhooks.pulse(db) if stream in BY_WEBHOOK else webhooks.NO_PULSE
    return pacing.Facts(
        shortest=timedelta(seconds=shortest_s),
        polled_at=row.polled_at,
        moved_at=row.moved_at or row.primed_at,
        late_at=row.late_at,
        arrived_at=pulse.arrived_at,
        waiting_since=pulse.waiting_since,
        rate=rate if short else 1.0,
        slack=_slack(db, stream) if short else 1.0,
    )
