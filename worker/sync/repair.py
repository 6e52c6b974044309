"""What a comparison comes to as a report, and what is done about it: ordinary changes, and entries for a person to decide."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.core.findings import MENDED, Sort, covered, disagreements
from worker.core.records import Kind, Ref
from worker.store import links, outbox
from worker.sync import receipts, reconcile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import sqlalchemy as sa

    from worker.store.database import Store
    from worker.sync.case import Applier

OURS = "reconcile:"
"""How the keys of entries begin that a comparison made."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison as it stands: the round under way, or the last one that ended. ``told`` is what that round counted."""

    pairs: int
    complete: bool
    began_at: datetime | None
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def coverage(self) -> float:
        """Return how many per cent of the pairs were read on both sides and compared."""
        return covered(self.told.get("compared", 0), self.pairs) if self.pairs or self.complete else 0.0

    @property
    def found(self) -> dict[str, int]:
        """Return the counts by kind of finding."""
        return dict(self.told.get("found", {}))

    @property
    def differences(self) -> int:
        """Return how many times the two sides disagree."""
        return disagreements(self.found)

    @property
    def differing(self) -> tuple[int, ...]:
        """Return the prospects whose ordinary change sets right what differs, or holds what is ambiguous."""
        unclear = [one["prospect"] for one in self.undecided if one["kind"] == Sort.AMBIGUOUS]
        return tuple(sorted({*self.told.get("differing", ()), *unclear}))

    @property
    def undecided(self) -> list[dict[str, Any]]:
        """Return the findings that only a person can decide."""
        return list(self.told.get("undecided", ()))

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        return {
            "coverage": self.coverage,
            "complete": self.complete,
            "pairs": self.pairs,
            "compared": self.told.get("compared", 0),
            "began_at": self.began_at.isoformat() if self.began_at else self.told.get("began_at"),
            "read": self.told.get("read", {}),
            "differences": self.differences,
            "found": self.found,
            "fields": self.told.get("fields", {}),
            "missed": self.told.get("missed", {}),
            "findings": self.told.get("findings", []),
        }


def compared(store: Store) -> Compared:
    """Return how the comparison stands."""
    row = reconcile.standing(store)
    with store.read() as db:
        pairs = links.count(db, Kind.PROSPECT)
    if row is None:
        return Compared(pairs, complete=False, began_at=None)
    if row.began_at is not None:
        return Compared(pairs, complete=False, began_at=row.began_at, told=row.told)
    return Compared(row.last.get("pairs", pairs), complete=bool(row.last), began_at=None, told=row.last)


def entries(store: Store, told: Compared) -> dict[str, tuple[str, str]]:
    """Return what a person has to decide, by key: kind and words. People who share an address count if one is linked."""
    found: dict[str, tuple[str, str]] = {}
    shared = {crm for one in told.undecided if one["kind"] == Sort.SAME_ADDRESS for crm in one["people"]}
    with store.read() as db:
        linked = set(links.of_crm(db, Kind.PROSPECT, shared))
    for one in told.undecided:
        sort, people = Sort(one["kind"]), ", ".join(f"person {crm}" for crm in one["people"])
        first = Ref(Kind.PERSON, one["people"][0]) if one["people"] else None
        if sort is Sort.UNREADABLE:
            found[f"{OURS}{sort}:{Ref(Kind.PROSPECT, one['prospect'])}"] = receipts.UNREADABLE, one["why"]
        elif sort is Sort.SAME_REFERENCE:
            key = f"{OURS}{sort}:{Ref(Kind.PROSPECT, one['prospect'])}"
            found[key] = receipts.AMBIGUOUS, f"{one['why']}: {people}"
        elif sort is Sort.ORPHAN:
            found[f"{OURS}{sort}:{first}"] = receipts.AMBIGUOUS, f"{people} {one['why']}"
        elif sort is Sort.SAME_ADDRESS and linked & set(one["people"]):
            found[f"{OURS}{sort}:{first}"] = receipts.AMBIGUOUS, f"{one['why']}: {people}"
    return found


def plan_of(told: Compared, held: Mapping[str, tuple[str, str]]) -> dict[str, int]:
    """Return what a repair would do: changes opened by kind of finding, and entries made."""
    counts = {sort: count for sort, count in told.found.items() if sort in MENDED or sort == Sort.AMBIGUOUS}
    return {**counts, "held": len(held)}


def hold(on: Applier, told: Compared, held: Mapping[str, tuple[str, str]]) -> None:
    """Let each of the entries wait for a person, and let go those of former comparisons that are true no longer."""
    with on.store.write() as db:
        if told.complete:
            _let_go(db, held, on.now())
        for key, (kind, words) in held.items():
            outbox.post_hold(db, key=key, kind=kind, words=words, now=on.now())


def _let_go(db: sa.Connection, held: Mapping[str, tuple[str, str]], now: datetime) -> None:
    stale = [row.key for row in outbox.holds(db) if row.key.startswith(OURS) and row.key not in held]
    outbox.lift(db, stale, now)


def words_of(counts: Mapping[str, int]) -> str:
    """Return counts as a person reads them."""
    return (
        ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in Counter(counts).items() if count) or "nothing"
    )
