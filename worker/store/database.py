"""The door to the store: SQLite (WAL, every writer IMMEDIATE) or Postgres, and the two ways to hold it open."""

from __future__ import annotations

import os
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from worker.core import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_T = TypeVar("_T")
BUSY_TIMEOUT_MS = 30_000
PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "cache_size=-500")
"""A cache of 500 KiB a connection, a quarter of SQLite's own: the system keeps the file's pages anyway."""
CHUNK = 500
"""Rows a statement: below SQLite's limit on bound values for every table here."""
COLLISIONS = 4
EASED = "eased"
"""What a connection is marked with whose log is carried over into the file less often (``bulk.ease``)."""


@dataclass(frozen=True, slots=True)
class Store:
    """An open store. No session of it may be held across an HTTP call."""

    engine: sa.Engine

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Hold one transaction that may write; it commits at the end of the block or leaves nothing behind."""
        with self.engine.connect() as connection:
            db = connection.execution_options(outbook_writes=True)
            with db.begin():
                yield db

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Hold one transaction that only reads; it sees one moment and waits for no writer."""
        with self.engine.connect() as db, db.begin():
            yield db


def connect(url: str) -> Store:
    """Open the store behind ``url``, which is not touched before the first transaction.

    Connections are kept and used again, by this process alone: see :func:`_part`.
    """
    if not url.startswith("sqlite"):
        # READ COMMITTED, the server's default: claims skip locked rows, settles compare the fence.
        engine = sa.create_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=5, hide_parameters=True)
    else:
        engine = sa.create_engine(url, hide_parameters=True)
        sa.event.listen(engine, "connect", _prepare)
        sa.event.listen(engine, "checkin", _unease)
        sa.event.listen(engine, "begin", _begin)
        sa.event.listen(engine, "commit", _commit)
        sa.event.listen(engine, "rollback", _rollback)
    _engines.add(engine)
    return Store(engine)


def why_away(error: sa.exc.DBAPIError) -> str | None:
    """Return in a word why the database cannot be used just now; None if it is there and something is wrong with us."""
    code = errors.code_of(error) or ""
    lost = error.connection_invalidated or (isinstance(error, sa.exc.OperationalError) and error.statement is None)
    if not lost and not code.startswith(_AWAY):
        return None
    return code or type(error.orig).__name__


def collided(error: sa.exc.DBAPIError) -> bool:
    """Tell whether the database ended a transaction for another's sake (SQLSTATE class 40): to be made again from its begin."""
    return (errors.code_of(error) or "").startswith("40")


def insist(work: Callable[[], _T]) -> _T:
    """Do work that may be done twice; once more at most :data:`COLLISIONS` times where its transaction collided.

    Polls, receipts and a resync open many changes in one transaction, each in an order of its own.
    """
    for _ in range(COLLISIONS):
        try:
            return work()
        except sa.exc.DBAPIError as error:
            if not collided(error):
                raise
    return work()


