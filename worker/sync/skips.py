"""Apply for tasks: an Outreach task that was skipped is shown in the CRM as Cancelled, exactly once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from worker.core import errors, intents, masks, tasks
from worker.core.mapping import OnCrmDelete, SkipSignal
from worker.core.records import Kind, Link, Ref, Shadow, Snapshot, System
from worker.core.states import Label
from worker.remote.workbooks import Write
from worker.store import cursors, exchanges, links, mirror, outbox
from worker.store.links import Written
from worker.store.outbox import Change, Lane, Standing
from worker.sync import (
    apply,
    causes,
    claims,
    deliver,
    doubts,
    fields,
    finished,
    gather,
    identify,
    notice,
    paused,
    receipts,
    streams,
)
from worker.sync.deliver import Desk, Job
from worker.sync.exchanges import keep_failed_tasks, of_back, of_task
from worker.sync.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from collections.abc import Mapping as Dict
    from datetime import datetime

    import sqlalchemy as sa

    from worker.core.records import Value
    from worker.sync.case import Applier
    from worker.sync.deliver import Receipt
    from worker.sync.finished import Back

SKIPPED = "skipped"
"""Notes in a change that its task was found skipped."""


@dataclass(frozen=True, slots=True)
class _World:
    """What the tasks of a batch stand among. ``links`` are the tasks', ``people`` the prospects' links."""

    tasks: dict[int, Snapshot]
    states: dict[int, Snapshot]
    sequences: dict[int, Snapshot]
    steps: dict[int, Snapshot]
    links: dict[int, Link]
    people: dict[int, Link]
    prospects: dict[int, Snapshot]
    persons: dict[int, Snapshot]
    written: dict[int, Snapshot]


class Foreseen(NamedTuple):
    """What would be written for one Outreach task: the fields of its CRM task."""

    task: int
    action: str
    fields: dict[str, Value]


@dataclass(slots=True)
class _Case:
    change: Change
    task: Snapshot | None
    fields: dict[str, Value]
    crm_id: int = 0
    version: int = 0
    action: str = ""
    standing: Standing | None = None
    hold: str | None = None
    receipt: Receipt | None = None
    back: Back | None = None
    intent: Dict[str, object] = field(default_factory=dict)
    skipped: bool = False
    gone: bool = False

    @property
    def idle(self) -> bool:
        """Tell whether nothing is to be done about it in the CRM."""
        return not self.action and self.standing is None and self.hold is None


def apply_tasks(on: Applier, *, only: Collection[int] | None = None) -> Tally:
    """Claim up to a hundred due changes of tasks and carry them out. Raise :class:`errors.Halt` with the rows given back."""
    with on.store.write() as db:
        if cursors.unprimed(db):
            return Tally()
        changes = outbox.claim(db, Kind.TASK, now=on.now(), only=only)
        if not changes:
            return Tally()
        on = paused.heeding(db, on, Kind.TASK)
        stopped = {row.key for kind in (fields.FIELD, fields.LABEL) for row in outbox.holds(db, kind)}
    return claims.work_on(on, changes, lambda mine: _work(on, mine, blocked=_blocked(on, stopped)))


def foresee(
    on: Applier, ids: Sequence[int], *, live: bool = True, expected: Collection[int] = ()
) -> tuple[list[Foreseen], list[Back]]:
    """Return what would be written to the CRM for these tasks, and what would be done about them in Outreach.

    Outreach is asked for open ones, unless not ``live``; nothing is written. Prospects ``expected`` have a person by then.
    """
    with on.store.read() as db:
        world = _load(db, ids)
        stopped = {row.key for kind in (fields.FIELD, fields.LABEL) for row in outbox.holds(db, kind)}
    gone, blocked = _look_for(on, world) if live else set(), _blocked(on, stopped)
    at = on.now()
    changes = [Change(0, Ref(Kind.TASK, one), Lane.EDIT, 0, 0, 0, at) for one in ids]
    cases = [_case(on, change, world, gone, blocked=blocked) for change in changes]
    for case in cases:
        if case.task and case.standing is Standing.WAITING and not blocked and _prospect(case.task, world) in expected:
            case.action, case.fields = "create", tasks.cancelled(_view(case.task, world, gone), on.mapping, 0)
            del case.fields[tasks.CONTACT]  # whose number nobody knows yet
    backs = [back for back in _backs(on, cases, world, gone).values() if back.standing is None]
    return [Foreseen(case.change.ref.id, case.action, case.fields) for case in cases if case.fields], backs


def views(db: sa.Connection, ids: Sequence[int]) -> dict[int, tuple[tasks.TaskView, int | None]]:
    """Return tasks with what surrounds them, each with the prospect it is about, as the mirror knows them."""
    world = _load(db, ids)
    return {task_id: (_view(task, world, set()), _prospect(task, world)) for task_id, task in world.tasks.items()}


def _blocked(on: Applier, stopped: set[str]) -> bool:
    """Tell whether the CRM lacks what every Cancelled task needs: without it none is written, and all follow later."""
    needed = (f"{fields.FIELD}:{on.mapping.task.reference}", f"{fields.LABEL}:{tasks.STATUS}")
    return any(key in stopped for key in needed)


def _work(on: Applier, changes: Sequence[Change], *, blocked: bool) -> Tally:
    ids = [change.ref.id for change in changes]
    with on.store.read() as db:
        world = _load(db, ids)
    gone = _look_for(on, world)
    with on.store.read() as db:
        world = _load(db, ids)
    cases = [_case(on, change, world, gone, blocked=blocked) for change in changes]
    _find_written(on, [case for case in cases if case.action in intents.MAKING])
    going = [case for case in cases if case.fields]
    backs = _backs(on, cases, world, gone)
    for case in cases:
        case.back = backs.get(case.change.ref.id)
    with on.store.write() as db:
        for case in cases:
            case.receipt = case.receipt or doubts.waiting(case.change, case.action, on.now())
            case.intent = _intent(case, on.now())
        mine = {c.id for c in outbox.intend(db, [(case.change, case.intent) for case in cases], on.now())}
        for case in cases:
            finished.note(db, case.change, case.back, on.now())
            if case.skipped and not case.idle:
                outbox.note_wish(db, case.change, {SKIPPED: True}, on.now())
    cases = [case for case in cases if case.change.id in mine]
    _write(on, [case for case in going if case.change.id in mine], world)
    finished.carry_out(on, [case.back for case in cases if case.back])
    tally = Tally(claimed=len(changes))
    with on.store.write() as db:
        _receive(db, on, cases, tally)
        mirror.bury(db, Kind.TASK, gone)
    return tally


def _backs(on: Applier, cases: Sequence[_Case], world: _World, gone: set[int]) -> dict[int, Back]:
    """Return what is to be done in Outreach about those tasks about which nothing is to be done in the CRM."""
    settled = gone | set(world.links)
    idle = [(case.change, case.task) for case in cases if case.task and case.idle]
    return finished.wanted(on, [(change, task) for change, task in idle if change.ref.id not in settled])


def _intent(case: _Case, now: datetime) -> dict[str, object]:
    action = case.action if case.receipt is None else ""
    told = {"crm": action, **intents.doubted(action, case.change.intent, now)}
    return {**told, **({"outreach": case.back.verb} if case.back else {})}


def _load(db: sa.Connection, ids: Sequence[int]) -> _World:
    found = mirror.load(db, Kind.TASK, ids)
    states = mirror.load(db, Kind.STATE, _ids(found, "sequenceState"))
    known = links.load(db, Kind.TASK, ids)
    around = [*found.values(), *states.values()]
    prospects = _related(around, "prospect")
    people = links.load(db, Kind.PROSPECT, prospects)
    return _World(
        tasks=found,
        states=states,
        sequences=mirror.load(db, Kind.SEQUENCE, _related(around, "sequence")),
        steps=mirror.load(db, Kind.STEP, _related(around, "sequenceStep")),
        links=known,
        people=people,
        prospects=mirror.load(db, Kind.PROSPECT, prospects),
        persons=mirror.load(db, Kind.PERSON, [link.crm_id for link in people.values()]),
        written=mirror.load(db, Kind.CRM_TASK, [link.crm_id for link in known.values()]),
    )


def _ids(found: dict[int, Snapshot], relation: str) -> set[int]:
    return _related(list(found.values()), relation)


def _related(snapshots: Sequence[Snapshot], relation: str) -> set[int]:
    return {one for snapshot in snapshots if (one := snapshot.relations.get(relation)) is not None}


def _look_for(on: Applier, world: _World) -> set[int]:
    """Ask Outreach by id for tasks that are still open here; return those that a complete answer leaves out."""
    unsure = [
        pid for pid, task in world.tasks.items() if tasks.is_open(task) and not task.deleted and pid not in world.links
    ]
    if not unsure or (SkipSignal.GONE not in on.mapping.task.skipped_when and on.mapping.task.back is None):
        return set()
    found = on.remotes.outreach.by_ids(Kind.TASK, unsure, attributes=tasks.ATTRIBUTES, relations=tasks.RELATIONS)
    with on.store.write() as db:
        notice.keep(db, Kind.TASK, found, mapping=on.mapping, names=on.names, now=on.now())
    return set(unsure) - {one.ref.id for one in found}


def _case(on: Applier, change: Change, world: _World, gone: set[int], *, blocked: bool) -> _Case:
    task = world.tasks.get(change.ref.id)
    case = _Case(change, task, {})
    if task is None:
        return case
    view = _view(task, world, gone)
    case.gone = view.gone
    link = world.links.get(change.ref.id)
    # What was found skipped once stays so while only its person or a reply is missing, whatever its state does meanwhile.
    case.skipped = link is None and (SKIPPED in change.wish or tasks.skipped_by(view, on.mapping) is not None)
    if link is None and not case.skipped:
        return case
    prospect_id = _prospect(task, world) or 0
    person = world.people.get(prospect_id)
    if link is not None and link.gone:
        return case
    if person is None and (whose := world.prospects.get(prospect_id)) is not None and whose.deleted:
        return case  # nobody will ever be there for it
    if blocked or person is None or person.gone:
        case.standing = Standing.WAITING if link is None else None
        return case
    prospect = world.prospects.get(person.outreach_id)
    if not on.permit.to(person.outreach_id, world.persons.get(person.crm_id), prospect).to_crm:
        case.standing = Standing.KEPT
        return case
    written = world.written.get(link.crm_id) if link else None
    return _planned(on, case, view, person=person, written=written, link=link)


def _planned(
    on: Applier, case: _Case, view: tasks.TaskView, *, person: Link, written: Snapshot | None, link: Link | None
) -> _Case:
    whole = tasks.cancelled(view, on.mapping, person.crm_id)
    if link is None:
        return replace(case, fields=whole, action="create")
    if written is not None and written.deleted:
        if on.mapping.on_crm_delete is OnCrmDelete.RECREATE:
            return replace(case, fields=whole, action="recreate")
        if on.mapping.on_crm_delete is OnCrmDelete.ASK:
            case.hold = f"the Cancelled task of Outreach task {case.change.ref.id} was deleted in the CRM"
        return case
    if written is not None and str(written.fields.get(tasks.CONTACT) or "") != str(person.crm_id):
        # The person was created again: the task follows to the new id, and nothing else of it is touched.
        moved: dict[str, Value] = {tasks.CONTACT: person.crm_id, tasks.CONTACT_TYPE: tasks.PERSON_CLASS}
        return replace(case, fields=moved, action="update", crm_id=written.ref.id, version=written.version or 0)
    return case


def _view(task: Snapshot, world: _World, gone: set[int]) -> tasks.TaskView:
    state = world.states.get(task.relations.get("sequenceState") or 0)
    sequence_id = task.relations.get("sequence") or (state.relations.get("sequence") if state else None)
    sequence = gather.sequence_view(sequence_id, world.sequences) if sequence_id else None
    step = _order(world, task.relations.get("sequenceStep"))
    return tasks.TaskView(
        task=replace(task, deleted=False),
        sequence=sequence,
        step=step,
        gone=task.ref.id in gone or task.deleted,
        state_moved_on=_moved_on(world, task, state, step),
    )


def _moved_on(world: _World, task: Snapshot, state: Snapshot | None, step: int | None) -> bool:
    """Tell whether the task's sequence state still runs, on a later step; a finished or removed one is not that."""
    if state is None or state.deleted or state.fields.get("state") == Label.FINISHED.value:
        return False
    now_on = _order(world, state.relations.get("sequenceStep"))
    if step is None or now_on is None:
        return False
    return now_on > step and state.relations.get("sequenceStep") != task.relations.get("sequenceStep")


