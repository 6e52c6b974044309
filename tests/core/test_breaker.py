"""The breaker: a field that goes back and forth is stopped, somebody's work is not."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from tests.core.makers import at
from worker.core import breaker
from worker.core.breaker import Turn

NOON = at(12)


def turns(values: str, *, seconds: int = 30) -> list[Turn]:
    """Return our writes of one field, half a minute apart, each letter a value, the last one at noon."""
    first = NOON - timedelta(seconds=seconds * (len(values) - 2))
    pairs = itertools.pairwise(values)
    return [Turn(first + timedelta(seconds=seconds * n), old, new) for n, (old, new) in enumerate(pairs)]


@pytest.mark.parametrize(
    "values, flips",
    [
        ("a", 0),
        ("ab", 0),
        ("aba", 2),  # the second brings back what the first took away
        ("abab", 3),
        ("ababab", 5),
        ("abcdefgh", 0),  # ever new values are somebody's work
        ("abca", 2),
        ("abcabc", 4),
        ("aaaa", 0),  # nothing moved
    ],
)
def test_how_often_a_field_flips(values: str, flips: int) -> None:
    """A write that brings an earlier value back is a flip, and so is the one that began it."""
    assert breaker.flips(turns(values), NOON) == flips


@pytest.mark.parametrize("values, stops", [("ababa", False), ("ababab", True), ("abcdefghijk", False)])
def test_when_a_field_is_stopped(values: str, stops: bool) -> None:
    """Four flips within ten minutes are let through, the fifth is not."""
    assert breaker.tripped(turns(values), NOON) is stops


def test_what_is_long_ago_does_not_count() -> None:
    """Only the last ten minutes count, their first moment included."""
    assert breaker.flips(turns("ababab", seconds=120), NOON) == 5
    assert breaker.flips(turns("ababab", seconds=150), NOON) == 5
    assert breaker.flips(turns("ababab", seconds=151), NOON) == 4
    assert not breaker.tripped(turns("ababababab", seconds=300), NOON)


def test_a_value_put_back_again_and_again_flips() -> None:
    """Somebody else takes it away in between: each of our writes is the same, blank over filled as well."""
    assert breaker.flips([Turn(NOON, "theirs", "ours")] * 5, NOON) == 5
    assert breaker.flips([Turn(NOON, "theirs", None)] * 5, NOON) == 5
