"""Webhooks on their way: kept as they came in, taken under a lease, forgotten but for their event's name.

What may tell of an opt-out is taken first, everything else oldest first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from worker.store import clocks, meta
from worker.store.database import chunks, upsert
from worker.store.tables import WebhookRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from worker.store.database import Store

WEBHOOK: sa.Table = WebhookRow.__table__  # type: ignore[attr-defined]

LEASE = timedelta(seconds=15)
KEPT = timedelta(days=3)
"""How long an event is known again. The vendor repeats within seconds (facts, outreach-api 7.2); one repeated later is looked
at once more, which costs a look-up and does nothing."""
GIVEN_UP = timedelta(days=2)
"""What could not be looked at for so long is done with: the polls have told it long ago."""
OTHERS = 4
"""Of what is taken at once, a fourth part at least is the oldest there is, however much is urgent."""
CLEANED = 2000
"""Rows that one transaction drops."""
TOO_OLD = "not looked at in two days; the polls cover it"

_DONE: dict[str, Any] = {"body": b"", "lease_until": None}
"""A body holds personal data, and nobody needs it once it was looked at."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A webhook as it came in; ``event`` is what a repetition is known by. ``urgent``: it may tell of an opt-out."""

    event: str
    body: bytes
    at: datetime
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """A stored webhook that somebody has taken in hand."""

    id: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Pulse:
    """How webhooks stand: when the last one came, how many wait to be looked at, and since when the oldest does."""

    arrived_at: datetime | None
    waiting: int
    waiting_since: datetime | None


NO_PULSE = Pulse(None, 0, None)


def keep(db: sa.Connection, arrivals: Sequence[Arrival]) -> None:
    """Store webhooks; one whose event is known already changes nothing."""
    told = {one.event: one for one in arrivals}
    rows = [{"event": one.event, "body": one.body, "at": one.at, "urgent": one.urgent} for one in told.values()]
    upsert(db, WEBHOOK, rows, key=("event",), update=())


def any_free(db: sa.Connection, now: datetime) -> bool:
    """Tell whether a webhook waits to be taken."""
    return db.scalar(sa.select(WEBHOOK.c.id).where(_free(now)).limit(1)) is not None


def any_urgent(db: sa.Connection, now: datetime) -> bool:
    """Tell whether a webhook that may tell of an opt-out waits to be taken."""
    return bool(_oldest(db, now, 1, WEBHOOK.c.urgent == sa.true()))


def claim(db: sa.Connection, now: datetime, limit: int) -> list[Waiting]:
    """Lease webhooks that nobody has in hand, and return them: the urgent ones first, then the oldest."""
    most = limit - limit // OTHERS
    rows = _oldest(db, now, most, WEBHOOK.c.urgent == sa.true())
    rows += _oldest(db, now, limit - len(rows), WEBHOOK.c.id.not_in([row.id for row in rows]) if rows else sa.true())
    if rows:
        meta.note_claim(db, now)
        put_off(db, [row.id for row in rows], now + LEASE)
    return [Waiting(row.id, row.body) for row in rows]


def _oldest(db: sa.Connection, now: datetime, limit: int, which: sa.ColumnElement[bool]) -> list[Any]:
    query = sa.select(WEBHOOK.c.id, WEBHOOK.c.body).where(_free(now), which).order_by(WEBHOOK.c.id).limit(limit)
    return list(db.execute(query.with_for_update(skip_locked=True)))


def put_off(db: sa.Connection, ids: Iterable[int], until: datetime) -> None:
    """Let nobody else take webhooks before ``until``, unless they are done with."""
    for part in chunks(sorted(ids)):
        mine = sa.update(WEBHOOK).where(WEBHOOK.c.id.in_(part), WEBHOOK.c.done_at.is_(None))
        db.execute(mine.values(lease_until=until))


def done(db: sa.Connection, ids: Iterable[int], now: datetime) -> None:
    """Close webhooks that were looked at; their bodies go."""
    for part in chunks(sorted(ids)):
        db.execute(sa.update(WEBHOOK).where(WEBHOOK.c.id.in_(part)).values(done_at=now, **_DONE))


def fail(db: sa.Connection, told: Mapping[int, str], now: datetime) -> None:
    """Close webhooks that say nothing intelligible, each with what is wrong with it."""
    for record_id, words in sorted(told.items()):
        db.execute(sa.update(WEBHOOK).where(WEBHOOK.c.id == record_id).values(done_at=now, error=words, **_DONE))


def pulse(db: sa.Connection) -> Pulse:
    """Return how webhooks stand. One that cannot be read has arrived all the same."""
    last = db.scalar(sa.select(WEBHOOK.c.at).order_by(WEBHOOK.c.id.desc()).limit(1))
    waiting = sa.select(sa.func.count().label("rows"), sa.func.min(WEBHOOK.c.at).label("since"))
    row = db.execute(waiting.where(WEBHOOK.c.done_at.is_(None))).one()
    return Pulse(last, row.rows, row.since)


def clean_all(store: Store, now: datetime) -> None:
    """Forget the events of long ago, portion by portion."""
    more = True
    while more:
        with store.write() as db:
            more = clean(db, now)


def clean(db: sa.Connection, now: datetime) -> bool:
    """Forget a portion of the events of long ago, give up what nobody could look at; return whether there may be more."""
    given_up = sa.update(WEBHOOK).where(WEBHOOK.c.done_at.is_(None), WEBHOOK.c.at < now - GIVEN_UP)
    db.execute(given_up.values(done_at=now, error=TOO_OLD, **_DONE))
    # Through the index on done_at; ids of long ago are the lowest.
    old = sa.select(WEBHOOK.c.id).where(WEBHOOK.c.done_at < now - KEPT).order_by(WEBHOOK.c.done_at).limit(CLEANED)
    return db.execute(sa.delete(WEBHOOK).where(WEBHOOK.c.id.in_(old))).rowcount == CLEANED


def _free(now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(WEBHOOK.c.done_at.is_(None), clocks.free(WEBHOOK.c.lease_until, now, LEASE))
