"""How many objects a request carries: fewer where the CRM takes long over one, more again once it is quick.

A request that takes too long runs into the vendor's own time limit, or ours, and then nobody knows what became of any of it.
"""

from __future__ import annotations

SLOW_S, QUICK_S = 10.0, 3.0
"""A request that takes longer is halved the next time; one that takes less is doubled."""
FEWEST, MOST = 10, 100
"""The vendor takes a hundred at most; with fewer than ten the requests themselves are what takes long."""


def objects(before: int, sent: int, seconds: float) -> int:
    """Return how many objects the next request may carry, after one of ``sent`` that took so many seconds.

    One that was not full shows nothing when it was quick.
    """
    if seconds > SLOW_S:
        return max(FEWEST, before // 2)
    if seconds < QUICK_S and sent >= before:
        return min(MOST, before * 2)
    return before
