"""Tasks that somebody completed or cancelled in the CRM, done in Outreach as well, if the mapping says so.

What counts is a CRM task whose reference field holds the number of an Outreach task that is still open, however it came by
it. The Cancelled tasks that Outbook itself wrote have a link, and never travel back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from worker.core import errors, masks, tasks
from worker.core.records import Kind, System
from worker.store import links, mirror, outbox
from worker.store.links import Written
from worker.store.outbox import Lane, Standing
from worker.sync import notice, receipts
from worker.sync.case import ACTIONS_S

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    import sqlalchemy as sa

    from worker.core.records import Snapshot
    from worker.store.outbox import Change
    from worker.sync.case import Applier
    from worker.sync.tally import Tally

PORTION = 500


@dataclass(slots=True)
class Back:
    """One Outreach task that is to be completed or advanced, and what came of it.

    ``after`` is the task as Outreach answered, ``words`` why it would not and ``status`` that of its refusal, ``gone`` that it
    is no longer there, ``found`` that an earlier request without a reply turned out to have done it. ``hide`` is what is known
    of its prospect and must not stay in a vendor's words.
    """

    task: Snapshot
    crm_id: int
    verb: str
    standing: Standing | None = None
    after: Snapshot | None = None
    gone: bool = False
    found: bool = False
    words: str | None = None
    status: int | None = None
    trouble: errors.OutbookError | None = None
    hide: tuple[str, ...] = ()


def wanted(on: Applier, doubtful: Collection[tuple[Change, Snapshot]]) -> dict[int, Back]:
    """Return what is to be done in Outreach about some of its tasks, by id. None that Outbook has written is among them."""
    rule = on.mapping.task.back
    if rule is None or not doubtful:
        return {}
    with on.store.read() as db:
        referring = mirror.referring(db, Kind.CRM_TASK, [task.ref.id for _, task in doubtful])
        found = mirror.load(db, Kind.CRM_TASK, {crm for ids in referring.values() for crm in ids})
        backs = {}
        for change, task in doubtful:
            if "verb" in change.wish and not tasks.is_open(task):
                backs[task.ref.id] = Back(task, change.wish["crm"], change.wish["verb"], found=True)
                continue
            mine = [found[crm] for crm in sorted(referring.get(task.ref.id, ()))]
            told = tasks.done_by_hand(task, mine, rule, in_sequence=notice.of_a_sequence(task))
            if told is not None:
                crm_task, verb = told
                backs[task.ref.id] = _back(db, on, task, crm_task, verb)
    return backs


def _back(db: sa.Connection, on: Applier, task: Snapshot, crm_task: Snapshot, verb: str) -> Back:
    """Return what is to be done about a task; it is kept where its prospect may not be written just now."""
    prospect_id = task.relations.get("prospect")
    link = links.load(db, Kind.PROSPECT, [prospect_id or 0]).get(prospect_id or 0)
    person = mirror.load(db, Kind.PERSON, [link.crm_id]).get(link.crm_id) if link else None
    prospect = mirror.load(db, Kind.PROSPECT, [prospect_id or 0]).get(prospect_id or 0)
    standing = None if on.permit.to(prospect_id, person, prospect).to_outreach else Standing.KEPT
    notes = (str(one) for one in (task.fields.get("note"), crm_task.fields.get(tasks.DESCRIPTION)) if one)
    hide = (*masks.texts((prospect, person), on.mapping), *notes)
    return Back(task, crm_task.ref.id, verb, standing, hide=hide)


def told(back: Back) -> dict[str, Any]:
    """Return what would be done about a task, for a dry run."""
    why = f"task {back.crm_id} was finished in the CRM"
    return {
        "task": back.task.ref.id,
        "person": None,
        "action": "finish task",
        "why": why,
        "crm": [],
        "outreach": [back.verb],
    }


def look_for_done(on: Applier) -> None:
    """Open a change for every task that Outreach has open and the CRM finished by hand, however long ago.

    Pages tell only what moves: what was finished while nothing travelled back shows here alone.
    """
    rule = on.mapping.task.back
    if rule is None:
        return
    with on.store.read() as db:
        numbers = sorted(mirror.all_referred(db, Kind.CRM_TASK))
    for start in range(0, len(numbers), PORTION):
        part = numbers[start : start + PORTION]
        with on.store.write() as db:
            found = mirror.load(db, Kind.TASK, set(part) - set(links.load(db, Kind.TASK, part)))
            referring = mirror.referring(db, Kind.CRM_TASK, found)
            written = mirror.load(db, Kind.CRM_TASK, {crm for ids in referring.values() for crm in ids})
            done = [
                number
                for number, task in found.items()
                if tasks.done_by_hand(
                    task,
                    [written[crm] for crm in referring.get(number, ())],
                    rule,
                    in_sequence=notice.of_a_sequence(task),
                )
            ]
            outbox.open_changes(db, Kind.TASK, done, lane=Lane.BULK, now=on.now())


def note(db: sa.Connection, change: Change, back: Back | None, now: datetime) -> None:
    """Write down what is about to be asked: if no reply comes, the next holder knows what to look for."""
    if back is not None and back.standing is None:
        outbox.note_wish(db, change, {"crm": back.crm_id, "verb": back.verb}, now)


def carry_out(on: Applier, backs: Iterable[Back]) -> None:
    """Ask Outreach, one request a task, for as many as fit in 40 s; the rest is given back for the next claim."""
    until = on.now() + ACTIONS_S
    for back in backs:
        if back.standing is not None or back.found:
            continue
        if on.now() >= until:
            back.standing = Standing.DUE
            continue
        try:
            back.after = on.remotes.outreach.act(Kind.TASK, back.task.ref.id, back.verb, hide=back.hide)
        except errors.InvalidField as error:
            back.status = error.status
            back.words = f"Outreach would not {back.verb} task {back.task.ref.id}: {error.words}"
        except errors.Unreadable as error:
            back.gone, back.status = True, error.status
        except errors.Transient as error:
            back.trouble = error  # it may have been done: the next try looks at the task first


def receive(db: sa.Connection, on: Applier, change: Change, back: Back, tally: Tally) -> None:
    """Write down what came of it."""
    if back.standing is not None:
        outbox.release(db, [change], standing=back.standing)
    elif back.trouble is not None:
        tally.new_failed += receipts.after_error(db, on, change, back.trouble)
    elif back.words is not None:
        outbox.note_wish(db, change, {}, on.now())
        tally.new_failed += outbox.bury(db, change, back.words, on.now())
    elif back.gone:
        mirror.bury(db, Kind.TASK, [back.task.ref.id])
        outbox.settle(db, [change])
    else:
        _done(db, on, back)
        tally.outreach_actions += 1
        outbox.settle(db, [change])


def _done(db: sa.Connection, on: Applier, back: Back) -> None:
    if back.after is not None:
        # Who completed it is believed only from this answer: taken from before, it would look like nobody.
        held = {name: other for name, other in back.task.relations.items() if name != "completer"}
        fields = {name: value for name, value in back.after.fields.items() if name in tasks.ATTRIBUTES}
        related = {name: other for name, other in back.after.relations.items() if name in tasks.RELATIONS}
        whole = replace(back.after, fields={**back.task.fields, **fields}, relations={**held, **related})
        notice.keep(db, Kind.TASK, [whole], mapping=on.mapping, names=on.names, now=on.now())
    number = back.task.ref.id
    told = Written(
        Kind.TASK, number, back.crm_id, System.OUTREACH, f"task {back.verb}", {}, {}, "done by hand in the CRM"
    )
    links.remember(db, [told], now=on.now(), mapping_version=on.mapping.version)
