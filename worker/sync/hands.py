"""Two hands at one desk: while the CRM answers one batch, the other hand gathers and plans the next.

Each takes claims of its own, with leases and transactions of its own, just as two processes would; nothing is handed from one
to the other. Whatever dies on any line leaves what a single hand leaves: leases that run out, and intents. Two things they do
in turn (``Applier.turn``): to ask the CRM for a write, for the vendor is to see one request at a time; and all of a batch with
somebody who has no link yet, from its look-up to its receipts, lest two prospects with one address become two people.
"""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from worker.store import backlog, outbox
from worker.sync import apply
from worker.sync.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.sync.case import Applier

CLAIMS = 8
"""Batches a hand carries out before both are waited for, so that whatever else is due gets its turn."""


def apply_people(on: Applier, heed: Callable[[], None]) -> Tally:
    """Apply what is due: a batch where one holds it all, else some batches with both hands.

    ``heed`` may raise before each batch; then, as with any fault, the other hand ends the batch it is at.
    """
    with on.store.read() as db:
        due = sum(backlog.claimable(db, on.now()).values())
    if due <= outbox.BATCH:
        return apply.apply_people(on)
    over = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="hand") as pool:
        other = pool.submit(contextvars.copy_context().run, _work, on, heed, over)
        told = _work(on, heed, over)
        told.add(other.result())
    return told


def _work(on: Applier, heed: Callable[[], None], over: threading.Event) -> Tally:
    """Carry out batch after batch until nothing is due, or either hand has met with something that ends it."""
    told, left = Tally(), CLAIMS
    try:
        while left and not over.is_set():
            heed()
            batch = apply.apply_people(on)
            told.add(batch)
            left = left - 1 if batch.claimed else 0
    except BaseException:
        over.set()
        raise
    return told
