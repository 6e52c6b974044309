"""New records in the CRM that no reply has confirmed: looked for again and again before they are made once more.

Lists of a CRM may lag behind its writes. What may be there is waited for (``core.intents``); what surely is not, is not.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from worker.core import errors, intents
from worker.store import outbox
from worker.sync import deliver
from worker.sync.deliver import Receipt

if TYPE_CHECKING:
    from collections.abc import Mapping as Dict
    from collections.abc import Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from worker.store.outbox import Change
    from worker.sync.case import Applier
    from worker.sync.deliver import Desk, Job

AGAIN = timedelta(seconds=5)
"""How long a claim makes such records: by this much the last is made later than its intent says."""
FEW = 10
"""So many go in one request after one wait in vain. After an outage that is a tenth of the calls that one by one would be."""


class Intended(Protocol):
    """A case of either kind with what was written down before its writes were sent."""

    change: Change
    intent: Dict[str, Any]
    receipt: Receipt | None


def waiting(change: Change, action: str, now: datetime) -> Receipt | None:
    """Return the receipt of a record that is not to be made yet, for there may be one; None if it is."""
    wait_s = intents.to_wait_s(change.intent, now) if action in intents.MAKING else None
    return None if wait_s is None else deliver.in_doubt(change.ref.id, wait_s=wait_s)


def carry_out(on: Applier, jobs: Sequence[tuple[Intended, Job]], desk: Desk) -> dict[int, Receipt]:
    """Carry jobs out and return a receipt for each; raise only if nothing at all was sent.

    What was waited for in vain goes a few at a time, and one by one if that, too, was in vain: it may be one bad record among
    them for which a CRM without separate transactions made none, and such a CRM need not say which.
    """
    waited = {job.key: case for case, job in jobs if not job.write.id and intents.UNCONFIRMED in case.change.intent}
    plain = [job for _, job in jobs if job.key not in waited]
    try:
        told = deliver.carry_out(plain, desk)
    except errors.OutbookError:
        _note(on, [(case, intents.sure(case.intent)) for case, _ in jobs])
        raise
    until, left = on.now() + AGAIN, []
    for some in _portions([job for _, job in jobs if job.key in waited], waited):
        if on.now() >= until:
            told |= {job.key: deliver.in_doubt(job.key, wait_s=0) for job in some}
            left += [(waited[job.key], waited[job.key].change.intent) for job in some]
            continue
        try:
            told |= deliver.carry_out(some, desk)
        except errors.OutbookError as error:
            told |= {job.key: Receipt(job.key, trouble=error) for job in some}
    _note(on, left)
    return told


def _portions(jobs: Sequence[Job], waited: Dict[int, Intended]) -> list[Sequence[Job]]:
    """Return in what portions they are made again: a few at a time those that were waited for once, the others alone."""
    once = [job for job in jobs if intents.IN_VAIN not in waited[job.key].change.intent]
    alone = [job for job in jobs if intents.IN_VAIN in waited[job.key].change.intent]
    return [*(once[at : at + FEW] for at in range(0, len(once), FEW)), *([job] for job in alone)]


def _note(on: Applier, told: Sequence[tuple[Intended, Dict[str, Any]]]) -> None:
    if told:
        with on.store.write() as db:
            outbox.intend(db, [(case.change, intent) for case, intent in told], on.now())


def dispel(db: sa.Connection, cases: Sequence[Intended], now: datetime) -> None:
    """Note the same of those whose receipt tells that they were refused."""
    failed = [case for case in cases if case.receipt and case.receipt.trouble and not case.receipt.in_doubt]
    made = [case for case in failed if case.intent.get("crm") in intents.MAKING]
    outbox.intend(db, [(case.change, intents.sure(case.intent)) for case in made], now)
