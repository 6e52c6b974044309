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
    return [
        replace(one, caused_at=_cause(by_id[one.outreach_id], one, before.get(one.outreach_id), mapping))
        if one.outreach_id in by_id
        else one
        for one in written
    ]


def are_told(db: sa.Connection) -> bool:
    """Tell whether causes mean anything yet: not before everything had been read and written once."""
    return meta.get(db, THROUGH) is not None


def of_task(task: Snapshot | None) -> datetime | None:
    """Return when a task was saved as skipped; None for one that is gone."""
    return task.updated_at if task is not None and not task.deleted else None


def _cause(case: Case, one: Written, before: datetime | None, mapping: Mapping) -> datetime | None:
    """Return the first save since our last write that this one carries over, of a pair never written the latest."""
    times = _of_outreach(case, one, mapping) if one.system is System.CRM else _of_crm(case, one, mapping)
    # Vendors keep whole seconds.
    since = before.replace(microsecond=0) if before else None
    known = [at for at in times if at is not None and (since is None or at >= since)]
    if not known:
        return None
    return max(known) if before is None else min(known)


def _of_outreach(case: Case, one: Written, mapping: Mapping) -> Iterable[datetime | None]:
    prospect, states = case.view.prospect, case.view.states
    moved = prospect.moved_at if prospect else {}
    if case.view.link is None:
        yield prospect.updated_at if prospect else None
    lines = [line for name in one.after if (line := mapping.by_crm.get(name))]
    yield from (moved.get(line.attribute) for line in lines if line.attribute)
    shown = {line.computed for line in lines}
    if shown & {*STANDING, Computed.OPTED_OUT}:
        yield from (state.saved_at for state in states)
        yield from (moved.get(name) for name in OPT_OUT_ATTRIBUTES)


def _of_crm(case: Case, one: Written, mapping: Mapping) -> Iterable[datetime | None]:
    person, flag = case.view.person, mapping.field_of(Computed.OPTED_OUT)
    if person is None:
        return
    if case.view.link is None:
        yield person.updated_at
    yield from (person.moved_at.get(line.crm) for line in mapping.copied if line.attribute in one.after)
    if flag and "emailOptedOut" in one.after:
        yield person.moved_at.get(flag.crm)
