"""`outbook link`: somebody decides who is who."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import typer

from worker import bootstrap, config
from worker.cli.exits import INVALID
from worker.cli.show import say_json
from worker.sync import linking


def link(
    prospect: int | None = typer.Option(None, min=1, help="The prospect's id in Outreach."),
    person: int | None = typer.Option(None, min=1, help="The person's id in Workbooks."),
    source: Path | None = typer.Option(
        None, "--from", help="A file with a pair a line: ID,ID (prospect, person) or prospect:ID person:ID."
    ),
    *,
    as_json: bool = typer.Option(False, "--json", help="Print the receipt as one JSON document."),
) -> None:
    """Decide an ambiguous match: this prospect and this person are the same. The next pass brings them together."""
    if (source is None) == (prospect is None and person is None) or (prospect is None) != (person is None):
        _leave(["say --prospect ID and --person ID, or --from FILE"])
    settings = config.load(os.environ, Path.cwd())
    try:
        pairs = _pairs(source) if source else [linking.Pair(prospect or 0, person or 0)]
        with bootstrap.runtime(settings) as runtime:
            linked = linking.link(runtime.applier(), pairs, sleep=time.sleep)
    except linking.Unlinkable as error:
        _leave([f"{source}:{one.line}: {one.words}" if one.line else one.words for one in error.problems])
    if as_json:
        told = [{"prospect": o.pair.prospect, "person": o.pair.person, "already": o.already} for o in linked]
        say_json({"linked": told})
        return
    for one in linked:
        typer.echo(f"{one.pair}: {'linked already' if one.already else 'linked'}")
    typer.echo("`outbook sync` or the workers bring them together")


def _pairs(source: Path) -> list[linking.Pair]:
    try:
        return linking.parse(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise linking.Unlinkable([linking.Problem(0, f"{source} cannot be read")]) from None


def _leave(problems: list[str]) -> None:
    for words in problems:
        sys.stderr.write(f"outbook: {words}\n")
    raise typer.Exit(INVALID)
