"""What the store makes of clocks that were wrong: no lease and no wait lasts longer than it can.

Leases and waits are told by a clock of ours. Whoever's is two hours ahead takes leases that seem to last two hours, and opens
changes that seem due in two hours; and when a clock is set, all leases may seem to have run out at once. So a lease counts
only where it can be true, and one that cannot is dated anew before anybody takes the work over: its holder, if alive, renews
it in time.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from worker.store.tables import ChangeRow, CursorRow

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from worker.store.database import Store

CHANGE: sa.Table = ChangeRow.__table__  # type: ignore[attr-defined]
CURSOR: sa.Table = CursorRow.__table__  # type: ignore[attr-defined]

LONG_AGO = timedelta(minutes=5)
"""Nobody lets a lease that ran out lie for so long, unless nobody was there."""
SLACK = timedelta(seconds=10)
"""By so much two of ours may differ in what they take for the present."""
LONGEST = timedelta(minutes=75)
"""The longest wait there is: an hour that a vendor asked for, and as much as we add by ourselves."""


def ask(store: Store, wanted: Callable[[], bool], told: Callable[[datetime], None]) -> None:
    """Let whoever begins a transaction ask the store's server what time it is, whenever that is wanted.

    So all hosts go by one clock. A file has no clock but that of its own host.
    """
    if store.engine.dialect.name == "sqlite":
        return

    def begun(db: sa.Connection) -> None:
        if wanted():
            told(db.exec_driver_sql("SELECT clock_timestamp()").scalar_one())

    sa.event.listen(store.engine, "begin", begun)


def free(until: sa.ColumnElement[datetime | None], now: datetime, lasts: timedelta) -> sa.ColumnElement[bool]:
    """Return whether a lease that ``lasts`` so long is nobody's: given up, run out, or longer than any."""
    return nobodys(until, now, beyond(now, lasts))


def nobodys(until: sa.ColumnElement[datetime | None], now: Any, beyond: Any) -> sa.ColumnElement[bool]:  # noqa: ANN401 - times, or their places
    """Return the same for a statement that is made once and told both times later."""
    return sa.or_(until.is_(None), until < now, until > beyond)


def beyond(now: datetime, lasts: timedelta) -> datetime:
    """Return the time after which no lease that ``lasts`` so long can run out."""
    return now + 2 * lasts


def is_odd(until: datetime | None, now: datetime, lasts: timedelta) -> bool:
    """Tell whether a lease tells more of a clock than of its holder: longer than any, or run out long ago."""
    return until is not None and not now - LONG_AGO <= until <= beyond(now, lasts)


def set_right(store: Store, now: datetime) -> bool:
    """Let nothing wait for a time from which the clock has gone back; return whether anything did.

    A change that was opened in what is now the future is due, and so is one that waits longer than any; a stream that was
    read then counts as read now.
    """
    later = sa.or_(CHANGE.c.opened_at > now + SLACK, CHANGE.c.next_at > now + LONGEST)
    waits = sa.and_(CHANGE.c.state == "due", CHANGE.c.next_at > now, later)
    read = CURSOR.c.polled_at > now + SLACK
    with store.read() as db:
        if not db.scalar(sa.select(sa.or_(sa.exists().where(waits), sa.exists().where(read)))):
            return False
    opened = sa.case((CHANGE.c.opened_at > now, sa.literal(now, CHANGE.c.opened_at.type)), else_=CHANGE.c.opened_at)
    with store.write() as db:
        db.execute(sa.update(CHANGE).where(waits).values(next_at=now, opened_at=opened))
        db.execute(sa.update(CURSOR).where(read).values(polled_at=now))
    return True
