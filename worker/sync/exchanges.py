"""What was asked of a vendor about a record and what it answered, as it may be kept: values of people hidden.

Of a batch only what is about the record is told, as it was sent: method, path, ids, field names, the vendor's words and status
stay. A reply without ``status`` is one that never came.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from worker.core import masks, tasks, transforms
from worker.core.mapping import Verb
from worker.core.plan import Action
from worker.core.records import Kind, System
from worker.store import exchanges as store
from worker.store.exchanges import Exchange
from worker.sync.deliver import Receipt

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping as Dict

    from worker.core import errors
    from worker.core.mapping import Mapping
    from worker.core.records import Value
    from worker.core.wishes import Order
    from worker.remote.workbooks import Write
    from worker.sync.case import Applier, Case
    from worker.sync.finished import Back

_TASK_TEXTS = frozenset({tasks.STATUS, tasks.CONTACT_TYPE, "name", "due_date"})
_json = msgspec.json.Encoder()


def of_case(case: Case, mapping: Mapping) -> list[Exchange]:
    """Return what was asked about one person, at most once a side; nothing if nothing was."""
    pid, told = case.view.prospect_id, []
    if case.plan.writes_crm and case.receipt is not None:
        person = case.view.person
        updating = case.plan.action is Action.UPDATE and person is not None
        sent = {"id": person.ref.id, "lock_version": person.version} if updating and person else {"id": 0}
        request = _put("/crm/people.api", {**sent, **masks.shown(case.plan.crm, mapping)})
        made = masks.shown(case.receipt.fields, mapping)
        reply = _answer(case.receipt, {name: made[name] for name in case.plan.crm if name in made})
        told.append(Exchange(Kind.PROSPECT, pid, System.CRM, request, reply))
    asked = _asked_of_outreach(case, mapping)
    if asked:
        request = _text({"PATCH": f"/api/v2/prospects/{pid}", "attributes": masks.shown(asked, mapping)})
        told.append(Exchange(Kind.PROSPECT, pid, System.OUTREACH, request, _patched(case, asked, mapping)))
    return told


def keep_failed(on: Applier, cases: Iterable[Case], error: errors.OutbookError) -> None:
    """Keep what was asked of the CRM about the people of a batch that failed as a whole."""
    trouble = Receipt(0, trouble=error)
    asked = [one for case in cases for one in of_case(replace(case, receipt=trouble), on.mapping)]
    with on.store.write() as db:
        store.keep(db, [one for one in asked if one.system is System.CRM], on.now())


def of_task(task_id: int, write: Write, receipt: Receipt, mapping: Mapping) -> Exchange:
    """Return what was asked about a Cancelled task in the CRM."""
    about: dict[str, Value] = {"id": write.id, "lock_version": write.version} if write.id else {"id": 0}
    request = _put("/activity/tasks.api", {**about, **shown_of_task(write.fields, mapping)})
    return Exchange(Kind.TASK, task_id, System.CRM, request, _answer(receipt, {}))


def keep_failed_tasks(on: Applier, jobs: Iterable[tuple[int, Write]], error: errors.OutbookError) -> None:
    """Keep what was asked of the CRM about the tasks of a batch that failed as a whole."""
    told = [of_task(number, write, Receipt(number, trouble=error), on.mapping) for number, write in jobs]
    with on.store.write() as db:
        store.keep(db, told, on.now())


def of_back(back: Back) -> Exchange | None:
    """Return what was asked of Outreach about a task that somebody finished in the CRM; None if nothing was."""
    if not (back.after or back.words or back.gone or back.trouble):
        return None
    number = back.task.ref.id
    request = _text({"POST": f"/api/v2/tasks/{number}/actions/{back.verb}"})
    words = back.words or ("no such task" if back.gone else None)
    answer = _outcome(words, back.trouble, status=back.status)
    return Exchange(Kind.TASK, number, System.OUTREACH, request, answer)


def of_wish(
    prospect_id: int,
    order: Order,
    *,
    refusal: errors.OutbookError | None = None,
    trouble: errors.OutbookError | None = None,
) -> Exchange:
    """Return the sequence action that Outreach was asked for about a prospect, and the ``refusal`` or ``trouble`` it met."""
    told: dict[str, object] = {"POST": f"/api/v2/sequenceStates/{order.state}/actions/{order.verb.value}"}
    if order.state is None:
        ends = {"prospect": prospect_id, "sequence": order.sequence.id, "mailbox": order.mailbox}
        told = {"POST": "/api/v2/sequenceStates", "relationships": ends}
    elif order.verb is Verb.REMOVE:
        told = {"DELETE": f"/api/v2/sequenceStates/{order.state}"}
    words, status = (refusal.words, refusal.status) if refusal else (None, None)
    return Exchange(Kind.PROSPECT, prospect_id, System.OUTREACH, _text(told), _outcome(words, trouble, status=status))


def of_new(
    person_id: int,
    sent: Dict[str, Value],
    mapping: Mapping,
    *,
    made: int | None,
    words: str | None,
    trouble: errors.OutbookError | None,
    status: int | None,
) -> Exchange:
    """Return the request that was to create a prospect; it belongs to the prospect if one was ``made``, else to the person."""
    request = _text({"POST": "/api/v2/prospects", "attributes": masks.shown(sent, mapping)})
    told = {"status": 201, "ok": True, "id": made}
    reply = _text(told) if made else _outcome(words, trouble, status=status)
    ref = (Kind.PROSPECT, made) if made else (Kind.PERSON, person_id)
    return Exchange(*ref, System.OUTREACH, request, reply)


def _outcome(words: str | None, trouble: errors.OutbookError | None, *, status: int | None = None) -> str:
    """Return an answer, 200 if it was neither a refusal nor trouble; ``status`` is that of a refusal."""
    well = not (words or trouble)
    told = 200 if well else status
    answer: dict[str, object] = {**({"status": told} if told else {}), "ok": well}
    if words:
        answer["refused"] = words
    return _text(answer | (_failure(trouble) if trouble else {}))


def shown_of_task(fields: Dict[str, Value], mapping: Mapping) -> dict[str, Value]:
    """Return the fields of a CRM task as they may be shown; its description is somebody's note."""
    told = _TASK_TEXTS | {mapping.task.reference}
    return {name: masks.cut(value) if name in told else masks.masked(value) for name, value in fields.items()}


