"""When, by the vendor's time, the change was made that a write carries over: what freshness is measured from.

Only a save later than our last write about the record can be its cause. First loads tell nothing, nor does what is written
to many at once because of a mapping, a sequence or a resync.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from worker.core.mapping import OPT_OUT_ATTRIBUTES, STANDING, Computed
from worker.core.records import Kind, System
from worker.store import links, meta
from worker.store.brakes import THROUGH
from worker.store.outbox import Lane

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from worker.core.mapping import Mapping
    from worker.core.records import Snapshot
    from worker.store.links import Written
    from worker.sync.case import Case


def dated(db: sa.Connection, cases: Sequence[Case], written: Sequence[Written], mapping: Mapping) -> list[Written]:
    """Return the writes of a batch with what caused them, as far as that is known: two queries whatever its size."""
    by_id = {case.view.prospect_id: case for case in cases if case.change.lane is not Lane.BULK}
    if not (written and by_id and are_told(db)):
        return list(written)
    before = links.last_written(db, Kind.PROSPECT, by_id)
    told = []
    for one in written:
        case = by_id.get(one.outreach_id)
        at, stream = _cause(case, one, before.get(one.outreach_id), mapping) if case else (None, None)
        told.append(replace(one, caused_at=at, caused_by=stream) if stream else one)
    return told


def are_told(db: sa.Connection) -> bool:
    """Tell whether causes mean anything yet: not before everything had been read and written once."""
    return meta.get(db, THROUGH) is not None


def of_task(task: Snapshot | None) -> datetime | None:
    """Return when a task was saved as skipped; None for one that is gone."""
    return task.updated_at if task is not None and not task.deleted else None


def _cause(
    case: Case, one: Written, before: datetime | None, mapping: Mapping
) -> tuple[datetime, Kind] | tuple[None, None]:
    """Return the first save since our last write that this one carries over, of a pair never written the latest.

    With it comes the stream that brought it.
    """
    times = _of_outreach(case, one, mapping) if one.system is System.CRM else _of_crm(case, one, mapping)
    # Vendors keep whole seconds.
    since = before.replace(microsecond=0) if before else None
    known = [(at, stream) for at, stream in times if at is not None and (since is None or at >= since)]
    if not known:
        return None, None
    return max(known) if before is None else min(known)


def _of_outreach(case: Case, one: Written, mapping: Mapping) -> Iterable[tuple[datetime | None, Kind]]:
    prospect, states = case.view.prospect, case.view.states
    moved = prospect.moved_at if prospect else {}
    if case.view.link is None:
        yield prospect.updated_at if prospect else None, Kind.PROSPECT
    lines = [line for name in one.after if (line := mapping.by_crm.get(name))]
    yield from ((moved.get(line.attribute), Kind.PROSPECT) for line in lines if line.attribute)
    shown = {line.computed for line in lines}
    if shown & {*STANDING, Computed.OPTED_OUT}:
        yield from ((state.saved_at, Kind.STATE) for state in states)
        yield from ((moved.get(name), Kind.PROSPECT) for name in OPT_OUT_ATTRIBUTES)


def _of_crm(case: Case, one: Written, mapping: Mapping) -> Iterable[tuple[datetime | None, Kind]]:
    person, flag = case.view.person, mapping.field_of(Computed.OPTED_OUT)
    if person is None:
        return
    if case.view.link is None:
        yield person.updated_at, Kind.PERSON
    moved = person.moved_at
    yield from ((moved.get(line.crm), Kind.PERSON) for line in mapping.copied if line.attribute in one.after)
    if flag and "emailOptedOut" in one.after:
        yield moved.get(flag.crm), Kind.PERSON
