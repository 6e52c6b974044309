"""Lanes slow down in the declared order, and no 365 days pass the limit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from worker.core import lanes
from worker.core.lanes import BACKFILL, CHANGES, LOAD, OPT_OUT, POLLS, RECONCILE, SWEEP, YEAR, Used

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)
YEARLY = 40_556
"""Nine tenths are 36,500 and a bit: a hundred calls a day."""


def old(a_day: int) -> tuple[int, ...]:
    """The days of a store that has called so much every day for a year."""
    return (a_day,) * YEAR


@pytest.mark.parametrize(
    "used, a_day",
    [
        pytest.param(Used(), 100.0, id="nothing was called yet"),
        pytest.param(
            Used(year=18_250, days=(0,) * 265 + (182, 183) * 50), 18_250 / 265, id="half was used in a hundred days"
        ),
        pytest.param(Used(year=36_500, days=old(100)), 100.0, id="all is used, but a hundred fall away each day"),
        pytest.param(Used(year=36_500, days=(0,) * 364 + (36_500,)), 0.0, id="all was used yesterday"),
        pytest.param(Used(year=36_499, days=(36_499,) + (0,) * 364), 100.0, id="all was used a year ago"),
        pytest.param(Used(year=40_000, days=(0,) * 300 + (40_000,) + (0,) * 64), 0.0, id="the reserve is being used"),
    ],
)
def test_what_may_be_called_a_day(used: Used, a_day: float) -> None:
    """So much that the year's end and everything that falls away until then just bear it."""
    assert lanes.affordable(used, YEARLY) == pytest.approx(a_day, abs=0.1)


def test_what_is_affordable_keeps_every_year_within_the_limit() -> None:
    """A store that calls each day what it may, after a first load of 9,000 calls and with a rush, never passes nine tenths."""
    days = [0] * YEAR
    made: list[int] = []
    for day in range(900):
        used = Used(year=sum(days), days=tuple(days))
        calls = int(lanes.affordable(used, YEARLY)) + (9000 if day == 0 else 2000 if day == 500 else 0)
        days = [*days[1:], calls]
        made.append(sum(days))
    assert max(made) <= 36_500 + 2000
    assert max(made[:500]) <= 36_500
    assert min(made[365:]) == 36_500 - 9000
    assert made[-1] > 34_500


@pytest.mark.parametrize(
    "used, pressure",
    [
        pytest.param(Used(steered_week=700, steered_day=100, age=10 * DAY), 1.0, id="just what may be"),
        pytest.param(Used(steered_week=350, steered_day=160, age=10 * DAY), 1.0, id="a crowded day"),
        pytest.param(Used(steered_week=350, steered_day=50, age=10 * DAY), 0.5, id="half of it"),
        pytest.param(Used(steered_week=300, steered_day=100, age=3 * DAY), 1.0, id="a young store"),
        pytest.param(Used(steered_week=25, steered_day=25, age=timedelta(hours=1)), 0.25, id="of its first hour"),
        pytest.param(Used(steered_week=350, other_month=1400, age=60 * DAY), 1.0, id="changes take half"),
        pytest.param(Used(steered_week=350, other_month=9999, age=60 * DAY), 2.0, id="a quarter stays"),
        pytest.param(Used(year=36_500, days=(0,) * 364 + (36_500,), age=DAY), float("inf"), id="nothing is left"),
    ],
)
def test_the_pressure(used: Used, pressure: float) -> None:
    """What the lanes that can wait use, against what is left for them, by week and by day."""
    days = used.days or (0,) * YEAR
    whole = Used(used.hour, used.year, used.week, used.steered_day, used.steered_week, used.other_month, days, used.age)
    assert lanes.pressure(whole, YEARLY) == pytest.approx(pressure, rel=0.01)
    assert lanes.pressure(whole, None) == 0.0


def test_the_order_in_which_lanes_slow_down() -> None:
    """History before polls beyond five minutes, polls last of what can wait, opt-outs and changes never by the year."""
    quarter = {
        lane.name: next((p / 100 for p in range(50, 400) if lanes.rate(lane.name, p / 100) <= 0.15), None)
        for lane in lanes.LANES
    }
    assert quarter == {
        BACKFILL: 0.98,
        RECONCILE: 0.99,
        SWEEP: 1.06,
        POLLS: 0.97,
        LOAD: None,
        CHANGES: None,
        OPT_OUT: None,
    }
    stopped = [lane.name for lane in lanes.LANES if lanes.rate(lane.name, 1.1) == 0.0]
    assert stopped == [BACKFILL, RECONCILE, SWEEP]
    assert lanes.rate(POLLS, float("inf")) == pytest.approx(1 / 60)
    told = [(one.lane, one.rate) for one in lanes.slowed(0.8)]
    assert told == [(POLLS, 0.6)]
    assert [one.lane for one in lanes.slowed(0.9)] == [BACKFILL, RECONCILE, SWEEP, POLLS]
    assert lanes.slowed(0.7) == ()


