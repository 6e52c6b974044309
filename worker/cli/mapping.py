"""`outbook mapping`: check the mapping, print its schema, compare two, put one in force, copy the default."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from worker import bootstrap, config
from worker.cli import cost, editor
from worker.cli.exits import INVALID
from worker.cli.show import count, say_json
from worker.core import mapping_diff, mapping_file, mapping_tests, yaml_tree
from worker.core.records import Kind
from worker.store import links, mappings
from worker.sync import adoption, in_force, live
from worker.sync.cost import of_looking_again

if TYPE_CHECKING:
    from worker.core.mapping import Mapping
    from worker.core.mapping_file import Problem, Read
    from worker.core.mapping_tests import Failure

app = typer.Typer(help="The mapping: how the two sides' fields agree.", no_args_is_help=True)
IN_FORCE = "in-force"
VERSION = len("sha256:") + 12
JSON = typer.Option(False, "--json", help="Print the result as one JSON document.")


@app.command()
def check(
    file: Path | None = typer.Argument(None, help="The mapping to check; without it, the one in use."),
    *,
    live_too: bool = typer.Option(
        False, "--live", help="Compare it with the fields, labels and attributes of both vendors."
    ),
    as_json: bool = JSON,
) -> None:
    """Check a mapping, name every problem with file:line:column, and try the tests in it."""
    path = file or config.load(os.environ, Path.cwd(), credentials=False).mapping
    problems: list[Problem] = []
    notes: list[str] = []
    read: Read | None = None
    try:
        read = mapping_file.read(in_force.text_of(path), str(path))
    except mapping_file.MappingInvalid as invalid:
        problems = list(invalid.problems)
    failed: list[Failure] = []
    if read is not None:
        problems = sorted(mapping_tests.mistakes(read.tree, read.document))
        failed = [] if problems else mapping_tests.run(read.tree, read.document, read.mapping)
    if read is not None and live_too:
        found, notes = _live(read)
        problems = sorted([*problems, *found])
    if as_json:
        say_json(_findings(path, read, problems, failed, notes))
    else:
        _tell(path, read, problems, failed, notes)
    if problems or failed:
        raise typer.Exit(INVALID)


def _live(read: Read) -> tuple[list[Problem], list[str]]:
    """Return what of a mapping does not fit the vendors, by its place in the file, and what could not be checked."""
    settings = config.load(os.environ, Path.cwd())
    with bootstrap.runtime(settings, read.mapping) as runtime:
        seen = live.see(runtime.remotes, read.mapping)
        found = live.findings(read.mapping, seen, runtime.remotes.crm)
        with runtime.store.read() as db:
            found += live.too_long(db, read.mapping, seen)
    placed = (
        mapping_file.Problem(*yaml_tree.place(read.tree, one.path, key=one.key), one.words)
        for one in dict.fromkeys(found)
    )
    return list(placed), seen.notes


def _findings(
    path: Path, read: Read | None, problems: list[Problem], failed: list[Failure], notes: list[str]
) -> dict[str, Any]:
    told = [{"line": one.line, "column": one.column, "words": one.words} for one in problems]
    version = {"version": read.mapping.version} if read and not problems else {}
    tests = {"run": len(read.document.tests) if read else 0, "failed": [asdict(one) for one in failed]}
    return {
        "ok": not told and not failed,
        "file": str(path),
        **version,
        "problems": told,
        "tests": tests,
        "notes": notes,
    }


def _tell(path: Path, read: Read | None, problems: list[Problem], failed: list[Failure], notes: list[str]) -> None:
    for problem in problems:
        sys.stderr.write(f"{path}:{problem.line}:{problem.column}: {problem.words}\n")
    for one in failed:
        sys.stderr.write(f"{path}:{one.line}:{one.column}: test '{one.test}': {one.field}\n")
        sys.stderr.write(f"    expected  {one.expected}\n    but is    {one.actual}\n")
        sys.stderr.write(f"    because   {one.why}\n" if one.why else "")
    for note in notes:
        sys.stderr.write(f"outbook: {note}\n")
    if read is not None and not problems and not failed:
        tests = f", {len(read.document.tests)} tests hold" if read.document.tests else ""
        typer.echo(f"{path}: ok, {len(read.mapping.fields)} fields{tests}, {read.mapping.version[:VERSION]}")


app.command()(editor.schema)


@app.command()
def diff(
    old: str = typer.Argument(..., help=f"A mapping's file, or {IN_FORCE}."),
    new: str = typer.Argument(..., help=f"Another one, or {IN_FORCE}."),
    *,
    as_json: bool = JSON,
) -> None:
    """Tell what a mapping does differently from another one. How many people that concerns, `outbook plan` tells."""
    before, after = _named(old), _named(new)
    found = mapping_diff.compare(before, after)
    if as_json:
        say_json({"old": before.version, "new": after.version, "differences": [asdict(one) for one in found]})
        return
    for one in found:
        typer.echo(f"{one.where}: {one.words}")
    if not found:
        typer.echo("no difference in effect")


def _named(name: str) -> Mapping:
    path = Path(name)
    if name != IN_FORCE or path.exists():
        return bootstrap.read_mapping(path)
    store = bootstrap.open_store(config.load(os.environ, Path.cwd(), credentials=False))
    stored = in_force.stored(store)
    if stored is None:
        raise config.SettingsInvalid(["no mapping is in force here yet: outbook mapping apply FILE"])
    return stored


def _tell_cost(runtime: bootstrap.Runtime, version: str) -> None:
    """Say what looking at everyone again takes at most, if that is much; `outbook plan --mapping` knows it exactly."""
    with runtime.store.read() as db:
        pairs = 0 if mappings.version(db) == version else links.count(db, Kind.PROSPECT)
    if pairs > cost.MANY:
        cost.say(runtime.store, runtime.settings, f"{pairs} people looked at again", of_looking_again(pairs))


@app.command()
def apply(
    file: Path | None = typer.Argument(
        None, help="The mapping to put in force; without it, the one of OUTBOOK_MAPPING."
    ),
    *,
    digest: str | None = typer.Option(
        None, "--plan", help="The hash that `outbook plan --mapping FILE` told: refuse if anything has moved since."
    ),
    as_json: bool = JSON,
) -> None:
    """Put a mapping in force. Running workers take it up by themselves; everyone is looked at again in the background."""
    settings = config.load(os.environ, Path.cwd(), credentials=False)
    path = file or settings.mapping
    read = mapping_file.read(in_force.text_of(path), str(path))
    _warn(path, read)
    with bootstrap.runtime(settings, read.mapping) as runtime:
        on = runtime.applier(replace(runtime.permit(), to_crm=True, to_outreach=True))
        moved = adoption.moved(on, _whole(digest)) if digest else []
        if not moved:
            _tell_cost(runtime, on.mapping.version)
        taken = None if moved else adoption.apply(on)
        with runtime.store.read() as db:
            unread = mappings.unread(db)
    version = on.mapping.version
    told = {
        "file": str(path),
        "applied": taken is not None and taken.before != version,
        "version": version,
        "before": taken.before if taken else None,
        "queued": taken.opened if taken else 0,
        "reads_first": {kind.value: sorted(names) for kind, names in unread.items()},
        "moved": moved,
    }
    if as_json:
        say_json(told)
    for one in moved:
        sys.stderr.write(f"outbook: not put in force, for it is not as planned: {one}\n")
    if moved:
        raise typer.Exit(INVALID)
    if path.resolve() != settings.mapping.resolve():
        sys.stderr.write(
            f"outbook: a foreground sync takes OUTBOOK_MAPPING, which is {settings.mapping}: let it name {path}\n"
        )
    if not as_json:
        _applied(told)


def _whole(digest: str) -> str:
    return digest if digest.startswith("plan:") else f"plan:{digest}"


def _warn(path: Path, read: Read) -> None:
    """Say which of the tests do not hold; they are for whoever edits, and keep nothing from being put in force."""
    wrong = [*mapping_tests.mistakes(read.tree, read.document)]
    failed = [] if wrong else mapping_tests.run(read.tree, read.document, read.mapping)
    if wrong or failed:
        sys.stderr.write(f"outbook: tests in {path} do not hold; outbook mapping check {path} tells which\n")


def _applied(told: dict[str, Any]) -> None:
    if not told["applied"]:
        typer.echo(f"{told['file']} is in force already, {told['version'][:VERSION]}")
        return
    typer.echo(f"{told['file']} is in force, {told['version'][:VERSION]}")
    for stream, names in told["reads_first"].items():
        typer.echo(
            f"{stream} are read once more, whole, for {', '.join(names)}; what depends on that is left alone until then"
        )
    again = count(told["queued"], "record is", "records are")
    typer.echo(f"{again} looked at again in the background; outbook status tells how far it is")


@app.command()
def init(
    file: Path = typer.Argument(..., help="Where to put the copy; it must not exist yet."), *, as_json: bool = JSON
) -> None:
    """Copy the default mapping out of the installation, so that an upgrade never touches yours."""
    text = config.shipped_mapping().read_text(encoding="utf-8")
    try:
        with file.open("x", encoding="utf-8") as copy:
            copy.write(text)
        schema = editor.accompany(file)
    except FileExistsError:
        sys.stderr.write(f"outbook: {file} exists already; nothing was changed\n")
        raise typer.Exit(INVALID) from None
    except OSError as error:
        sys.stderr.write(f"outbook: {file} cannot be written: {error.strerror}\n")
        raise typer.Exit(INVALID) from None
    if as_json:
        say_json({"file": str(file), "written": True, "schema": str(schema)})
    else:
        typer.echo(f"{file}: written; edit it, then set OUTBOOK_MAPPING={file}")
        typer.echo(f"{schema}: by it an editor completes; with the real field names after the next command")
        typer.echo(f"next: outbook mapping schema {file} --live --write")
