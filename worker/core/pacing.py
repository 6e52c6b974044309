"""How often a stream is read: slower where webhooks tell everything or nothing happens, at once again when that ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

LONGEST = timedelta(seconds=300)
"""The freshness that holds whatever happens, unless the settings ask for less."""
SLOWER = 5
"""How many times longer an interval may get."""
DROWSY, ASLEEP = timedelta(minutes=15), timedelta(hours=2)
"""After so long without anything new a stream is read half as often, and a fifth as often."""
LATELY = timedelta(minutes=15)
"""So long after the last one webhooks count as alive."""
DISTRUST = timedelta(hours=1)
"""So long after a poll found what no webhook had told they are not relied upon."""
TAKEN_WITHIN = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a stream when it is asked whether to read it.

    ``moved_at``: when anything new was last seen in it, else when it was first read to its end. ``late_at``: when a poll last
    found what no webhook had told. ``arrived_at``: when the last webhook came; None where none can be. ``waiting_since``: how
    long the oldest webhook has not been looked at.
    """

    shortest: timedelta
    polled_at: datetime | None
    moved_at: datetime | None
    late_at: datetime | None = None
    arrived_at: datetime | None = None
    waiting_since: datetime | None = None


def interval(facts: Facts, now: datetime) -> timedelta:
    """Return how long to wait between two polls; never longer than :data:`LONGEST`, unless the shortest is."""
    longest = min(max(facts.shortest, LONGEST), SLOWER * facts.shortest)
    if told_by_webhooks(facts, now):
        return longest
    if facts.moved_at is None or now - facts.moved_at < DROWSY:
        return facts.shortest
    return longest if now - facts.moved_at >= ASLEEP else min(longest, 2 * facts.shortest)


def told_by_webhooks(facts: Facts, now: datetime) -> bool:
    """Tell whether webhooks arrive, are looked at, and have told everything that the polls found."""
    if facts.arrived_at is None or now - facts.arrived_at > LATELY:
        return False
    if facts.waiting_since is not None and now - facts.waiting_since > TAKEN_WITHIN:
        return False
    return facts.late_at is None or now - facts.late_at > DISTRUST


def is_due(facts: Facts, now: datetime) -> bool:
    """Tell whether to read now. A tick comes once every shortest interval: half early is better than one late."""
    if facts.polled_at is None:
        return True
    return now >= facts.polled_at + interval(facts, now) - facts.shortest / 2
