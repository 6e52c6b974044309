"""How often a stream is read: slower where webhooks tell everything or nothing happens, at once again when that ends.

Where a year's calls are short a ``rate`` below 1 stretches all that (``core.lanes``): what moves is read as often as the calls
allow, what is quiet pays for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

LONGEST = timedelta(seconds=300)
"""The freshness that holds whatever happens, unless the settings ask for less, or the year's calls would not last."""
SLOWER = 5
"""How many times longer an interval may get."""
DROWSY, ASLEEP = timedelta(minutes=15), timedelta(hours=2)
"""After so long without anything new a stream is read half as often, and a fifth as often."""
MINUTE, AN_HOUR = timedelta(minutes=1), timedelta(hours=1)
"""The normal interval; the longest one where calls are short, unless the settings ask for longer ones."""
MUCH, EASED, TIGHTENED, SLACKEST = 3, 1.5, 1.2, 12.0
"""See :func:`slack`."""
LATELY = timedelta(minutes=15)
"""So long after the last one webhooks count as alive."""
DISTRUST = timedelta(hours=1)
"""So long after a poll found what no webhook had told they are not relied upon."""
TAKEN_WITHIN = timedelta(seconds=60)
FEEDS_SLOWER = 3
"""So many times longer than a stream a feed waits where calls are short: what it tells, something else tells too."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a stream when it is asked whether to read it.

    ``moved_at``: when anything new was last seen in it, else when it was first read to its end. ``late_at``: when a poll last
    found what no webhook had told. ``arrived_at``: when the last webhook came; None where none can be. ``waiting_since``: how
    long the oldest webhook has not been looked at. ``rate``: the share of the normal rate that the year's calls allow;
    ``slack``: how many times longer than others this stream may then wait, by what its polls found.
    """

    shortest: timedelta
    polled_at: datetime | None
    moved_at: datetime | None
    late_at: datetime | None = None
    arrived_at: datetime | None = None
    waiting_since: datetime | None = None
    rate: float = 1.0
    slack: float = 1.0


def interval(facts: Facts, now: datetime) -> timedelta:
    """Return how long to wait between two polls: at most :data:`LONGEST`, unless the shortest is longer, or calls are short."""
    if facts.rate < 1:
        return _stretched(facts)
    longest = min(max(facts.shortest, LONGEST), SLOWER * facts.shortest)
    if told_by_webhooks(facts, now):
        return longest
    if facts.moved_at is None or now - facts.moved_at < DROWSY:
        return facts.shortest
    return longest if now - facts.moved_at >= ASLEEP else min(longest, 2 * facts.shortest)


def _stretched(facts: Facts) -> timedelta:
    """Return the interval where calls are short."""
    return max(facts.shortest, min(AN_HOUR, facts.slack * MINUTE / facts.rate))


def slack(before: float, moved: int) -> float:
    """Return how many times longer than the liveliest a stream may wait where calls are short, after a poll that found so much.

    A poll that finds nothing eases it, one that finds a little tightens it less: so about two polls of three find something.
    One that finds much ends it: a day's work has begun. Nobody has to tell when that is.
    """
    if moved >= MUCH:
        return 1.0
    return max(1.0, before / TIGHTENED) if moved else min(SLACKEST, before * EASED)


def told_by_webhooks(facts: Facts, now: datetime) -> bool:
    """Tell whether webhooks arrive, are looked at, and have told everything that the polls found."""
    if facts.arrived_at is None or now - facts.arrived_at > LATELY:
        return False
    if facts.waiting_since is not None and now - facts.waiting_since > TAKEN_WITHIN + gathering(facts.rate):
        return False
    return facts.late_at is None or now - facts.late_at > DISTRUST


def gathering(rate: float) -> timedelta:
    """Return how long webhooks wait for others to be looked at with: not at all, unless calls are short."""
    return min(LONGEST, MINUTE / rate) if 0 < rate < 1 else timedelta(0)


def is_due(facts: Facts, now: datetime) -> bool:
    """Tell whether to read now. A tick comes once every shortest interval: half early is better than one late."""
    if facts.polled_at is None:
        return True
    return now >= facts.polled_at + interval(facts, now) - facts.shortest / 2


def feed_is_due(facts: Facts, now: datetime) -> bool:
    """Tell whether to read a feed, by what is known of the liveliest stream; at each tick, unless calls are short."""
    if facts.polled_at is None or facts.rate >= 1:
        return True
    wait = min(FEEDS_SLOWER * interval(facts, now), max(AN_HOUR, facts.shortest))
    return now >= facts.polled_at + wait - facts.shortest / 2
