"""Which records somebody means: the words of SELECTION turned into ids, with a handful of set-based queries.

Naming (prospects, people, addresses, sequences, tasks, everyone) adds up; ``since`` and ``failed`` narrow what is named, or
everything when nothing is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from worker.core import transforms
from worker.core.records import Kind
from worker.store import mirror
from worker.store.database import CHUNK, chunks
from worker.store.links import LINK
from worker.store.mirror import ADDRESS, MIRROR, REFERENCE, SKEW
from worker.store.outbox import CHANGE, Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

_OF_A_SEQUENCE = sa.or_(
    MIRROR.c.sequence_id.is_not(None), MIRROR.c.state_id.is_not(None), MIRROR.c.step_id.is_not(None)
)


@dataclass(frozen=True, slots=True)
class Selection:
    """What somebody named. Ids are the vendors' own; ``addresses`` in any case; ``since`` is aware."""

    prospects: tuple[int, ...] = ()
    people: tuple[int, ...] = ()
    addresses: tuple[str, ...] = field(default=(), repr=False)
    sequences: tuple[int, ...] = ()
    tasks: tuple[int, ...] = ()
    since: datetime | None = None
    failed: bool = False
    everyone: bool = False
    limit: int | None = None

    @property
    def names(self) -> bool:
        """Tell whether anybody is named, one by one or all."""
        named = self.prospects or self.people or self.addresses or self.sequences or self.tasks
        return bool(named or self.everyone)

    @property
    def empty(self) -> bool:
        """Tell whether nothing is selected at all; a limit alone selects nothing."""
        return not (self.names or self.failed or self.since is not None)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Whom a selection means: each ascending, ``people`` only those of the CRM who belong to no prospect.

    ``tasks`` are the Outreach tasks that were named, or that ``since``, ``failed`` or everyone found; those of the chosen
    people are told by ``tasks_of``. ``unknown`` is what was named and nobody here has ever seen: ``prospect:7``,
    ``sequence:3``, an address as it was given. It may so hold personal data: for whoever asked, never for a log.
    """

    prospects: tuple[int, ...] = ()
    people: tuple[int, ...] = ()
    tasks: tuple[int, ...] = ()
    unknown: tuple[str, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        """Return how many records are chosen."""
        return len(self.prospects) + len(self.people) + len(self.tasks)


@dataclass(slots=True)
class _Found:
    """Ids on their way into Chosen."""

    prospects: set[int] = field(default_factory=set)
    people: set[int] = field(default_factory=set)
    tasks: set[int] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)


def resolve(db: sa.Connection, selection: Selection, now: datetime) -> Chosen:
    """Return whom the selection means, tombstones included, as the store knows them at ``now``; nobody if it is empty."""
    if selection.empty:
        return Chosen()
    found = _named(db, selection) if selection.names else _Found()
    narrow = _narrowing(db, selection, now)
    if narrow is not None and selection.names and not selection.everyone:
        found.tasks.update(tasks_of(db, found.prospects))
        found.prospects &= narrow.prospects
        found.people &= narrow.people
        found.tasks &= narrow.tasks
    elif narrow is not None:
        narrow.unknown = found.unknown
        found = narrow
    return _cut(found, selection.limit)


def _cut(found: _Found, limit: int | None) -> Chosen:
    left = len(found.prospects) + len(found.people) + len(found.tasks) if limit is None else limit
    told: list[tuple[int, ...]] = []
    for ids in (found.prospects, found.people, found.tasks):
        told.append(tuple(sorted(ids)[:left]))
        left -= len(told[-1])
    return Chosen(told[0], told[1], told[2], tuple(dict.fromkeys(found.unknown)))


def _named(db: sa.Connection, selection: Selection) -> _Found:
    found = _Found()
    if selection.everyone:
        _everyone(db, found)
    known = _known(db, Kind.PROSPECT, selection.prospects)
    found.prospects |= known
    found.unknown += _missing("prospect", selection.prospects, known)
    bodies = _known(db, Kind.PERSON, selection.people)
    found.unknown += _missing("person", selection.people, bodies)
    borne = _bearers(db, selection.addresses, found)
    _bring_home(db, bodies | borne, found)
    _in_sequences(db, selection.sequences, found)
    tasks = _known(db, Kind.TASK, selection.tasks)
    found.tasks |= tasks
    found.unknown += _missing("task", selection.tasks, tasks)
    return found


def _missing(word: str, wanted: Sequence[int], known: set[int]) -> list[str]:
    return [f"{word}:{one}" for one in wanted if one not in known]


def _everyone(db: sa.Connection, found: _Found) -> None:
    """Add every living prospect, every pair, and whatever else is linked or has an open change."""
    living = sa.select(MIRROR.c.id).where(MIRROR.c.kind == Kind.PROSPECT, MIRROR.c.deleted == sa.false())
    paired = sa.select(LINK.c.outreach_id).where(LINK.c.kind == Kind.PROSPECT, LINK.c.gone == sa.false())
    written = sa.select(LINK.c.outreach_id).where(LINK.c.kind == Kind.TASK, LINK.c.gone == sa.false())
    found.prospects.update(_ids(db, living), _ids(db, paired), _ids(db, _opened(Kind.PROSPECT)))
    found.people.update(_ids(db, _opened(Kind.PERSON)))
    found.tasks.update(_ids(db, written), _ids(db, _opened(Kind.TASK)))


def _opened(kind: Kind, *which: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(CHANGE.c.record_id).where(CHANGE.c.kind == kind, *which)


def _ids(db: sa.Connection, query: sa.Select[Any]) -> set[int]:
    return set(db.execute(query).scalars())


def _known(db: sa.Connection, kind: Kind, ids: Iterable[int]) -> set[int]:
    """Return which of the records anything is known of: a copy, a link or an open change."""
    linked, column = (Kind.PROSPECT, LINK.c.crm_id) if kind is Kind.PERSON else (kind, LINK.c.outreach_id)
    found: set[int] = set()
    for part in chunks(sorted(set(ids))):
        found |= _ids(db, sa.select(MIRROR.c.id).where(MIRROR.c.kind == kind, MIRROR.c.id.in_(part)))
        found |= _ids(db, sa.select(column).where(LINK.c.kind == linked, column.in_(part)))
        found |= _ids(db, _opened(kind, CHANGE.c.record_id.in_(part)))
    return found


def _bearers(db: sa.Connection, addresses: Sequence[str], found: _Found) -> set[int]:
    """Add the prospects that bear one of the addresses, and return the people that do."""
    given = {transforms.address(text) or text: text for text in addresses}
    wanted = sorted(given)
    seen: set[str] = set()
    people: set[int] = set()
    for start in range(0, len(wanted), CHUNK):
        query = sa.select(ADDRESS).where(ADDRESS.c.address.in_(wanted[start : start + CHUNK]))
        for row in db.execute(query):
            seen.add(row.address)
            (found.prospects if row.kind == Kind.PROSPECT else people).add(row.record_id)
    found.unknown += [text for key, text in given.items() if key not in seen]
    return people


def _bring_home(db: sa.Connection, people: set[int], found: _Found) -> None:
    """Add for each person the prospect it belongs to: by the link, else by the reference it carries; or itself."""
    home: dict[int, int] = {}
    for part in chunks(sorted(people)):
        linked = sa.select(LINK.c.crm_id, LINK.c.outreach_id).where(
            LINK.c.kind == Kind.PROSPECT, LINK.c.crm_id.in_(part), LINK.c.gone == sa.false()
        )
        home.update((row.crm_id, row.outreach_id) for row in db.execute(linked))
        referring = sa.select(REFERENCE.c.record_id, REFERENCE.c.outreach_id).where(
            REFERENCE.c.kind == Kind.PERSON, REFERENCE.c.record_id.in_(part)
        )
        for row in db.execute(referring):
            home.setdefault(row.record_id, row.outreach_id)
    known = _known(db, Kind.PROSPECT, home.values())
    found.prospects |= known
    found.people |= {one for one in people if home.get(one) not in known}


def _in_sequences(db: sa.Connection, ids: Sequence[int], found: _Found) -> None:
    """Add everybody with a state in one of the sequences, a finished one too."""
    for part in chunks(sorted(set(ids))):
        states = sa.select(MIRROR.c.prospect_id).where(
            MIRROR.c.kind == Kind.STATE,
            MIRROR.c.sequence_id.in_(part),
            MIRROR.c.deleted == sa.false(),
            MIRROR.c.prospect_id.is_not(None),
        )
        found.prospects |= _ids(db, states.distinct())
        seen = sa.select(MIRROR.c.sequence_id).where(MIRROR.c.kind == Kind.STATE, MIRROR.c.sequence_id.in_(part))
        known = _known(db, Kind.SEQUENCE, part) | _ids(db, seen.distinct())
        found.unknown += _missing("sequence", [one for one in ids if one in set(part)], known)


def _narrowing(db: sa.Connection, selection: Selection, now: datetime) -> _Found | None:
    """Return all records that ``since`` and ``failed`` leave; None without either."""
    left: _Found | None = None
    if selection.failed:
        left = _with_changes(db, CHANGE.c.state == Standing.DEAD)
    if selection.since is not None:
        recent = _recent(db, selection.since, now)
        if left is None:
            return recent
        left.prospects &= recent.prospects
        left.people &= recent.people
        left.tasks &= recent.tasks
    return left


def _with_changes(db: sa.Connection, which: sa.ColumnElement[bool]) -> _Found:
    prospects, people, tasks = (_ids(db, _opened(kind, which)) for kind in (Kind.PROSPECT, Kind.PERSON, Kind.TASK))
    return _Found(prospects, people, tasks)


def _recent(db: sa.Connection, since: datetime, now: datetime) -> _Found:
    """Return whose record, on either side, was saved since then, or whose change was opened or failed since then.

    A date in the future is no news: such a record would be recent for ever.
    """
    found = _with_changes(db, sa.or_(CHANGE.c.opened_at >= since, CHANGE.c.failed_at >= since))
    lately = MIRROR.c.updated_at.between(since, now + SKEW)
    saved = sa.select(MIRROR.c.id).where(lately)
    states = sa.select(MIRROR.c.prospect_id).where(
        MIRROR.c.kind == Kind.STATE, lately, MIRROR.c.prospect_id.is_not(None)
    )
    people = saved.where(MIRROR.c.kind == Kind.PERSON)
    paired = sa.select(LINK.c.outreach_id).where(
        LINK.c.kind == Kind.PROSPECT, LINK.c.gone == sa.false(), LINK.c.crm_id.in_(people)
    )
    prospects = saved.where(MIRROR.c.kind == Kind.PROSPECT)
    found.prospects.update(_ids(db, prospects), _ids(db, states.distinct()), _ids(db, paired))
    found.tasks.update(_ids(db, saved.where(MIRROR.c.kind == Kind.TASK, _OF_A_SEQUENCE)))
    return found


def tasks_of(db: sa.Connection, prospect_ids: Iterable[int]) -> set[int]:
    """Return the Outreach tasks of some prospects' sequences that live, are linked or have an open change."""
    found: set[int] = set()
    alive = sa.or_(MIRROR.c.deleted == sa.false(), MIRROR.c.id.in_(_opened(Kind.TASK)))
    for part in chunks(sorted(set(prospect_ids))):
        theirs = MIRROR.c.id.in_(mirror.tasks_of(part))
        query = sa.select(MIRROR.c.id).where(MIRROR.c.kind == Kind.TASK, theirs, _OF_A_SEQUENCE, alive)
        found |= _ids(db, query)
    return found
