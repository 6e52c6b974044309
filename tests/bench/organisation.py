"""An organisation's life, made up: when its people change what, over days; working hours, holidays, rushes, the odd evening."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

HOURS = range(8, 18)
"""Working hours, UTC, Monday to Friday."""
DAY_S, HOUR_S = 86_400.0, 3600.0
HOLIDAYS = frozenset({0, 88, 91, 120, 138, 200, 201, 202, 203, 204, 238, 354, 355, 356, 357, 358, 359, 360, 361})
"""Days of a year on which nobody works."""
RUSHES = frozenset({15, 36, 71, 142, 190, 253, 289, 324})
"""Days with a campaign: thousands are enrolled within an hour."""
RUSH = 4000
AWAY = 0.02
"""How much goes on outside working hours, as a share of an hour's work."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large it is, and how many changes a working day brings by stream."""

    states: int = 60_000
    prospects: int = 25_000
    tasks: int = 5_000
    linked: int = 20_000
    a_day: tuple[tuple[str, float], ...] = (
        ("sequenceStates", 1200.0),
        ("prospects", 150.0),
        ("tasks", 120.0),
        ("sequences", 2.0),
        ("sequenceSteps", 2.0),
    )
    crm_edits: float = 60.0
    opt_outs: float = 6.0


SIZE = Size()


@dataclass(slots=True)
class Life:
    """When what happens, in seconds since the beginning, rising. ``webhooks``: when one arrives that tells of a change."""

    happened: dict[str, list[float]]
    crm_edits: list[float]
    opt_outs: list[float]
    begin: datetime
    hinted: dict[str, frozenset[int]] = field(default_factory=dict)

    def at_work(self, at: float) -> bool:
        """Tell whether a moment lies in working hours."""
        return is_work(self.begin, int(at // DAY_S), int(at % DAY_S // HOUR_S))


def is_work(begin: datetime, day: int, hour: int) -> bool:
    """Tell whether people work in this hour of that day."""
    return hour in HOURS and (begin + timedelta(days=day)).weekday() < 5 and day % 365 not in HOLIDAYS


def live(begin: datetime, days: int, size: Size, *, webhooks: bool, seed: int = 7) -> Life:
    """Make up so many days."""
    chance = random.Random(seed)
    happened = {name: _times(chance, begin, days, a_day) for name, a_day in size.a_day}
    rushes = [one for day in range(days) if day % 365 in RUSHES for one in _rush(chance, begin, day)]
    happened["sequenceStates"] = sorted(happened["sequenceStates"] + rushes)
    life = Life(
        happened,
        _times(chance, begin, days, size.crm_edits),
        _times(chance, begin, days, size.opt_outs),
        begin,
    )
    if webhooks:
        for name, times in happened.items():
            life.hinted[name] = frozenset(n for n, at in enumerate(times) if _arrives(chance, name, at))
    return life


def _arrives(chance: random.Random, name: str, at: float) -> bool:
    """Tell whether a webhook tells of a change: from day 120 to 270, but for five days, and but for one in a hundred."""
    day = at / DAY_S % 365
    return name != "sequenceSteps" and 120 <= day < 270 and not 150 <= day < 155 and chance.random() >= 0.01


def _times(chance: random.Random, begin: datetime, days: int, a_day: float) -> list[float]:
    return [one for day in range(days) for hour in range(24) for one in _hour(chance, begin, (day, hour), a_day)]


def _hour(chance: random.Random, begin: datetime, when: tuple[int, int], a_day: float) -> Iterator[float]:
    """Yield the moments of one hour, as they come when each is by chance."""
    day, hour = when
    rate = a_day / len(HOURS) / HOUR_S * (1.0 if is_work(begin, day, hour) else AWAY)
    at = chance.expovariate(rate)
    while at < HOUR_S:
        yield day * DAY_S + hour * HOUR_S + at
        at += chance.expovariate(rate)


def _rush(chance: random.Random, begin: datetime, day: int) -> list[float]:
    if not is_work(begin, day, 10):
        return []
    return [day * DAY_S + 10 * HOUR_S + chance.uniform(0, HOUR_S) for _ in range(RUSH)]
