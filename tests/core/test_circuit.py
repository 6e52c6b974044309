"""When calls of one kind are no longer made, and who finds out whether they can be again."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.core.makers import at
from worker.core import circuit
from worker.core.circuit import Circuit

NOW = at(12)
JUST_OPEN = Circuit({}, NOW, NOW + timedelta(seconds=15))


def after(seconds: float) -> datetime:
    """So many seconds after noon."""
    return NOW + timedelta(seconds=seconds)


def counted(*calls: tuple[float, int, int], now: datetime = NOW) -> Circuit:
    """A circuit after calls, each told by the seconds since noon, how many were answered and how many failed."""
    told = Circuit()
    for seconds, well, failed in calls:
        told = circuit.counting(told, {circuit.slice_of(after(seconds)): (well, failed)}, max(now, after(seconds)))
    return told


@pytest.mark.parametrize(
    "calls, is_open",
    [
        ([(0, 0, 20)], True),
        ([(0, 0, 19)], False),  # too few to tell
        ([(0, 10, 10)], True),
        ([(0, 11, 10)], False),  # more than half are answered
        ([(0, 1000, 999)], False),
        ([(-50, 0, 10), (0, 0, 10)], True),
        ([(-61, 0, 10), (0, 0, 10)], False),  # longer ago than a minute
        ([(-61, 100, 0), (0, 0, 20)], True),
    ],
)
def test_half_of_twenty_calls_within_a_minute_open_it(calls: list[tuple[float, int, int]], *, is_open: bool) -> None:
    """At least twenty calls, at least half of them failed, all within sixty seconds (facts, delivery B.7)."""
    assert (counted(*calls).opened_at is not None) is is_open


def test_one_call_goes_through_every_fifteen_seconds() -> None:
    """The first after fifteen seconds; whoever takes it puts the next off for as long again."""
    opened = counted((0, 0, 20))
    assert [circuit.rests_s(opened, after(s)) for s in (0, 1, 14.5, 15, 4000)] == [15.0, 14.0, 0.5, 0.0, 0.0]
    probed = circuit.probing(opened, after(15))
    assert (probed.opened_at, circuit.rests_s(probed, after(16))) == (NOW, 14.0)
    assert circuit.rests_s(Circuit(), NOW) == 0.0


def test_only_a_call_begun_since_closes_it() -> None:
    """One that was on its way when it opened proves nothing; what fails while it is open changes nothing."""
    assert not circuit.ends_outage(JUST_OPEN, after(-0.1))
    assert circuit.ends_outage(JUST_OPEN, after(0))
    assert not circuit.ends_outage(Circuit(), NOW)
    assert circuit.counting(JUST_OPEN, {circuit.slice_of(NOW): (5, 90)}, NOW) == JUST_OPEN


@pytest.mark.parametrize(
    "calls, began_s, ends",
    [
        ([(0, 0, 1)], 60, True),
        ([(0, 0, 1)], 59, False),  # too short for an outage
        ([(0, 0, 1), (1800, 0, 3)], 1801, True),
        ([(0, 0, 1), (300, 1, 0)], 400, False),  # over by then, and not told twice
        ([(0, 0, 1), (300, 1, 1)], 400, False),
        ([(0, 0, 1), (300, 1, 1), (310, 0, 1)], 369, False),
        ([(0, 0, 1), (300, 1, 1), (310, 0, 1)], 370, True),
        ([(0, 5, 0)], 400, False),
        ([(0, 0, 1)], -3600, False),  # by a clock that was set back
    ],
)
def test_an_outage_of_few_calls_is_known_by_its_length(
    calls: list[tuple[float, int, int]], began_s: float, *, ends: bool
) -> None:
    """A minute of nothing but failures, and an answer after it, however few the calls were."""
    assert circuit.ends_outage(counted(*calls), after(began_s)) is ends


def test_a_clock_that_was_set_back_holds_nothing_for_long() -> None:
    """A probe dated an hour ahead is due now; calls dated ahead count no more."""
    assert circuit.rests_s(JUST_OPEN, after(-3600)) == 0.0
    assert circuit.within({circuit.slice_of(after(60)): (0, 9)}, NOW) == {}


def test_failures_make_everybody_tell() -> None:
    """While nothing fails nobody has to."""
    assert [counted(one).failing for one in ((0, 5, 0), (0, 5, 1), (0, 0, 20))] == [False, True, True]
    assert counted((0, 0, 1), (3600, 0, 1)).failing
    assert circuit.counting(counted((0, 0, 1)), {}, after(3600)).failing
