"""The brakes: what is held, as one entry while the rest flows, because too much of one kind happens within a day.

Opt-outs are never held. Too many of them only raise an alarm.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from worker.core import errors, plan, transforms
from worker.core.plan import Action
from worker.core.records import Kind
from worker.store import backlog, brakes, cursors, links, meta, outbox
from worker.sync import receipts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from worker.core.mapping import Field, Share
    from worker.store.database import Store
    from worker.sync.case import Applier, Case
    from worker.sync.gather import Batch

    Linked = Callable[[], int]

DELETED, NEW_PEOPLE, NEW_PROSPECTS, EMPTIED = (
    "brake:deleted_people",
    "brake:new_people",
    "brake:new_prospects",
    "brake:emptied_values",
)
REMOVALS = "brake:removals"
"""Followed by the kind of record that can no longer be found in Outreach (``sync.sweep``)."""
THROUGH = brakes.THROUGH
LEAST_NEW_SHARE = 2.0
"""New people are held above this share, in per cent, of the linked ones and above the mapping's number (contract, 5)."""


def note_first_pass(store: Store, now: datetime) -> None:
    """Remember that the first pass is through, once every stream is primed and nothing is due."""
    with store.read() as db:
        through = not cursors.unprimed(db) and not backlog.claimable(db, now)
    if through:
        meta.remember(store, THROUGH, now.isoformat())


def hold_back(db: sa.Connection, on: Applier, cases: Sequence[Case], batch: Batch) -> None:
    """Hold what waits for a person: a deletion that the mapping asks about, and whatever a brake stops."""
    linked = cache(lambda: links.count(db, Kind.PROSPECT))  # counting all takes time: only where a brake must weigh
    _deletions(db, on, cases, batch, linked)
    _new_people(db, on, cases, linked)
    _emptied(db, on, cases, linked)
    for case in cases:
        if (case.plan.waits or case.plan.action is Action.HOLD) and case.trouble is None:
            case.trouble = errors.UnsafePlan(case.plan.why)


def _deletions(db: sa.Connection, on: Applier, cases: Sequence[Case], batch: Batch, linked: Linked) -> None:
    unreadable = {
        case.view.link.crm_id: (case.view.prospect_id, on.now())
        for case in cases
        if isinstance(case.trouble, errors.Unreadable) and case.view.link
    }
    links.missing(db, unreadable)
    gone = [
        case
        for case in cases
        if case.plan.action in {Action.RECREATE, Action.UNLINK} or case.change.ref.id in batch.unreadable
    ]
    missing = links.missing_lately(db)
    if gone and plan.too_many_deleted(missing, linked(), on.mapping.brakes.deleted_people):
        words = (
            f"{missing} of {linked()} linked people were deleted or became unreadable in the CRM within a day; "
            "approve to go on as the mapping says, or restore them in the CRM"
        )
        _stop(gone, DELETED, words)


def _new_people(db: sa.Connection, on: Applier, cases: Sequence[Case], linked: Linked) -> None:
    """Hold creations beyond the mapping's number, once the first pass is through: that one creates everybody there is."""
    creating = [case for case in cases if case.plan.action is Action.CREATE and case.trouble is None]
    limit = on.mapping.brakes.new_people
    if not creating or limit is None or meta.get(db, THROUGH) is None or brakes.is_off(db, NEW_PEOPLE, on.now()):
        return
    ids = [case.view.prospect_id for case in creating]
    count = brakes.count(db, NEW_PEOPLE, on.now(), beside=ids)
    if count > limit and count * 100 > LEAST_NEW_SHARE * linked():
        words = f"{count} people would be new in the CRM within a day; approve to let them be created"
        _stop(creating, NEW_PEOPLE, words)
    else:
        brakes.note(db, NEW_PEOPLE, ids, on.now())


def _stop(cases: Sequence[Case], key: str, words: str) -> None:
    for case in cases:
        case.trouble = receipts.TooBold(words, key)
        case.plan = plan.held(case.plan)


def _emptied(db: sa.Connection, on: Applier, cases: Sequence[Case], linked: Linked) -> None:
    """Leave a field alone that is being emptied on too many people at once; their other fields are written."""
    limit = on.mapping.brakes.emptied_values
    if limit is None:
        return
    for line in on.mapping.copied:
        emptying = [
            case for case in cases if case.plan.action is Action.UPDATE or case.plan.outreach if _empties(case, line)
        ]
        if emptying:
            _leave_filled(db, on, line, emptying, linked=linked, limit=limit)


def _leave_filled(
    db: sa.Connection, on: Applier, line: Field, emptying: Sequence[Case], *, linked: Linked, limit: Share
) -> None:
    key = f"{EMPTIED}:{line.crm}"
    if brakes.is_off(db, key, on.now()):
        return
    ids = [case.view.prospect_id for case in emptying]
    count = brakes.count(db, key, on.now(), beside=ids)
    brakes.note(db, key, ids, on.now())
    if limit.allows(count, linked()):
        return
    words = (
        f"{line.crm} would be emptied on {count} of {linked()} linked people within a day; approve to let that happen"
    )
    outbox.post_hold(db, key=key, kind=receipts.BRAKE, words=words, now=on.now())
    for case in emptying:
        crm = {name: value for name, value in case.plan.crm.items() if name != line.crm}
        outreach = {name: value for name, value in case.plan.outreach.items() if name != line.attribute}
        action = Action.NOTHING if case.plan.action is Action.UPDATE and not crm else case.plan.action
        case.plan = replace(case.plan, crm=crm, outreach=outreach, action=action)
        case.unwritten |= {line.crm}


def _empties(case: Case, line: Field) -> bool:
    """Tell whether a plan writes a blank over something that is there."""
    for decision in case.plan.decisions:
        if decision.field != line.crm:
            continue
        person, prospect = case.view.person, case.view.prospect
        if line.crm in case.plan.crm and transforms.is_blank(decision.to_crm):
            return person is not None and not transforms.is_blank(person.fields.get(line.crm))
        if line.attribute in case.plan.outreach and transforms.is_blank(decision.to_outreach) and line.outreach:
            return prospect is not None and not transforms.is_blank(transforms.read(line.outreach, prospect.fields))
    return False
