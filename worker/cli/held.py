"""`outbook held`: what waits for a person."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from worker import bootstrap, config
from worker.sync import fields, held

app = typer.Typer(help="What waits for a person to decide.", no_args_is_help=True)
INVALID, UNFINISHED = 4, 3
MANY = 20


@app.command("list")
def show(*, as_json: bool = typer.Option(False, "--json", help="Print the entries as one JSON document.")) -> None:
    """Show what waits, since when, and how many records hang on it."""
    store = bootstrap.open_store(config.load(os.environ, Path.cwd(), credentials=False))
    found = held.entries(store)
    if as_json:
        told = [
            {"key": e.key, "kind": e.kind, "records": e.records, "since": e.since.isoformat(), "words": e.words}
            for e in found
        ]
        typer.echo(json.dumps({"held": told}, ensure_ascii=False))
        return
    if not found:
        typer.echo("nothing waits for a person")
        return
    table = Table()
    for heading in ("kind", "since", "records", "why"):
        table.add_column(heading, overflow="fold")
    for one in found:
        table.add_row(one.kind, one.since.astimezone().strftime("%Y-%m-%d %H:%M"), str(one.records), one.words)
    Console(file=sys.stdout).print(table)


@app.command()
def approve(
    kind: str | None = typer.Option(None, help="Only this kind: brake, unreadable, ambiguous, ask or conflict."),
    prospect: int | None = typer.Option(None, help="Only the entry of this prospect."),
    how: held.As | None = typer.Option(None, "--as", help="recreate or unlink a deleted person; crm or outreach wins."),
    *,
    everything: bool = typer.Option(False, "--all", help="Every entry."),
    yes: bool = typer.Option(False, "--yes", help="Do not ask, however many records hang on it."),
) -> None:
    """Let entries go on; the next pass looks at each again. A missing field or label needs mending, not approval."""
    settings = config.load(os.environ, Path.cwd(), credentials=False)
    store, mapping = bootstrap.open_store(settings), bootstrap.read_mapping(settings.mapping)
    if kind is None and prospect is None and not everything:
        sys.stderr.write("outbook: say which: --kind, --prospect or --all; `outbook held list` shows them\n")
        raise typer.Exit(INVALID)
    chosen = [
        one
        for one in held.entries(store)
        if one.kind not in {fields.FIELD, fields.LABEL}
        and kind in {None, one.kind}
        and prospect in {None, one.prospect}
    ]
    for asked, choices in held.CHOICES.items():
        if any(one.kind == asked for one in chosen) and how not in choices:
            words = " or ".join(f"--as {choice}" for choice in sorted(choices))
            sys.stderr.write(f"outbook: say {words}: that is what the entries of kind {asked} ask\n")
            raise typer.Exit(INVALID)
    records = sum(one.records for one in chosen)
    if records > MANY and not yes and not _sure(records):
        raise typer.Exit(INVALID)
    due = held.approve(store, chosen, mapping, how=how, now=bootstrap.now())
    typer.echo(
        f"{len(chosen)} entries approved, {due} records due again; `outbook sync` or the workers go on with them"
    )


def _sure(records: int) -> bool:
    if not sys.stdin.isatty():
        sys.stderr.write(f"outbook: {records} records would go on; without a terminal this needs --yes\n")
        return False
    return typer.confirm(f"{records} records go on. Sure?")