_AWAY = (
    # SQLSTATE: connection, no room or no connection left, shut down, read-only (Postgres, Appendix A)
    *("08", "53", "57P0", "25006"),
    *("SQLITE_BUSY", "SQLITE_CANTOPEN", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY"),
)
_json = msgspec.json.Encoder()
_IDS: Any = postgresql.ARRAY(sa.BigInteger)
_engines: weakref.WeakSet[sa.Engine] = weakref.WeakSet()


def _close_idle() -> None:
    """Close what lies idle before this process forks: no connection may be in two (SQLite, How To Corrupt, 2.6)."""
    for engine in list(_engines):
        engine.pool.dispose()


def _part() -> None:
    """Let a forked child open connections of its own; those in use at the fork stay its parent's, and open."""
    for engine in list(_engines):
        engine.dispose(close=False)


os.register_at_fork(before=_close_idle, after_in_child=_part)


def _prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own class
    connection.isolation_level = None
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", *PRAGMAS):
        connection.execute(f"PRAGMA {pragma}")


def _unease(connection: Any, record: Any) -> None:  # noqa: ANN401 - the driver's own class, and the pool's
    if record.info.pop(EASED, False) and connection is not None:
        connection.execute("PRAGMA wal_autocheckpoint=1000")  # SQLite's own number


def _begin(connection: sa.Connection) -> None:
    # A deferred transaction that reads first and writes later fails at once with SQLITE_BUSY_SNAPSHOT and ignores the
    # timeout (facts, delivery B.3), so every writer takes the lock when it begins.
    writes = connection.get_execution_options().get("outbook_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _commit(connection: sa.Connection) -> None:
    _end(connection, "COMMIT")


def _rollback(connection: sa.Connection) -> None:
    # After a BEGIN that failed there is nothing to roll back, and saying so would hide why it failed.
    if getattr(connection.connection.driver_connection, "in_transaction", True):
        _end(connection, "ROLLBACK")


def _end(connection: sa.Connection, word: str) -> None:
    connection.exec_driver_sql(word)


def upsert(
    db: sa.Connection, table: sa.Table, rows: Sequence[dict[str, Any]], *, key: Sequence[str], update: Sequence[str]
) -> None:
    """Insert the rows, or write ``update`` of those whose ``key`` is there already; sorted, so that two cannot deadlock."""
    if rows:
        rows = sorted(rows, key=itemgetter(*key))
        upsert_columns(db, table, {name: [row[name] for row in rows] for name in rows[0]}, key=key, update=update)


def upsert_columns(
    db: sa.Connection, table: sa.Table, columns: Mapping[str, list[Any]], *, key: Sequence[str], update: Sequence[str]
) -> None:
    """Do the same for rows that come a column at a time and are sorted by their key already; there is at least one."""
    statement, bound, by_place = _upserting(db.dialect.name, table, tuple(columns), tuple(key), tuple(update))
    told = list(zip(*(_as_told(columns[name], as_told) for name, as_told in bound), strict=True))
    names = [name for name, _ in bound]
    for start in range(0, len(told), CHUNK):
        part = told[start : start + CHUNK]
        db.exec_driver_sql(statement, part if by_place else [dict(zip(names, one, strict=True)) for one in part])


def _as_told(values: list[Any], as_told: Callable[[Any], Any] | None) -> list[Any]:
    """Return the values of one column as the driver takes them; where all are the same, that is worked out once."""
    if as_told is None:
        return values
    first = values[0]
    if values.count(first) == len(values):
        return [None if first is None else as_told(first)] * len(values)
    return [None if value is None else as_told(value) for value in values]


@lru_cache(maxsize=64)
def _upserting(
    dialect: str, table: sa.Table, names: tuple[str, ...], key: tuple[str, ...], update: tuple[str, ...]
) -> tuple[str, list[tuple[str, Callable[[Any], Any] | None]], bool]:
    """Return the statement in the driver's own words, what makes each value the driver's, and whether they go by place.

    Past SQLAlchemy's work on each row, which is most of what a row costs.
    """
    made: sa.Dialect = sqlite.dialect() if dialect == "sqlite" else postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]
    insert = (sqlite.insert if dialect == "sqlite" else postgresql.insert)(table)
    insert = insert.values({name: sa.bindparam(name, type_=table.c[name].type) for name in names})
    if update:
        done = insert.on_conflict_do_update(
            index_elements=list(key), set_={name: new(table.c[name]) for name in update}
        )
    else:
        done = insert.on_conflict_do_nothing(index_elements=list(key))
    compiled = done.compile(dialect=made)
    order = list(compiled.positiontup or names)
    if sorted(order) != sorted(names):
        raise AssertionError(f"{table.name} has values that no row tells")
    bound: list[tuple[str, Callable[[Any], Any] | None]] = [
        (name, table.c[name].type.dialect_impl(made).bind_processor(made)) for name in order
    ]
    return str(compiled), bound, bool(compiled.positiontup)


def new(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """Return what an upsert brings for a column; ``insert().excluded`` makes the whole table anew each time it is asked."""
    return sa.literal_column(f"excluded.{column.name}", column.type)


def accumulate(
    db: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], *, key: Sequence[str], total: str
) -> None:
    """Add to the ``total`` of rows by their key; one that is not there begins with what is added."""
    if rows:
        insert = (sqlite.insert if db.dialect.name == "sqlite" else postgresql.insert)(table)
        more = {total: table.c[total] + new(table.c[total])}
        db.execute(insert.on_conflict_do_update(index_elements=list(key), set_=more), rows)


def chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Return the ids in portions that fit one statement."""
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]


def among(db: sa.Connection, column: sa.ColumnElement[int], ids: Sequence[int]) -> sa.ColumnElement[bool]:
    """Return whether a column is one of many ids: a single value to the driver, not one each."""
    return within(db.dialect.name, column, sa.literal(ids_told(db, ids)))


def within(dialect: str, column: sa.ColumnElement[int], told: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Return whether a column is one of the ids that :func:`ids_told` tells, for a statement that is made once."""
    if dialect != "sqlite":
        return column == sa.any_(sa.cast(told, _IDS))
    each = sa.func.json_each(told).table_valued("value")
    return column.in_(sa.select(each.c.value))


def ids_told(db: sa.Connection, ids: Sequence[int]) -> str:
    """Return ids as one value to the driver: as text, for psycopg looks at each part of an array by itself."""
    told = _json.encode(list(ids)).decode()
    return told if db.dialect.name == "sqlite" else f"{{{told[1:-1]}}}"


def list_of(db: sa.Connection, ids: Sequence[int]) -> sa.FromClause:
    """Return ids as a table of the column ``value``, in their order: a single value to the driver."""
    told = sa.literal(ids_told(db, ids))
    if db.dialect.name != "sqlite":
        return sa.func.unnest(sa.cast(told, _IDS)).table_valued("value").render_derived()
    return sa.func.json_each(told).table_valued("value")


def texts_of(dialect: str, told: sa.ColumnElement[str]) -> sa.FromClause:
    """Return what :func:`texts_told` tells as a table of the columns ``id`` and ``text``, for a statement that is made once."""
    if dialect != "sqlite":
        value = sa.func.json_array_elements(sa.cast(told, sa.JSON)).column_valued("value")
        return sa.select(
            sa.cast(value.op("->>")(0), sa.BigInteger).label("id"), value.op("->>")(1).label("text")
        ).subquery()
    each = sa.func.json_each(told).table_valued("value")
    parts = (sa.func.json_extract(each.c.value, f"$[{place}]") for place in (0, 1))
    return sa.select(*(part.label(name) for part, name in zip(parts, ("id", "text"), strict=True))).subquery()


def texts_told(texts: Mapping[int, str]) -> str:
    """Return texts by their id as one value to the driver."""
    return _json.encode(list(texts.items())).decode()
