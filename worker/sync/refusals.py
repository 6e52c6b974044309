"""What a side would not take: told to people in the CRM, and remembered so that it travels once it is mended."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from worker.core import errors, transforms
from worker.core.mapping import Computed
from worker.core.plan import Action
from worker.core.records import Shadow
from worker.core.transforms import Compare
from worker.remote.workbooks import Write
from worker.sync import deliver
from worker.sync.deliver import Job, Receipt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.sync.case import Applier, Case
    from worker.sync.deliver import Desk


def tell(on: Applier, cases: Sequence[Case], desk: Desk) -> None:
    """Write Outreach's words about what it would not take into the error field of those persons."""
    line = on.mapping.field_of(Computed.ERROR)
    jobs = {case.view.prospect_id: job for case in cases if line and (job := _job(on, case, line.crm))}
    if not line or not jobs:
        return
    try:
        told = deliver.carry_out(list(jobs.values()), desk)
    except errors.OutbookError:
        return  # the record fails all the same, and says so in `failures`
    for case in cases:
        receipt = told.get(case.view.prospect_id)
        if receipt is not None and receipt.applied and not receipt.refused:
            _note(case, receipt)


def _job(on: Applier, case: Case, error_field: str) -> Job | None:
    """Return the write of the words, None where there is nobody to write to or nothing new to say."""
    person, made = case.view.person, case.receipt
    if not case.refused_outreach or case.trouble is not None or error_field in case.view.stopped:
        return None
    if not on.permit.to(case.view.prospect_id, person, case.view.prospect).to_crm:
        return None
    if made is not None and made.applied:
        crm_id, version, held = made.crm_id, made.version, made.fields.get(error_field)
    elif made is None and person is not None and not person.deleted:
        crm_id, version, held = person.ref.id, person.version, person.fields.get(error_field)
    else:
        return None
    refused = [f"{name}: {words}" if name else words for name, words in (made.refused if made else {}).items()]
    words = "; ".join([*refused, case.refused_outreach])
    if transforms.same(Compare.TEXT, held, words):
        return None
    write = Write(crm_id or 0, version or 0, {error_field: words}, hide=case.hidden(on.mapping))
    return Job(case.view.prospect_id, write)


def _note(case: Case, receipt: Receipt) -> None:
    """Make the words part of what the case has written."""
    before = case.receipt or Receipt(case.view.prospect_id)
    case.receipt = replace(receipt, fields={**before.fields, **receipt.fields}, refused=before.refused)
    case.plan = replace(
        case.plan,
        action=Action.UPDATE if case.plan.action is Action.NOTHING else case.plan.action,
        crm={**case.plan.crm, **receipt.fields},
        values={**case.plan.values, **receipt.fields},
    )


def with_stand_ins(shadow: Shadow, receipt: Receipt | None) -> Shadow:
    """Return the shadow of a person who bears something else in the place of a refused value, such as the address as name.

    Outreach's half is blank there: its own value then counts as an edit, and travels as soon as the CRM takes it.
    """
    if receipt is None:
        return shadow
    stood_in = {name: receipt.fields[name] for name in receipt.refused if name in receipt.fields}
    return Shadow({**shadow.outreach, **dict.fromkeys(stood_in)}, {**shadow.crm, **stood_in})
