"""How many calls may still be made: counted by hour and lane in memory, kept in the store, shared by all processes."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from worker.core import errors
from worker.store import tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.records import System
    from worker.store import database

CALL = cast("sa.Table", tables.CallRow.__table__)  # type: ignore[attr-defined]
OPT_OUT_LANE = "optout"
"""The one lane that may touch the reserve."""
RESERVE = 10
"""Every tenth call is kept for opt-outs."""
HOUR = timedelta(hours=1)
YEAR = timedelta(days=365)
LOOK_EVERY = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Used:
    """Calls of this clock hour (UTC) and of the last 365 days, by every process, as far as the store has been told."""

    hour: int
    year: int


@dataclass(slots=True)
class _Told:
    """What the vendor said is left until a moment of its own."""

    left: int
    until: datetime


class Budget:
    """Counts one vendor's calls and refuses those beyond the budget. Threads share one, processes share the rows.

    Processes learn of each other's calls every five seconds and at each ``flush``, so together they may pass a limit by
    what they make in between; only the reserve's tenth keeps that away from opt-outs. Which twelve months the vendor
    counts as a year is unknown: any 365 days are kept within the budget.
    """

    def __init__(
        self,
        store: database.Store,
        *,
        system: System,
        hourly: int | None,
        yearly: int | None,
        now: Callable[[], datetime],
    ) -> None:
        """Touch nothing yet. A limit of None is none; calls are counted all the same."""
        self._store = store
        self._system = system
        self._hourly = hourly
        self._yearly = yearly
        self._now = now
        self._lock = threading.Lock()
        self._store_lock = threading.Lock()
        self._unsaved: Counter[tuple[datetime, str]] = Counter()
        self._total: Counter[str] = Counter()
        self._used = Used(0, 0)
        self._used_hour: datetime | None = None
        self._looked_at: datetime | None = None
        self._told: _Told | None = None

    def spend(self, lane: str) -> None:
        """Count one call about to be made, or raise BudgetSpent and count nothing."""
        now = self._now()
        hour = _hour(now)
        if self._due(now, hour):
            self._look(now, wait=self._looked_at is None, year=self._yearly is not None)
        with self._lock:
            self._refuse(lane, now, hour)
            self._unsaved[hour, lane] += 1
            self._total[lane] += 1
            if self._told is not None:
                self._told.left -= 1

    def flush(self) -> None:
        """Write down what was counted since the last time, on top of what others wrote, in a transaction of its own.

        If that fails nothing is lost. Never inside another transaction: SQLite has one writer.
        """
        with self._store_lock:
            with self._lock:
                batch = self._unsaved.copy()
            if not batch:
                return
            now = self._now()
            rows = [
                {"system": self._system, "lane": lane, "hour": hour, "calls": calls}
                for (hour, lane), calls in sorted(batch.items())
            ]
            with self._store.write() as db:
                make = sqlite.insert if db.dialect.name == "sqlite" else postgresql.insert
                new = make(CALL)
                add = {"calls": CALL.c.calls + new.excluded.calls}
                db.execute(new.on_conflict_do_update(index_elements=["system", "lane", "hour"], set_=add), rows)
                used = self._read(db, _hour(now), year=self._yearly is not None)
            with self._lock:
                self._unsaved -= batch
                self._note(used, now)

    def spent(self) -> dict[str, int]:
        """Return the calls of this process since it began, by lane."""
        with self._lock:
            return dict(self._total)

    def used(self) -> Used:
        """Return the calls of everybody, freshly read, and those of this process that are not written down yet."""
        now = self._now()
        self._look(now, wait=True, year=True)
        with self._lock:
            return self._known(_hour(now))

    def corrected(self, remaining: int, reset_at: datetime) -> None:
        """Believe the vendor's own count where it leaves less than ours, until the moment it starts anew.

        They are X-RateLimit-Remaining and -Reset (facts, outreach 3). Replies overtake each other, so a higher number
        within the same span is an older one. No span is longer than the hour that the limit is about.
        """
        now = self._now()
        with self._lock:
            told = self._told
            if told is None or told.until <= now or remaining < told.left:
                self._told = _Told(remaining, min(reset_at, now + HOUR))

    def _due(self, now: datetime, hour: datetime) -> bool:
        """Return whether what others used must be read again, which only a limit makes necessary."""
        if self._hourly is None and self._yearly is None:
            return False
        if self._looked_at is None or self._used_hour != hour:
            return True
        return not timedelta(0) <= now - self._looked_at < LOOK_EVERY

    def _look(self, now: datetime, *, wait: bool, year: bool) -> None:
        """Read what everybody used; without ``wait`` not if another thread of ours is at the store already."""
        if not self._store_lock.acquire(blocking=wait):
            return
        try:
            with self._store.read() as db:
                used = self._read(db, _hour(now), year=year)
            with self._lock:
                self._note(used, now)
        finally:
            self._store_lock.release()

    def _read(self, db: sa.Connection, hour: datetime, *, year: bool) -> Used:
        """Return the sums; without ``year`` that of the hour twice, for a year has some ten thousand rows."""
        in_hour = sa.func.sum(sa.case((CALL.c.hour == hour, CALL.c.calls), else_=0))
        since = hour - YEAR + HOUR if year else hour
        query = sa.select(in_hour, sa.func.sum(CALL.c.calls)).where(
            CALL.c.system == self._system, CALL.c.hour >= since, CALL.c.hour <= hour
        )
        this_hour, this_year = db.execute(query).one()
        return Used(this_hour or 0, this_year or 0)

    def _note(self, used: Used, now: datetime) -> None:
        self._used, self._used_hour, self._looked_at = used, _hour(now), now

    def _known(self, hour: datetime) -> Used:
        """Return the calls of everybody as far as known here; called under the lock."""
        base = self._used.hour if self._used_hour == hour else 0
        mine = sum(calls for (when, _), calls in self._unsaved.items() if when == hour)
        return Used(base + mine, self._used.year + self._unsaved.total())

    def _refuse(self, lane: str, now: datetime, hour: datetime) -> None:
        """Raise BudgetSpent if this lane may make no further call; called under the lock."""
        known = self._known(hour)
        if self._hourly is not None and known.hour >= share(self._hourly, lane):
            self._stop(f"{known.hour} of {self._hourly} calls an hour are used until {hour + HOUR:%H:%M} UTC", lane)
        if self._yearly is not None and known.year >= share(self._yearly, lane):
            self._stop(f"{known.year} of {self._yearly} calls a year are used", lane)
        if self._told is not None and self._told.until <= now:
            self._told = None
        if self._told is not None:
            kept = 0 if self._hourly is None else self._hourly - share(self._hourly, lane)
            if self._told.left <= kept:
                until = self._told.until.astimezone(UTC)
                self._stop(f"the vendor leaves {max(self._told.left, 0)} calls until {until:%H:%M} UTC", lane)

    def _stop(self, words: str, lane: str) -> None:
        kept = "" if lane == OPT_OUT_LANE else "; what is left is kept for opt-outs"
        raise errors.BudgetSpent(f"{words}{kept}", system=self._system)


def _hour(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def share(limit: int, lane: str) -> int:
    """Return how much of a limit the lane may use: all but the reserve, which leaves the others at least one call."""
    if lane == OPT_OUT_LANE:
        return limit
    return max(limit - -(-limit // RESERVE), min(limit, 1))
