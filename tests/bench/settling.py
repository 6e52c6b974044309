"""`outbook worker` with everything in place but the work itself: what is claimed is written down and settled, no more.

So what a process of it spends is what messages and claims cost.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from worker.cli.app import main
from worker.core.records import Kind
from worker.store import outbox
from worker.store.outbox import Lane
from worker.sync import apply
from worker.sync.case import Applier
from worker.sync.tally import Tally

INTENT = {"write": {"person_job_title": "Chair"}, "version": 3}


def settle(on: Applier, *, lanes: Sequence[Lane] = tuple(Lane), only: Collection[int] | None = None) -> Tally:
    """Claim up to a hundred due changes of people, in three transactions as an ordinary batch; return how many those were."""
    with on.store.write() as db:
        changes = outbox.claim(db, Kind.PROSPECT, now=on.now(), lanes=lanes, only=only)
    if not changes:
        return Tally()
    with on.store.write() as db:
        outbox.intend(db, [(one, INTENT) for one in changes], on.now())
    with on.store.write() as db:
        outbox.settle(db, changes)
    return Tally(claimed=len(changes))


if __name__ == "__main__":
    apply.apply_people = settle
    main()
