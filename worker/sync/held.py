"""What waits for a person: shown, and let go on once somebody has decided. Each is looked at again before a write."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from worker.core.records import Kind
from worker.store import links, outbox
from worker.sync import receipts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from worker.store.database import Store


class As(StrEnum):
    """What becomes of a person deleted in the CRM about whom the mapping asks."""

    RECREATE = "recreate"
    UNLINK = "unlink"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that waits, and how many records hang on it."""

    key: str
    kind: str
    words: str
    since: datetime
    records: int

    @property
    def prospect(self) -> int | None:
        """The prospect it is about, None for what concerns many."""
        record = self.key.rpartition(":")[2]
        return int(record) if f"{Kind.PROSPECT.value}:" in self.key and record.isdecimal() else None


def entries(store: Store) -> list[Entry]:
    """Return everything that waits for a person, oldest first."""
    with store.read() as db:
        return [Entry(row.key, row.kind, row.words, row.since, row.records) for row in outbox.holds(db)]


def approve(store: Store, chosen: Sequence[Entry], *, how: As | None, now: datetime) -> int:
    """Let entries go on and return how many records are due again.

    A tripped brake takes the deletions seen so far as meant. An entry that the mapping asks about needs ``how``. An ambiguous
    match is only looked at again: approval never decides it.
    """
    with store.write() as db:
        if any(one.key == receipts.BRAKE_KEY for one in chosen):
            links.approve_missing(db)
        asked = [one.prospect for one in chosen if one.kind == receipts.ASK and one.prospect is not None]
        if how is As.UNLINK:
            known = links.load(db, Kind.PROSPECT, asked)
            links.save(db, Kind.PROSPECT, [replace(link, gone=True) for link in known.values()], now)
        elif how is As.RECREATE:
            links.part(db, Kind.PROSPECT, asked)
        return outbox.lift(db, [one.key for one in chosen], now)