def _order(world: _World, step_id: int | None) -> int | None:
    step = world.steps.get(step_id or 0)
    order = step.fields.get("order") if step else None
    return order if isinstance(order, int) else None


def _prospect(task: Snapshot, world: _World) -> int | None:
    state = world.states.get(task.relations.get("sequenceState") or 0)
    return task.relations.get("prospect") or (state.relations.get("prospect") if state else None)


def _find_written(on: Applier, cases: Sequence[_Case]) -> None:
    """Ask the CRM for tasks that bear these references already, so that none is written twice."""
    if not cases:
        return
    reference = on.mapping.task.reference
    filters = [(reference, "eq", ",".join(str(case.change.ref.id) for case in cases))]
    columns = streams.columns(Kind.CRM_TASK, on.mapping)
    found = identify.read_all(on.remotes.crm, Kind.CRM_TASK, filters, match="and", columns=columns)
    with on.store.write() as db:
        notice.keep(db, Kind.CRM_TASK, found, mapping=on.mapping, names=on.names, now=on.now())
    known = {str(one.fields.get(reference) or ""): one for one in found}
    for case in cases:
        one = known.get(str(case.change.ref.id))
        if one is not None:
            case.receipt = deliver.Receipt(case.change.ref.id, one.ref.id, one.version, dict(one.fields))
            case.action = "link"


