"""Poison: a change that breaks its worker is tried alone, and after eight tries it is a dead letter.

What is foreseen is an :class:`~worker.core.errors.OutbookError`. Here goes what is not: a fault in a record that nobody
thought of, or a worker that dies whenever it comes to it. Neither may keep the ninety-nine others from being done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from worker.core import errors
from worker.store import outbox
from worker.sync import receipts
from worker.sync.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.store.outbox import Change
    from worker.sync.case import Applier

log = structlog.get_logger("outbook")


def weeded(on: Applier, changes: Sequence[Change]) -> list[Change]:
    """Return the changes less one whose holders have vanished one after the other; that is a dead letter now."""
    lost = [change for change in changes if change.doomed and change.attempts >= errors.GIVE_UP_AFTER]
    if not lost:
        return list(changes)
    words = "whoever works on it dies without a word"
    with on.store.write() as db:
        for change in lost:
            receipts.after_error(db, on, change, errors.OutbookError(words))
    log.error("gave_up", records=[str(change.ref) for change in lost], reason=words)
    return [change for change in changes if change not in lost]


def isolate(on: Applier, changes: Sequence[Change], error: Exception) -> Tally:
    """Let each change of a batch that broke be tried alone; one that was alone waits, and in the end is a dead letter."""
    log.error("broke", changes=len(changes), first=str(changes[0].ref), exc_info=error)
    tally = Tally(claimed=len(changes))
    with on.store.write() as db:
        if len(changes) > 1:
            outbox.scatter(db, changes, on.now())
        else:
            words = f"unexpected {type(error).__name__}; the log tells where"
            tally.new_failed += receipts.after_error(db, on, changes[0], errors.OutbookError(words))
    return tally
