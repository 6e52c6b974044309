"""Dead letters before the people who mend them: grouped by cause, tried again as a class, dropped only if nothing is lost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worker.core import errors, letters, plan, transforms
from worker.core.mapping import Computed
from worker.core.records import Kind
from worker.store import dead, links, mirror, reopening, selection
from worker.sync import resync
from worker.sync.resync import Receipt, Skipped

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from worker.core.mapping import Mapping
    from worker.store.database import Store
    from worker.store.dead import Letter
    from worker.store.links import Names
    from worker.store.selection import Selection

NOT_FAILED = "not failed"


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause and the dead letters that died of it, the oldest first. ``number`` is its place in the list, from 1."""

    number: int
    words: str
    letters: tuple[Letter, ...]

    @property
    def hint(self) -> str:
        """What usually mends it."""
        return letters.hint_of(self.words)

    @property
    def first(self) -> datetime | None:
        """When the first of them died."""
        return min((one.failed_at for one in self.letters if one.failed_at), default=None)

    @property
    def newest(self) -> datetime | None:
        """When the last of them died."""
        return max((one.failed_at for one in self.letters if one.failed_at), default=None)


def causes(db: sa.Connection) -> list[Cause]:
    """Return the causes of all dead letters, the one with the most first."""
    found: dict[str, list[Letter]] = {}
    for one in dead.letters(db):
        found.setdefault(letters.cause_of(one.words), []).append(one)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return [Cause(number, words, tuple(theirs)) for number, (words, theirs) in enumerate(ordered, start=1)]


def named(known: Sequence[Cause], text: str) -> list[Cause]:
    """Return the causes that a number of the list or a part of the words names, in any case."""
    if not text.strip():
        return []  # an empty word is part of every other: whoever says nothing means nothing
    if text.isdecimal():
        return [one for one in known if one.number == int(text)]
    return [one for one in known if text.casefold() in one.words.casefold()]


def retry(
    store: Store, wanted: Selection | None, cause: str | None, *, names: Names, now: datetime
) -> tuple[Receipt, list[Cause]]:
    """Make due again the dead letters that are selected, of one cause, or both; return the receipt and the causes meant."""
    with store.write() as db:
        meant = named(causes(db), cause) if cause is not None else causes(db)
        ids = {one.id: one.ref for each in meant for one in each.letters}
        told = resync.Receipt(selection.Chosen(), ())
        if wanted is not None:
            told = _selected(db, wanted, names, now)
            chosen = {(kind, one) for kind, some in resync.kinds(told.queued) for one in some}
            ids = {number: ref for number, ref in ids.items() if (ref.kind, ref.id) in chosen}
        by_kind = {kind: sorted(ref.id for ref in ids.values() if ref.kind is kind) for kind in Kind}
        for kind, some in by_kind.items():
            reopening.reopen(db, kind, some, now)
    prospects, people, tasks = (tuple(by_kind[kind]) for kind in (Kind.PROSPECT, Kind.PERSON, Kind.TASK))
    queued = selection.Chosen(prospects, people, tasks)
    return replace(told, queued=queued), meant


def _selected(db: sa.Connection, wanted: Selection, names: Names, now: datetime) -> Receipt:
    """Return which of the selected are dead letters; of those named one by one, say which are none."""
    chosen = selection.resolve(db, replace(wanted, failed=True), now)
    skipped = resync.unknown(db, chosen.unknown, names)
    for word, ids, found in (
        ("prospect", wanted.prospects, chosen.prospects),
        ("task", wanted.tasks, chosen.tasks),
    ):
        well = [one for one in ids if one not in found and f"{word}:{one}" not in chosen.unknown]
        skipped += [Skipped(f"{word}:{one}", NOT_FAILED, "it is no dead letter") for one in well]
    return Receipt(chosen, tuple(skipped))


def undroppable(db: sa.Connection, chosen: Collection[Letter], mapping: Mapping) -> list[Letter]:
    """Return those that carry an opt-out which one side does not show yet: they can be mended, never dropped."""
    mine = [one for one in chosen if one.ref.kind is Kind.PROSPECT]
    ids = [one.ref.id for one in mine]
    remembered = dead.latched(db, ids)
    suspects = [one for one in mine if one.urgent or one.ref.id in remembered]
    prospects, known = mirror.load(db, Kind.PROSPECT, ids), links.load(db, Kind.PROSPECT, ids)
    people = mirror.load(db, Kind.PERSON, [link.crm_id for link in known.values() if not link.gone])
    flag = mapping.field_of(Computed.OPTED_OUT)
    held = []
    for one in suspects:
        prospect, link = prospects.get(one.ref.id), known.get(one.ref.id)
        person = people.get(link.crm_id) if link and not link.gone else None
        told = prospect is not None and (prospect.deleted or plan.prospect_opted_out(prospect.fields) is not None)
        shown = person is not None and flag is not None and transforms.flag(person.fields.get(flag.crm))
        if not (told and shown):
            held.append(one)
    return held


def revive(store: Store, mapping: Mapping, now: datetime) -> int:
    """Make due again every dead letter of an hour ago whose opt-out a side does not show yet; return how many.

    A vendor that refuses an opt-out may take it once somebody has mended why: nobody need tell us (facts, delivery B.7).
    """
    with store.read() as db:
        known = dead.opt_outs(db, before=now - errors.HOURLY)
    if not known:
        return 0
    with store.write() as db:
        return dead.revive(db, [one.id for one in undroppable(db, known, mapping)], now)


def drop(store: Store, chosen: Sequence[Letter], mapping: Mapping) -> tuple[int, list[Letter]]:
    """Close dead letters for good, except those that carry an opt-out; return how many, and which were refused.

    The records stay as they are on both sides; the next edit of one is looked at as any other.
    """
    with store.write() as db:
        chosen = dead.letters(db, [one.id for one in chosen])  # as they are now: one may carry an opt-out since
        refused = undroppable(db, chosen, mapping)
        kept = {one.id for one in refused}
        return dead.drop(db, [one.id for one in chosen if one.id not in kept]), refused
