"""Why a record is as it is: the very plan that applying makes, from the mirror alone, with everything that led to it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from worker.core import explanation as told
from worker.core import masks, plan, tasks, transforms
from worker.core.mapping import PERSON_ADDRESSES, Computed
from worker.core.records import Kind
from worker.store import exchanges, forgotten, links, mirror, pauses
from worker.store import explain as known
from worker.store.outbox import Lane, Standing
from worker.sync import breakers, explain_person, fields, gather, in_force, paused, skips, streams
from worker.sync.exchanges import shown_of_task
from worker.sync.explain_person import SIDES, Around

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Mapping as Dict
    from datetime import datetime
    from typing import Any

    import sqlalchemy as sa

    from worker.core.explanation import Explained
    from worker.core.mapping import SkipSignal
    from worker.core.records import Link, Snapshot, Value
    from worker.store.links import Name
    from worker.store.selection import Chosen
    from worker.sync.case import Applier
    from worker.sync.gather import Batch

LANES = {Lane.OPT_OUT: "opt-out", Lane.EDIT: "edit", Lane.BULK: "bulk"}


def explain(on: Applier, chosen: Chosen, *, personal: bool = False, left_out: int = 0) -> Explained:
    """Return why the chosen records are as they are. Nothing is asked of a vendor and nothing changed."""
    people = _people(on, chosen.prospects, personal=personal) if chosen.prospects else ()
    with on.store.read() as db:
        strangers = tuple(_strangers(db, on, chosen.people))
        found = tuple(_tasks(db, on, chosen.tasks, personal=personal))
        unknown = tuple(_unknown(db, on, chosen.unknown))
    return told.Explained(people, strangers, found, unknown, left_out)


def _people(on: Applier, ids: Sequence[int], *, personal: bool) -> tuple[told.Person, ...]:
    with on.store.read() as db:
        stops = breakers.standing(db)
        stopped = stops.everybody.union(fields.unwritable(db), in_force.waiting(db, on.mapping))
    batch = gather.known(ids, store=on.store, names=on.names, stopped=stopped)
    with on.store.read() as db:
        around = _around(db, on, ids, batch, personal=personal)
    people = []
    for pid in ids:
        view = replace(batch.views[pid], stopped=batch.views[pid].stopped | stops.of(pid))
        people.append(explain_person.person(around, view, plan.plan_person(view, on.mapping)))
    return tuple(people)


def _around(db: sa.Connection, on: Applier, ids: Sequence[int], batch: Batch, *, personal: bool) -> Around:
    """Return what stands beside the views of some people in the store."""
    changes = known.changes(db, Kind.PROSPECT, ids)
    names = {pid: _names(on, batch, pid) for pid in ids}
    every = {name for some in names.values() for name in some}
    keys = [row.hold_key for row in changes.values() if row.hold_key]
    waits = known.holds(db, Kind.PROSPECT, ids, keys)
    return Around(
        mapping=on.mapping,
        permit=paused.heeding(db, on, Kind.PROSPECT).permit,
        switches=on.permit,
        pauses=tuple(str(one) for one in pauses.standing(db)),
        batch=batch,
        linked_at=known.linked_at(db, Kind.PROSPECT, ids),
        due={pid: _due(row) for pid, row in changes.items()},
        held={pid: _waits(waits, Kind.PROSPECT, pid, changes.get(pid)) for pid in ids},
        excluded=known.exclusions(db, Kind.PROSPECT, ids),
        names=names,
        latches=known.latches(db, every),
        liftings=known.liftings(db, {key for view in batch.views.values() for key in view.lifted}),
        history={
            pid: _wrote(on, past, personal=personal) for pid, past in known.history(db, Kind.PROSPECT, ids).items()
        },
        exchanges={pid: _exchanged(some) for pid, some in exchanges.load(db, Kind.PROSPECT, ids).items()},
        personal=personal,
    )


def _names(on: Applier, batch: Batch, pid: int) -> list[Name]:
    view = batch.views[pid]
    addresses = transforms.addresses(view.prospect, ("emails",)) if view.prospect else frozenset()
    found: list[Name] = []
    for body in (view.person, view.former):
        if body is not None:
            addresses |= transforms.addresses(body, PERSON_ADDRESSES)
            found += on.names.of(prospect=None, person=body.ref.id, addresses=())
    return [*on.names.of(prospect=pid, person=None, addresses=addresses), *found]


def _due(row: Any) -> told.Due:  # noqa: ANN401 - a row of the driver
    return told.Due(
        standing=row.state,
        lane=LANES[Lane(row.lane)],
        opened_at=row.opened_at,
        next_at=row.next_at,
        attempts=row.attempts,
        error=row.error,
        failed_at=row.failed_at if row.state == Standing.DEAD else None,
        in_work_until=row.lease_until,
    )


def _waits(rows: Iterable[Any], kind: Kind, record: int, change: Any) -> tuple[told.Waits, ...]:  # noqa: ANN401
    about = f"{kind.value}:{record}"
    key = change.hold_key if change is not None else None
    mine = (row for row in rows if row.key == key or row.key.endswith(about) or f"{about}:" in row.key)
    return tuple(told.Waits(row.kind, row.key, row.since, row.words) for row in mine)


def _wrote(on: Applier, past: Iterable[known.Past], *, personal: bool, task: bool = False) -> tuple[told.Wrote, ...]:
    def shown(values: Dict[str, Value]) -> Dict[str, Value]:
        if personal:
            return values
        return shown_of_task(values, on.mapping) if task else masks.shown(values, on.mapping)

    return tuple(
        told.Wrote(
            one.at,
            one.caused_at,
            SIDES[one.system],
            one.action,
            shown(one.before),
            shown(one.after),
            one.why,
            one.mapping_version,
        )
        for one in past
    )


def _exchanged(some: Iterable[exchanges.Exchange]) -> tuple[told.Exchanged, ...]:
    return tuple(told.Exchanged(SIDES[one.system], one.at, one.request, one.reply) for one in some)


def _strangers(db: sa.Connection, on: Applier, ids: Sequence[int]) -> Iterable[told.Stranger]:
    """Yield the people of the CRM who belong to no prospect, and why they do not."""
    if not ids:
        return
    people, changes = mirror.load(db, Kind.PERSON, ids), known.changes(db, Kind.PERSON, ids)
    out = known.exclusions(db, Kind.PERSON, ids)
    waits = known.holds(db, Kind.PERSON, ids, [row.hold_key for row in changes.values() if row.hold_key])
    asked = exchanges.load(db, Kind.PERSON, ids)
    for crm_id in ids:
        person, change = people.get(crm_id), changes.get(crm_id)
        held = _waits(waits, Kind.PERSON, crm_id, change)
        yield told.Stranger(
            person=crm_id,
            wanted=person is not None and streams.wishes_for_outreach(person, on.mapping),
            why=_why_alone(on, person, out.get(crm_id), change=change, held=held),
            opted_out=person is not None and streams.no_email(person, on.mapping),
            due=_due(change) if change is not None else None,
            held=held,
            excluded=out.get(crm_id),
            exchanges=_exchanged(asked.get(crm_id, ())),
        )


def _why_alone(
    on: Applier,
    person: Snapshot | None,
    excluded: str | None,
    *,
    change: Any,  # noqa: ANN401 - a row of the driver
    held: Sequence[told.Waits],
) -> str:
    tick = on.mapping.field_of(Computed.SYNC_REQUEST)
    if person is None:
        return "the CRM has shown nobody under this id"
    if person.deleted:
        return "deleted in the CRM"
    if held:
        return held[0].words
    if change is not None:
        return change.error or "wanted in Outreach: will be looked up by every address, then linked or created"
    if excluded:
        return excluded
    if not transforms.addresses(person, PERSON_ADDRESSES):
        return "no prospect bears this person's id, and there is no e-mail address to find one by"
    if tick is not None and not streams.wishes_for_outreach(person, on.mapping):
        return f"no prospect has this id or one of the addresses, and nobody ticked {tick.crm} to ask for one"
    return "no prospect has this id or one of the addresses"


def _tasks(db: sa.Connection, on: Applier, ids: Sequence[int], *, personal: bool) -> Iterable[told.Task]:
    """Yield Outreach tasks: whether each counts as skipped, and what became of it in the CRM."""
    if not ids:
        return
    views, pairs = skips.views(db, ids), links.load(db, Kind.TASK, ids)
    owners = links.load(db, Kind.PROSPECT, {pid for _, pid in views.values() if pid is not None})
    changes = known.changes(db, Kind.TASK, ids)
    waits = known.holds(db, Kind.TASK, ids, [row.hold_key for row in changes.values() if row.hold_key])
    past, asked = known.history(db, Kind.TASK, ids), exchanges.load(db, Kind.TASK, ids)
    for task_id in ids:
        view, prospect = views.get(task_id, (None, None))
        link, owner = pairs.get(task_id), owners.get(prospect or 0)
        sign = tasks.skipped_by(view, on.mapping) if view else None
        held = _waits(waits, Kind.TASK, task_id, changes.get(task_id))
        yield told.Task(
            task=task_id,
            prospect=prospect,
            person=owner.crm_id if owner and not owner.gone else None,
            crm_task=link.crm_id if link else None,
            state=str(view.task.fields.get("state")) if view else None,
            skipped_by=sign.value if sign else None,
            why=_why_task(view, link, owner, sign=sign, held=held),
            due=_due(changes[task_id]) if task_id in changes else None,
            held=held,
            history=_wrote(on, past.get(task_id, ()), personal=personal, task=True),
            exchanges=_exchanged(asked.get(task_id, ())),
        )


def _why_task(
    view: tasks.TaskView | None,
    link: Link | None,
    owner: Link | None,
    *,
    sign: SkipSignal | None,
    held: Sequence[told.Waits],
) -> str:
    if held:
        return held[0].words
    if link is not None:
        return f"skipped, and shown in the CRM as task {link.crm_id}" if not link.gone else "unlinked: it stays so"
    if view is None:
        return "Outreach has shown no task under this id"
    if view.sequence is None:
        return "belongs to no sequence: only tasks of a sequence are shown in the CRM"
    if sign is None:
        return "no sign that it was skipped: nothing is shown in the CRM"
    return "skipped; it is written with the next pass" if owner else "skipped; it waits for its person to be in the CRM"


def _unknown(db: sa.Connection, on: Applier, named: Sequence[str]) -> Iterable[told.Unknown]:
    """Yield what nobody here has ever seen, and which of it was erased on purpose."""
    under: dict[str, list[Name]] = {}
    for text in named:
        kind, _, number = text.partition(":")
        by_id = {kind: int(number)} if kind in {"prospect", "person"} and number.isdecimal() else {}
        address = transforms.address(text) if not by_id else None
        under[text] = on.names.of(
            prospect=by_id.get("prospect"), person=by_id.get("person"), addresses=[address] if address else []
        )
    gone: dict[Name, datetime] = forgotten.since(db, {name for names in under.values() for name in names}, on.names)
    for text, names in under.items():
        yield told.Unknown(text, next((gone[name] for name in names if name in gone), None))
