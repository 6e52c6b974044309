"""Opt-outs that somebody lifted: which signs of one no longer count, and which sides still have to show that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from worker.core.consent import Key, Lifted, Source
from worker.core.records import Kind
from worker.store.database import chunks, upsert
from worker.store.links import HISTORY, LATCH
from worker.store.tables import LiftingRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from worker.store.links import Name

LIFTING: sa.Table = LiftingRow.__table__  # type: ignore[attr-defined]
OPT_IN = "opt in"
"""What the history calls it."""


def load(
    db: sa.Connection, *, prospects: Iterable[int] = (), people: Iterable[int] = (), states: Iterable[int] = ()
) -> dict[Key, Lifted]:
    """Return what was lifted of some prospects with all that is theirs, of some people and of some sequence states."""
    found = _where(db, LIFTING.c.prospect_id, prospects)
    found |= _where(db, LIFTING.c.record_id, people, LIFTING.c.source == Source.PERSON)
    return found | _where(db, LIFTING.c.record_id, states, LIFTING.c.source == Source.STATE)


def _where(
    db: sa.Connection, column: sa.ColumnElement[Any], ids: Iterable[int], which: sa.ColumnElement[bool] | None = None
) -> dict[Key, Lifted]:
    found: dict[Key, Lifted] = {}
    for part in chunks(sorted(set(ids))):
        query = sa.select(LIFTING).where(column.in_(part))
        for row in db.execute(query if which is None else query.where(which)):
            found[(row.source, row.record_id)] = Lifted(row.mark, row.open, row.prospect_id)
    return found


def latest(db: sa.Connection, prospect_ids: Iterable[int]) -> dict[int, datetime]:
    """Return when, by our clock, each prospect was last opted in by hand; those that never were are left out."""
    found: dict[int, datetime] = {}
    for part in chunks(sorted(set(prospect_ids))):
        mine = sa.and_(HISTORY.c.kind == Kind.PROSPECT, HISTORY.c.outreach_id.in_(part), HISTORY.c.action == OPT_IN)
        query = sa.select(HISTORY.c.outreach_id, sa.func.max(HISTORY.c.at).label("at")).where(mine)
        found.update((row.outreach_id, row.at) for row in db.execute(query.group_by(HISTORY.c.outreach_id)))
    return found


def unlatch(db: sa.Connection, names: Iterable[Name]) -> int:
    """Forget opt-outs remembered under these names; return how many there were."""
    forgotten = 0
    wanted: dict[str, list[str]] = {}
    for name in names:
        wanted.setdefault(name.kind, []).append(name.key)
    for kind, keys in wanted.items():
        for start in range(0, len(keys), 500):
            these = sa.and_(LATCH.c.key_kind == kind, LATCH.c.key.in_(keys[start : start + 500]))
            forgotten += db.execute(sa.delete(LATCH).where(these)).rowcount
    return forgotten


def lift(db: sa.Connection, signs: Mapping[Key, Lifted], *, reason: str, now: datetime) -> None:
    """Remember signs as lifted, as they stand now."""
    rows = [
        {
            "source": source,
            "record_id": record_id,
            "prospect_id": one.prospect,
            "mark": one.mark,
            "open": one.open,
            "at": now,
            "reason": reason,
        }
        for (source, record_id), one in signs.items()
    ]
    told = ("prospect_id", "mark", "open", "at", "reason")
    upsert(db, LIFTING, rows, key=("source", "record_id"), update=told)


def settle(db: sa.Connection, keys: Iterable[Key]) -> None:
    """Note that these are done: what their side shows from now on is new."""
    for source, record_id in keys:
        these = sa.and_(LIFTING.c.source == source, LIFTING.c.record_id == record_id)
        db.execute(sa.update(LIFTING).where(these).values(open=False))
