"""Lists of the simulated Outreach that lag behind its writes, as a search index does; look-ups by id never do."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from worker.sim.outreach_store import Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from worker.sim.outreach_store import Store, Target


class Lag:
    """What lists do not know yet: by record, until when, and what it was before (None: it was not)."""

    def __init__(self) -> None:
        """Know of no lag."""
        self.seconds = 0.0
        self._behind: dict[Target, tuple[float, Record | None]] = {}

    def note(self, record: Record, now: datetime, *, created: bool = False) -> None:
        """Remember a record as it is, about to be changed (or just ``created``), if lists lag at all."""
        if self.seconds <= 0:
            return
        target = (record.type, record.id)
        held = self._behind.get(target)
        former = None if created else Record(*target, dict(record.attributes), dict(record.relations))
        self._behind[target] = (now.timestamp() + self.seconds, held[1] if held is not None else former)

    @contextmanager
    def past(self, store: Store, now: datetime) -> Iterator[None]:
        """Let the store be, while the block lasts, what lists know of it. The world's lock is held."""
        moment = now.timestamp()
        self._behind = {target: held for target, held in self._behind.items() if held[0] > moment}
        present: list[tuple[Target, Record | None]] = []
        try:
            for target, (_, former) in self._behind.items():
                present.append((target, _swap(store, target, former)))
            yield
        finally:
            for target, current in reversed(present):
                _swap(store, target, current)


def _swap(store: Store, target: Target, wanted: Record | None) -> Record | None:
    """Put a record in another's place, or nothing; returns what was there."""
    table = store[target[0]]
    current = table.rows.get(target[1])
    if current is not None:
        table.remove(current)
    if wanted is not None:
        table.put(wanted)
    return current
