"""Changes that wait for something else are made due once it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from worker.core.records import Kind
from worker.store import mirror
from worker.store.database import among, chunks
from worker.store.mirror import ADDRESS
from worker.store.outbox import CHANGE, Standing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


_WAITING = CHANGE.c.state == Standing.WAITING
_ASKED = sa.and_(CHANGE.c.state == Standing.HELD, CHANGE.c.hold_key.startswith("ambiguous:"))
"""Waits for somebody to say who it is."""


def wake_tasks(db: sa.Connection, prospect_ids: Sequence[int], now: datetime) -> None:
    """Make due the tasks that wait for one of these prospects to have a person, told by themselves or by their state."""
    for part in chunks(list(prospect_ids)):
        _wake(db, Kind.TASK, CHANGE.c.record_id.in_(mirror.tasks_of(part)), now)


def wake_namesakes(db: sa.Connection, people: Sequence[int], now: datetime) -> None:
    """Make due the prospects that wait for somebody to say who they are, and share an address with one of these people.

    For whoever these people belonged to is gone: the one who was entered anew, before that was known, may be them now.
    """
    if not people:
        return
    borne = sa.select(ADDRESS.c.address).where(ADDRESS.c.kind == Kind.PERSON, among(db, ADDRESS.c.record_id, people))
    sharing = mirror.holders(db, Kind.PROSPECT, db.execute(borne.distinct()).scalars())
    for part in chunks(sorted(set().union(*sharing.values()))):
        _wake(db, Kind.PROSPECT, CHANGE.c.record_id.in_(part), now, waiting=_ASKED)


def wake_everything(db: sa.Connection, kind: Kind, now: datetime) -> None:
    """Make due whatever of a kind waits."""
    _wake(db, kind, sa.true(), now)


def _wake(
    db: sa.Connection,
    kind: Kind,
    which: sa.ColumnElement[bool],
    now: datetime,
    waiting: sa.ColumnElement[bool] = _WAITING,
) -> None:
    """Make due what waits, and keep from waiting what somebody is looking at just now."""
    found = sa.update(CHANGE).where(CHANGE.c.kind == kind, sa.or_(waiting, CHANGE.c.lease_until.is_not(None)), which)
    next_at = sa.case((waiting, sa.literal(now, CHANGE.c.next_at.type)), else_=CHANGE.c.next_at)
    state = sa.case((waiting, Standing.DUE.value), else_=CHANGE.c.state)
    db.execute(found.values(state=state, next_at=next_at, generation=CHANGE.c.generation + 1))


def wake_put_off(db: sa.Connection, now: datetime) -> None:
    """Make due whatever was put off to a later moment, and keep from being put off what somebody is looking at just now.

    Waits begin anew: a vendor that is back for some calls may fail the next, and that is not to be waited out for minutes.
    Whoever holds one says so himself (``outbox.retry``): if he does not live to, his death counts as ever.
    """
    held = CHANGE.c.lease_until.is_not(None)
    later = sa.update(CHANGE).where(CHANGE.c.state == Standing.DUE, sa.or_(held, CHANGE.c.next_at > now))
    db.execute(later.values(next_at=now, attempts=sa.case((held, CHANGE.c.attempts), else_=0)))
