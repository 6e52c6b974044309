"""`outbook mapping`: check the mapping, print its schema, copy the default."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import typer

from worker import bootstrap, config
from worker.core import mapping_file

app = typer.Typer(help="The mapping: how the two sides' fields agree.", no_args_is_help=True)
INVALID = 4


@app.command()
def check(
    file: Path | None = typer.Argument(None, help="The mapping to check; without it, the one in use."),
    *,
    as_json: bool = typer.Option(False, "--json", help="Print the findings as one JSON document."),
) -> None:
    """Check a mapping and name every problem with file:line:column."""
    path = file or config.load(os.environ, Path.cwd(), credentials=False).mapping
    try:
        mapping = bootstrap.read_mapping(path)
    except mapping_file.MappingInvalid as invalid:
        if as_json:
            found = [{"line": one.line, "column": one.column, "words": one.words} for one in invalid.problems]
            typer.echo(json.dumps({"ok": False, "file": str(path), "problems": found}, ensure_ascii=False))
        else:
            sys.stderr.write(f"{invalid}\n")
        raise typer.Exit(INVALID) from None
    if as_json:
        typer.echo(json.dumps({"ok": True, "file": str(path), "version": mapping.version, "problems": []}))
    else:
        typer.echo(f"{path}: ok, {len(mapping.fields)} fields, {mapping.version}")


@app.command()
def schema() -> None:
    """Print the JSON Schema with which an editor completes and checks the file."""
    typer.echo(mapping_file.schema(), nl=False)


@app.command()
def init(file: Path = typer.Argument(..., help="Where to put the copy; it must not exist yet.")) -> None:
    """Copy the default mapping out of the installation, so that an upgrade never touches yours."""
    text = config.shipped_mapping().read_text(encoding="utf-8")
    try:
        with file.open("x", encoding="utf-8") as copy:
            copy.write(text)
    except FileExistsError:
        sys.stderr.write(f"outbook: {file} exists already; nothing was changed\n")
        raise typer.Exit(INVALID) from None
    except OSError as error:
        sys.stderr.write(f"outbook: {file} cannot be written: {error.strerror}\n")
        raise typer.Exit(INVALID) from None
    typer.echo(f"{file}: written; edit it, then set OUTBOOK_MAPPING={file}")
