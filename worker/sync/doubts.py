"""New records in the CRM that no reply has confirmed: looked for again and again before they are made once more.

Lists of a CRM may lag behind its writes. What may be there is waited for (``core.intents``); what surely is not, is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from worker.core import intents
from worker.store import outbox
from worker.sync import deliver

if TYPE_CHECKING:
    from collections.abc import Mapping as Dict
    from collections.abc import Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from worker.store.outbox import Change
    from worker.sync.case import Applier
    from worker.sync.deliver import Receipt


class Intended(Protocol):
    """A case of either kind with what was written down before its writes were sent."""

    change: Change
    intent: Dict[str, Any]
    receipt: Receipt | None


def waiting(change: Change, action: str, now: datetime) -> Receipt | None:
    """Return the receipt of a record that is not to be made yet, for there may be one; None if it is."""
    wait_s = intents.to_wait_s(change.intent, now) if action in intents.MAKING else None
    return None if wait_s is None else deliver.in_doubt(change.ref.id, wait_s=wait_s)


def nothing_sent(on: Applier, cases: Sequence[Intended]) -> None:
    """Note that no record was made for any of them: the next try need not wait for one to be seen."""
    with on.store.write() as db:
        outbox.intend(db, [(case.change, intents.sure(case.intent)) for case in cases], on.now())


def dispel(db: sa.Connection, cases: Sequence[Intended], now: datetime) -> None:
    """Note the same of those whose receipt tells that they were refused."""
    failed = [case for case in cases if case.receipt and case.receipt.trouble and not case.receipt.in_doubt]
    made = [case for case in failed if case.intent.get("crm") in intents.MAKING]
    outbox.intend(db, [(case.change, intents.sure(case.intent)) for case in made], now)
