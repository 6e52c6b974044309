from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from worker.core import pacing
from worker.core.pacing import Facts

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BUSY = Facts(shortest=timedelta(seconds=60), polled_at=NOW, moved_at=NOW)
"""A stream in which something has just happened, and no webhooks."""
TOLD = replace(BUSY, arrived_at=NOW)
"""The same with webhooks that arrive and miss nothing."""


def ago(**parts: float) -> datetime:
    """Return a moment of the past."""
    return NOW - timedelta(**parts)


@pytest.mark.parametrize(
    "facts, seconds",
    [
        pytest.param(BUSY, 60, id="no webhooks, lively"),
        pytest.param(replace(BUSY, moved_at=None), 60, id="never anything"),
        pytest.param(replace(BUSY, moved_at=ago(minutes=14)), 60, id="quiet for a while"),
        pytest.param(replace(BUSY, moved_at=ago(minutes=16)), 120, id="drowsy"),
        pytest.param(replace(BUSY, moved_at=ago(hours=3)), 300, id="asleep"),
        pytest.param(TOLD, 300, id="webhooks tell everything"),
        pytest.param(replace(TOLD, arrived_at=ago(minutes=14)), 300, id="the last webhook was a while ago"),
        pytest.param(replace(TOLD, arrived_at=ago(minutes=16)), 60, id="webhooks have fallen silent"),
        pytest.param(replace(TOLD, late_at=ago(minutes=59)), 60, id="a poll found what no webhook had told"),
        pytest.param(replace(TOLD, late_at=ago(minutes=61)), 300, id="and nothing of the kind since"),
        pytest.param(replace(TOLD, waiting_since=ago(seconds=30)), 300, id="webhooks wait to be looked at"),
        pytest.param(replace(TOLD, waiting_since=ago(seconds=61)), 60, id="nobody looks at webhooks"),
    ],
)
def test_the_interval_follows_what_happens(facts: Facts, seconds: int) -> None:
    """Slow only while webhooks tell all or nothing happens; fast again the moment that is not so."""
    assert pacing.interval(facts, NOW) == timedelta(seconds=seconds)


@pytest.mark.parametrize("shortest, longest", [(1, 5), (60, 300), (120, 300), (300, 300), (900, 900)])
def test_no_interval_is_longer_than_five_minutes_or_than_asked(shortest: int, longest: int) -> None:
    """Five times the shortest, at most five minutes; and never less than what the settings ask for."""
    facts = replace(TOLD, shortest=timedelta(seconds=shortest))
    assert pacing.interval(facts, NOW) == timedelta(seconds=longest)
    asleep = replace(BUSY, shortest=timedelta(seconds=shortest), moved_at=ago(days=9))
    assert pacing.interval(asleep, NOW) == timedelta(seconds=longest)


def test_a_tick_that_comes_a_little_early_is_taken() -> None:
    """A poll ends after its tick, so the next tick comes before the interval is over; the one after would be far too late."""
    facts = replace(BUSY, moved_at=ago(seconds=1))
    due = [
        seconds
        for seconds in (20, 29, 31, 59, 61)
        if pacing.is_due(replace(facts, polled_at=ago(seconds=seconds)), NOW)
    ]
    assert due == [31, 59, 61]
    slow = [
        seconds for seconds in (60, 240, 269, 271) if pacing.is_due(replace(TOLD, polled_at=ago(seconds=seconds)), NOW)
    ]
    assert slow == [271]
    assert pacing.is_due(replace(TOLD, polled_at=None), NOW)


@pytest.mark.parametrize(
    "rate, slack, seconds",
    [
        (0.99, 1.0, 61),
        (0.5, 1.0, 120),
        (0.2, 1.0, 300),
        (0.2, 2.0, 600),
        (0.1, 1.0, 600),
        (0.2, 12.0, 3600),
        (0.01, 1, 3600),
    ],
)
def test_where_calls_are_short_the_lively_are_read_most(rate: float, slack: float, seconds: int) -> None:
    """A minute is stretched by the rate, and by what the polls of this stream found; an hour is the longest."""
    facts = replace(BUSY, rate=rate, slack=slack)
    assert pacing.interval(facts, NOW).total_seconds() == pytest.approx(seconds, abs=1)
    assert pacing.interval(replace(facts, moved_at=ago(days=3)), NOW) == pacing.interval(facts, NOW)
    asked = replace(facts, shortest=timedelta(hours=2))
    assert pacing.interval(asked, NOW) == timedelta(hours=2)


def test_polls_that_find_nothing_ease_a_stream() -> None:
    """Seven empty polls and it is asked a twelfth as often; single records tighten it a little, three at once all the way."""
    slack, told = 1.0, []
    for moved in (0, 0, 0, 0, 0, 0, 0, 1, 1, 3, 1):
        slack = pacing.slack(slack, moved)
        told.append(round(slack, 2))
    assert told == [1.5, 2.25, 3.38, 5.06, 7.59, 11.39, 12.0, 10.0, 8.33, 1.0, 1.0]


def test_webhooks_gather_only_where_calls_are_short() -> None:
    """They wait as long as a lively stream, five minutes at most, and count as looked at meanwhile."""
    waits = [pacing.gathering(rate).total_seconds() for rate in (1.0, 0.5, 0.25, 0.01)]
    assert waits == [0.0, 120.0, 240.0, 300.0]
    waiting = replace(TOLD, waiting_since=ago(seconds=200))
    assert [pacing.told_by_webhooks(replace(waiting, rate=rate), NOW) for rate in (1.0, 0.5, 0.25)] == [
        False,
        False,
        True,
    ]


def test_feeds_wait_longest() -> None:
    """At each tick as long as calls last; else three times as long as a stream, an hour at most."""
    feed = Facts(shortest=timedelta(minutes=5), polled_at=ago(minutes=14), moved_at=None)
    assert [pacing.feed_is_due(replace(feed, rate=rate), NOW) for rate in (1.0, 0.25, 0.2)] == [True, True, True]
    assert [pacing.feed_is_due(replace(feed, rate=rate), NOW) for rate in (0.15, 0.01)] == [False, False]
    assert pacing.feed_is_due(replace(feed, rate=0.01, polled_at=ago(minutes=58)), NOW)
    assert pacing.feed_is_due(replace(feed, rate=0.01, polled_at=None), NOW)
