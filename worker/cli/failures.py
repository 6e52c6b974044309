"""`outbook failures`: the dead letters, by cause; tried again as a class, looked at one by one, dropped."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.markup import escape

from worker import bootstrap, config
from worker.cli.asking import sure
from worker.cli.exits import INVALID, UNFINISHED
from worker.cli.selection import selecting
from worker.cli.show import count, indented, page, pairs, say_json, table
from worker.config import Settings
from worker.core import letters
from worker.core.records import Ref, System
from worker.store import dead, exchanges, seal
from worker.store.database import Store
from worker.store.dead import Letter, Line
from worker.store.exchanges import Exchange
from worker.store.links import Names
from worker.store.selection import Selection
from worker.sync import failures
from worker.sync.failures import Cause

app = typer.Typer(help="What failed and is not tried again by itself.", no_args_is_help=True)
MANY = 20
EXAMPLES = 3
LISTED = 1000
"""Dead letters of one cause that --json lists one by one; the number tells how many there are."""

SIDES = {System.OUTREACH: "Outreach", System.CRM: "Workbooks"}

_AsJson = Annotated[bool, typer.Option("--json", help="Print it as one JSON document.")]
_CAUSE = "The number of a cause in `outbook failures list`, or a part of its words."


@app.command("list")
def show_all(*, as_json: _AsJson = False) -> None:
    """Show the causes, the commonest first: how many died of it, since when, and what mends it."""
    _, store = _opened()
    with store.read() as db:
        found = failures.causes(db)
    if as_json:
        say_json({"records": sum(len(one.letters) for one in found), "causes": [_cause(one) for one in found]})
        return
    if not found:
        typer.echo("nothing has failed")
        return
    listed = table(
        "#", "records", "first seen", "newest", "cause, and how to mend it", "such as", numbers=("#", "records")
    )
    for one in found:
        such = ", ".join(f"{letter.id} ({letter.record})" for letter in one.letters[:EXAMPLES])
        words = f"{escape(one.words)}\n→ {escape(one.hint)}" if one.hint else escape(one.words)
        listed.add_row(str(one.number), str(len(one.letters)), _local(one.first), _local(one.newest), words, such)
    first = found[0].letters[0].id
    page(listed, f"next: outbook failures show {first}, or once it is mended outbook failures retry --cause 1")


@app.command()
def show(
    which: Annotated[str, typer.Argument(metavar="ID", help="The number of a dead letter, or prospect:ID, task:ID …")],
    *,
    as_json: _AsJson = False,
) -> None:
    """Show one dead letter: its words, the last request and reply, what was written about the record before."""
    _, store = _opened()
    [letter] = _letters(store, [which])
    with store.read() as db:
        told = exchanges.load(db, letter.ref.kind, [letter.ref.id]).get(letter.ref.id, [])
        lines = dead.history(db, letter.ref)
    cause = letters.cause_of(letter.words)
    if as_json:
        history = [
            {"at": _utc(o.at), "side": o.system, "action": o.action, "fields": o.fields, "why": o.why} for o in lines
        ]
        last = [{"at": _utc(o.at), "side": o.system, "request": o.request, "reply": o.reply} for o in told]
        hint = letters.hint_of(cause)
        say_json({**_letter(letter), "cause": cause, "hint": hint, "exchanges": last, "history": history})
        return
    page(*_shown(letter, told, lines))


def _shown(letter: Letter, told: Sequence[Exchange], lines: Sequence[Line]) -> Iterator[RenderableType]:
    yield f"[bold]{letter.id}: {escape(letter.record)}[/]" + (", an opt-out" if letter.urgent else "")
    failed = f"{_local(letter.failed_at)} at try {letter.attempts}; open since {_local(letter.opened_at)}"
    hint = letters.hint_of(letters.cause_of(letter.words))
    yield pairs([("failed", failed), ("words", letter.words), *([("hint", hint)] if hint else [])])
    for one in told:
        yield ""
        yield f"last request to {SIDES[one.system]}, {_local(one.at)}"
        yield indented(escape(one.request))
        yield indented(f"answered {escape(one.reply)}")
    if lines:
        yield ""
        yield "written before:"
    for line in lines:
        fields = ", ".join(line.fields) or "nothing of it was taken"
        yield indented(escape(f"{_local(line.at)}  {SIDES[System(line.system)]}: {line.action} ({fields})"))
    yield ""
    again = f"--{letter.record.replace(':', ' ')}"
    yield escape(f"next: outbook explain {again}, or once it is mended outbook failures retry {again}")


@app.command()
@selecting(needed=False)
def retry(
    selection: Selection,
    *,
    cause: Annotated[str | None, typer.Option(help=_CAUSE)] = None,
    as_json: _AsJson = False,
) -> None:
    """Make dead letters due again, their attempts forgotten: those selected, a whole cause, or of the selected one cause."""
    if selection.empty and cause is None:
        raise config.SettingsInvalid(
            ["say which: --cause, --all or another selection; `outbook failures list` shows them"]
        )
    settings, store = _opened()
    names = Names(seal.check_key(store, config.secret_key(settings)))
    wanted = None if selection.empty else selection
    told, meant = failures.retry(store, wanted, cause, names=names, now=bootstrap.now())
    if cause is not None and not meant:
        raise config.SettingsInvalid([f"--cause: none such; {_known(store)}"])
    if as_json:
        say_json(told.as_json())
    else:
        typer.echo(_due(len(told.queued)) if len(told.queued) or told.skipped else "nothing has failed")
        for one in told.skipped[:MANY]:
            typer.echo(f"skipped {one.record}: {one.why}, {one.words}")
    if told.skipped:
        raise typer.Exit(UNFINISHED)


@app.command()
def drop(
    which: Annotated[
        list[str] | None, typer.Argument(metavar="ID…", help="Numbers of dead letters, or prospect:ID …")
    ] = None,
    *,
    cause: Annotated[str | None, typer.Option(help=_CAUSE)] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, however many they are.")] = False,
    as_json: _AsJson = False,
) -> None:
    """Close dead letters for good: both records stay as they are until somebody edits one. An opt-out is never dropped."""
    if bool(which) == (cause is not None):
        raise config.SettingsInvalid(
            ["say which: the numbers of dead letters, or --cause; `outbook failures list` shows them"]
        )
    settings, store = _opened()
    chosen = _letters(store, which) if which else _of_cause(store, cause or "")
    many = f"{len(chosen)} dead letters"
    if len(chosen) > MANY and not yes and not sure(f"{many} would be dropped", f"{many} are dropped"):
        raise typer.Exit(INVALID)
    dropped, refused = failures.drop(store, chosen, bootstrap.known_mapping(settings, store))
    if as_json:
        say_json({"dropped": dropped, "refused": [{**_letter(one), "why": "opt-out"} for one in refused]})
    else:
        typer.echo(f"{count(dropped, 'dead letter')} dropped")
    for one in refused:
        words = "carries an opt-out that one side does not show; mend its cause and retry, it is never dropped"
        sys.stderr.write(f"outbook: {one.record} {words}\n")
    if refused:
        raise typer.Exit(UNFINISHED if dropped else INVALID)


def _opened() -> tuple[Settings, Store]:
    settings = config.load(os.environ, Path.cwd(), credentials=False)
    return settings, bootstrap.open_store(settings)


def _letters(store: Store, which: list[str]) -> list[Letter]:
    """Return the dead letters of these names; every name that is none is a problem."""
    found: dict[int, Letter] = {}
    problems = []
    with store.read() as db:
        for text in dict.fromkeys(which):
            kind, _, number = text.rpartition(":")
            small = number.isdecimal() and len(number) < bootstrap.ID_DIGITS
            letter = None
            if small and not kind:
                letter = next(iter(dead.letters(db, [int(number)])), None)
            elif small and kind in dead.KINDS:
                letter = dead.of_record(db, Ref(dead.KINDS[kind], int(number)))
            if letter is None:
                problems.append(f"{text}: no dead letter; `outbook failures list` shows them")
            else:
                found[letter.id] = letter
    if problems:
        raise config.SettingsInvalid(problems)
    return list(found.values())


def _of_cause(store: Store, text: str) -> list[Letter]:
    with store.read() as db:
        meant = failures.named(failures.causes(db), text)
    if not meant:
        raise config.SettingsInvalid([f"--cause: none such; {_known(store)}"])
    return [letter for one in meant for letter in one.letters]


def _known(store: Store) -> str:
    with store.read() as db:
        known = len(failures.causes(db))
    return f"there are {known}; `outbook failures list` shows them" if known else "nothing has failed"


def _cause(one: Cause) -> dict[str, Any]:
    return {
        "number": one.number,
        "cause": one.words,
        "records": len(one.letters),
        "opt_outs": sum(letter.urgent for letter in one.letters),
        "first_seen": _utc(one.first),
        "newest": _utc(one.newest),
        "hint": one.hint,
        "letters": [_letter(letter) for letter in one.letters[:LISTED]],
    }


def _letter(one: Letter) -> dict[str, Any]:
    return {
        "id": one.id,
        "record": one.record,
        "words": one.words,
        "attempts": one.attempts,
        "opt_out": one.urgent,
        "opened_at": _utc(one.opened_at),
        "failed_at": _utc(one.failed_at),
    }


def _utc(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat() if at else None


def _local(at: datetime | None) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M") if at else "not noted"


def _due(records: int) -> str:
    verb = "is" if records == 1 else "are"
    return f"{count(records, 'record')} {verb} due again; `outbook sync` or the workers go on with them"
