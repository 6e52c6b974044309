"""`outbook db`: the store's schema."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import typer

from worker import bootstrap, config
from worker.core.records import System
from worker.store import database
from worker.store import upgrade as migrations
from worker.sync import tenants

INVALID = 4
NAMES = {System.OUTREACH: "outreach", System.CRM: "workbooks"}

app = typer.Typer(help="Look after the store.", no_args_is_help=True)


@app.callback()
def _noun() -> None:
    """Look after the store."""


@app.command()
def rebind(
    *,
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
    as_json: bool = typer.Option(False, "--json", help="Print the outcome as one JSON document."),
) -> None:
    """Let this store belong to the organisation and the database that the credentials open now.

    Its links and copies stay: that is right only where the ids are the same, such as after a copy of the database. Stop the
    workers first. For other people's data begin a new store instead.
    """
    settings = config.load(os.environ, Path.cwd())
    with bootstrap.runtime(settings, guarded=False) as on:
        with on.store.read() as db:
            before = tenants.known(db)
        seen = {system: ask() for system, ask in on.guard.ask.items()}
        same = all(before.get(system) == identity for system, identity in seen.items())
        if not same and not yes and not _sure(before, seen):
            raise typer.Exit(INVALID)
        with on.store.write() as db:
            tenants.rebind(db, seen)
    if as_json:
        told = {NAMES[system]: {"was": before.get(system), "is": identity} for system, identity in seen.items()}
        sys.stdout.write(json.dumps(told) + "\n")
        return
    for line in _lines(before, seen):
        typer.echo(line)


def _lines(before: Mapping[System, str], seen: Mapping[System, str | None]) -> list[str]:
    return [
        f"{tenants.WHO[system]}: {identity or 'tells no identity'} (was {before.get(system) or 'not remembered'})"
        for system, identity in seen.items()
    ]


def _sure(before: Mapping[System, str], seen: Mapping[System, str | None]) -> bool:
    for line in _lines(before, seen):
        sys.stderr.write(f"outbook: {line}\n")
    if not sys.stdin.isatty():
        sys.stderr.write("outbook: the store would belong to these from now on; without a terminal this needs --yes\n")
        return False
    return typer.confirm("The store belongs to these from now on. Sure?")


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
