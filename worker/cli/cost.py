"""What a bulk verb is about to cost, said on stderr before it begins."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from worker import bootstrap
from worker.sync import cost

if TYPE_CHECKING:
    from worker.config import Settings
    from worker.store.database import Store
    from worker.sync.cost import Cost

MANY = 100
"""Records of which a verb is no bulk verb yet: one batch."""


def say(store: Store, settings: Settings, what: str, of: Cost) -> None:
    """Say how many calls it takes, and how much that is of what is left."""
    mine = settings.outreach
    words = cost.words(of, store, hourly=mine.hourly_calls, yearly=mine.yearly_calls, now=bootstrap.now())
    sys.stderr.write(f"outbook: {what}: {words}\n")
