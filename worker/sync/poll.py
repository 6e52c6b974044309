"""Poll: a stream, page by page, into the mirror, with a change for whatever moved. One transaction a page.

A run starts at the watermark less the overlap and goes to its end; the watermark moves only there. What dies in between goes
on from the page after the last one committed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worker import traces
from worker.core import cursor, errors, transforms
from worker.core.records import Kind, System
from worker.remote.base import LinkRefused
from worker.store import bulk, counters, cursors, mirror, sights
from worker.store.sights import Channel
from worker.sync import fields, in_force, notice, overlap, removals, streams
from worker.sync.ahead import EVERY, Lookout
from worker.sync.case import kept_alive

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    import sqlalchemy as sa

    from worker.core.mapping import Mapping
    from worker.core.records import Snapshot
    from worker.remote.base import Page
    from worker.store.cursors import Reading
    from worker.store.database import Store
    from worker.store.links import Names
    from worker.store.mirror import Moved
    from worker.sync.streams import Remotes

CRM_PAGE = 100
_EITHER = (("is_deleted", "true", ""), ("is_deleted", "false", ""))

ESSENTIAL = {Kind.STATE: ("state", "prospect", "sequence")}
"""Without these a record says nothing; a relation without data has been seen (facts, outreach-api 2)."""


@dataclass(frozen=True, slots=True)
class Polled:
    """What one run of one stream brought.

    ``busy``: somebody else is reading it; not ``ended``: there is more to read.
    """

    stream: Kind
    read: int = 0
    moved: int = 0
    queued: int = 0
    busy: bool = False
    ended: bool = True


@dataclass(frozen=True, slots=True)
class _Step:
    """A page on its way into the store, and where the run stands after it."""

    page: Page
    reading: Reading[Kind]
    last: bool


def poll(
    stream: Kind,
    *,
    store: Store,
    remotes: Remotes,
    mapping: Mapping,
    names: Names,
    now: Callable[[], datetime],
    until: datetime | None = None,
    every: timedelta = EVERY,
    on_page: Callable[[Polled], None] = lambda _: None,
) -> Polled:
    """Read a stream to its end, or till the first page after ``until``; ``every`` is how often it is read.

    Raise :class:`errors.Transient` or :class:`errors.Halt`, with what was read kept.
    """
    with store.write() as db:
        in_force.guard(db, mapping)  # a stream that is to be read with new columns must not be read with the old ones
        reading = cursors.lease(db, stream, now())
    if reading is None:
        return Polled(stream, busy=True)
    mine = reading

    def done(polled: Polled) -> bool:
        on_page(polled)
        return until is not None and now() >= until

    try:
        with traces.span("poll", stream=stream) as span, kept_alive(store, lambda db: cursors.renew(db, mine, now())):
            told = _read(
                reading,
                store=store,
                remotes=remotes,
                mapping=mapping,
                names=names,
                now=now,
                done=done,
                lookout=Lookout(remotes=remotes, mapping=mapping, now=now, every=every),
            )
            span.set(read=told.read, moved=told.moved, queued=told.queued)
        if not told.ended:
            with store.write() as db:
                cursors.leave(db, reading, "goes on in another task")
        return told  # noqa: TRY300 - an else branch would hide that the lease is given up in every case
    except errors.OutbookError as error:
        refused = isinstance(error, errors.RecordFault | errors.ContractBroken | LinkRefused)
        with store.write() as db:
            cursors.leave(db, reading, error.words, restart=refused)
        if isinstance(error, errors.RecordFault):
            raise errors.RemoteDown(error.words, system=stream.system) from error
        raise
    except BaseException:
        with store.write() as db:
            cursors.leave(db, reading, "interrupted")
        raise


def _read(
    reading: Reading[Kind],
    *,
    store: Store,
    remotes: Remotes,
    mapping: Mapping,
    names: Names,
    now: Callable[[], datetime],
    done: Callable[[Polled], bool],
    lookout: Lookout,
) -> Polled:
    """Read page after page until the last one is stored, or enough is ``done``."""
    stream, total = reading.stream, Polled(reading.stream)
    read = _outreach_page if stream.system is System.OUTREACH else _crm_page
    since = overlap.begin(store, reading)
    while True:
        lacking = _lacking(store) if stream.system is System.CRM else frozenset()
        with traces.span("page", stream=stream) as span:
            step = read(reading, since, remotes=remotes, mapping=mapping, lacking=lacking)
            page = _complete(step.page, stream, store=store, remotes=remotes, mapping=mapping)
            with store.write() as db:
                told = _keep(db, stream, page, mapping=mapping, names=names, now=now())
                _count(db, reading, told, len(page.snapshots), now())
                overlap.judge(db, reading, newest=step.reading.run_newest, moved=told.moved, last=step.last)
                _stand(db, reading, step, now())
            _trace(span, reading, told, len(page.snapshots))
        total = Polled(stream, total.read + len(page.snapshots), total.moved + told.moved, total.queued + told.queued)
        if not step.last and (urgent := lookout.ahead(step.reading, lacking)):
            with store.write() as db:
                told = notice.keep(db, stream, urgent, mapping=mapping, names=names, now=now())
            total = replace(total, moved=total.moved + told.moved, queued=total.queued + told.queued)
        enough = done(total)
        if step.last or enough:
            return replace(total, ended=step.last)
        reading = step.reading
        del step, page, told  # or this page is still held while the next is decoded


def _keep(db: sa.Connection, stream: Kind, page: Page, *, mapping: Mapping, names: Names, now: datetime) -> notice.Told:
    """Store a page. What Outreach shows in its bin is gone; in the CRM a deletion is a snapshot like any other."""
    found = page.snapshots
    binned = {one.ref.id for one in found if one.deleted and stream.system is System.OUTREACH}
    there = [one for one in found if one.ref.id not in binned]
    told = notice.keep(db, stream, there, mapping=mapping, names=names, now=now, theirs=page.server_time)
    if not binned:
        return told
    gone = removals.removed(db, stream, binned, mapping=mapping, names=names, now=now)
    return replace(told, moved=told.moved + gone.moved, queued=told.queued + gone.queued)


def _count(db: sa.Connection, reading: Reading[Kind], told: notice.Told, read: int, now: datetime) -> None:
    """Note what a page brought, for those who look on."""
    stream = reading.stream
    if reading.primed:  # what was there from the beginning is no change
        sights.count(db, stream, Channel.POLL, told.moved, now)
    if read:
        counted = {counters.READ: read, counters.MOVED: told.moved, counters.ECHOES: told.echoes}
        counters.add(db, {(name, (stream.value,)): count for name, count in counted.items() if count})
    if told.moved:
        cursors.note_moved(db, stream, now, late=told.late > 0)


def _trace(span: traces.Span, reading: Reading[Kind], told: notice.Told, read: int) -> None:
    """Tell of a page, and of each record that moved; not of each that was there from the beginning, nor of the unchanged."""
    span.set(read=read, moved=told.moved, queued=told.queued, echoes=told.echoes)
    if span.wanted and reading.primed:
        span.records((str(one.after.ref), _outcome(one)) for one in told.moves)


def _outcome(one: Moved) -> str:
    if one.after.deleted:
        return "deleted"
    return "new" if one.before is None else "changed"


def _stand(db: sa.Connection, reading: Reading[Kind], step: _Step, now: datetime) -> None:
    """Let the stream stand after this page; of a stream's first reading there are many."""
    if not reading.primed:
        bulk.ease(db)
    if not _advance(db, step, now):
        raise errors.RemoteDown(f"lost the lease on {reading.stream.value} to another process")
    if step.last and reading.watermark is None:
        in_force.note_read(db, reading.stream, now)


