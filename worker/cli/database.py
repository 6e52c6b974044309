"""`outbook db`: the store's schema."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from worker import config
from worker.store import database
from worker.store import upgrade as migrations

app = typer.Typer(help="Look after the store.", no_args_is_help=True)


@app.callback()
def _noun() -> None:
    """Look after the store."""


@app.command()
def upgrade() -> None:
    """Bring the store to the schema that this version needs."""
    settings = config.load(os.environ, Path.cwd(), credentials=False)
    if not settings.on_postgres:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = database.connect(settings.database_url.get_secret_value())
    before = migrations.current(store)
    after = migrations.upgrade(store)
    typer.echo(f"the store is at {after}" + ("" if before == after else f" (was {before or 'empty'})"))
