"""The rolling sweep: every id of Outreach looked at once a round, slice by slice, for what no poll shows.

A poll sees what a change moves to the front. It does not see what is gone, what a permission hides, or what the vendor did not
stamp. So a round walks through all ids, a thousand a call. What the mirror has and a slice lacks is asked for by id, and is a
removal only if it is not there either; what differs was missed and is fetched. Too much missing at once is no removal but a
brake: a lost permission looks just the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from worker.core import cursor, errors, lanes
from worker.core.mapping import OPT_OUT_ATTRIBUTES
from worker.core.records import Kind
from worker.remote.outreach import IDS_A_CALL
from worker.store import brakes, cursors, mirror, outbox, rounds, sights
from worker.store.sights import Channel
from worker.sync import in_force, notice, receipts, streams
from worker.sync.brakes import REMOVALS
from worker.sync.case import kept_alive
from worker.sync.removals import removed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import sqlalchemy as sa

    from worker.core.records import Snapshot
    from worker.store.rounds import Round
    from worker.sync.case import Applier

log = structlog.get_logger("outbook")

LANE = lanes.SWEEP
"""The lane of the budget that a round's calls are counted under."""
KINDS = (Kind.STATE, Kind.PROSPECT, Kind.TASK)
"""What a round walks through; of tasks only the open ones."""
SLICE = 1000
"""Ids a call."""
TURN = timedelta(days=1)
"""How long a round takes: its slices are spread over it."""
AGAIN = timedelta(minutes=10)
"""After so long a slice that failed is tried again."""
LATE = timedelta(hours=1)
"""A worker takes a slice within a minute or so of its time; one that waits for so long is waited for by nobody."""
LEAST, SHARE = 20, 2
"""More records than this many and this many per cent of a kind, gone within a day, trip the brake."""
HURRIED = "hurried"
"""Marks a round that somebody waits for: its slices are not spread."""
BY_ID = "by_id"
"""Marks a round in which Outreach would not list ids in their order; the next one tries again."""
OPEN = ("incomplete", "pending")
"""The states of an open task (facts, outreach-api 6.5)."""

_SPARSE: dict[Kind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    Kind.STATE: (("state", "stateChangedAt", "updatedAt"), ("sequenceStep",)),
    Kind.PROSPECT: ((*OPT_OUT_ATTRIBUTES, "updatedAt"), ()),
    Kind.TASK: (("state", "stateChangedAt", "updatedAt"), ()),
}
"""What is compared: besides ``updatedAt`` whatever it is unproven of that a change moves that (facts, outreach-api 13)."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What one slice brought.

    ``missed`` are changes that nothing else had shown, ``removed`` those that are gone. ``busy``: somebody else is at it, or
    it is not due. ``ended``: the round came to its end. ``trouble``: the slice failed, and is tried again later.
    """

    kind: Kind
    read: int = 0
    missed: int = 0
    removed: int = 0
    busy: bool = False
    ended: bool = False
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class _Listed:
    """What a slice shows, in the order of ids, ``upto`` which one. ``by_id``: only what is known here was asked for."""

    seen: Sequence[Snapshot]
    upto: int
    last: bool
    by_id: bool = False


@dataclass(frozen=True, slots=True)
class _Slice:
    """One slice: what was listed and up to where, what of that to look at again, what the mirror has beyond it.

    ``cut`` says that the mirror has more beyond it than can be true.
    """

    listed: _Listed
    differing: list[int]
    missing: list[int]
    cut: bool
    settled: Callable[[Snapshot], bool]


@dataclass(slots=True)
class _Found:
    """What a look-up by id brought: records that are there, and ids that are not."""

    there: list[Snapshot] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)


def name_of(kind: Kind) -> str:
    """Return the name of a kind's round."""
    return f"sweep:{kind.value}"


def brake_of(kind: Kind) -> str:
    """Return the key of a kind's brake."""
    return f"{REMOVALS}:{kind.value}"


