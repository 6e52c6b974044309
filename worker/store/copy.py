"""A stopped store moved to another database: every table in portions, compared afterwards, the source closed for good.

The source is locked against writers as long as it takes, in one transaction that ends with its mark; the target carries a
mark of its own from the first row to the last. So a crash leaves a source that is as it was, or one that is moved and whose
target says that nothing is finished: in either case the same command again begins anew and ends well.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from worker.store import meta, upgrade, vitals
from worker.store.database import CHUNK
from worker.store.meta import META
from worker.store.tables import metadata
from worker.store.upgrade import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.store.database import Store

MOVED, COPYING = "moved to", "copying from"
"""The marks: on a source that was moved, on a target that is not finished. Each holds where, and when."""
STOPPED_FOR = timedelta(minutes=2)
_PLACES = frozenset({"host", "hostaddr", "port", "service"})
_LOCK_S = 5
_WHOLE = 1 << 128
_json = msgspec.json.Encoder()


class Refused(ValueError):
    """Nothing was copied, and why."""


@dataclass(frozen=True, slots=True)
class Copied:
    """One table as it is on both sides: how many rows, and a checksum that does not depend on their order."""

    table: str
    rows: int
    checksum: str


def place(store: Store) -> str:
    """Return where a store is, without its password: that may stand in the query, too, of which only places are told."""
    url = store.engine.url
    told = {name: value for name, value in url.query.items() if name in _PLACES}
    return url.set(query=told).render_as_string(hide_password=True)


def closed(store: Store) -> str | None:
    """Return why a store must not be used: it was moved, or holds an unfinished copy; None if it may."""
    with store.read() as db:
        moved, copying = meta.get(db, MOVED), meta.get(db, COPYING)
    if copying is not None:
        return f"this database holds an unfinished copy of {copying}: run `outbook db copy` there again"
    if moved is not None:
        return f"this store was moved to {moved}: set OUTBOOK_DATABASE_URL to that"
    return None


def copy(source: Store, target: Store, *, now: datetime, on_rows: Callable[[str, int], None]) -> list[Copied]:
    """Move everything, and return what was compared; the empty list if that was done already. Raise Refused.

    ``on_rows`` is told how far a table is, after each portion.
    """
    if place(source) == place(target):
        raise Refused("--to names the very database that is to be moved")
    if not _is_of_this_version(source):  # one of the next has columns that this program would leave behind
        raise Refused("the store is not of this version: run `outbook db upgrade` of the newest first")
    with source.write() as db:
        _lock(db)
        moved = meta.get(db, MOVED)
        if moved is not None and moved.partition(",")[0] != place(target):
            raise Refused(f"this store was moved to {moved} already")
        if moved is not None and not _unfinished(target):
            return []
        _must_be_stopped(db, now)
        _prepare(target, f"{place(source)}, {_at(now)}")
        told = [_copied(db, table, target, on_rows) for table in metadata.sorted_tables]
        for one, table in zip(told, metadata.sorted_tables, strict=True):
            if _counted(target, table) != one:
                raise Refused(f"{one.table} is not the same on both sides after copying: run the same again")
        meta.replace(db, MOVED, f"{place(target)}, {_at(now)}")
    with target.write() as db:
        meta.forget(db, COPYING)
    return told


def _is_of_this_version(store: Store) -> bool:
    return upgrade.current(store) == upgrade.head()


def _at(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _lock(db: sa.Connection) -> None:
    """Keep writers out until the transaction ends; on SQLite it has begun IMMEDIATE."""
    if db.dialect.name == "postgresql":
        db.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_S}s'")
        names = ", ".join(db.dialect.identifier_preparer.format_table(table) for table in metadata.sorted_tables)
        db.exec_driver_sql(f"LOCK TABLE {names} IN EXCLUSIVE MODE")


def _must_be_stopped(db: sa.Connection, now: datetime) -> None:
    for table in metadata.sorted_tables:
        lease = table.c.get("lease_until")
        if lease is not None and db.execute(sa.select(lease).where(lease > now).limit(1)).first():
            raise Refused(
                f"somebody is at work in this store ({table.name} is leased): stop every worker, beat and web"
            )
    for who, at in vitals.ticks(db).items():
        if timedelta(0) <= now - at < STOPPED_FOR:
            words = f"{who} was at work {(now - at).total_seconds():.0f} s ago: stop every worker, beat and web"
            raise Refused(f"{words}, and wait {STOPPED_FOR.total_seconds() / 60:.0f} minutes")


def _unfinished(target: Store) -> bool:
    if not _is_of_this_version(target):
        return False
    with target.read() as db:
        return meta.get(db, COPYING) is not None


def _prepare(target: Store, mark: str) -> None:
    """Leave the target at this version, empty but for its mark. Raise Refused if it holds anything but an unfinished copy."""
    if upgrade.standing(target) is not Standing.EMPTY and not _is_of_this_version(target):
        raise Refused(
            "--to: that database is of another version of Outbook: run `outbook db upgrade` there, or take an empty one"
        )
    upgrade.upgrade(target)
    if not _unfinished(target):
        with target.read() as db:
            full = next((t.name for t in metadata.sorted_tables if db.execute(sa.select(t).limit(1)).first()), None)
        if full is not None:
            raise Refused(f"--to: that database is not empty ({full} holds rows); take a new one")
        with target.write() as db:
            meta.replace(db, COPYING, mark)
    with target.write() as db:
        for table in metadata.sorted_tables:
            db.execute(sa.delete(table).where(META.c.key != COPYING) if table is META else sa.delete(table))


def _copied(db: sa.Connection, table: sa.Table, target: Store, on_rows: Callable[[str, int], None]) -> Copied:
    rows, total = 0, 0
    for portion in _portions(db, table):
        with target.write() as there:
            there.execute(sa.insert(table), portion)
        rows += len(portion)
        total = sum((_hash(row) for row in portion), total) % _WHOLE
        on_rows(table.name, rows)
    last = _last_id(db, table)
    if last:
        with target.write() as there:
            _go_on_after(there, table, last)
    return Copied(table.name, rows, f"{total:032x}")


def _counted(store: Store, table: sa.Table) -> Copied:
    rows, total = 0, 0
    with store.read() as db:
        for portion in _portions(db, table):
            rows += len(portion)
            total = sum((_hash(row) for row in portion), total) % _WHOLE
    return Copied(table.name, rows, f"{total:032x}")


def _portions(db: sa.Connection, table: sa.Table) -> Iterator[list[dict[str, Any]]]:
    """Yield a table's rows but for the marks, by and by: neither side ever holds more than a portion."""
    query = sa.select(table).order_by(*table.primary_key.columns).execution_options(yield_per=CHUNK)
    if table is META:
        query = query.where(META.c.key.not_in([MOVED, COPYING]))
    with db.execute(query) as told:
        for part in told.mappings().partitions(CHUNK):
            yield [dict(row) for row in part]


