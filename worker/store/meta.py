"""A few facts about the store itself, each under a key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from worker.store.database import upsert
from worker.store.tables import MetaRow

if TYPE_CHECKING:
    from worker.store.database import Store

META: sa.Table = MetaRow.__table__  # type: ignore[attr-defined]

CLAIMED = "claimed_at"
EVERY = timedelta(seconds=10)
"""How exactly the last claim is known; so a claim seldom costs a write of its own."""


def get(db: sa.Connection, key: str) -> str | None:
    """Return a fact, None if it is not there."""
    return db.scalar(sa.select(META.c.value).where(META.c.key == key))


def under(db: sa.Connection, prefix: str) -> dict[tuple[str, str], str]:
    """Return the facts whose keys are a prefix and two words with a colon between them, by these words."""
    rows = db.execute(sa.select(META).where(META.c.key.startswith(prefix, autoescape=True)).order_by(META.c.key))
    words = ((row.key.removeprefix(prefix).partition(":"), row.value) for row in rows)
    return {(first, second): value for (first, _, second), value in words}


def replace(db: sa.Connection, key: str, value: str) -> str | None:
    """Write a fact down in the place of what stood there; return that."""
    known = get(db, key)
    if known != value:
        upsert(db, META, [{"key": key, "value": value}], key=("key",), update=("value",))
    return known


def forget(db: sa.Connection, key: str) -> None:
    """Take a fact away."""
    db.execute(sa.delete(META).where(META.c.key == key))


def first(store: Store, key: str) -> bool:
    """Note that something has happened; tell whether it is the first time."""
    with store.read() as db:
        if get(db, key) is not None:
            return False
    with store.write() as db:
        return replace(db, key, "1") is None


def remember(store: Store, key: str, value: str) -> None:
    """Write a fact down unless it is there already; a fact that stands costs a read only."""
    with store.read() as db:
        known = get(db, key)
    if known is None:
        with store.write() as db:
            upsert(db, META, [{"key": key, "value": value}], key=("key",), update=())


def note_claim(db: sa.Connection, now: datetime) -> None:
    """Write down that somebody has taken up work, unless that stands there already."""
    text, fresh, ahead = _stamp(now), _stamp(now - EVERY), _stamp(now + EVERY)
    known = get(db, CLAIMED)
    if known is None:
        upsert(db, META, [{"key": CLAIMED, "value": text}], key=("key",), update=())
    elif not fresh <= known <= ahead:  # ahead of us where the clock was set back
        # The condition again: of several that claim at once one writes, and none waits for it.
        db.execute(sa.update(META).where(META.c.key == CLAIMED, META.c.value == known).values(value=text))


def last_claim(db: sa.Connection) -> datetime | None:
    """Return when somebody last took up work, to within ten seconds."""
    known = get(db, CLAIMED)
    return datetime.fromisoformat(known) if known else None


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")
