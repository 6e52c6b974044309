"""The circuit to a vendor for one kind of call: open while most of them fail, closed again by one that is answered.

Every process counts its own calls and adds them to what all know (facts, delivery B.7). An open circuit lets one call through
every few seconds, whoever makes it: that one finds out whether the vendor is back. Where there are too few calls to open one
an outage is known by its length.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

WINDOW_S, SLICE_S = 60, 5
FEWEST = 20
"""Fewer calls within the window open nothing, however many fail."""
MOST_WELL = 0.5
"""At that share of answered calls, or a smaller one, it opens."""
PROBE_EVERY = timedelta(seconds=15)
OUTAGE = timedelta(seconds=60)
"""As long as that no call was answered, it is an outage; what fails for a shorter time is waited out by itself."""
FAILED = frozenset({"down", "unanswered", "unsent"})
"""How a call ends that says nothing but that the vendor is in trouble; a 429 or a refusal is an answer."""

Counted = dict[int, tuple[int, int]]
"""Calls by the slice of time in which they ended: how many were answered, and how many failed."""


@dataclass(frozen=True, slots=True)
class Circuit:
    """``opened_at`` is None while it is closed; ``probe_at`` is when the next call may go through an open one.

    ``down_since`` is since when, as far as a closed one knows, each call has failed; None if the last ones did not.
    """

    counted: Counted = field(default_factory=dict)
    opened_at: datetime | None = None
    probe_at: datetime | None = None
    down_since: datetime | None = None

    @property
    def failing(self) -> bool:
        """Tell whether anything failed lately: then all have to tell of their calls."""
        dated = self.opened_at or self.down_since
        return dated is not None or any(failed for _, failed in self.counted.values())


def slice_of(at: datetime) -> int:
    """Return the slice of time that a moment lies in."""
    return int(at.timestamp()) // SLICE_S


def within(counted: Mapping[int, tuple[int, int]], now: datetime) -> Counted:
    """Return what was counted within the window; nothing that a clock which was set back since has dated ahead."""
    last = slice_of(now)
    return {at: told for at, told in counted.items() if last - WINDOW_S // SLICE_S < at <= last}


def counting(circuit: Circuit, more: Counted, now: datetime) -> Circuit:
    """Return the circuit with more calls counted: open if too many failed. An open one is not judged by them."""
    if circuit.opened_at is not None:
        return circuit
    counted, fresh = within(circuit.counted, now), within(more, now)
    for at, (well, failed) in fresh.items():
        before = counted.get(at, (0, 0))
        counted[at] = before[0] + well, before[1] + failed
    answered, failed = (sum(told[place] for told in counted.values()) for place in (0, 1))
    if answered + failed >= FEWEST and answered <= MOST_WELL * (answered + failed):
        return Circuit({}, opened_at=now, probe_at=now + PROBE_EVERY)
    if any(well for well, _ in fresh.values()):
        return Circuit(counted)
    return Circuit(counted, down_since=circuit.down_since or (now if fresh else None))


def rests_s(circuit: Circuit, now: datetime) -> float:
    """Return for how many seconds no call may be made; 0 if it is closed, or one may find out."""
    if circuit.probe_at is None:
        return 0.0
    left = circuit.probe_at - now
    # Further ahead than that it was put by a clock that has been set back since.
    return left.total_seconds() if timedelta(0) < left <= PROBE_EVERY else 0.0


def probing(circuit: Circuit, now: datetime) -> Circuit:
    """Return an open circuit through which somebody's call goes now, so that the next waits."""
    return Circuit({}, circuit.opened_at, now + PROBE_EVERY)


def ends_outage(circuit: Circuit, began_at: datetime) -> bool:
    """Tell whether the answer to a call that began then ends an outage: one on its way when it opened proves nothing."""
    if circuit.opened_at is not None:
        return began_at >= circuit.opened_at
    return circuit.down_since is not None and began_at - circuit.down_since >= OUTAGE
