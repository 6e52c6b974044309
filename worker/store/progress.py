"""Progress: whether somebody takes up what is due. A process that looks on learns it from the store alone."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from worker.store import cursors, meta, pauses
from worker.store.outbox import CHANGE, Lane, Standing, free
from worker.store.webhooks import WEBHOOK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

PATIENCE = timedelta(seconds=120)
"""Longer than a task may run. Workers look every few seconds."""


def troubles(db: sa.Connection, now: datetime) -> list[str]:
    """Return what has been due for a while with nobody taking up anything at all; nothing if all is well."""
    last = meta.last_claim(db)
    if last is not None and last >= now - PATIENCE:
        return []
    words = "due since {:%Y-%m-%dT%H:%M:%SZ}, and nobody takes anything up"
    return [f"{what} {words.format(since)}" for what, since in _due(db, now)]


def _due(db: sa.Connection, now: datetime) -> Iterator[tuple[str, datetime]]:
    stale = now - PATIENCE
    if all(one.scope != pauses.ALL for one in pauses.standing(db)):
        oldest = sa.select(sa.func.min(CHANGE.c.next_at)).where(CHANGE.c.state == Standing.DUE, free(now))
        if cursors.unprimed(db):  # until then nothing but opt-outs is taken up, however much is due
            oldest = oldest.where(CHANGE.c.lane == int(Lane.OPT_OUT))
        since = db.scalar(oldest)
        if since is not None and since < stale:
            yield "changes are", since
    arrived = db.scalar(
        sa.select(sa.func.min(WEBHOOK.c.at)).where(
            WEBHOOK.c.done_at.is_(None), sa.or_(WEBHOOK.c.lease_until.is_(None), WEBHOOK.c.lease_until < now)
        )
    )
    if arrived is not None and arrived < stale:
        yield "webhooks are", arrived
