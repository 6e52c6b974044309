"""The bench's year, cut down to its first four weeks: the pilot finds its intervals, and stays inside."""

from __future__ import annotations

import statistics

import pytest

from tests.bench import year
from worker.core import lanes

DAYS = 28


@pytest.mark.parametrize("yearly, held_s", [(250_000, 600.0), (150_000, 1800.0)])
def test_four_weeks_cost_their_share_of_the_year(yearly: int, held_s: float) -> None:
    """Whatever the limit, nothing is refused, no more is called than a year bears, and working hours get the best of it."""
    lived = year.live(DAYS, webhooks=False, yearly=yearly)
    made = lived.calls.spent()
    assert not lived.refused
    most = lanes.share(yearly, lanes.POLLS) * DAYS / lanes.YEAR
    assert 0.8 * most <= sum(made.values()) - made[lanes.LOAD] <= 1.1 * most
    working = [late for some in lived.seen.working.values() for late in some]
    p95 = statistics.quantiles(working, n=20)[-1]
    assert p95 <= held_s
    assert p95 < statistics.quantiles(lived.seen.other, n=20)[-1]
    rounds = {one.lane: one.done + one.rounds * one.slices for one in lived.rounds}
    assert rounds[lanes.SWEEP] > 0
