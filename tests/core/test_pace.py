"""How many objects a request carries, after one that took so long."""

from __future__ import annotations

import pytest

from worker.core import pace


@pytest.mark.parametrize(
    "before, sent, seconds, then",
    [
        (100, 100, 10.5, 50),
        (50, 50, 60.0, 25),
        (25, 3, 11.0, 12),
        (12, 12, 11.0, 10),
        (10, 10, 120.0, 10),
        (100, 100, 10.0, 100),
        (50, 50, 3.0, 50),
        (50, 50, 2.9, 100),
        (10, 10, 0.2, 20),
        (80, 80, 0.2, 100),
        (100, 100, 0.2, 100),
        (50, 49, 0.2, 50),
        (50, 0, 0.0, 50),
    ],
)
def test_the_next_request_follows_the_pace_of_the_last(before: int, sent: int, seconds: float, then: int) -> None:
    """Above ten seconds it is halved, below three doubled if it was full; between ten and a hundred."""
    assert pace.objects(before, sent, seconds) == then
