"""The store's schema and its versions: where a store stands, and how it gets to the version this program needs."""

from __future__ import annotations

import threading
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from worker.core import errors
from worker.store import database

if TYPE_CHECKING:
    from collections.abc import Callable

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
_ADVISORY_LOCK = 0x6F757462_6F6F6B  # "outbook": any number that nothing else on the server is likely to lock
_one_at_a_time = threading.Lock()  # alembic keeps the command under way in a module's globals


class Standing(StrEnum):
    """A store beside the version that this program needs."""

    EMPTY = "empty"
    BEHIND = "behind"
    READY = "ready"
    AHEAD = "ahead"


class StoreAhead(errors.Halt):
    """A newer Outbook has upgraded the store; this one must not touch it."""


def head() -> str:
    """Return the version that this program needs."""
    version = _scripts().get_current_head()
    if version is None:
        raise LookupError(f"no migration under {MIGRATIONS}")
    return version


def current(store: database.Store) -> str | None:
    """Return the version that the store is at; None if it holds nothing of ours yet."""
    with store.read() as db:
        return _version(db)


def standing(store: database.Store) -> Standing:
    """Return whether the store can be used as it is, such as by programs of the release before while a new one is rolled out.

    A release takes nothing away that the one before it uses, so a store that is one version ahead serves as well.
    """
    version = current(store)
    if version is None:
        return Standing.EMPTY
    if version == head():
        return Standing.READY
    known = {script.revision for script in _scripts().walk_revisions()}
    if version == f"{len(known) + 1:04d}":
        return Standing.READY
    return Standing.BEHIND if version in known else Standing.AHEAD


def upgrade(target: database.Store | str) -> str:
    """Bring the store, or the one behind the URL, to ``head()`` in one transaction and return the version it is at.

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
        case Standing.EMPTY | Standing.BEHIND:
            _migrate(target, lambda config: command.upgrade(config, "head"))
        case Standing.READY:
            return current(target) or head()
    return head()


def downgrade(store: database.Store, version: str) -> None:
    """Bring the store back to ``version`` (``base``: nothing left). For tests; what a column held is lost."""
    _migrate(store, lambda config: command.downgrade(config, version))


def settings(db: sa.Connection | None = None) -> Config:
    """Return alembic's configuration: no file, no working directory, the connection to use handed on."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = db
    return config


def _migrate(store: database.Store, step: Callable[[Config], None]) -> None:
    """Take ``step`` alone: SQLite by BEGIN IMMEDIATE, Postgres by a lock that ends with the transaction."""
    with _one_at_a_time, store.write() as db:
        if db.dialect.name == "postgresql":
            db.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        step(settings(db))


def _version(db: sa.Connection) -> str | None:
    return MigrationContext.configure(db).get_current_revision()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(settings())
