"""What is done to every batch of the outbox, put into words once: that takes longer than the database does.

Each is made for a dialect and kept; ids and texts come as one value each (``database.ids_told``, ``database.texts_told``).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import sqlalchemy as sa

from worker.store import clocks
from worker.store.database import texts_of, within
from worker.store.tables import ChangeRow

CHANGE: sa.Table = ChangeRow.__table__  # type: ignore[attr-defined]

CLAIMED = (
    *"id record_id lane generation fence attempts opened_at alone hold_key intent wish failed_at".split(),
    *"next_at lease_until".split(),
)

_IDS = sa.bindparam("ids", type_=sa.Text)
_UNTIL = sa.bindparam("until", type_=CHANGE.c.lease_until.type)


@cache
def claiming(dialect: str, lanes: tuple[int, ...], *, only: bool) -> sa.Select[Any]:
    """Return the ``most`` urgent changes ``of`` a kind that are free ``now``, with ``only`` those of the records ``ids``."""
    now, beyond = (sa.bindparam(name, type_=CHANGE.c.next_at.type) for name in ("now", "beyond"))
    free = clocks.nobodys(CHANGE.c.lease_until, now, beyond)
    due = sa.and_(CHANGE.c.state == "due", CHANGE.c.kind == sa.bindparam("of", type_=sa.Text), CHANGE.c.next_at <= now)
    query = sa.select(*(CHANGE.c[name] for name in CLAIMED)).where(due, CHANGE.c.lane.in_(lanes), free)
    if only:
        query = query.where(within(dialect, CHANGE.c.record_id, _IDS))
    query = query.order_by(CHANGE.c.lane, CHANGE.c.next_at, CHANGE.c.id).limit(sa.bindparam("most", type_=sa.Integer))
    return query.with_for_update(skip_locked=True)


@cache
def leasing(dialect: str) -> sa.Update:
    """Lease the changes ``ids`` until ``until``; ``vanished`` is 1 where their last holder did; each ``by_itself``."""
    attempts = CHANGE.c.attempts + sa.bindparam("vanished", type_=sa.Integer)
    alone = sa.bindparam("by_itself", type_=sa.Boolean)
    taken = sa.update(CHANGE).where(within(dialect, CHANGE.c.id, _IDS))
    return taken.values(lease_until=_UNTIL, fence=CHANGE.c.fence + 1, attempts=attempts, alone=alone)


@cache
def reading(dialect: str) -> sa.Select[Any]:
    """Return the ids, fences and generations of the changes ``ids``, and lock them."""
    query = sa.select(CHANGE.c.id, CHANGE.c.fence, CHANGE.c.generation)
    return query.where(within(dialect, CHANGE.c.id, _IDS)).with_for_update()


@cache
def intending(dialect: str) -> sa.Update:
    """Write the intents ``texts`` down, each by the id of its change, and renew the leases until ``until``."""
    rows = texts_of(dialect, sa.bindparam("texts", type_=sa.Text))
    return sa.update(CHANGE).where(CHANGE.c.id == rows.c.id).values(intent=rows.c.text, lease_until=_UNTIL)


@cache
def closing(dialect: str) -> sa.Delete:
    """Close the changes ``ids``."""
    return sa.delete(CHANGE).where(within(dialect, CHANGE.c.id, _IDS))
