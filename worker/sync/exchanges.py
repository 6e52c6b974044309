"""What was asked of a vendor about a record and what it answered, as it may be kept: values of people hidden.

Of a batch only what is about the record is told, as it was sent: ids, field names, the vendor's words and status stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from worker.core import masks, tasks, transforms
from worker.core.plan import Action
from worker.core.records import Kind, System
from worker.store.exchanges import Exchange

if TYPE_CHECKING:
    from collections.abc import Mapping as Dict

    from worker.core import errors
    from worker.core.mapping import Mapping
    from worker.core.records import Value
    from worker.remote.workbooks import Write
    from worker.sync.case import Case
    from worker.sync.deliver import Receipt

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


def of_task(task_id: int, write: Write, receipt: Receipt, mapping: Mapping) -> Exchange:
    """Return what was asked about a Cancelled task in the CRM."""
    about: dict[str, Value] = {"id": write.id, "lock_version": write.version} if write.id else {"id": 0}
    request = _put("/activity/tasks.api", {**about, **shown_of_task(write.fields, mapping)})
    return Exchange(Kind.TASK, task_id, System.CRM, request, _answer(receipt, {}))


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
    answer: dict[str, object] = {"ok": case.prospect is not None}
    if case.prospect is not None:
        now = {name: value for name, value in case.prospect.fields.items() if name in asked}
        answer["attributes"] = masks.shown(now, mapping)
    if case.refused_outreach:
        answer["refused"] = case.refused_outreach
    if case.trouble is not None:
        answer |= _failure(case.trouble)
    return _text(answer)


def _answer(receipt: Receipt, made: Dict[str, Value]) -> str:
    answer: dict[str, object] = {"ok": receipt.applied}
    if receipt.applied:
        answer |= {"id": receipt.crm_id, "lock_version": receipt.version, **({"object": made} if made else {})}
    if receipt.refused:
        answer["refused"] = dict(receipt.refused)
    if receipt.trouble is not None:
        answer |= _failure(receipt.trouble)
    return _text(answer)


def _failure(error: errors.OutbookError) -> dict[str, object]:
    return {"error": type(error).__name__, "words": error.words}


def _put(path: str, about: Dict[str, object]) -> str:
    return _text({"PUT": path, "object": about})


def _text(document: Dict[str, object]) -> str:
    return _json.encode(document).decode()