def _asked_of_outreach(case: Case, mapping: Mapping) -> dict[str, Value]:
    """Return the attributes that Outreach was asked to take; those it refused are in the plan's decisions only."""
    tried = case.prospect is not None or case.refused_outreach is not None or bool(case.plan.outreach and case.trouble)
    if not tried:
        return {}
    refused: dict[str, Value] = {}
    for one in case.plan.decisions if case.refused_outreach else ():
        line = mapping.by_crm.get(one.field)
        if line and line.attribute and not isinstance(one.to_outreach, transforms.Absent):
            refused[line.attribute] = one.to_outreach
    return {**refused, **case.plan.outreach}


def _patched(case: Case, asked: Dict[str, Value], mapping: Mapping) -> str:
    answer: dict[str, object] = {"status": 200, "ok": True} if case.prospect is not None else {"ok": False}
    if case.prospect is not None:
        now = {name: value for name, value in case.prospect.fields.items() if name in asked}
        answer["attributes"] = masks.shown(now, mapping)
    if case.refused_outreach:
        answer["refused"] = case.refused_outreach
        answer = {**({"status": case.refused_status} if case.refused_status else {}), **answer}
    if case.trouble is not None:
        answer |= _failure(case.trouble)
    return _text(answer)


def _answer(receipt: Receipt, made: Dict[str, Value]) -> str:
    told = {"status": 200} if receipt.applied or receipt.refused else {}
    answer: dict[str, object] = {**told, "ok": receipt.applied}
    if receipt.applied:
        answer |= {"id": receipt.crm_id, "lock_version": receipt.version, **({"object": made} if made else {})}
    if receipt.refused:
        answer["refused"] = dict(receipt.refused)
    if receipt.trouble is not None:
        answer |= _failure(receipt.trouble)
    return _text(answer)


def _failure(error: errors.OutbookError) -> dict[str, object]:
    return {**({"status": error.status} if error.status else {}), "error": type(error).__name__, "words": error.words}


def _put(path: str, about: Dict[str, object]) -> str:
    """Return a saving, as the CRM takes it: a POST whose form says PUT (facts, workbooks-api 4)."""
    return _text({"POST": path, "_method": "PUT", "object": about})


def _text(document: Dict[str, object]) -> str:
    return _json.encode(document).decode()
