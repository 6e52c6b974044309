"""`outbook backfill`: the data share's export in place of reading every sequence state from the API."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from worker import config


def backfill(
    files: list[Path] = typer.Argument(help="Exports of the table SEQUENCE_STATES, CSV or Parquet."),
    org: str | None = typer.Option(None, help="The O_ID of your organisation, if the files hold several."),
    bento: str | None = typer.Option(None, help="Its BENTO, where the O_ID occurs in two."),
    *,
    complete: bool = typer.Option(
        False, help="The files hold every sequence state: let the API be read on from them, not from the beginning."
    ),
    fetch: bool = typer.Option(
        True, help="Ask the API for the prospects, sequences and steps that are not known here."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the report as one JSON document."),
) -> None:
    """Load the data share's export of sequence states, instead of spending API calls on them."""
    from worker.cli import loading

    settings = config.load(os.environ, Path.cwd(), credentials=fetch)
    loading.load(settings, loading.Asked(files, org, bento, complete, fetch), as_json=as_json)
