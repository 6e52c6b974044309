"""`outbook held`: what waits for a person."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from worker import bootstrap, config
from worker.store.database import Store
from worker.sync import fields, held

app = typer.Typer(help="What waits for a person to decide.", no_args_is_help=True)
INVALID, UNFINISHED = 4, 3
MANY = 20
KINDS = "brake, unreadable, ambiguous, ask, conflict or breaker"


@app.command("list")
def show(*, as_json: bool = typer.Option(False, "--json", help="Print the entries as one JSON document.")) -> None:
    """Show what waits, since when, and how many records hang on it."""
    settings = config.load(os.environ, Path.cwd(), credentials=False)
    store = bootstrap.open_store(settings)
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
    conflicts = [one for one in found if one.field]
    sides = held.sides(store, bootstrap.known_mapping(settings, store), conflicts) if conflicts else {}
    table = Table()
    for heading in ("kind", "since", "records", "why", *(("Outreach has", "Workbooks has") if sides else ())):
        table.add_column(heading, overflow="fold")
    for one in found:
        since = one.since.astimezone().strftime("%Y-%m-%d %H:%M")
        held_values = [escape(text) for text in sides.get(one.key, ("", ""))] if sides else []
        table.add_row(one.kind, since, str(one.records), escape(one.words), *held_values)
    Console(file=sys.stdout).print(table)


@app.command()
def approve(
    kind: str | None = typer.Option(None, help=f"Only this kind: {KINDS}."),
    prospect: int | None = typer.Option(None, help="Only the entry of this prospect."),
    how: held.As | None = typer.Option(None, "--as", help="recreate or unlink a deleted person; crm or outreach wins."),
    *,
    everything: bool = typer.Option(False, "--all", help="Every entry."),
    yes: bool = typer.Option(False, "--yes", help="Do not ask, however many records hang on it."),
) -> None:
    """Let entries go on; the next pass looks at each again. A missing field or label needs mending, not approval."""
    settings = config.load(os.environ, Path.cwd(), credentials=False)
    store = bootstrap.open_store(settings)
    mapping = bootstrap.known_mapping(settings, store)
    chosen = [one for one in _chosen(store, kind, prospect, everything) if one.kind not in {fields.FIELD, fields.LABEL}]
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


@app.command()
def reject(
    kind: str | None = typer.Option(None, help=f"Only this kind: {KINDS}."),
    prospect: int | None = typer.Option(None, help="Only the entry of this prospect."),
    *,
    everything: bool = typer.Option(False, "--all", help="Every entry that can be rejected."),
    yes: bool = typer.Option(False, "--yes", help="Do not ask, however many records hang on it."),
) -> None:
    """Unlink people who were deleted in the CRM, or cannot be read there, instead of creating them again."""
    settings = config.load(os.environ, Path.cwd(), credentials=False)
    store = bootstrap.open_store(settings)
    chosen = _chosen(store, kind, prospect, everything)
    meant = [one for one in chosen if one.deletion]
    for one in chosen:
        if not one.deletion:
            sys.stderr.write(f"outbook: {one.key} cannot be rejected: {one.instead}\n")
    if chosen and not meant:
        raise typer.Exit(INVALID)
    records = sum(one.records for one in meant)
    if records > MANY and not yes and not _sure(records):
        raise typer.Exit(INVALID)
    count = held.reject(store, meant, now=bootstrap.now())
    typer.echo(f"{len(meant)} entries rejected, {count} pairs unlinked; they stay so")


def _chosen(store: Store, kind: str | None, prospect: int | None, everything: bool) -> list[held.Entry]:
    if kind is None and prospect is None and not everything:
        sys.stderr.write("outbook: say which: --kind, --prospect or --all; `outbook held list` shows them\n")
        raise typer.Exit(INVALID)
    return [one for one in held.entries(store) if kind in {None, one.kind} and prospect in {None, one.prospect}]


def _sure(records: int) -> bool:
    if not sys.stdin.isatty():
        sys.stderr.write(f"outbook: {records} records would go on; without a terminal this needs --yes\n")
        return False
    return typer.confirm(f"{records} records go on. Sure?")