def _hash(row: dict[str, Any]) -> int:
    """Return a number for a row that is the same in every database; sums of them do not depend on the order."""
    return int.from_bytes(hashlib.blake2b(_json.encode(row), digest_size=16).digest())


def _numbered(table: sa.Table) -> bool:
    column = table.autoincrement_column
    return column is not None and column.name == "id" and table.c.id.nullable is False and len(table.primary_key) == 1


def _last_id(db: sa.Connection, table: sa.Table) -> int:
    """Return the highest number that a table has ever given by itself, of rows long deleted too; 0 if it gives none."""
    if not _numbered(table):
        return 0
    highest = int(db.scalar(sa.select(sa.func.max(table.c.id))) or 0)
    if db.dialect.name == "sqlite":
        if not table.dialect_options["sqlite"]["autoincrement"]:
            return highest
        known = db.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = ?", (table.name,)).scalar()
    else:
        name = db.scalar(sa.select(sa.func.pg_get_serial_sequence(table.name, "id")))
        known = db.exec_driver_sql(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {name}").scalar()  # noqa: S608
    return max(highest, int(known or 0))


def _go_on_after(db: sa.Connection, table: sa.Table, last: int) -> None:
    """Let the next row get a number above ``last``."""
    if db.dialect.name == "postgresql":
        db.execute(sa.select(sa.func.setval(sa.func.pg_get_serial_sequence(table.name, "id"), last)))
    elif table.dialect_options["sqlite"]["autoincrement"]:
        db.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (table.name,))
        db.exec_driver_sql("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table.name, last))
