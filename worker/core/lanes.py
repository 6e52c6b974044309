"""Lanes: what calls are made for, and the order in which they slow down and stop as an hour's or a year's calls get short.

A year's calls are steered by one number, the *pressure*: what the steered lanes use of late, against what they may use from
here on so that any 365 days stay within the limit. Each lane declares how much of its normal rate is left at which pressure;
between two points the rate goes in a straight line, so nothing is switched on and off. Beyond the limit nobody calls at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

BACKFILL, RECONCILE, SWEEP, POLLS = "backfill", "reconcile", "sweep", "polls"
LOAD, CHANGES, OPT_OUT = "load", "changes", "optout"
RESERVE = 10
"""Every tenth call is kept for opt-outs."""
YEAR = 365
"""Days. Which twelve months the vendor counts is unknown, so any are kept within the limit."""
DAY, WEEK, MONTH = timedelta(days=1), timedelta(days=7), timedelta(days=28)
CROWDED_DAY = 1.6
"""So many times the average a day may use before that counts as pressure; a working week is about 1.4."""
AT_LEAST = 0.25
"""The share of what can be afforded that stays with the steered lanes, whatever the changes themselves cost."""
DEAD_BAND = 0.02
"""A pressure that moves by less stays where it was."""
MINUTE = timedelta(seconds=60)
LEAST = 0.01
"""A round that stands still looks again after a hundred times as long as usual, at the latest."""


@dataclass(frozen=True, slots=True)
class Lane:
    """What a call is made for. ``rates``: points (pressure, share of the normal rate), by rising pressure.

    ``hour`` is the share of an hour's calls beyond which the lane starts nothing new by itself. ``steered``: it can wait, so
    the pressure is about it. ``once``: it happens now and then, so no pace is told from it.
    """

    name: str
    words: str
    rates: tuple[tuple[float, float], ...] = ()
    hour: float = 1.0
    steered: bool = False
    once: bool = False


POLL_RATES = ((0.7, 1.0), (0.9, 1 / 5), (1.0, 1 / 8), (1.05, 1 / 10), (1.2, 1 / 60))
"""Every minute, every five, every eight, every ten (the freshness that is held in working hours), once an hour."""
LANES = (
    Lane(BACKFILL, "records that a data share lacks", ((0.85, 1.0), (1.0, 0.0)), hour=0.6, once=True),
    Lane(RECONCILE, "comparing both sides", ((0.85, 1.0), (0.95, 0.25), (1.05, 0.0)), hour=0.7, steered=True),
    Lane(SWEEP, "looking for what is gone", ((0.88, 1.0), (1.0, 1 / 3), (1.1, 0.0)), hour=0.8, steered=True),
    Lane(POLLS, "asking what has changed", POLL_RATES, steered=True),
    Lane(LOAD, "reading everything for the first time, or again", once=True),
    Lane(CHANGES, "looking up and writing what has changed"),
    Lane(OPT_OUT, "opt-outs"),
)
"""In the order in which they slow down. Polls alone begin before, as far as five minutes: no promise depends on that."""
BY_NAME = {lane.name: lane for lane in LANES}
STEERED = tuple(lane.name for lane in LANES if lane.steered)
ONCE = tuple(lane.name for lane in LANES if lane.once)


@dataclass(frozen=True, slots=True)
class Used:
    """Calls of one system by everybody, as far as they are written down.

    ``hour``: in this clock hour; ``year``: in the last 365 days; ``week``: in the last 7, but for what happens once;
    ``steered_day`` and ``steered_week``: by lanes that can wait, in the last 24 hours and 7 days; ``other_month``: by the
    others, but for what happens once, in the last 28 days; ``days``: on each of the last 365 days, the oldest first;
    ``age``: since the first call.
    """

    hour: int = 0
    year: int = 0
    week: int = 0
    steered_day: int = 0
    steered_week: int = 0
    other_month: int = 0
    days: tuple[int, ...] = ()
    age: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Slowed:
    """A lane that goes slower than normal, and what that means; a ``rate`` of 0 is a stop."""

    lane: str
    rate: float
    words: str


def share(limit: int, lane: str) -> int:
    """Return how much of a limit the lane may use: all but the reserve, which leaves the others at least one call."""
    if lane == OPT_OUT:
        return limit
    return max(limit - -(-limit // RESERVE), min(limit, 1))


def left(limit: int, used: int, lane: Lane, *, by_hour: bool) -> int:
    """Return how many calls of a limit a lane may still make by itself; an hour's share is the lane's own."""
    most = min(share(limit, lane.name), int(limit * lane.hour)) if by_hour else share(limit, lane.name)
    return max(0, most - used)


def affordable(used: Used, yearly: int) -> float:
    """Return how many calls a day may be made from here on, without any 365 days passing the limit (less the reserve).

    What was called a year ago falls away day by day, so the answer is the least of what is left and has fallen away by then
    over all days to come.
    """
    left = share(yearly, POLLS) - used.year
    freed = accumulate(used.days, initial=0)
    paces = [(left + gone) / day for day, gone in enumerate(freed) if day]
    return max(0.0, min([*paces, (left + used.year) / YEAR]))


def pressure(used: Used, yearly: int | None) -> float:
    """Return what the lanes that can wait use of late, as a share of what the year leaves them; 0 without a limit."""
    if yearly is None:
        return 0.0
    a_day = affordable(used, yearly)
    others = used.other_month / (min(max(used.age, DAY), MONTH) / DAY)
    theirs = max(a_day - others, a_day * AT_LEAST)
    if theirs <= 0:
        return float("inf")
    by_day = used.steered_day / (theirs * CROWDED_DAY)
    by_week = used.steered_week / (theirs * (min(max(used.age, DAY), WEEK) / DAY))
    return max(by_day, by_week)


def settled(before: float | None, fresh: float) -> float:
    """Return the pressure to go by: the one before, unless it has really moved."""
    if before is None or abs(fresh - before) >= DEAD_BAND or fresh in (0.0, float("inf")):
        return fresh
    return before


def rate(name: str, pressure: float, hour: float = 0.0) -> float:
    """Return the share of its normal rate at which a lane may go on by itself, from 0 to 1.

    ``hour``: the share of this hour's calls that is used. A lane nobody declared goes on as changes do.
    """
    lane = BY_NAME.get(name, BY_NAME[CHANGES])
    if lane.hour < 1.0 and hour >= lane.hour:
        return 0.0
    if not lane.rates or pressure <= lane.rates[0][0]:
        return 1.0
    for (low, high_rate), (high, low_rate) in pairwise(lane.rates):
        if pressure < high:
            return high_rate + (low_rate - high_rate) * (pressure - low) / (high - low)
    return lane.rates[-1][1]


def next_slice(began: datetime, now: datetime, turn: timedelta, *, done: int, slices: int, rate: float) -> datetime:
    """Return when the next slice of a slow round is due: spread evenly over its turn, and made up for if late.

    Where calls are short the turn is as much longer, and nothing is made up for.
    """
    planned = began + turn * min(1.0, done / slices)
    if rate >= 1:
        return max(now, planned)
    return max(planned, now + turn / slices / max(rate, LEAST))


def slowed(pressure: float, hour: float = 0.0) -> tuple[Slowed, ...]:
    """Return the lanes that go slower just now, in the order in which they do."""
    rates = [(lane, rate(lane.name, pressure, hour)) for lane in LANES]
    return tuple(Slowed(lane.name, round(share, 3), _words(lane, share)) for lane, share in rates if share < 1.0)


def _words(lane: Lane, share: float) -> str:
    if share <= 0:
        return f"{lane.words}: stopped until calls are free again"
    if lane.name == POLLS:
        return f"{lane.words}: every {MINUTE.total_seconds() / share / 60:.1f} min where something moves, more seldom elsewhere"
    return f"{lane.words}: at {share:.0%} of the normal pace"


def lasts(used: Used, yearly: int, a_day: float) -> timedelta | None:
    """Return how long the year's calls last at so many a day, None if any 365 days bear that; what falls away is counted on."""
    left = max(0, yearly - used.year)
    if a_day <= 0:
        return None
    days = used.days or (0,) * YEAR
    for day, freed in enumerate(accumulate(days, initial=0)):
        if day and a_day * day > left + freed:
            return timedelta(days=(left + freed - days[day - 1]) / a_day)
    return None
