"""The feeds that Outreach keeps beside its records, as far as the token may read them: ``events`` and ``emailAddresses``.

An entry that somebody opted out is evidence: it latches, and its change goes before others. One about a state, a task or a
prospect is a hint: the records are fetched by id in one batch, unless a poll was quicker. Nothing here is a poll's business,
so a feed that cannot be read is never a failure: it is remembered, and asked for again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from worker.core import cursor, errors, transforms
from worker.core.records import Feed, Kind
from worker.core.transforms import Compare
from worker.remote import outreach_feeds
from worker.remote.base import LinkRefused
from worker.store import cursors, liftings, links, mirror, outbox, sights
from worker.store.outbox import Lane
from worker.store.sights import Channel
from worker.sync import door, in_force, naming, notice
from worker.sync.case import kept_alive
from worker.sync.hints import Hints, Looked, gathered, look_up
from worker.sync.removals import removed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from worker.remote.outreach_feeds import Entry, Page
    from worker.store.cursors import Reading
    from worker.store.links import Name
    from worker.sync.case import Applier

SLACK = timedelta(seconds=2)
"""Stamps and the server's own time are whole seconds: within so many of an opt-in an event may be of what that lifted."""
FORBIDDEN_FOR = timedelta(days=1)
"""After so long a feed that the token may not read is asked for again."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What one run through a feed brought. ``trouble``: why it could not be read to its end."""

    feed: Feed
    read: int = 0
    opted_out: int = 0
    moved: int = 0
    removed: int = 0
    queued: int = 0
    trouble: str | None = None


def listen(on: Applier) -> list[Heard]:
    """Read both feeds as far as they go; nothing is heard before every stream was read once."""
    return [told for feed in Feed if (told := read(feed, on)) is not None]


def read(feed: Feed, on: Applier) -> Heard | None:
    """Read one feed to its end; None if it is somebody else's just now, or not to be asked for yet.

    Raise :class:`errors.AuthRevoked` (not for this feed alone) or BudgetSpent.
    """
    with on.store.write() as db:
        row = cursors.row_of(db, feed)
        forbidden = row is not None and row.next_at is not None and row.next_at > on.now()
        reading = None if forbidden or cursors.unprimed(db) else cursors.lease(db, feed, on.now())
    if reading is None:
        return None
    try:
        with kept_alive(on.store, lambda db: cursors.renew(db, reading, on.now())):
            return _read(feed, on, reading)
    except errors.Forbidden as error:
        return _left(feed, on, reading, error, again_at=on.now() + FORBIDDEN_FOR)
    except (errors.Transient, errors.RecordFault, errors.ContractBroken) as error:
        return _left(feed, on, reading, error)
    except errors.OutbookError as error:
        _left(feed, on, reading, error)
        raise
    except BaseException:
        with on.store.write() as db:
            cursors.leave(db, reading, "interrupted")
        raise


def _left(
    feed: Feed, on: Applier, reading: Reading[Feed], error: errors.OutbookError, *, again_at: datetime | None = None
) -> Heard:
    restart = isinstance(error, errors.RecordFault | errors.ContractBroken | LinkRefused)
    with on.store.write() as db:
        cursors.leave(db, reading, error.words, restart=restart)
        if feed is Feed.EVENTS and isinstance(error, errors.ContractBroken):
            naming.distrust(db, on.now())
        if again_at is not None:
            cursors.plan_next(db, feed, again_at)
    return Heard(feed, trouble=error.words)


def _read(feed: Feed, on: Applier, reading: Reading[Feed]) -> Heard:
    known, total = reading.place_id or 0, Heard(feed)
    high = known
    since = cursor.begin(reading.watermark, reading.polls) or on.now() - cursor.LONG_OVERLAP
    fetch = partial(outreach_feeds.page, on.remotes.outreach, feed, since=since)
    by_name = feed is Feed.EVENTS and naming.suffices(on.store, on.now())
    judged = by_name or feed is not Feed.EVENTS or reading.next_link is not None
    page = fetch(link=reading.next_link, names=naming.NAMES if by_name else ())
    while True:
        high = max([high, *(one.id for one in page.entries)])
        # What a prospect or a state says by itself needs no event: hints count once, evidence may be told again.
        hints = gathered([one for one in page.entries if one.id > known] if feed is Feed.EVENTS else [])
        looked = look_up(on, _unseen(on, hints))
        reading = _later(reading, page, silent=by_name)
        with on.store.write() as db:
            # What was looked up by an old mapping may lack what was read since by the new one.
            in_force.guard(db, on.mapping)
            told = _heed(db, on, reading, page, looked)
            if not _advance(db, on, reading, page, high):
                raise errors.RemoteDown(f"lost the lease on {feed.value} to another process")
        total = _sum(total, told)
        if page.next is None:
            return total
        # The first page with anything unheard shows what polls had time to see: do they need to be told?
        unheard = not judged and any(one.id > known for one in page.entries)
        narrow = naming.narrow(on, page) if unheard and not told.moved else None
        judged, by_name = judged or unheard, by_name or narrow is not None
        page = narrow or fetch(link=page.next)


def _sum(left: Heard, right: Heard) -> Heard:
    counts = ("read", "opted_out", "moved", "removed", "queued")
    return replace(left, **{name: getattr(left, name) + getattr(right, name) for name in counts})


