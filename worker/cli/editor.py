"""What an editor completes a mapping by: the JSON Schema, printed, or kept in the file that the mapping's first line names.

With ``--live --write`` that file is a lock: the fields, labels and attributes that there really are, as of the last time
somebody asked. It holds names of fields, never a value of a person, and is refreshed by the same command.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from worker import bootstrap, config
from worker.cli.exits import INVALID, UNFINISHED
from worker.cli.show import say_json
from worker.core import mapping_file, mapping_schema
from worker.core.mapping import Computed
from worker.core.records import Kind
from worker.sync import live

if TYPE_CHECKING:
    from collections.abc import Mapping as Dict

    from worker.core.mapping import Mapping
    from worker.remote.workbooks import FieldInfo

NAME = "mapping.schema.json"
MODELINE = re.compile(r"^#\s*yaml-language-server:\s*\$schema=(\S+)", re.MULTILINE)
"""Where a YAML language server is told which schema a file goes by."""


def schema(
    file: Path | None = typer.Argument(None, help="The mapping it is for; without it, the one in use."),
    *,
    live_too: bool = typer.Option(False, "--live", help="With the real field names and labels of both vendors."),
    write: bool = typer.Option(
        False, "--write", help="Write it into the file that the mapping's first line names, for the editor."
    ),
    as_json: bool = typer.Option(False, "--json", help="The schema is JSON anyway; with --write, print what was done."),
) -> None:
    """Print the JSON Schema with which an editor completes and checks the mapping, or keep it beside the mapping.

    `outbook mapping schema --live --write` lets the editor offer the fields and labels that there really are; the same again
    refreshes them.
    """
    if not write:
        typer.echo(_live(file)[0] if live_too else mapping_file.schema(), nl=False)
        return
    path = file or config.load(os.environ, Path.cwd(), credentials=False).mapping
    target = _named_in(path)
    text, whole = _live(file) if live_too else (mapping_file.schema(), True)
    if not whole:
        sys.stderr.write(f"outbook: {target} stays as it was: the fields of Workbooks could not be read\n")
        raise typer.Exit(UNFINISHED)
    changed = _keep(target, text)
    if as_json:
        say_json({"mapping": str(path), "schema": str(target), "live": live_too, "changed": changed})
        return
    typer.echo(f"{target}: {'written' if changed else 'up to date'}")


def accompany(mapping: Path) -> Path:
    """Put the schema beside a new mapping, unless there is one; return where it is. OSError if that cannot be."""
    target = mapping.with_name(NAME)
    if not target.exists():
        _keep(target, mapping_file.schema())
    return target


def _named_in(path: Path) -> Path:
    """Return the file that a mapping's first comment names. SettingsInvalid where nothing of ours may be written."""
    if path.resolve() == config.shipped_mapping().resolve():
        words = "this is the default that came with Outbook; outbook mapping init FILE makes one of your own"
        raise config.SettingsInvalid([f"{path}: {words}"])
    try:
        found = MODELINE.search(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise config.SettingsInvalid([f"{path}: cannot be read"]) from None
    name = found[1] if found else NAME
    if "://" in name or Path(name).suffix != ".json":
        raise config.SettingsInvalid([f"{path}: its first line names {name}; let it say $schema=./{NAME}"])
    return path.parent / name


def _keep(target: Path, text: str) -> bool:
    """Let a file hold the text, whole or not at all; tell whether that changed it."""
    try:
        if target.exists() and target.read_text(encoding="utf-8") == text:
            return False
        fresh = target.with_name(f".{target.name}.new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(target)
    except (OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"outbook: {target} cannot be written: {getattr(error, 'strerror', 'not text')}\n")
        raise typer.Exit(INVALID) from None
    return True


def _live(file: Path | None) -> tuple[str, bool]:
    """Return the schema with what the vendors have, and whether the CRM told its fields."""
    settings = config.load(os.environ, Path.cwd())
    with bootstrap.runtime(settings, bootstrap.read_mapping(file) if file else None) as runtime:
        mapping = runtime.mapping
        seen = live.see(runtime.remotes, mapping)
    for note in seen.notes:
        sys.stderr.write(f"outbook: {note}\n")
    people = (seen.fields or {}).get(Kind.PERSON) or {}
    return _offering(mapping, seen, people), bool(people)


def _offering(mapping: Mapping, seen: live.Seen, people: Dict[str, FieldInfo]) -> str:
    state = mapping.field_of(Computed.SEQUENCE_STATE)
    return mapping_schema.live(
        fields={name: f"{info.title} ({info.datatype})" for name, info in people.items()},
        labels=seen.labels.get(state.crm, ()) if state else (),
        statuses=seen.labels.get(live.STATUS, ()),
        actions=seen.labels.get(mapping.actions.action, ()) if mapping.actions else (),
        attributes=seen.attributes,
    )
