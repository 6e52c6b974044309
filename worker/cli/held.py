"""`outbook held`: what waits for a person."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from worker import bootstrap, config
from worker.cli.asking import sure
from worker.cli.exits import INVALID
from worker.cli.selection import selecting
from worker.cli.show import count, page, say_json, table
from worker.config import Settings
from worker.store.database import Store
from worker.store.selection import Selection, resolve
from worker.sync import fields, held

app = typer.Typer(help="What waits for a person to decide.", no_args_is_help=True)
MANY = 20
KINDS = ("brake", "unreadable", "ambiguous", "ask", "conflict", "breaker", fields.FIELD, fields.LABEL, fields.DENIED)

NEXT = {
    "ambiguous": "outbook link --prospect ID --person ID",
    "conflict": "outbook held approve --kind conflict --as crm, or --as outreach",
    "ask": "outbook held approve --kind ask --as recreate, or --as unlink",
    fields.FIELD: "outbook crm setup --dry-run, or mend it in Workbooks",
    fields.LABEL: "outbook crm setup --dry-run, or mend it in Workbooks",
    fields.DENIED: "let the key's user change the field in Workbooks; it goes on by itself within the hour",
}
"""What decides an entry that approval alone does not."""
MENDED = frozenset({fields.FIELD, fields.LABEL, fields.DENIED})
"""Kinds of entries that go on once they are mended, and not by approval."""

_Kind = Annotated[str | None, typer.Option("--kind", help=f"Only this kind: {', '.join(KINDS)}.")]
_Yes = Annotated[bool, typer.Option("--yes", help="Do not ask, however many records hang on it.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON document.")]


@app.command("list")
@selecting(needed=False)
def show(selection: Selection, *, kind: _Kind = None, as_json: _AsJson = False) -> None:
    """Show what waits, since when, and how many records hang on it."""
    settings, store = _opened()
    found, partly = _about(store, selection, kind)
    found = [*found, *partly]
    if as_json:
        say_json({"held": [_told(one) for one in found]})
        return
    if not found:
        typer.echo(
            "nothing waits for a person" if selection.empty and kind is None else "nothing of that waits for a person"
        )
        return
    conflicts = [one for one in found if one.field]
    sides = held.sides(store, bootstrap.known_mapping(settings, store), conflicts) if conflicts else {}
    both = ("Outreach has", "Workbooks has") if sides else ()
    listed = table("kind", "since", "records", "why", *both, numbers=("records",))
    for one in found:
        since = one.since.astimezone().strftime("%Y-%m-%d %H:%M")
        held_values = [escape(text) for text in sides.get(one.key, ("", ""))] if sides else []
        listed.add_row(one.kind, since, str(one.records), escape(one.told), *held_values)
    page(listed, *(f"next: {escape(one)}" for one in _next(found)))


def _next(found: Sequence[held.Entry]) -> Iterator[str]:
    """Yield what decides each kind of what waits."""
    for kind in dict.fromkeys(one.kind for one in found):
        yield NEXT.get(kind, f"outbook held approve --kind {kind}")


@app.command()
@selecting(needed=False)
def approve(
    selection: Selection,
    *,
    kind: _Kind = None,
    how: held.As | None = typer.Option(None, "--as", help="recreate or unlink a deleted person; crm or outreach wins."),
    yes: _Yes = False,
    as_json: _AsJson = False,
) -> None:
    """Let entries go on; the next pass looks at each again. A missing field or label needs mending, not approval."""
    settings, store = _opened()
    mapping = bootstrap.known_mapping(settings, store)
    chosen = [one for one in _chosen(store, selection, kind) if one.kind not in MENDED]
    for asked, choices in held.CHOICES.items():
        if any(one.kind == asked for one in chosen) and how not in choices:
            words = " or ".join(f"--as {choice}" for choice in sorted(choices))
            raise config.SettingsInvalid([f"say {words}: that is what the entries of kind {asked} ask"])
    records = sum(one.records for one in chosen)
    if records > MANY and not yes and not sure(f"{records} records would go on", f"{records} records go on"):
        raise typer.Exit(INVALID)
    due = held.approve(store, chosen, mapping, how=how, now=bootstrap.now())
    if as_json:
        say_json({"approved": [_told(one) for one in chosen], "due": due})
        return
    again = f", {count(due, 'record')} due again" if due else ""
    words = f"{count(len(chosen), 'entry', 'entries')} approved{again}"
    typer.echo(f"{words}; `outbook sync` or the workers go on with them")


@app.command()
@selecting(needed=False)
def reject(selection: Selection, *, kind: _Kind = None, yes: _Yes = False, as_json: _AsJson = False) -> None:
    """Unlink people who were deleted in the CRM, or cannot be read there, instead of creating them again."""
    _, store = _opened()
    chosen = _chosen(store, selection, kind)
    meant = [one for one in chosen if one.deletion]
    for one in chosen:
        if not one.deletion:
            sys.stderr.write(f"outbook: {one.key} cannot be rejected: {one.instead}\n")
    if chosen and not meant:
        raise typer.Exit(INVALID)
    records = sum(one.records for one in meant)
    if records > MANY and not yes and not sure(f"{records} records would go on", f"{records} records go on"):
        raise typer.Exit(INVALID)
    unlinked = held.reject(store, meant, now=bootstrap.now())
    if as_json:
        say_json({"rejected": [_told(one) for one in meant], "unlinked": unlinked})
        return
    typer.echo(f"{count(len(meant), 'entry', 'entries')} rejected, {count(unlinked, 'pair')} unlinked; they stay so")


def _opened() -> tuple[Settings, Store]:
    settings = config.load(os.environ, Path.cwd(), credentials=False)
    return settings, bootstrap.open_store(settings)


def _chosen(store: Store, selection: Selection, kind: str | None) -> list[held.Entry]:
    """Return the entries to be decided, having said which are not, for others hang on them too."""
    if kind is None and selection.empty:
        raise config.SettingsInvalid(["say which: --kind, --prospect, --all …; `outbook held list` shows them"])
    found, partly = _about(store, selection, kind)
    for one in partly:
        words = f"{one.records} records hang on it, not only these; decide it whole with --kind {one.kind}"
        sys.stderr.write(f"outbook: {one.key} is left as it is: {words}\n")
    return found


def _about(store: Store, selection: Selection, kind: str | None) -> tuple[list[held.Entry], list[held.Entry]]:
    if kind is not None and kind not in KINDS:
        raise config.SettingsInvalid([f"--kind: {kind} is none; it is one of {', '.join(KINDS)}"])
    found = [one for one in held.entries(store) if kind in {None, one.kind}]
    limit = selection.limit
    if selection.empty or (selection.everyone and selection.since is None and not selection.failed):
        return found[:limit], []
    with store.read() as db:
        chosen = resolve(db, replace(selection, limit=None), bootstrap.now())
    if chosen.unknown and not len(chosen):
        raise config.SettingsInvalid([f"{one}: not known here" for one in chosen.unknown])
    for one in chosen.unknown:
        sys.stderr.write(f"outbook: {one}: not known here\n")
    mine, partly = held.about(store, found, chosen)
    return mine[:limit], partly


def _told(one: held.Entry) -> dict[str, Any]:
    since = one.since.astimezone(UTC).isoformat()
    return {"key": one.key, "kind": one.kind, "records": one.records, "since": since, "words": one.words}
