"""Counters: how often something has happened, ever, in all processes together. Counted in memory, written down now and then.

A process that is killed takes what it had not written down with it: these numbers are for looking on, not for deciding.
"""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from worker.store.database import accumulate
from worker.store.tables import CounterRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from worker.store.database import Store

COUNTER: sa.Table = CounterRow.__table__  # type: ignore[attr-defined]

Key = tuple[str, tuple[str, ...]]
"""A counter's name and its labels: words of ours without spaces, few of them."""

CALLS, SECONDS, WRITES, READ, MOVED, WEBHOOKS = "calls", "call_seconds", "writes", "read", "moved", "webhooks"
ECHOES = "echoes"
"""What we wrote ourselves, read back for the first time and just so: by stream. What moved since is no echo any more."""
DEAD, OVERWRITTEN = "dead_letters", "overwritten"
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds, in seconds, of how long calls take."""
SUM = "sum"
EVERY = timedelta(seconds=10)


class Counters:
    """Counts for one process. May be shared by threads."""

    def __init__(self, store: Store) -> None:
        """Nothing has happened yet."""
        self._store = store
        self._lock = threading.Lock()
        self._unsaved: Counter[Key] = Counter()
        self._flushed_at: datetime | None = None

    def add(self, name: str, *labels: str, by: float = 1) -> None:
        """Count something; nought costs nothing."""
        if by:
            with self._lock:
                self._unsaved[name, labels] += by  # type: ignore[assignment]  # a Counter adds floats as well

    def called(self, system: str, operation: str, outcome: str, seconds: float) -> None:
        """Count one call, how it ended and how long it took."""
        bound = next((f"{bound:g}" for bound in BOUNDS if seconds <= bound), "+Inf")
        self.add(CALLS, system, operation, outcome)
        self.add(SECONDS, system, operation, bound)
        self.add(SECONDS, system, operation, SUM, by=seconds)

    def flush(self, now: datetime | None = None) -> None:
        """Write down what was counted since the last time; told the time, only every ten seconds.

        If that fails nothing is lost. Never inside a transaction.
        """
        with self._lock:
            if now is not None and self._flushed_at is not None and now - self._flushed_at < EVERY:
                return
            self._flushed_at = now or self._flushed_at
            batch, self._unsaved = self._unsaved, Counter()
        if not batch:
            return
        try:
            with self._store.write() as db:
                add(db, batch)
        except BaseException:
            with self._lock:
                self._unsaved.update(batch)
            raise


def add(db: sa.Connection, counts: Mapping[Key, float]) -> None:
    """Add to counters in the caller's transaction, in an order in which two cannot deadlock."""
    rows = [
        {"name": name, "labels": " ".join(labels), "total": count} for (name, labels), count in sorted(counts.items())
    ]
    accumulate(db, COUNTER, rows, key=("name", "labels"), total="total")


def told(db: sa.Connection) -> dict[Key, float]:
    """Return every counter."""
    return {(row.name, tuple(row.labels.split())): row.total for row in db.execute(sa.select(COUNTER))}


def of(counts: Mapping[Key, float], name: str) -> Iterable[tuple[tuple[str, ...], float]]:
    """Yield the counts of one name by its labels, in order."""
    return sorted((labels, count) for (its, labels), count in counts.items() if its == name)