def roll(on: Applier, until: datetime, *, rate: float = 1.0) -> Iterator[Swept]:
    """Take every slice that is due, kind by kind, until there is none or it is ``until``.

    At a ``rate`` of 0 only those that somebody waits for.
    """
    hurried = approved(on)
    with on.store.read() as db:
        if cursors.unprimed(db):
            return
    for kind in KINDS if rate > 0 else hurried:
        yield from _due(kind, on, until, rate)


def _due(kind: Kind, on: Applier, until: datetime, rate: float) -> Iterator[Swept]:
    while on.now() < until:
        told = take(kind, on, rate=rate)
        if told.busy:
            return
        yield told
        if told.trouble:
            return


def catch_up(on: Applier, rate: float) -> Iterator[Swept]:
    """Take every slice that is due of the rounds that no worker seems to walk; none at a rate of 0."""
    for kind in late(on) if rate > 0 else ():
        yield from _due(kind, on, datetime.max.replace(tzinfo=UTC), rate)


def late(on: Applier) -> list[Kind]:
    """Return the kinds whose next slice has been due for so long that there seems to be no worker to take it.

    A round that never began is due from now on.
    """
    with on.store.read() as db:
        if cursors.unprimed(db):
            return []
        due = {row.name: row.next_at for row in rounds.standings(db)}
    fresh = [name_of(kind) for kind in KINDS if due.get(name_of(kind)) is None]
    if fresh:
        with on.store.write() as db:
            rounds.note_due(db, fresh, on.now())
    at = {kind: due.get(name_of(kind)) or on.now() for kind in KINDS}
    return [kind for kind in KINDS if at[kind] <= on.now() - LATE]


def approved(on: Applier) -> list[Kind]:
    """Return the kinds that somebody waits for: their brake was just taken off, so their rounds begin anew at once."""
    with on.store.read() as db:
        meant = [
            kind for kind in KINDS if brakes.is_off(db, brake_of(kind), on.now()) and brakes.noted(db, brake_of(kind))
        ]
    for kind in meant:
        with on.store.write() as db:
            brakes.forget(db, brake_of(kind))
            rounds.restart(db, name_of(kind), told={HURRIED: True})
    return _hurried(on)


def begin_anew(on: Applier) -> None:
    """Let every round begin anew, at once; who is taking a slice of one loses it."""
    with on.store.write() as db:
        for kind in KINDS:
            rounds.restart(db, name_of(kind), told={HURRIED: True})


def _hurried(on: Applier) -> list[Kind]:
    with on.store.read() as db:
        names = {row.name for row in rounds.standings(db) if row.told.get(HURRIED)}
    return [kind for kind in KINDS if name_of(kind) in names]


def walk(kind: Kind, on: Applier, *, sleep: Callable[[float], None], patience_s: float = 600.0) -> Iterator[Swept]:
    """Take slice after slice of a round that does not dawdle, to its end; who else is at it is waited for."""
    while kind in _hurried(on):
        told = take(kind, on, early=True)
        if not told.busy:
            yield told
        elif patience_s > 0:
            patience_s -= 1
            sleep(1.0)
        if told.trouble or (told.busy and patience_s <= 0):
            return


def take(kind: Kind, on: Applier, *, early: bool = False, rate: float = 1.0) -> Swept:
    """Take the next slice of a round if it is due, or ``early``. Raise :class:`errors.AuthRevoked` or BudgetSpent."""
    with on.store.write() as db:
        if cursors.unprimed(db):
            return Swept(kind, trouble="waits until every stream has been read once")
        this = rounds.lease(db, name_of(kind), on.now(), early=early)
    if this is None:
        return Swept(kind, busy=True)
    try:
        with kept_alive(on.store, lambda db: rounds.renew(db, this, on.now())):
            return _take(kind, on, _begun(kind, on, this), rate)
    except (errors.Transient, errors.ContractBroken) as error:
        _leave(on, this, error.words)
        return Swept(kind, trouble=error.words)
    except errors.OutbookError as error:
        _leave(on, this, error.words)
        raise
    except BaseException:
        _leave(on, this, "interrupted")
        raise


def _leave(on: Applier, this: Round, words: str) -> None:
    with on.store.write() as db:
        rounds.leave(db, this, next_at=on.now() + AGAIN, trouble=words)