def _write(on: Applier, cases: Sequence[_Case], world: _World) -> None:
    known = masks.texts([*world.prospects.values(), *world.persons.values()], on.mapping)
    jobs = [(case, _job(case, known)) for case in cases if case.receipt is None]
    if not jobs:
        return
    columns = streams.columns(Kind.CRM_TASK, on.mapping)
    desk = Desk(on.remotes.crm, Kind.CRM_TASK, on.mapping.task.reference, columns, apply.Lacks(on))
    try:
        told = doubts.carry_out(on, jobs, desk)
    except errors.OutbookError as error:
        keep_failed_tasks(on, [(job.key, job.write) for _, job in jobs], error)
        raise
    for case in cases:
        case.receipt = told.get(case.change.ref.id, case.receipt)


def _job(case: _Case, known: tuple[str, ...]) -> Job:
    number = case.change.ref.id
    return Job(number, Write(case.crm_id, case.version, case.fields, None if case.crm_id else str(number), known))


def _receive(db: sa.Connection, on: Applier, cases: Sequence[_Case], tally: Tally) -> None:
    now = on.now()
    saved: list[Link] = []
    written: list[Written] = []
    mine, told = outbox.ours(db, [case.change for case in cases]), causes.are_told(db)
    receipts.report_doubles(db, Kind.TASK, [case for case in cases if case.change.id not in mine], now)
    for case in cases:
        receipt = case.receipt
        if receipt is None or receipt.crm_id is None or case.change.id not in mine:
            continue
        saved.append(Link(case.change.ref.id, receipt.crm_id, Shadow(), receipt.version))
        copy = Snapshot(Ref(Kind.CRM_TASK, receipt.crm_id), dict(receipt.fields), version=receipt.version)
        if case.action != "link":
            mirror.save(db, Kind.CRM_TASK, [streams.seen(copy, on.mapping)], ours=True)
            tally.tasks_cancelled += case.action in {"create", "recreate"}
            why, caused = f"skipped: {case.action}", causes.of_task(None if case.gone or not told else case.task)
            ids = (Kind.TASK, case.change.ref.id, receipt.crm_id)
            written.append(Written(*ids, System.CRM, case.action, {}, case.fields, why, caused, Kind.TASK))
    links.save(db, Kind.TASK, saved, now)
    links.remember(db, written, now=now, mapping_version=on.mapping.version)
    # A row that is gone was forgotten, or is another's by now.
    cases = [case for case in cases if case.change.id in mine]
    asked = [(c, c.receipt, Write(c.crm_id, c.version, c.fields)) for c in cases if c.receipt and c.action != "link"]
    backs = [one for c in cases if c.back and (one := of_back(c.back))]
    exchanges.keep(db, [*(of_task(c.change.ref.id, w, made, on.mapping) for c, made, w in asked), *backs], now)
    doubts.dispel(db, cases, now)
    for case in cases:
        _close(db, on, case, tally)


def _close(db: sa.Connection, on: Applier, case: _Case, tally: Tally) -> None:
    now, receipt = on.now(), case.receipt
    if case.hold is not None:
        outbox.hold(
            db, case.change, key=f"{receipts.ASK}:{case.change.ref}", kind=receipts.ASK, words=case.hold, now=now
        )
    elif case.back is not None:
        finished.receive(db, on, case.change, case.back, tally)
    elif case.standing is not None:
        outbox.release(db, [case.change], standing=case.standing)
    elif receipt is not None and receipt.trouble is not None:
        if receipt.fresh is not None:
            mirror.save(db, Kind.CRM_TASK, [streams.seen(receipt.fresh, on.mapping)])
        tally.new_failed += receipts.after_error(db, on, case.change, receipt.trouble)
    elif receipt is not None and receipt.refused:
        words = "; ".join(f"{name}: {words}" for name, words in receipt.refused.items())
        tally.new_failed += outbox.bury(db, case.change, words, now)
    else:
        outbox.settle(db, [case.change])
