"""A few facts about the store itself, each under a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from worker.store.database import upsert
from worker.store.tables import MetaRow

if TYPE_CHECKING:
    from worker.store.database import Store

META: sa.Table = MetaRow.__table__  # type: ignore[attr-defined]


def get(db: sa.Connection, key: str) -> str | None:
    """Return a fact, None if it is not there."""
    return db.scalar(sa.select(META.c.value).where(META.c.key == key))


def replace(db: sa.Connection, key: str, value: str) -> str | None:
    """Write a fact down in the place of what stood there; return that."""
    known = get(db, key)
    if known != value:
        upsert(db, META, [{"key": key, "value": value}], key=("key",), update=("value",))
    return known


def remember(store: Store, key: str, value: str) -> None:
    """Write a fact down unless it is there already; a fact that stands costs a read only."""
    with store.read() as db:
        known = get(db, key)
    if known is None:
        with store.write() as db:
            upsert(db, META, [{"key": key, "value": value}], key=("key",), update=())