@pytest.mark.parametrize("lane", [lane.name for lane in lanes.LANES])
def test_a_rate_falls_without_a_leap(lane: str) -> None:
    """From the full rate down, step by small step: nothing is switched on and off."""
    rates = [lanes.rate(lane, pressure / 1000) for pressure in range(1500)]
    assert rates[0] == 1.0
    assert all(0 <= before - after <= 0.011 for before, after in pairwise(rates))


def test_an_hour_leaves_something_to_those_that_stop_later() -> None:
    """Of 1,000 calls an hour history stops at 600, 700 and 800; everything else at 900, opt-outs at the last."""
    left = {lane.name: lanes.left(1000, 0, lane, by_hour=True) for lane in lanes.LANES}
    ordinary = dict.fromkeys((POLLS, LOAD, CHANGES), 900)
    assert left == {BACKFILL: 600, RECONCILE: 700, SWEEP: 800, **ordinary, OPT_OUT: 1000}
    assert [lanes.rate(SWEEP, 0.0, used) for used in (0.79, 0.8, 0.9)] == [1.0, 0.0, 0.0]
    assert lanes.rate(POLLS, 0.0, 1.0) == 1.0


def test_words_say_what_being_slow_means() -> None:
    """Each line names what goes slower, and how slow."""
    words = [one.words for one in lanes.slowed(1.0)]
    assert words == [
        "records that a data share lacks: stopped until calls are free again",
        "comparing both sides: at 12% of the normal pace",
        "looking for what is gone: at 33% of the normal pace",
        "asking what has changed: every 8.0 min where something moves, more seldom elsewhere",
    ]


def test_a_pressure_that_hardly_moves_stays() -> None:
    """A lane on the edge does not flap; nought and infinity are taken at once."""
    assert [lanes.settled(0.9, fresh) for fresh in (0.91, 0.89, 0.925, 0.0, float("inf"))] == [
        0.9,
        0.9,
        0.925,
        0.0,
        float("inf"),
    ]
    assert lanes.settled(None, 0.3) == 0.3


@pytest.mark.parametrize(
    "used, a_day, days",
    [
        pytest.param(Used(year=0, days=(0,) * YEAR), 50.0, None, id="half of what it bears"),
        pytest.param(Used(year=5556, days=(0,) * 364 + (5556,)), 200.0, 175.0, id="twice of it, after a first load"),
        pytest.param(Used(year=36_500, days=old(100)), 100.0, None, id="an old store at its pace"),
        pytest.param(Used(year=36_500, days=old(100)), 200.0, 40.28, id="an old store that calls twice as much"),
        pytest.param(Used(year=40_556, days=(0,) * 364 + (40_556,)), 1.0, 0.0, id="spent"),
        pytest.param(Used(year=0), 0.0, None, id="nobody calls"),
    ],
)
def test_how_long_the_calls_last(used: Used, a_day: float, days: float | None) -> None:
    """What falls away meanwhile is counted on; a pace that any year bears lasts for ever."""
    lasts = lanes.lasts(used, YEARLY, a_day)
    assert (lasts / DAY if lasts is not None else None) == (pytest.approx(days, abs=0.01) if days is not None else None)


def test_slices_are_made_up_for_only_while_calls_last() -> None:
    """Of ten slices a day the fourth, late by two hours, is due at once, but in 4.8 hours at half the rate."""
    at = {"done": 3, "slices": 10}
    late = NOW + timedelta(hours=9.2)
    assert lanes.next_slice(NOW, NOW, DAY, rate=1.0, **at) == NOW + timedelta(hours=7.2)
    assert lanes.next_slice(NOW, late, DAY, rate=1.0, **at) == late
    assert lanes.next_slice(NOW, late, DAY, rate=0.5, **at) == late + timedelta(hours=4.8)
    assert lanes.next_slice(NOW, late, DAY, rate=0.0, **at) == late + timedelta(days=10)
