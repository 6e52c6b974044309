"""Pairs by ranges of ids: the links and the prospects without one, for whoever walks through all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from worker.core.records import Kind
from worker.store.links import LINK
from worker.store.mirror import MIRROR

if TYPE_CHECKING:
    from collections.abc import Sequence


def between(db: sa.Connection, low: int, high: int | None) -> dict[int, int]:
    """Return the living links of people with ids in (low, high], person → prospect; without ``high`` of all beyond."""
    query = sa.select(LINK.c.crm_id, LINK.c.outreach_id).where(
        LINK.c.kind == Kind.PROSPECT, LINK.c.gone == sa.false(), LINK.c.crm_id > low
    )
    if high is not None:
        query = query.where(LINK.c.crm_id <= high)
    return {row.crm_id: row.outreach_id for row in db.execute(query.order_by(LINK.c.crm_id))}


def without(db: sa.Connection, after: int, limit: int) -> Sequence[int]:
    """Return the next prospects after an id that have a living sequence state and no link, not even one that was cut."""
    owner = MIRROR.c.prospect_id
    linked = sa.exists().where(LINK.c.kind == Kind.PROSPECT, LINK.c.outreach_id == owner)
    query = sa.select(owner).distinct().where(MIRROR.c.kind == Kind.STATE, MIRROR.c.deleted == sa.false())
    return list(db.execute(query.where(owner > after, ~linked).order_by(owner).limit(limit)).scalars())