def _later(reading: Reading[Feed], page: Page, *, silent: bool) -> Reading[Feed]:
    """Return where the run stands; ``silent``: what was asked for may not have happened for long, so time itself counts."""
    began = reading.run_began or page.server_time
    known = [at for at in (reading.run_newest, began if silent else None) if at]
    newest = max([*(one.entered for one in page.entries), *known], default=None)
    return replace(reading, next_link=page.next, run_began=began, run_newest=newest)


def _advance(db: sa.Connection, on: Applier, reading: Reading[Feed], page: Page, high: int) -> bool:
    began = reading.run_began or page.server_time
    if page.next is not None:
        return cursors.step(db, reading, on.now(), next_link=page.next, run_began=began, run_newest=reading.run_newest)
    # What was said before we first listened, the prospects themselves have told.
    mark = cursor.advance(reading.watermark, reading.run_newest, began) or began - cursor.LONG_OVERLAP
    return cursors.finish(db, reading, watermark=mark, now=on.now(), place_id=high)


def _unseen(on: Applier, hints: Hints) -> Hints:
    """Return the hints that no poll was quicker than."""
    if not hints:
        return hints
    with on.store.read() as db:
        return hints.without(
            {kind: mirror.load(db, kind, hints.at[kind]) for kind in (Kind.PROSPECT, Kind.TASK)},
            mirror.related(db, Kind.STATE, "prospect", hints.at[Kind.STATE]),
        )


def _heed(db: sa.Connection, on: Applier, reading: Reading[Feed], page: Page, looked: Looked) -> Heard:
    """Store what the hints led to, and latch what the page tells of opt-outs."""
    moved = gone = queued = 0
    for kind, found in looked.found.items():
        told = notice.keep(db, kind, found, mapping=on.mapping, names=on.names, now=on.now())
        lost = removed(db, kind, looked.gone[kind], mapping=on.mapping, names=on.names, now=on.now())
        sights.count(db, kind, Channel.EVENTS, told.moved + lost.moved, on.now())
        moved, gone, queued = moved + told.moved, gone + lost.moved, queued + told.queued + lost.queued
    feed = reading.stream
    evidence = [one for one in page.entries if feed is Feed.ADDRESSES or one.name in naming.OPT_OUTS]
    opted_out = _latch(db, on, reading, evidence, skew=page.server_time - on.now())
    sights.count(db, Kind.PROSPECT, Channel.EVENTS, opted_out, on.now())
    return Heard(feed, len(page.entries), opted_out, moved, gone, queued + opted_out)


def _latch(
    db: sa.Connection, on: Applier, reading: Reading[Feed], evidence: Sequence[Entry], *, skew: timedelta
) -> int:
    """Remember opt-outs that were not known, and open their changes before others; return how many people that is.

    What happened before somebody lifted the opt-out by hand counts no more. ``skew`` is how far the vendor's clock is ahead.
    """
    whose = _whose(db, evidence)
    known_here = door.strangers(db, Kind.PROSPECT, {pid for pids in whose.values() for pid in pids}, on.names)
    whose = {key: pids & known_here for key, pids in whose.items()}
    lifted = liftings.latest(db, {pid for pids in whose.values() for pid in pids})
    fresh = [one for one in evidence if reading.watermark is None or one.entered > reading.watermark]
    names: dict[Name, str] = {}
    about: dict[int, list[Name]] = {}
    for one in evidence:
        counting = {pid for pid in whose[one.id] if pid not in lifted or one.happened > lifted[pid] + skew + SLACK}
        if not counting and (whose[one.id] or one not in fresh):
            continue
        why = f"event {one.name} in Outreach" if one.name else "an address was unsubscribed in Outreach"
        told = on.names.of(prospect=None, person=None, addresses=_address(one))
        for pid in counting:
            about[pid] = on.names.of(prospect=pid, person=None, addresses=())
            told += about[pid]
        names |= dict.fromkeys(told, why)
    known = links.latched(db, names)
    new = [pid for pid, mine in about.items() if not known & set(mine)]
    prospects = mirror.load(db, Kind.PROSPECT, new)
    for pid, prospect in prospects.items():
        borne = on.names.of(prospect=None, person=None, addresses=transforms.addresses(prospect, ("emails",)))
        names |= dict.fromkeys(borne, names[about[pid][0]])
    links.latch(db, [(name, why) for name, why in names.items() if name not in known], on.now())
    outbox.open_changes(db, Kind.PROSPECT, new, lane=Lane.OPT_OUT, now=on.now())
    return len(new)


def _whose(db: sa.Connection, evidence: Sequence[Entry]) -> dict[int, set[int]]:
    """Return the prospects that each entry is about: the one it names, else whoever bears its address."""
    borne = {one.id: _address(one) for one in evidence if one.prospect is None}
    holders = mirror.holders(db, Kind.PROSPECT, [text for found in borne.values() for text in found])
    told = {one.id: {one.prospect} for one in evidence if one.prospect is not None}
    return {**{key: {pid for text in found for pid in holders.get(text, ())} for key, found in borne.items()}, **told}


def _address(one: Entry) -> frozenset[str]:
    normal = transforms.normal(Compare.EMAIL, one.address) if one.address else None
    return frozenset({normal}) if isinstance(normal, str) and normal else frozenset()
