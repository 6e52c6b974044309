"""Records looked at again because somebody wants them to be: queued once each, with a receipt of what was skipped and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from worker.core import transforms
from worker.core.records import Kind
from worker.store import forgotten, reopening, selection
from worker.store.database import chunks
from worker.store.links import Name
from worker.store.selection import Chosen, Selection
from worker.sync import apply, hands, skips, strangers
from worker.sync.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    import sqlalchemy as sa

    from worker.store.database import Store
    from worker.store.links import Names
    from worker.sync.case import Applier

HELD, UNKNOWN, FORGOTTEN, EXCLUDED = "held", "unknown", "forgotten", "excluded"
_WORDS = {
    UNKNOWN: "no poll has brought it yet",
    FORGOTTEN: "erased here by `outbook forget`",
}


@dataclass(frozen=True, slots=True)
class Skipped:
    """One record that was not queued: ``prospect:7``, one of the four reasons, and what there is to say about it.

    ``record`` may be an address somebody gave: for whoever asked, never for a log.
    """

    record: str
    why: str
    words: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a request to look again."""

    queued: Chosen
    skipped: tuple[Skipped, ...]
    dry_run: bool = False

    def counts(self) -> dict[str, int]:
        """Return how many were skipped, by reason."""
        told: dict[str, int] = {}
        for one in self.skipped:
            told[one.why] = told.get(one.why, 0) + 1
        return told

    @property
    def lost(self) -> bool:
        """Tell whether something that was named is not known here, or no longer may be."""
        return any(one.why in {UNKNOWN, FORGOTTEN} for one in self.skipped)

    def as_json(self) -> dict[str, Any]:
        """Return the receipt as JSON data."""
        return {
            "queued": len(self.queued),
            "prospects": len(self.queued.prospects),
            "people": len(self.queued.people),
            "tasks": len(self.queued.tasks),
            "skipped": [{"record": one.record, "why": one.why, "words": one.words} for one in self.skipped],
            "dry_run": self.dry_run,
        }


def resync(store: Store, wanted: Selection, *, names: Names, now: datetime, dry_run: bool = False) -> Receipt:
    """Open the change of every record that is meant, its attempts forgotten; with ``dry_run`` only tell what would be."""
    with store.read() if dry_run else store.write() as db:
        told = _sorted_out(db, choose(db, wanted, now), names)
        if not dry_run:
            reopen(db, told.queued, now)
    return replace(told, dry_run=dry_run)


def choose(db: sa.Connection, wanted: Selection, now: datetime) -> Chosen:
    """Return whom a selection means; of people who are named one by one or by their sequence, all tasks too."""
    chosen = selection.resolve(db, wanted, now)
    if wanted.everyone or wanted.failed or wanted.since is not None:
        return chosen
    return _with_tasks(db, chosen)


def grown(db: sa.Connection, chosen: Chosen, now: datetime) -> Chosen:
    """Return the chosen with those whom they have become meanwhile: a person's new prospect, people's new tasks."""
    named = Selection(prospects=chosen.prospects, people=chosen.people, tasks=chosen.tasks)
    return replace(_with_tasks(db, selection.resolve(db, named, now)), people=chosen.people, unknown=chosen.unknown)


def _with_tasks(db: sa.Connection, chosen: Chosen) -> Chosen:
    theirs = selection.tasks_of(db, chosen.prospects)
    return replace(chosen, tasks=tuple(sorted({*chosen.tasks, *theirs})))


def reopen(db: sa.Connection, chosen: Chosen, now: datetime) -> None:
    """Open a change for each of the chosen, never a second one."""
    for kind, ids in kinds(chosen):
        reopening.reopen(db, kind, ids, now)


def kinds(chosen: Chosen) -> Iterator[tuple[Kind, tuple[int, ...]]]:
    """Return the kinds of changes that belong to the chosen, with their ids."""
    yield Kind.PROSPECT, chosen.prospects
    yield Kind.PERSON, chosen.people
    yield Kind.TASK, chosen.tasks


def _sorted_out(db: sa.Connection, chosen: Chosen, names: Names) -> Receipt:
    words = {Kind.PROSPECT: "prospect", Kind.PERSON: "person", Kind.TASK: "task"}
    queued: dict[Kind, tuple[int, ...]] = {}
    skipped = unknown(db, chosen.unknown, names)
    for kind, ids in kinds(chosen):
        waiting = reopening.held(db, kind, ids)
        left_out = reopening.excluded(db, kind, ids)
        skipped += [Skipped(f"{words[kind]}:{one}", HELD, waiting[one]) for one in sorted(waiting)]
        skipped += [Skipped(f"{words[kind]}:{one}", EXCLUDED, left_out[one]) for one in sorted(left_out)]
        queued[kind] = tuple(one for one in ids if one not in waiting and one not in left_out)
    told = Chosen(queued[Kind.PROSPECT], queued[Kind.PERSON], queued[Kind.TASK], chosen.unknown)
    return Receipt(told, tuple(skipped))


def unknown(db: sa.Connection, named: tuple[str, ...], names: Names) -> list[Skipped]:
    """Tell of what nobody here knows whether that is because it was erased."""
    called = {text: _name(text, names) for text in named}
    erased = forgotten.since(db, [name for name in called.values() if name], names)
    reasons = {text: FORGOTTEN if name in erased else UNKNOWN for text, name in called.items()}
    return [Skipped(text, why, _WORDS[why]) for text, why in reasons.items()]


def _name(text: str, names: Names) -> Name | None:
    address = transforms.address(text)
    if address:
        return names.of(prospect=None, person=None, addresses=[address])[0]
    kind, _, number = text.partition(":")
    return Name(kind, number) if kind in {"prospect", "person"} else None


def claim(on: Applier, chosen: Chosen | None, heed: Callable[[], None]) -> Tally:
    """Apply a batch of each kind, of people many where many are due; of the chosen one of each portion of a statement."""
    if chosen is None:
        told = hands.apply_people(on, heed)
        told.add(strangers.apply_strangers(on))
        told.add(skips.apply_tasks(on))
        return told
    told = Tally()
    for part in chunks(chosen.prospects):
        told.add(apply.apply_people(on, only=part))
    for part in chunks(chosen.people):
        told.add(strangers.apply_strangers(on, only=part))
    for part in chunks(chosen.tasks):
        told.add(skips.apply_tasks(on, only=part))
    return told
