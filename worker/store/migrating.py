"""Alembic at work: only whoever changes a schema needs this room, and the eight megabytes that it brings along."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config

from worker.store.upgrade import MIGRATIONS, alone

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from worker.store.database import Store

_one_at_a_time = threading.Lock()  # alembic keeps the command under way in a module's globals


def up(store: Store) -> None:
    """Bring the store to the newest version."""
    _migrate(store, lambda config: command.upgrade(config, "head"))


def down(store: Store, version: str) -> None:
    """Bring the store back to ``version``."""
    _migrate(store, lambda config: command.downgrade(config, version))


def settings(db: sa.Connection | None = None) -> Config:
    """Return alembic's configuration: no file, no working directory, the connection to use handed on."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = db
    return config


def _migrate(store: Store, step: Callable[[Config], None]) -> None:
    """Take ``step`` alone: SQLite by BEGIN IMMEDIATE, Postgres by a lock that ends with the transaction."""
    with _one_at_a_time, store.write() as db:
        alone(db)
        step(settings(db))