def _advance(db: sa.Connection, step: _Step, now: datetime) -> bool:
    reading = step.reading
    if not step.last:
        return cursors.step(
            db,
            reading,
            now,
            next_link=reading.next_link,
            place_at=reading.place_at,
            place_id=reading.place_id,
            run_began=reading.run_began,
            run_newest=reading.run_newest,
        )
    began = reading.run_began or step.page.server_time
    newest = reading.run_newest
    if reading.stream.system is System.CRM and not reading.primed:
        newest = began  # the load was sorted by id: what changed while it ran is read by the delta from its beginning
    mark = cursor.advance(reading.watermark, newest, began)
    return cursors.finish(db, reading, watermark=mark, now=now)


def _outreach_page(
    reading: Reading[Kind],
    since: datetime | None,
    *,
    remotes: Remotes,
    mapping: Mapping,
    lacking: frozenset[str],  # noqa: ARG001
) -> _Step:
    page = remotes.outreach.page(
        reading.stream,
        attributes=streams.attributes(reading.stream, mapping),
        relations=streams.relations(reading.stream),
        since=since,
        link=reading.next_link,
    )
    moved = replace(_later(reading, page), next_link=page.next)
    return _Step(page, moved, last=page.next is None)


def _crm_page(
    reading: Reading[Kind], since: datetime | None, *, remotes: Remotes, mapping: Mapping, lacking: frozenset[str]
) -> _Step:
    columns = streams.columns(reading.stream, mapping, lacking)
    whole = reading.watermark is None
    filters, match = _by_id(reading) if whole else _by_time(reading, since)
    if reading.stream is Kind.CRM_TASK:
        if mapping.task.reference in lacking:
            filters = [("id", "eq", "0")]  # without the field no task can be ours; the stream still counts as read
            match = "and"
        else:
            filters = [*filters, (mapping.task.reference, "not_blank", "")]
            match = f"({match}) AND {len(filters)}" if match != "and" else "and"
    page = remotes.crm.page(
        reading.stream,
        columns=columns,
        filters=filters,
        match=match,
        sort=("id",) if whole else ("updated_at", "id"),
        limit=CRM_PAGE,
    )
    moved = _later(reading, page)
    if page.snapshots:
        last = page.snapshots[-1]
        if (moved.place_at, moved.place_id) == (last.updated_at, last.ref.id):
            raise errors.ContractBroken("the CRM's paging does not move", system=System.CRM)
        moved = replace(moved, place_at=last.updated_at, place_id=last.ref.id)
    # The first load ends with an empty page only: a short one may just be a page of which some rows may not be seen.
    done = not page.snapshots if whole else len(page.snapshots) < CRM_PAGE
    return _Step(page, moved, last=done)


