"""Alembic runs this file for every command; ``worker.store.upgrade`` hands it a connection with an open transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import sqlmodel
from alembic import context

from worker.store import tables

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext


def plain(type_: str, thing: object, _autogenerate: AutogenContext) -> str | Literal[False]:
    """Return our own types as SQLAlchemy's: a migration must not change when the models do."""
    if type_ == "type" and isinstance(thing, tables.Moment):
        return "sa.DateTime()"
    if type_ == "type" and isinstance(thing, sqlmodel.AutoString):
        return "sa.String()"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    render_as_batch=True,
    transactional_ddl=True,
    render_item=plain,
)
with context.begin_transaction():
    context.run_migrations()
