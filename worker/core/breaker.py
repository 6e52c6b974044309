"""The breaker: a field that goes back and forth between the same values is taken for a loop and stopped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from worker.core.records import Value

WINDOW = timedelta(minutes=10)
FLIPS = 4
"""How often a field of one record may flip within the window."""
RECORDS = 20
"""On how many records a field may be stopped before it is stopped for everybody."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One write of ours to one field of one record: what it held, and what it holds since. Values in comparable form."""

    at: datetime
    before: Value
    after: Value


def flips(turns: Iterable[Turn], now: datetime) -> int:
    """Return how often the field went back and forth within the window, by our own writes.

    A write flips it that brings back a value which it held before, within the window; the one that began the back and forth
    counts with them. Ever new values are somebody's work, and count nothing.
    """
    held: list[Value] = []
    back = 0
    for turn in turns:
        if now - turn.at > WINDOW or turn.before == turn.after:
            continue
        back += turn.after in held
        held += [turn.before, turn.after]
    return back + 1 if back else 0


def tripped(turns: Iterable[Turn], now: datetime) -> bool:
    """Tell whether the field has flipped so often that it must stop."""
    return flips(turns, now) > FLIPS
