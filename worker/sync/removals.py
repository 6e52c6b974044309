"""What is gone in Outreach: remembered as a tombstone, and whoever it concerns is looked at again.

Gone is only what a destroyed event or a complete look-up by id says; what a page leaves out is merely missing. An opt-out
outlives the record that told it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core import tasks, transforms
from worker.core.mapping import SkipSignal
from worker.core.records import Kind, Ref
from worker.store import links, mirror, outbox, waking
from worker.store.outbox import Lane
from worker.sync import door, notice

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    import sqlalchemy as sa

    from worker.core.mapping import Mapping
    from worker.core.records import Snapshot
    from worker.store.links import Names

AGAIN = "an opt-out remembered when the prospect was removed"
_PARENTS = {Kind.STATE: "sequenceState", Kind.PROSPECT: "prospect"}
_EVERYONE_IN = {Kind.SEQUENCE: "sequence", Kind.STEP: "sequenceStep"}


def removed(
    db: sa.Connection, kind: Kind, ids: Iterable[int], *, mapping: Mapping, names: Names, now: datetime
) -> notice.Told:
    """Bury records of Outreach that are gone and open what follows from it, in the caller's transaction.

    ``moved`` counts those that the mirror had as living; told twice, nothing happens. A removed state counts as if it had
    never been; a removed prospect's person is unlinked by the ordinary change (contract, 5); an open task that is gone was
    skipped if its state stands on a later step, now or in time.
    """
    wanted = door.strangers(db, kind, ids, names)
    living = {one: snapshot for one, snapshot in mirror.load(db, kind, wanted).items() if not snapshot.deleted}
    _remember_opt_outs(db, living, kind, names=names, now=now)
    mirror.bury(db, kind, wanted)
    queued = 0
    if kind in _EVERYONE_IN:
        queued = outbox.open_everyone_in(db, _EVERYONE_IN[kind], sorted(living), now=now)
    elif kind is Kind.STATE:
        outbox.lift(db, [f"unreadable:{Ref(kind, one)}" for one in living], now)
        whose = {pid for state in living.values() if (pid := state.relations.get("prospect")) is not None}
        whose -= {pid for pid, one in mirror.load(db, Kind.PROSPECT, whose).items() if one.deleted}  # that settled it
        queued = outbox.open_changes(db, Kind.PROSPECT, whose, lane=Lane.EDIT, now=now)
    elif kind is Kind.PROSPECT:
        queued = outbox.open_changes(db, Kind.PROSPECT, living, lane=Lane.EDIT, now=now)
        waking.wake_tasks(db, sorted(living), now)
    elif kind is Kind.TASK:
        queued = _doubtful(db, living.values(), mapping, now=now)
    return notice.Told(len(living), queued + _hanging_tasks(db, kind, living, mapping, now=now))


def _remember_opt_outs(
    db: sa.Connection, living: dict[int, Snapshot], kind: Kind, *, names: Names, now: datetime
) -> None:
    """Remember a prospect's opt-out under every address it had: whoever bears one later is opted out, too."""
    if kind is not Kind.PROSPECT:
        return
    borne = {
        pid: names.of(prospect=pid, person=None, addresses=transforms.addresses(one, ("emails",)))
        for pid, one in living.items()
    }
    latched = links.latched(db, [name for told in borne.values() for name in told])
    links.latch(db, [(name, AGAIN) for told in borne.values() if latched & set(told) for name in told], now)


def _hanging_tasks(
    db: sa.Connection, kind: Kind, living: dict[int, Snapshot], mapping: Mapping, *, now: datetime
) -> int:
    """Let the open tasks of what was removed be looked up: they are most likely gone as well."""
    if kind not in _PARENTS:
        return 0
    theirs = mirror.related(db, Kind.TASK, _PARENTS[kind], living)
    return _doubtful(db, [task for found in theirs.values() for task in found], mapping, now=now)


def _doubtful(db: sa.Connection, found: Iterable[Snapshot], mapping: Mapping, *, now: datetime) -> int:
    if SkipSignal.GONE not in mapping.task.skipped_when:
        return 0
    open_ones = [task.ref.id for task in found if tasks.is_open(task) and notice.of_a_sequence(task)]
    return outbox.open_changes(db, Kind.TASK, open_ones, lane=Lane.EDIT, now=now)
