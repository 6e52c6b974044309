"""What is done with a claim, whatever becomes of it: nothing that was claimed is left behind without a word."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import sqlalchemy as sa

from worker import traces
from worker.core import errors
from worker.store import backlog, circuits, database, outbox
from worker.store.outbox import Lane
from worker.sync import poison, receipts
from worker.sync.case import kept_alive
from worker.sync.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.store.outbox import Change
    from worker.sync.case import Applier


def work_on(on: Applier, changes: Sequence[Change], work: Callable[[list[Change]], Tally]) -> Tally:
    """Do the work of a claim while its leases are kept alive, and return what it did.

    What a vendor's fault ends is put off or buried as the fault wants, and a halt raised; what nobody foresaw is tried again
    one by one; whoever is told to end gives all of it back. Where the store fails the leases run out.
    """
    with traces.span("apply", kind=changes[0].ref.kind, changes=len(changes)) as span:
        try:
            told = _worked_on(on, changes, work)
            on.count(told)
            return told
        finally:
            if span.wanted:
                span.records(_outcomes(on, changes))


def _outcomes(on: Applier, changes: Sequence[Change]) -> list[tuple[str, str]]:
    """Return what has become of each record: settled, or where its change stands."""
    with contextlib.suppress(sa.exc.SQLAlchemyError), on.store.read() as db:
        left = backlog.told(db, changes[0].ref.kind, [change.ref.id for change in changes])
        return [
            (str(change.ref), left[change.ref.id][0].value if change.ref.id in left else "settled")
            for change in changes
        ]
    return []


def _worked_on(on: Applier, changes: Sequence[Change], work: Callable[[list[Change]], Tally]) -> Tally:
    mine = poison.weeded(on, changes)
    if not mine:
        return Tally(claimed=len(changes))
    urgent = any(change.lane is Lane.OPT_OUT for change in mine)
    try:
        with (
            kept_alive(on.store, lambda db: outbox.renew(db, mine, on.now())),
            circuits.urgently() if urgent else contextlib.nullcontext(),
        ):
            return work(mine)
    except errors.OutbookError as error:
        with on.store.write() as db:
            for change in mine:
                receipts.after_error(db, on, change, error)
        if isinstance(error, errors.Halt):
            raise
        return Tally(claimed=len(mine))
    except sa.exc.OperationalError as error:
        if not database.collided(error):
            raise
        with on.store.write() as db:
            outbox.release(db, mine)
        return Tally(claimed=len(mine))
    except Exception as error:  # noqa: BLE001 - one record that nobody foresaw must not keep the others from being done
        return poison.isolate(on, mine, error)
    except BaseException:
        with on.store.write() as db:
            outbox.release(db, mine)
        raise
