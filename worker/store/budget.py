"""How many calls may still be made: counted by hour and lane in memory, kept in the store, shared by all processes."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa

from worker.core import errors, lanes
from worker.core.lanes import OPT_OUT, share
from worker.core.records import System
from worker.store import database, tables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


CALL = cast("sa.Table", tables.CallRow.__table__)  # type: ignore[attr-defined]
OPT_OUT_LANE = OPT_OUT
"""The one lane that may touch the reserve."""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
YEAR = timedelta(days=lanes.YEAR)
LOOK_EVERY = timedelta(seconds=5)
PACED_FOR = timedelta(minutes=30)
"""So long a process goes by the pressure that it has once worked out."""
BY_HOUR = timedelta(days=9)
"""Calls of longer ago are kept by the day: a year is some three thousand rows, not forty thousand."""


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
        look_every: timedelta = LOOK_EVERY,
    ) -> None:
        """Touch nothing yet. A limit of None is none; calls are counted all the same."""
        self._look_every = look_every
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
        self._pressure: tuple[datetime, float] | None = None
        self._folded: datetime | None = None
        self._past: tuple[datetime, _Past] | None = None

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
                add(db, rows)
                if self._folded != _day(now):
                    _fold(db, self._system, _day(now - BY_HOUR))
                used = self._read(db, _hour(now), year=self._yearly is not None)
            with self._lock:
                self._unsaved -= batch
                self._note(used, now)
                self._folded = _day(now)

    def rate(self, lane: str) -> float:
        """Return the share of its normal rate at which a lane may go on by itself just now, from 0 to 1 (``core.lanes``)."""
        pressure, hour = self.pressure()
        return lanes.rate(lane, pressure, hour)

    def pressure(self) -> tuple[float, float]:
        """Return how short the year's calls are, and the share of this hour's that is used: what every rate follows from."""
        now = self._now()
        hour = _hour(now)
        if self._due(now, hour):
            self._look(now, wait=True, year=self._yearly is not None)
        with self._lock:
            known, told = self._known(hour).hour, self._told
            if self._hourly is not None and told is not None and told.until > now:
                known = max(known, self._hourly - told.left)
        return self._year(now), known / self._hourly if self._hourly is not None else 0.0

    def _year(self, now: datetime) -> float:
        if self._yearly is None:
            return 0.0
        kept = self._pressure
        if kept is not None and timedelta(0) <= now - kept[0] < PACED_FOR:
            return kept[1]
        with self._store.read() as db:
            if self._past is None or self._past[0] != _day(now):
                self._past = _day(now), _past(db, now).get(self._system, _Past([0] * lanes.YEAR, now))
            used = _used(db, self._system, self._past[1], now)
        pressure = lanes.settled(kept[1] if kept else None, lanes.pressure(used, self._yearly))
        self._pressure = now, pressure
        return pressure

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
        return not timedelta(0) <= now - self._looked_at < self._look_every

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
        """Return the sums; without ``year`` that of the hour twice."""
        in_hour = sa.func.sum(sa.case((CALL.c.hour == hour, CALL.c.calls), else_=0))
        since = _day(hour + HOUR - YEAR) if year else hour
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


def _day(now: datetime) -> datetime:
    return _hour(now).replace(hour=0)


def _fold(db: sa.Connection, system: System, before: datetime) -> None:
    """Add up by days what was called before a day. Two that do so at once double nothing: each adds up what it took away."""
    mine = CALL.c.system == system
    if db.scalar(sa.select(CALL.c.hour).where(mine, CALL.c.hour > before - DAY, CALL.c.hour < before).limit(1)) is None:
        return
    taken = db.execute(
        sa.delete(CALL).where(mine, CALL.c.hour < before).returning(CALL.c.lane, CALL.c.hour, CALL.c.calls)
    )
    sums: Counter[tuple[str, datetime]] = Counter()
    for row in taken:
        sums[row.lane, _day(row.hour)] += row.calls
    add(
        db,
        [{"system": system, "lane": lane, "hour": day, "calls": calls} for (lane, day), calls in sorted(sums.items())],
    )


def add(db: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add calls to what is written down of their system, lane and hour."""
    database.accumulate(db, CALL, rows, key=("system", "lane", "hour"), total="calls")


def used_by(db: sa.Connection, now: datetime) -> dict[System, lanes.Used]:
    """Return what everybody has called, by system, as far as it is written down."""
    return {system: _used(db, system, past, now) for system, past in _past(db, now).items()}


@dataclass(frozen=True, slots=True)
class _Past:
    """The calls of each of the last 365 days, the oldest first, and since when there were any; of today nothing is told."""

    days: list[int]
    first: datetime


def _past(db: sa.Connection, now: datetime) -> dict[System, _Past]:
    query = sa.select(CALL.c.system, CALL.c.hour, sa.func.sum(CALL.c.calls).label("calls"))
    query = query.where(CALL.c.hour >= _day(now + HOUR - YEAR), CALL.c.hour <= _hour(now))
    found: dict[System, _Past] = {}
    today = _day(now)
    for row in db.execute(query.group_by(CALL.c.system, CALL.c.hour).order_by(CALL.c.hour)):
        past = found.setdefault(System(row.system), _Past([0] * lanes.YEAR, row.hour))
        if row.hour < today:
            # The window begins within a day, and all of that counts.
            past.days[max(0, lanes.YEAR - 1 - (today - _day(row.hour)).days)] += int(row.calls)
    return found


def _used(db: sa.Connection, system: System, past: _Past, now: datetime) -> lanes.Used:
    """Return what one system was called, of which ``past`` tells all but today."""
    hour = _hour(now)
    since = {"day": hour - DAY, "week": hour - lanes.WEEK, "month": hour - lanes.MONTH, "today": _day(now)}
    sums = db.execute(_RECENT, {"system": system, "hour": hour, **since}).one()
    told = {name: getattr(sums, name) or 0 for name in _SUMS if name != "today"}
    days = (*past.days[:-1], sums.today or 0)
    return lanes.Used(year=sum(days), days=days, age=now - past.first, **told)


def _moment(name: str) -> sa.BindParameter[datetime]:
    return sa.bindparam(name, type_=CALL.c.hour.type)


_STEERED, _ONCE = CALL.c.lane.in_(lanes.STEERED), CALL.c.lane.in_(lanes.ONCE)
_SUMS = {
    "hour": CALL.c.hour == _moment("hour"),
    "today": CALL.c.hour >= _moment("today"),
    "week": sa.and_(CALL.c.hour > _moment("week"), sa.not_(_ONCE)),
    "steered_day": sa.and_(CALL.c.hour > _moment("day"), _STEERED),
    "steered_week": sa.and_(CALL.c.hour > _moment("week"), _STEERED),
    "other_month": sa.not_(sa.or_(_STEERED, _ONCE)),
}
"""Which calls of the last 28 days make up each sum of :class:`lanes.Used`."""
_RECENT = sa.select(
    *(sa.func.sum(sa.case((which, CALL.c.calls), else_=0)).label(name) for name, which in _SUMS.items())
).where(CALL.c.system == sa.bindparam("system"), CALL.c.hour > _moment("month"), CALL.c.hour <= _moment("hour"))
