"""When a field's going back and forth is taken for a loop."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from worker.core import breaker
from worker.core.breaker import Turn

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


def turns(*pairs: str, every_s: float = 30.0, last: datetime = NOW) -> list[Turn]:
    """Return writes a while apart, the last one at ``last``; ``AB`` is one that wrote B over A."""
    first = last - timedelta(seconds=every_s * (len(pairs) - 1))
    return [Turn(first + timedelta(seconds=every_s * n), *pair) for n, pair in enumerate(pairs)]


@pytest.mark.parametrize(
    "pairs, flips",
    [
        ([], 0),
        (["AB"], 0),
        (["AB", "BC", "CD", "DE", "EF", "FG", "GH"], 0),
        (["AB", "BA"], 2),
        (["AB", "BA", "AB", "BA"], 4),
        (["AB", "BA", "AB", "BA", "AB"], 5),
        (["AB", "AB", "AB", "AB", "AB"], 5),
        (["AB", "BC", "CA", "AB", "BC"], 4),
        (["AA", "AA", "AA", "AA", "AA", "AA"], 0),
    ],
    ids="none one ever-new back four five put-back in-a-ring nothing-written".split(),
)
def test_what_counts_as_a_flip(pairs: list[str], flips: int) -> None:
    """A write that brings back what was there before, and the one with which that began; ever new values are no flips."""
    assert breaker.flips(turns(*pairs), NOW) == flips
    assert breaker.tripped(turns(*pairs), NOW) is (flips > 4)


def test_only_the_window_counts() -> None:
    """Five flips are too many within ten minutes, and none of anybody's business over eleven."""
    back_and_forth = ["AB", "BA", "AB", "BA", "AB"]
    assert breaker.tripped(turns(*back_and_forth, every_s=150), NOW)
    assert not breaker.tripped(turns(*back_and_forth, every_s=165), NOW)
    assert not breaker.tripped(turns(*back_and_forth), NOW + timedelta(minutes=11))


def test_a_value_is_what_is_compared() -> None:
    """Null is a value like any other: emptied and filled by turns trips, too."""
    blank = [Turn(NOW, "A", None), Turn(NOW, None, "A")] * 2 + [Turn(NOW, "A", None)]
    assert breaker.flips(blank, NOW) == 5
