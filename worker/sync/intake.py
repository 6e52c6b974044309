"""Intake: stored webhooks looked at. None is believed: the record it names is fetched by id and kept as a poll's page is.

So an old, doubled or overtaken webhook does nothing but cost a look-up. What is said to be destroyed and is not found by id is
gone; what is merely not found may be a lost permission, which the sweep looks into. What says nothing intelligible is closed
with a reason and holds nobody up.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from worker.core import errors
from worker.core.records import Kind, Ref
from worker.remote import outreach_hints
from worker.remote.outreach import IDS_A_CALL
from worker.store import counters, cursors, mirror, sights, webhooks
from worker.store.sights import Channel
from worker.sync import in_force, notice, poll, streams
from worker.sync.case import kept_alive
from worker.sync.removals import removed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from worker.core.mapping import Mapping
    from worker.core.records import Snapshot
    from worker.store.database import Store
    from worker.store.links import Names
    from worker.store.webhooks import Waiting
    from worker.sync.case import Applier
    from worker.sync.streams import Remotes

log = structlog.get_logger("outbook")

BATCH = 1000
"""Webhooks taken in hand at once; several of one record cost one look-up."""
AGAIN = timedelta(seconds=15)
"""When Outreach could not be asked, the next try comes after so long; the polls do not wait for it."""
ORDER = (Kind.SEQUENCE, Kind.STEP, Kind.PROSPECT, Kind.STATE, Kind.TASK)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a batch of webhooks brought. ``more`` says that others may be waiting."""

    read: int = 0
    moved: int = 0
    queued: int = 0
    more: bool = False


@dataclass(slots=True)
class _Sorted:
    """A batch by what there is to do with it: records and addresses, each with the webhooks that named it."""

    records: dict[Kind, dict[int, list[int]]] = field(default_factory=dict)
    destroyed: set[Ref] = field(default_factory=set)
    addresses: dict[int, list[int]] = field(default_factory=dict)
    nothing: list[int] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Desk:
    """What the intake touches."""

    store: Store
    remotes: Remotes
    mapping: Mapping
    names: Names
    now: Callable[[], datetime]


def take(
    *, store: Store, remotes: Remotes, mapping: Mapping, names: Names, now: Callable[[], datetime], limit: int = BATCH
) -> Taken:
    """Look at the oldest webhooks that wait; what was done is kept, whatever happens to the rest.

    Raise :class:`errors.Transient` or :class:`errors.Halt`, with the rest put off.
    """
    with store.read() as db:
        if not webhooks.any_free(db, now()):
            return Taken()
    with store.write() as db:
        taken = webhooks.claim(db, now(), limit)
    found = _sorted(taken)
    for fault in sorted(set(found.faults.values())):
        log.warning("webhook_unintelligible", reason=fault, times=list(found.faults.values()).count(fault))
    ids = [one.id for one in taken]
    desk = _Desk(store, remotes, mapping, names, now)
    try:
        with kept_alive(store, lambda db: webhooks.put_off(db, ids, now() + webhooks.LEASE)):
            told = _look(desk, found)
    except errors.OutbookError:
        with store.write() as db:
            webhooks.put_off(db, ids, now() + AGAIN)
        raise
    return replace(told, read=len(taken), more=len(taken) == limit)


def take_all(on: Applier, heed: Callable[[], None]) -> None:
    """Look at every webhook that waits. That Outreach cannot be asked is no trouble here, for it is asked again by the polls.

    ``heed`` is asked between two batches whether to go on.
    """
    more = True
    while more:
        try:
            more = take(store=on.store, remotes=on.remotes, mapping=on.mapping, names=on.names, now=on.now).more
        except errors.Transient as error:
            log.warning("webhooks_put_off", reason=error.words)
            return
        heed()


def _sorted(taken: Sequence[Waiting]) -> _Sorted:
    found = _Sorted()
    for one in taken:
        try:
            hint = outreach_hints.read(one.body)
        except outreach_hints.Unintelligible as fault:
            found.faults[one.id] = str(fault)
            continue
        if hint.ref is not None:
            found.records.setdefault(hint.ref.kind, {}).setdefault(hint.ref.id, []).append(one.id)
            found.destroyed |= {hint.ref} if hint.destroyed else set()
        elif hint.address is not None:
            found.addresses.setdefault(hint.address, []).append(one.id)
        else:
            found.nothing.append(one.id)
    return found


def _look(desk: _Desk, found: _Sorted) -> Taken:
    with desk.store.write() as db:
        webhooks.fail(db, found.faults, desk.now())
        webhooks.done(db, found.nothing, desk.now())
    _resolve(desk, found)
    total = Taken()
    for kind in ORDER:
        for portion in _portions(found.records.get(kind, {})):
            told = _fetch(desk, kind, portion, found.destroyed)
            total = Taken(moved=total.moved + told.moved, queued=total.queued + told.queued)
    return total


def _resolve(desk: _Desk, found: _Sorted) -> None:
    """Turn e-mail addresses into the prospects that have them, as far as the token may."""
    if not found.addresses:
        return
    owners = outreach_hints.owners(desk.remotes.outreach, sorted(found.addresses))
    prospects = found.records.setdefault(Kind.PROSPECT, {})
    nobodys: list[int] = []
    for address, named_by in found.addresses.items():
        if address in owners:
            prospects.setdefault(owners[address], []).extend(named_by)
        else:
            nobodys += named_by
    with desk.store.write() as db:
        webhooks.done(db, nobodys, desk.now())


def _portions(records: dict[int, list[int]]) -> Iterator[dict[int, list[int]]]:
    ids = list(records)
    for start in range(0, len(ids), IDS_A_CALL):
        yield {one: records[one] for one in ids[start : start + IDS_A_CALL]}


def _fetch(desk: _Desk, kind: Kind, named_by: dict[int, list[int]], destroyed: set[Ref]) -> notice.Told:
    """Fetch records by id and keep them, and bury what is gone. The webhooks are done with in the same transaction."""
    there = desk.remotes.outreach.by_ids(
        kind, list(named_by), attributes=streams.attributes(kind, desk.mapping), relations=streams.relations(kind)
    )
    missing = set(named_by) - {one.ref.id for one in there}
    gone = {one for one in missing if Ref(kind, one) in destroyed}
    with desk.store.write() as db:
        in_force.guard(db, desk.mapping)
        kept = _keep(db, desk, kind, there)
        buried = removed(db, kind, gone, mapping=desk.mapping, names=desk.names, now=desk.now())
        if kind not in cursors.unprimed(db):  # what was there from the beginning is no change
            sights.count(db, kind, Channel.WEBHOOK, kept.moved + buried.moved, desk.now())
        counters.add(db, {(counters.ECHOES, (kind.value,)): kept.echoes} if kept.echoes else {})
        webhooks.done(db, [one for told in named_by.values() for one in told], desk.now())
    return notice.Told(kept.moved + buried.moved, kept.queued + buried.queued)


def _keep(db: sa.Connection, desk: _Desk, kind: Kind, there: Sequence[Snapshot]) -> notice.Told:
    needed = poll.ESSENTIAL.get(kind, ())
    lacking = [
        one.ref.id for one in there if any(name not in one.fields and name not in one.relations for name in needed)
    ]
    known = mirror.load(db, kind, lacking) if lacking else {}
    whole = [poll.filled_in(one, known.get(one.ref.id)) for one in there]
    return notice.keep(db, kind, whole, mapping=desk.mapping, names=desk.names, now=desk.now())
