"""The store's schema and its versions: where a store stands, and how it gets to the version this program needs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import sqlalchemy as sa

from worker.core import errors
from worker.store import database, tables

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
_VERSION = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Alembic's own table, just as it makes it."""
_ADVISORY_LOCK = 0x6F757462_6F6F6B  # "outbook": any number that nothing else on the server is likely to lock


class Standing(StrEnum):
    """A store beside the version that this program needs."""

    EMPTY = "empty"
    BEHIND = "behind"
    READY = "ready"
    AHEAD = "ahead"


class StoreAhead(errors.Halt):
    """A newer Outbook has upgraded the store; this one must not touch it."""


def versions() -> list[str]:
    """Return every version there is a migration to, the first one first: the numbers that their files begin with."""
    return sorted(file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def head() -> str:
    """Return the version that this program needs."""
    return versions()[-1]


def current(store: database.Store) -> str | None:
    """Return the version that the store is at; None if it holds nothing of ours yet."""
    with store.read() as db:
        if not sa.inspect(db).has_table(_VERSION.name):
            return None
        found: str | None = db.execute(sa.select(_VERSION.c.version_num)).scalar()
        return found


def standing(store: database.Store) -> Standing:
    """Return whether the store can be used as it is, such as by programs of the release before while a new one is rolled out.

    A release takes nothing away that the one before it uses, so a store that is one version ahead serves as well.
    """
    version = current(store)
    if version is None:
        return Standing.EMPTY
    if version == head():
        return Standing.READY
    known = versions()
    if version == f"{len(known) + 1:04d}":
        return Standing.READY
    return Standing.BEHIND if version in known else Standing.AHEAD


def upgrade(target: database.Store | str) -> str:
    """Bring the store, or the one behind the URL, to ``head()`` in one transaction and return the version it is at.

    An empty one is made as the tables are now; alembic is for those that hold something.
    Any number of processes may do so at once: one works, the others wait and find nothing left to do. Raises StoreAhead
    for the store of a newer program, which is left as it is.
    """
    if isinstance(target, str):
        store = database.connect(target)
        try:
            return upgrade(store)
        finally:
            store.engine.dispose()
    match standing(target):
        case Standing.AHEAD:
            raise StoreAhead("the store was upgraded by a newer Outbook; install that one, or restore a backup")
        case Standing.EMPTY:
            make(target)
            return upgrade(target)
        case Standing.BEHIND:
            from worker.store import migrating  # noqa: PLC0415 - few starts upgrade anything, and alembic is slow to come

            migrating.up(target)
        case Standing.READY:
            return current(target) or head()
    return head()


def make(store: database.Store) -> None:
    """Make every table in a store that has none, in one transaction; a store that has them is left as it is."""
    with store.write() as db:
        alone(db)
        _VERSION.create(db, checkfirst=True)
        if db.execute(sa.select(_VERSION.c.version_num)).first() is None:
            tables.metadata.create_all(db)
            db.execute(sa.insert(_VERSION).values(version_num=head()))


def alone(db: sa.Connection) -> None:
    """Let nobody else change the schema until this transaction ends: one that writes is enough for SQLite."""
    if db.dialect.name == "postgresql":
        db.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