def _begun(kind: Kind, on: Applier, this: Round) -> Round:
    """Return the round, at its beginning with how many records the mirror has: ids beyond the highest are left to the next."""
    if this.began_at is not None:
        told = {name: value for name, value in this.told.items() if name != "trouble"}
        return replace(this, told=told)
    with on.store.read() as db:
        count, top = mirror.extent(db, kind, states=_states(kind))
    counts = dict.fromkeys(("slices", "read", "missed", "gone", "removed"), 0)
    told = {HURRIED: this.told.get(HURRIED, False), "count": count, "top": top, **counts}
    return replace(this, began_at=on.now(), told=told)


def _states(kind: Kind) -> tuple[str, ...]:
    return OPEN if kind is Kind.TASK else ()


def _take(kind: Kind, on: Applier, this: Round, rate: float) -> Swept:
    with on.store.read() as db:
        meant = brakes.is_off(db, brake_of(kind), on.now())
    most = this.told["count"] if meant else max(LEAST, this.told["count"] * SHARE // 100)
    one = _compared(kind, on, this, _list(kind, on, this), most)
    fresh = _look_up(kind, on, one.differing)
    found = _look_up(kind, on, one.missing, enough=most, hasty=one.cut)
    if one.cut and len(found.gone) <= most:
        raise errors.RemoteDown(f"a list of {kind.value} leaves out most of what is there by id")
    with on.store.write() as db:
        in_force.guard(db, on.mapping)  # as in ``feeds``
        missed = _keep(db, kind, on, [*fresh.there, *found.there], one.settled)
        taken = take_away(db, kind, on, found.gone, most)
        sights.count(db, kind, Channel.SWEEP, missed + taken, on.now())
        told = Swept(kind, len(one.listed.seen), missed, taken, ended=one.listed.last)
        if not _step(db, on, this, (one, told), gone=len(found.gone), most=most, rate=rate):
            raise errors.RemoteDown(f"lost the round through {kind.value} to another process")
    return told


def _list(kind: Kind, on: Applier, this: Round) -> _Listed:
    """Read one slice.

    That ids can be listed in their order is unproven (facts, outreach-api 5). Where they cannot, what the mirror has is asked
    for by id, at five times the calls: then only a record that nobody ever saw stays unseen.
    """
    attributes, relations = _SPARSE[kind]
    outreach, top = on.remotes.outreach, this.told["top"]
    if not this.told.get(BY_ID):
        try:
            page = outreach.after(
                kind, this.place, attributes=attributes, relations=relations, states=_states(kind), size=SLICE
            )
        except (errors.ContractBroken, errors.RecordFault) as error:
            log.warning("not_listed", stream=kind, reason=error.words)
        else:
            last = page.next is None
            upto = top if last else page.snapshots[-1].ref.id
            return _Listed([one for one in page.snapshots if not one.deleted], upto, last)
    with on.store.read() as db:
        ids = mirror.ids_between(db, kind, this.place, top, limit=SLICE, states=_states(kind))
    seen = outreach.by_ids(kind, ids, attributes=attributes, relations=relations) if ids else []
    last = len(ids) < SLICE
    return _Listed(sorted(seen, key=lambda one: one.ref.id), top if last else ids[-1], last, by_id=True)


def _compared(kind: Kind, on: Applier, this: Round, listed: _Listed, most: int) -> _Slice:
    """Compare a slice with the mirror."""
    ids = [one.ref.id for one in listed.seen]
    limit, upto = len(ids) + most + 1, min(listed.upto, this.told["top"])
    with on.store.read() as db:
        known = mirror.load(db, kind, ids)
        there = mirror.ids_between(db, kind, this.place, upto, limit=limit, states=_states(kind))
        row = cursors.row_of(db, kind)
    watermark = row.watermark if row else None

    def settled(snapshot: Snapshot) -> bool:
        """Tell whether every poll has come by: what changed since is theirs to see first."""
        at = snapshot.updated_at
        return at is None or (watermark is not None and at < watermark - cursor.LONG_OVERLAP)

    return _Slice(
        listed,
        differing=[one.ref.id for one in listed.seen if _was_missed(one, known.get(one.ref.id), settled(one))],
        missing=sorted(set(there) - set(ids)),
        cut=len(there) == limit,
        settled=settled,
    )


def _was_missed(seen: Snapshot, known: Snapshot | None, settled: bool) -> bool:  # noqa: FBT001 - one of three plain facts
    if known is None:
        return settled
    if known.deleted:
        return True
    if not settled or (seen.updated_at and known.updated_at and seen.updated_at < known.updated_at):
        return False
    told = {**known.fields, **known.relations}
    moved = any(name in told and told[name] != value for name, value in {**seen.fields, **seen.relations}.items())
    return moved or seen.updated_at != known.updated_at


def _look_up(kind: Kind, on: Applier, ids: Sequence[int], *, enough: int | None = None, hasty: bool = False) -> _Found:
    """Ask for records by id, in full, until more than ``enough`` are gone; ``hasty``: or until it shows that none is."""
    found = _Found()
    for start in range(0, len(ids), IDS_A_CALL):
        part = ids[start : start + IDS_A_CALL]
        there = on.remotes.outreach.by_ids(
            kind, part, attributes=streams.attributes(kind, on.mapping), relations=streams.relations(kind)
        )
        found.there += there
        found.gone += sorted(set(part) - {one.ref.id for one in there})
        if (enough is not None and len(found.gone) > enough) or (hasty and not found.gone):
            break
    return found


def _keep(
    db: sa.Connection, kind: Kind, on: Applier, found: Sequence[Snapshot], settled: Callable[[Snapshot], bool]
) -> int:
    """Store what a look-up brought; return how many changes that were which no poll would have shown any more."""
    told = {}
    for late in (True, False):
        some = [one for one in found if settled(one) is late]
        told[late] = notice.keep(db, kind, some, mapping=on.mapping, names=on.names, now=on.now()).moved
    return told[True]


def take_away(db: sa.Connection, kind: Kind, on: Applier, gone: Sequence[int], most: int) -> int:
    """Bury what is gone and return how many that were; too many within a day are held instead, as one entry."""
    key, now = brake_of(kind), on.now()
    if gone and not brakes.is_off(db, key, now):
        brakes.note(db, key, gone, now)
        lately = brakes.count(db, key, now, beside=gone)
        if lately > most or _is_held(db, key):
            words = (
                f"{lately} {kind.value} or more can no longer be found in Outreach; nothing counts as removed until you "
                "approve, or give the permission to see them back"
            )
            outbox.post_hold(db, key=key, kind=receipts.BRAKE, words=words, now=now)
            return 0
    return removed(db, kind, gone, mapping=on.mapping, names=on.names, now=now).moved


def _is_held(db: sa.Connection, key: str) -> bool:
    return any(row.key == key for row in outbox.holds(db, receipts.BRAKE))


def _step(
    db: sa.Connection, on: Applier, this: Round, taken: tuple[_Slice, Swept], *, gone: int, most: int, rate: float
) -> bool:
    """Store how far the round has come; at its end take a brake off under which everything has shown again."""
    one, told = taken
    brought = {"slices": 1, "read": told.read, "missed": told.missed, "gone": gone, "removed": told.removed}
    counts = {**this.told, BY_ID: one.listed.by_id, **{name: this.told[name] + more for name, more in brought.items()}}
    began, now = this.began_at or on.now(), on.now()
    if one.listed.last:
        key = brake_of(told.kind)
        if counts["gone"] <= most and _is_held(db, key):
            outbox.lift(db, [key], now)
            brakes.forget(db, key)
        return rounds.finish(db, replace(this, told=counts), now, next_at=max(now, began + TURN))
    done, slices = counts["slices"], counts["count"] // SLICE + 1
    next_at = now if counts[HURRIED] else lanes.next_slice(began, now, TURN, done=done, slices=slices, rate=rate)
    return rounds.step(db, replace(this, place=one.listed.upto, told=counts), now, next_at=next_at)
