"""Backfill: the data share's rows into the mirror, in place of reading every sequence state from the API.

A page of rows is one transaction, so what dies in between goes on where it was: a row that the mirror has already is not
written again. Of share and API the newer wins, and where both are of the same second the API, which was there first.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from worker.core import errors
from worker.core.records import Kind
from worker.core.states import Label
from worker.remote.outreach import IDS_A_CALL
from worker.remote.share import ShareInvalid
from worker.store import bulk, cursors, mirror
from worker.store.outbox import Lane
from worker.sync import door, gather, notice, removals, streams
from worker.sync.poll import poll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from worker.core.records import Snapshot
    from worker.remote.share import Organisation, Row, Share
    from worker.store.database import Store
    from worker.sync.case import Applier

OVERLAP = timedelta(hours=24)
"""How far before the newest row the API is read on: nothing proves up to when the share had been filled (facts, data share)."""
PAGES = 20
"""Pages of rows in one transaction: as long as a writer beside us may well wait, for each commit costs as much as a page."""
PAGE = 1000
"""Records on a page of a stream that is read whole."""
WANTED = (Kind.SEQUENCE, Kind.STEP, Kind.PROSPECT)
"""What sequence states refer to and the share does not hold."""


@dataclass(slots=True)
class Loaded:
    """What became of the rows of a share, each id counted once; ``doubtful`` are to be looked up by id."""

    current: int = 0
    taken: int = 0
    unchanged: int = 0
    older: int = 0
    deleted: int = 0
    queued: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    doubtful: list[int] = field(default_factory=list)
    newest: datetime | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """Records that have to be asked for: how many, with how many calls.

    ``whole``: their stream was never read to its end, and reading it is cheaper than asking by id, and needed anyway.
    """

    kind: Kind
    ids: Sequence[int]
    whole: bool

    @property
    def calls(self) -> int:
        """Return how many calls that is; for a whole stream at least."""
        return -(-len(self.ids) // (PAGE if self.whole else IDS_A_CALL))


def choose(share: Share, o_id: str | None, bento: str | None) -> Organisation:
    """Let the share hand out one organisation's rows, and return it; raise :class:`ShareInvalid` unless it is certain which."""
    every = share.organisations()
    fitting = [one for one in every if o_id in {None, one.o_id} and bento in {None, one.bento}]
    listed = [str(one) for one in every]
    if not every:
        raise ShareInvalid("there are no rows in it")
    if not fitting:
        raise ShareInvalid("no row is of that organisation; there are:", *listed)
    if len(fitting) > 1:
        option = "--org O_ID" if len({one.o_id for one in fitting}) > 1 else "--bento BENTO as well"
        raise ShareInvalid(f"rows of {len(fitting)} organisations: say which one is yours with {option}", *listed)
    share.choose(fitting[0])
    why = share.illegible()
    if why is not None:
        raise ShareInvalid(f"not one row can be used: the first {why}")
    return fitting[0]


def load(on: Applier, pages: Iterable[Sequence[Row]], *, on_page: Callable[[Loaded], None]) -> Loaded:
    """Bring the rows into the mirror; ``on_page`` is told how far it is after each transaction, and may raise."""
    told, every = Loaded(), iter(pages)
    with on.store.read() as db:
        highest = bulk.highest(db, Kind.STATE)
    while True:
        now, portion, added = on.now(), 0, list[int]()
        with on.store.write() as db:
            bulk.ease(db)
            for rows in itertools.islice(every, PAGES):
                # Above the highest id of before nothing can be known, which spares a first load every look.
                known = bulk.known(db, Kind.STATE, [row.id for row in rows if row.id <= highest])
                told.queued += _keep(db, on, _sorted(rows, known, told, now), added, now)
                portion += 1
            told.queued += bulk.open_owners(db, added, now=now)
        if not portion:
            return told
        on_page(told)


class _Fate(Enum):
    """What becomes of the row that holds now."""

    NEW = "new"
    NEWER = "newer"
    UNCHANGED = "unchanged"
    OLDER = "older"
    REMOVED = "removed"
    NEVER_SEEN = "never seen, and removed"
    GONE = "removed meanwhile, as far as is known here"
    TIMELESS = "the copy known here has no time to compare with"


def _fate(row: Row, at: datetime, copy: bulk.Known | None) -> _Fate:
    if copy is None:
        return _Fate.NEVER_SEEN if row.deleted else _Fate.NEW
    if copy.deleted and row.deleted:
        return _Fate.UNCHANGED
    if copy.updated_at is None:
        return _Fate.GONE if copy.deleted else _Fate.TIMELESS
    if at < copy.updated_at:
        return _Fate.OLDER
    if row.deleted:
        return _Fate.REMOVED
    if at == copy.updated_at:
        return _Fate.UNCHANGED
    return _Fate.GONE if copy.deleted else _Fate.NEWER


Fates = dict[_Fate, list["Row"]]