def _by_id(reading: Reading[Kind]) -> tuple[list[tuple[str, str, str]], str]:
    after = ("id", "gt", str(reading.place_id or 0))
    # The first load needs no tombstones: nobody is linked yet. Reading everything again must pass no deletion over.
    return ([after, *_EITHER], "1 AND (2 OR 3)") if reading.primed else ([after], "and")


def _by_time(reading: Reading[Kind], since: datetime | None) -> tuple[list[tuple[str, str, str]], str]:
    """Read on after the last place: by change time, then by id inside one second. Deletions come in the same query."""
    if reading.place_at is None:
        at = transforms.crm_time(since) if since else ""
        return [("updated_at", "ge", at), *_EITHER], "1 AND (2 OR 3)"
    at = transforms.crm_time(reading.place_at)
    # Not `_start`: rows that change meanwhile leave the second and would shift others past it (docs: offset paging skips rows).
    here = [("updated_at", "gt", at), ("updated_at", "ge", at), ("id", "gt", str(reading.place_id))]
    return [*here, *_EITHER], "(1 OR (2 AND 3)) AND (4 OR 5)"


def _later(reading: Reading[Kind], page: Page) -> Reading[Kind]:
    seen = [snapshot.updated_at for snapshot in page.snapshots if snapshot.updated_at is not None]
    newest = max([*seen, *([reading.run_newest] if reading.run_newest else [])], default=None)
    return replace(reading, run_began=reading.run_began or page.server_time, run_newest=newest)


def _lacking(store: Store) -> frozenset[str]:
    """Return the columns that the CRM does not have, so that no read names one."""
    with store.read() as db:
        return fields.lacking(db)


def _complete(page: Page, stream: Kind, *, store: Store, remotes: Remotes, mapping: Mapping) -> Page:
    """Return the page with what a record did not tell: asked for by id once, else as the mirror last saw it."""
    needed = frozenset(ESSENTIAL.get(stream, ()))
    ids = [one.ref.id for one in page.snapshots if needed.difference(one.fields, one.relations)]
    if not ids:
        return page
    found = remotes.outreach.by_ids(
        stream, ids, attributes=streams.attributes(stream, mapping), relations=streams.relations(stream)
    )
    again = {one.ref.id: one for one in found}
    with store.read() as db:
        known = mirror.load(db, stream, ids)
    filled = {record_id: known.get(record_id) for record_id in ids}
    return replace(
        page,
        snapshots=[
            filled_in(again.get(one.ref.id, one), filled[one.ref.id]) if one.ref.id in filled else one
            for one in page.snapshots
        ],
    )


def filled_in(snapshot: Snapshot, known: Snapshot | None) -> Snapshot:
    """Return a snapshot with what it does not tell as it was known before."""
    if known is None:
        return snapshot
    return replace(
        snapshot,
        fields={**known.fields, **snapshot.fields},
        relations={**known.relations, **snapshot.relations},
    )
