"""Alerts remembered: which state stands, and who was told of it. However many processes look, one of them tells."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from worker.store import clocks
from worker.store.database import upsert
from worker.store.tables import AlertRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

ALERT: sa.Table = AlertRow.__table__  # type: ignore[attr-defined]
LEASE = timedelta(seconds=30)
"""Longer than all receivers together may take."""


@dataclass(frozen=True, slots=True)
class Known:
    """One state as it is remembered. ``told``: those who were last told that it is so."""

    name: str
    firing: bool
    since: datetime
    words: str
    told: frozenset[str]


def note(db: sa.Connection, states: Mapping[str, str | None], now: datetime) -> None:
    """Remember how each state stands: words if it is so, None if not. What has not changed costs no write."""
    rows = {row.name: row for row in db.execute(sa.select(ALERT))}
    fresh = [
        {"name": name, "firing": words is not None, "since": now, "words": words or "", "told": ""}
        for name, words in states.items()
        if name not in rows
    ]
    upsert(db, ALERT, fresh, key=("name",), update=())
    for name, words in states.items():
        row = rows.get(name)
        if row is not None and row.firing != (words is not None):
            turned = sa.update(ALERT).where(ALERT.c.name == name, ALERT.c.firing == row.firing)
            db.execute(turned.values(firing=words is not None, since=now, words=words or row.words))


def standing(db: sa.Connection) -> list[Known]:
    """Return every state."""
    return [
        Known(row.name, row.firing, row.since, row.words, frozenset(row.told.split()))
        for row in db.execute(sa.select(ALERT).order_by(ALERT.c.name))
    ]


def lease(db: sa.Connection, names: Iterable[str], now: datetime) -> set[str]:
    """Take in hand what is to be told; return what nobody else has in hand."""
    free = clocks.free(ALERT.c.lease_until, now, LEASE)
    mine = set()
    for name in sorted(names):
        taken = sa.update(ALERT).where(ALERT.c.name == name, free).values(lease_until=now + LEASE)
        if db.execute(taken).rowcount:
            mine.add(name)
    return mine


def settle(db: sa.Connection, told: Mapping[str, frozenset[str]], now: datetime) -> None:
    """Remember who has been told, and let go of what was in hand."""
    for name, who in sorted(told.items()):
        text, row = " ".join(sorted(who)), ALERT.c.name == name
        db.execute(sa.update(ALERT).where(row, ALERT.c.told != text).values(told=text, told_at=now))
        db.execute(sa.update(ALERT).where(row).values(lease_until=None))