def _sorted(rows: Sequence[Row], known: dict[int, bulk.Known], told: Loaded, now: datetime) -> Fates:
    """Return the rows by what becomes of them, and count each."""
    fates: Fates = {fate: [] for fate in _Fate}
    for row in rows:
        at = row.updated_at
        if at is None or (row.why and not row.deleted):
            told.skipped[row.why or "tells no UPDATED_AT"] += 1
            told.doubtful.append(row.id)
            continue
        if at <= now + mirror.SKEW and (told.newest is None or at > told.newest):
            told.newest = at
        fates[_fate(row, at, known.get(row.id))].append(row)
    told.current += len(rows)
    told.taken += len(fates[_Fate.NEW]) + len(fates[_Fate.NEWER])
    told.unchanged += len(fates[_Fate.UNCHANGED])
    told.older += len(fates[_Fate.OLDER])
    told.deleted += len(fates[_Fate.REMOVED]) + len(fates[_Fate.NEVER_SEEN])
    for doubt in (_Fate.GONE, _Fate.TIMELESS):
        told.skipped.update({doubt.value: len(fates[doubt])} if fates[doubt] else {})
        told.doubtful += [row.id for row in fates[doubt]]
    return fates


def _keep(db: sa.Connection, on: Applier, fates: Fates, added: list[int], now: datetime) -> int:
    """Write what is to be written and return how many changes that opened; those of ``added`` states are still to be."""
    told: dict[str, Any] = {"mapping": on.mapping, "names": on.names, "now": now}
    # A deletion of what was never seen concerns nobody, but must not come to life again by an older share.
    buried = door.admitted(db, Kind.STATE, [row.snapshot() for row in fates[_Fate.NEVER_SEEN]], **told)
    tombs = [replace(one, relations={}) for one in buried]
    mirror.save(db, Kind.STATE, streams.all_seen(tombs, on.mapping), now=now)
    plain: list[Snapshot] = []
    telling = [row.snapshot() for row in fates[_Fate.NEWER]]
    for row in fates[_Fate.NEW]:
        opted_out = on.mapping.words.get(row.state or "") is Label.OPTED_OUT
        (telling if opted_out else plain).append(row.snapshot())
    added += notice.pour(db, door.admitted(db, Kind.STATE, plain, **told), mapping=on.mapping)
    queued = notice.keep(db, Kind.STATE, telling, **told, lane=Lane.BULK).queued
    removed = [row.id for row in fates[_Fate.REMOVED]]
    return queued + (removals.removed(db, Kind.STATE, removed, **told).queued if removed else 0)


def needs(store: Store, doubtful: Sequence[int]) -> list[Need]:
    """Return what the share lacks: what its states refer to and nobody here has seen, and rows that leave doubt."""
    with store.read() as db:
        unprimed = cursors.unprimed(db)
        found = [Need(kind, bulk.unknown(db, kind), kind in unprimed) for kind in WANTED]
    found.append(Need(Kind.STATE, tuple(sorted(doubtful)), whole=False))
    return [need for need in found if need.ids]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of a need: how many records came, and how many are gone or may not be seen by this token."""

    need: Need
    found: int
    gone: int


def fetch(on: Applier, need: Need, *, on_page: Callable[[int], None]) -> Fetched:
    """Ask for what is needed; raise :class:`errors.Transient` or :class:`errors.Halt` with what came so far kept."""
    left = need.ids
    if need.whole:
        _read_whole(on, need.kind, on_page)
        with on.store.read() as db:
            still = set(bulk.unknown(db, need.kind))
        left = [one for one in need.ids if one in still]
    told: dict[str, Any] = {"store": on.store, "remotes": on.remotes, "mapping": on.mapping, "names": on.names}
    gone = 0
    for start in range(0, len(left), IDS_A_CALL):
        part = left[start : start + IDS_A_CALL]
        gone += len(gather.fetch(need.kind, part, **told, now=on.now()))
        on_page(start + len(part))
    return Fetched(need, len(need.ids) - gone, gone)


def _read_whole(on: Applier, kind: Kind, on_page: Callable[[int], None]) -> None:
    told: dict[str, Any] = {"store": on.store, "remotes": on.remotes, "mapping": on.mapping, "names": on.names}
    if poll(kind, **told, now=on.now, on_page=lambda polled: on_page(polled.read)).busy:
        raise errors.Throttled(f"another process is reading {kind.value} just now", retry_after_s=0)


def complete(store: Store, newest: datetime, now: datetime) -> datetime | None:
    """Let the sequence states count as read: the next poll goes on from a day before the newest row. Return that moment.

    None where they were read to their end before, for then the API's own mark is the better one. Raise
    :class:`errors.Throttled` while somebody else is reading them.
    """
    with store.write() as db:
        if Kind.STATE not in cursors.unprimed(db):
            return None
        reading = cursors.lease(db, Kind.STATE, now)
        if reading is None:
            raise errors.Throttled("another process is reading the sequence states just now", retry_after_s=0)
        mark = newest - OVERLAP
        cursors.finish(db, reading, watermark=mark, now=now)
    return mark
