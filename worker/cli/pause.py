"""`outbook pause` and `outbook resume`: stop writing, and go on."""

from __future__ import annotations

import os
from datetime import UTC
from pathlib import Path
from typing import Annotated

import typer

from worker import bootstrap, config
from worker.cli.show import count, say_json
from worker.store import backlog, pauses, respites, waking
from worker.store.database import Store
from worker.store.pauses import Paused

_EACH = ", ".join(pauses.SCOPES)
_AsJson = Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON document.")]


def pause(
    scope: Annotated[str, typer.Argument(help=f"What to hold back: {_EACH}.")] = pauses.ALL,
    reason: Annotated[str, typer.Option(help="Why, for whoever looks at `outbook status`; no personal data.")] = "",
    *,
    as_json: _AsJson = False,
) -> None:
    """Stop writing; polling and queueing go on, and a batch under way is finished.

    to-crm and to-outreach stop what is written to that side; a stream's name stops what is read there from being written to
    the other side. Opt-outs are held back too: `outbook status` counts them.
    """
    store = _opened(scope)
    with store.write() as db:
        new = pauses.pause(db, scope, reason.strip(), bootstrap.now())
        standing = pauses.standing(db)
    if as_json:
        say_json({"new": new, "paused": _told(standing)})
        return
    typer.echo(f"{scope} is paused{'' if new else ' already'}; what is found meanwhile stays queued")
    typer.echo(f"next: outbook resume{'' if scope == pauses.ALL else f' {scope}'}")


def resume(
    scope: Annotated[str | None, typer.Argument(help=f"Only this: {_EACH}. Without it everything goes on.")] = None,
    *,
    as_json: _AsJson = False,
) -> None:
    """Let writing go on; what was held back is due again. The first time, this lets a new store go live.

    Without a scope it also ends what waits for a vendor that asked for time, or did not answer: it is called at once.
    """
    store = _opened(scope)
    with store.write() as db:
        before = pauses.standing(db)
        if scope is not None and scope not in {one.scope for one in before}:
            names = ", ".join(one.scope for one in before) or "nothing"
            raise config.SettingsInvalid([f"{scope} is not paused; paused just now: {names}"])
        gone = pauses.resume(db, None if scope is None else [scope])
        if scope is None:
            respites.end(db)
            waking.wake_put_off(db, bootstrap.now())
        left = pauses.standing(db)
        due = backlog.count(db, bootstrap.now()).due
    if as_json:
        say_json({"resumed": gone, "paused": _told(left), "due": due})
        return
    typer.echo(f"resumed: {', '.join(gone) or 'nothing was paused'}")
    for one in left:
        typer.echo(f"still {one}")
    if due:
        typer.echo(f"due: {count(due, 'record')}; `outbook sync` or the workers go on with them")


def _opened(scope: str | None) -> Store:
    if scope is not None and scope not in pauses.SCOPES:
        raise config.SettingsInvalid([f"{scope} cannot be paused; it is one of {_EACH}"])
    return bootstrap.open_store(config.load(os.environ, Path.cwd(), credentials=False))


def _told(standing: list[Paused]) -> list[dict[str, str]]:
    return [
        {"scope": one.scope, "since": one.since.astimezone(UTC).isoformat(), "words": one.words} for one in standing
    ]
