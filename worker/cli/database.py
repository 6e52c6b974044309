"""`outbook db`: the store itself: its schema, its place, whom it belongs to."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import sqlalchemy as sa
import typer
from rich.console import Console

from worker import bootstrap, config
from worker.cli.asking import sure
from worker.cli.exits import INVALID
from worker.cli.show import page, say_json, table
from worker.core.records import System
from worker.store import copy as moving
from worker.store import database, pauses
from worker.store import upgrade as migrations
from worker.sync import tenants

STEP = 10_000
"""Rows between two words about how far it is."""
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
    workers first. For other people's data begin a new store instead. Real hosts are not written until `outbook resume`.
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
            if not same and not settings.allow_insecure_hosts:
                pauses.pause(db, pauses.ALL, pauses.NOT_LIVE, bootstrap.now())
    if not same and not settings.allow_insecure_hosts:
        sys.stderr.write(f"outbook: paused: {pauses.NOT_LIVE}\n")
    if as_json:
        told = {NAMES[system]: {"was": before.get(system), "is": identity} for system, identity in seen.items()}
        say_json(told)
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
    return sure("the store would belong to these from now on", "The store belongs to these from now on")


@app.command()
def upgrade(*, as_json: bool = typer.Option(False, "--json", help="Print the outcome as one JSON document.")) -> None:
    """Bring the store to the schema that this version needs."""
    settings = config.load(os.environ, Path.cwd(), credentials=False)
    if not settings.on_postgres:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = database.connect(settings.database_url.get_secret_value())
    before = migrations.current(store)
    why = moving.closed(store) if before == migrations.head() else None
    if why is not None:
        raise config.SettingsInvalid([f"OUTBOOK_DATABASE_URL: {why}"])
    after = migrations.upgrade(store)
    if as_json:
        say_json({"was": before, "is": after})
        return
    typer.echo(f"the store is at {after}" + ("" if before == after else f" (was {before or 'empty'})"))


@app.command()
def copy(
    *,
    to: str = typer.Option(..., "--to", help="An empty database: postgresql+psycopg://... or sqlite:///FILE."),
    as_json: bool = typer.Option(False, "--json", help="Print what was compared as one JSON document."),
) -> None:
    """Move this store to another database, compare every table, and close this one for good.

    Stop every worker, beat and web first. The target is an empty database, or one that `outbook db upgrade` has prepared.
    Broken off, the same command again begins anew; until it has ended, this store stays as it is.
    """
    settings = config.load(os.environ, Path.cwd(), credentials=False)
    source = database.connect(settings.database_url.get_secret_value())
    target = _target(to)
    if not settings.on_postgres and not Path(source.engine.url.database or "").exists():
        raise config.SettingsInvalid(["OUTBOOK_DATABASE_URL: there is no store yet"])
    told: list[moving.Copied] = []
    try:
        told = moving.copy(source, target, now=bootstrap.now(), on_rows=_progress())
        where = moving.place(target)
    except moving.Refused as refused:
        raise config.SettingsInvalid([str(refused)]) from None
    finally:
        source.engine.dispose()
        target.engine.dispose()
    if as_json:
        tables = {one.table: {"rows": one.rows, "checksum": one.checksum} for one in told}
        say_json({"moved_to": where, "tables": tables})
        return
    _say(told)
    typer.echo(f"moved to {where}; this store is closed")
    typer.echo(
        "next: set OUTBOOK_DATABASE_URL to the new one, and OUTBOOK_SECRET_KEY to the key that this one was used with"
    )
    if not settings.secret_key.get_secret_value():
        typer.echo(f"that key is in {settings.data_dir / 'secret.key'}")


def _target(url: str) -> database.Store:
    """Return the target, reached once. SettingsInvalid if that cannot be."""
    text = url.removeprefix("sqlite:///")
    if text != url and text:
        path = (Path.cwd() / text).absolute()
        if not path.parent.is_dir():
            raise config.SettingsInvalid([f"--to: there is no directory {path.parent}"])
        url = config.sqlite_url(path)
    elif not url.startswith("postgresql+psycopg://"):
        raise config.SettingsInvalid(["--to: must begin with postgresql+psycopg:// or be a file, sqlite:///FILE"])
    elif config.is_misread(url):
        raise config.SettingsInvalid([f"--to: {config.MISREAD}"])
    try:
        store = database.connect(url)
        with store.read() as db:
            db.execute(sa.select(1))
    except sa.exc.SQLAlchemyError as error:
        raise config.SettingsInvalid([f"--to: that database cannot be reached ({type(error).__name__})"]) from None
    return store


def _progress() -> Callable[[str, int], None]:
    """Return what tells on a terminal how far a table is."""
    console = Console(stderr=True)

    def tell(table: str, rows: int) -> None:
        if console.is_terminal and rows % STEP == 0:
            console.print(f"{table}: {rows} rows", highlight=False)

    return tell


def _say(told: Sequence[moving.Copied]) -> None:
    if not told:
        typer.echo("this was done already")
        return
    listed = table("table", "rows, the same on both sides", "checksum", numbers=("rows, the same on both sides",))
    for one in told:
        listed.add_row(one.table, str(one.rows), one.checksum[:12])
    page(listed)
