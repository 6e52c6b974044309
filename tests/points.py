"""Where a test lets a process die: at a handful of points by default, drawn anew each time; at every one at night.

``HYPOTHESIS_PROFILE=nightly`` takes them all, as it takes more examples. What was drawn is printed with a failure, and
``--randomly-seed=N``, with the seed printed there, draws the same again.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from typing import TypeVar

import hypothesis
import pytest

T = TypeVar("T")
NIGHTLY = 5_000
"""As many examples as this profile asks for, it wants everything."""


def some(request: pytest.FixtureRequest, points: Sequence[T], count: int) -> list[T]:
    """Return so many of the points in their order, the last one always among them; all of them at night."""
    if hypothesis.settings().max_examples >= NIGHTLY or len(points) <= count:
        return list(points)
    seed = request.config.getoption("randomly_seed", default=0)
    drawn = random.Random(f"{seed} {request.node.nodeid}").sample(range(len(points) - 1), count - 1)
    sys.stderr.write(f"seed {seed} draws points {sorted(drawn)} of {len(points)} (again: --randomly-seed={seed})\n")
    return [*(points[at] for at in sorted(drawn)), points[-1]]
