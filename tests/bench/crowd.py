"""A small store made large by SQL alone: what it holds is there many times over, each time under ids of its own.

The first copy is real, that is, the simulators know it; the others only stand in the way, as everybody else does.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from worker.core import lanes
from worker.core.records import Kind
from worker.store import links, mirror, outbox, tables
from worker.store.database import CHUNK, Store
from worker.store.tables import metadata

APART = 1_000_000
"""By how much the ids of two copies differ; none of the first copy is higher."""
SHIFTED = {
    "mirror": ("id", "prospect_id", "state_id"),
    "address": ("record_id",),
    "reference": ("record_id", "outreach_id"),
    "link": ("outreach_id", "crm_id"),
    "history": ("outreach_id", "crm_id"),
    "exchange": ("record_id",),
    "exclusion": ("record_id",),
}
"""The columns of each table that name a record of a copy."""
NAMED = {"address": "address", "latch": "key"}
"""The columns that name it in words."""
RECENT = 3
"""The history of so many copies is as new as the first's; that of the others is ``LONG_AGO``."""
LONG_AGO = timedelta(days=60)
SEQUENCES = 50
"""Copies are spread over so many times the sequences."""
DAYS, HOURLY_DAYS = 365, 9
"""A year of calls: by the hour as far back as they are kept so, by the day before that."""
WEBHOOKS, RUNS = 50_000, 5_000


def multiply(store: Store, times: int, now: datetime, *, others: bool = True) -> None:
    """Let there be ``times`` copies of everything, and a past; with ``others`` a backlog of theirs, too."""
    with store.write() as db:
        numbers = _numbers(times)
        for name in (*SHIFTED, "latch"):
            db.execute(_copied(metadata.tables[name], numbers, now))
        if others:
            _open_others(db, now)
        _past(db, now)
    if store.engine.dialect.name == "postgresql":  # which does so by itself; SQLite never does
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            db.execute(sa.text("VACUUM ANALYZE"))


def sizes(store: Store) -> dict[str, int]:
    """Return how many rows each table has."""
    with store.read() as db:
        return {
            name: int(db.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
            for name, table in metadata.tables.items()
        }


def _numbers(times: int) -> sa.CTE:
    """Return the numbers from 1 to ``times`` - 1 as a table."""
    first = sa.select(sa.literal(1).label("k")).where(sa.literal(times) > 1).cte("numbers", recursive=True)
    return first.union_all(sa.select(first.c.k + 1).where(first.c.k < times - 1))


def _copied(table: sa.Table, numbers: sa.CTE, now: datetime) -> sa.Insert:
    k = numbers.c.k
    names, told = [], []
    for column in table.columns:
        if column.name == "id" and column.autoincrement is True:
            continue
        if column.name == "id" and "id" not in SHIFTED.get(table.name, ()):
            continue  # it is numbered by the database
        names.append(column.name)
        told.append(_shifted(table, column, k, now).label(column.name))
    source = sa.select(*told).select_from(table.join(numbers, sa.true()))
    if table.name == "mirror":
        source = source.where(table.c.kind.not_in([Kind.SEQUENCE, Kind.STEP]))
    return sa.insert(table).from_select(names, source)


def _shifted(table: sa.Table, column: sa.Column[Any], k: sa.ColumnElement[int], now: datetime) -> sa.ColumnElement[Any]:
    if column.name in SHIFTED.get(table.name, ()):
        return column + k * APART
    if NAMED.get(table.name) == column.name:
        return sa.cast(k, sa.Text) + sa.literal(".", sa.Text) + column
    if table.name == "mirror" and column.name == "sequence_id":
        return column + (k % SEQUENCES) * APART
    if table.name == "history" and column.name in {"at", "caused_at"}:
        long_ago = sa.literal(now - LONG_AGO, column.type)
        return sa.case((column.is_(None), None), (k <= RECENT, column), else_=long_ago)
    return column


def _open_others(db: sa.Connection, now: datetime) -> None:
    """Open changes of others: a backlog behind single edits, retries of tomorrow, dead letters, held ones."""
    row, change = mirror.MIRROR, outbox.CHANGE
    query = outbox.rows_for(Kind.PROSPECT, row.c.id, now)
    outbox.open_rows(db, query.where(row.c.kind == Kind.PROSPECT, row.c.id > APART, row.c.id % 20 < 4))
    outbox.post_hold(db, key="conflict:bench", kind="conflict", words="both sides were edited", now=now)
    others = change.c.record_id > APART
    tomorrow = {"next_at": now + timedelta(days=1), "lane": 1, "error": "timed out", "attempts": 3}
    dead = {"state": "dead", "error": "refused", "failed_at": now}
    held = {"state": "held", "hold_key": "conflict:bench", "error": "both sides were edited"}
    for rest, values in ((1, tomorrow), (2, dead), (3, held)):
        db.execute(sa.update(change).where(others, change.c.record_id % 20 == rest).values(**values))


def _past(db: sa.Connection, now: datetime) -> None:
    """Write down a year of calls, webhooks that were looked at, passes that were made."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    calls = [
        {"system": system, "lane": lane.name, "hour": hour - timedelta(hours=back), "calls": 3}
        for system in ("outreach", "crm")
        for lane in lanes.LANES
        for back in (*range(2, HOURLY_DAYS * 24), *range(HOURLY_DAYS * 24, DAYS * 24, 24))
    ]
    webhooks = [
        {
            "event": f"e{number}",
            "at": now - timedelta(minutes=number % 10_000),
            "body": b"{}",
            "done_at": now - timedelta(minutes=number % 10_000),
        }
        for number in range(WEBHOOKS)
    ]
    runs = [
        {"id": f"r{number}", "began_at": now - timedelta(minutes=number + 60), "mapping_version": "m", "report": "{}"}
        for number in range(RUNS)
    ]
    _fill(db, tables.CallRow, calls)
    _fill(db, tables.WebhookRow, webhooks)
    _fill(db, tables.RunRow, runs)


def _fill(db: sa.Connection, row: Any, told: Sequence[dict[str, Any]]) -> None:  # noqa: ANN401 - a class of rows
    for start in range(0, len(told), 10 * CHUNK):
        db.execute(sa.insert(row.__table__), told[start : start + 10 * CHUNK])


def linked(store: Store) -> dict[int, int]:
    """Return the pairs of linked ids that the simulators know: prospect and person."""
    with store.read() as db:
        ids = [one for one in mirror.living(db, Kind.PROSPECT) if one < APART]
        return {one.outreach_id: one.crm_id for one in links.load(db, Kind.PROSPECT, ids).values() if one.crm_id}
