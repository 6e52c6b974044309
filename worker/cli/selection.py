"""SELECTION: the same options on every verb, and what was typed turned into one Selection with every problem at once.

A verb takes a ``selection`` and wears the options::

    @selecting()
    def resync(selection: Selection, *, wait: bool = typer.Option(False, "--wait")) -> None: ...
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from worker import bootstrap, config
from worker.core import transforms
from worker.store.selection import Selection
from worker.store.wording import HINT, LARGEST, moment_of

PANEL = "Selection"
Prospects = Annotated[
    list[int], typer.Option("--prospect", min=1, help="A prospect's id; may be repeated.", rich_help_panel=PANEL)
]
People = Annotated[
    list[int],
    typer.Option("--person", min=1, help="A person's id in Workbooks; may be repeated.", rich_help_panel=PANEL),
]
Emails = Annotated[
    list[str],
    typer.Option("--email", help="Everybody who bears this address, on either side.", rich_help_panel=PANEL),
]
Sequences = Annotated[
    list[int],
    typer.Option("--sequence", min=1, help="Everybody in this sequence, by its id.", rich_help_panel=PANEL),
]
Tasks = Annotated[
    list[int], typer.Option("--task", min=1, help="A task's id in Outreach; may be repeated.", rich_help_panel=PANEL)
]
Since = Annotated[
    str | None,
    typer.Option("--since", help="Only what moved lately: 30m, 2h, 3d, or an ISO time.", rich_help_panel=PANEL),
]
Failed = Annotated[bool, typer.Option("--failed", help="Only dead letters.", rich_help_panel=PANEL)]
IdsFrom = Annotated[
    Path | None,
    typer.Option(
        "--ids-from",
        help="A file with an e-mail address, prospect:ID, person:ID, sequence:ID or task:ID a line; # begins a comment.",
        rich_help_panel=PANEL,
    ),
]
Everyone = Annotated[bool, typer.Option("--all", help="Everything.", rich_help_panel=PANEL)]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many records.", rich_help_panel=PANEL)]

OPTIONS: dict[str, Any] = {
    "prospects": Prospects,
    "people": People,
    "emails": Emails,
    "sequences": Sequences,
    "tasks": Tasks,
    "since": Since,
    "failed": Failed,
    "ids_from": IdsFrom,
    "everyone": Everyone,
    "limit": Limit,
}
FLAGS = ("failed", "everyone")


def selecting(*, needed: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb the options of SELECTION in the place of its parameter ``selection``; without ``needed`` none may be used."""

    def dressed(verb: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(verb)
        def whole(**typed: Any) -> None:  # noqa: ANN401 - whatever the verb takes
            words = {name: typed.pop(name) for name in OPTIONS}
            verb(selection=chosen_by(now=bootstrap.now(), needed=needed, **words), **typed)

        signature = inspect.signature(verb, eval_str=True)
        kind = inspect.Parameter.KEYWORD_ONLY
        own = [one.replace(kind=kind) for one in signature.parameters.values() if one.name != "selection"]
        worn = [
            inspect.Parameter(name, kind, default=False if name in FLAGS else None, annotation=option)
            for name, option in OPTIONS.items()
        ]
        whole.__signature__ = signature.replace(parameters=[*own, *worn])  # type: ignore[attr-defined]
        return whole

    return dressed


def chosen_by(
    *,
    now: datetime,
    prospects: Sequence[int] | None = None,
    people: Sequence[int] | None = None,
    emails: Sequence[str] | None = None,
    sequences: Sequence[int] | None = None,
    tasks: Sequence[int] | None = None,
    since: str | None = None,
    failed: bool = False,
    ids_from: Path | None = None,
    everyone: bool = False,
    limit: int | None = None,
    needed: bool = True,
) -> Selection:
    """Return what the options select; raise config.SettingsInvalid with every problem, and if ``needed`` for nothing.

    Whoever is named adds up; ``--since`` and ``--failed`` narrow that, or everything when nobody is named.
    """
    numbers = {"--prospect": prospects, "--person": people, "--sequence": sequences, "--task": tasks}
    problems = [f"{name}: no such id" for name, ids in numbers.items() if any(one > LARGEST for one in ids or ())]
    if any(transforms.address(text) is None for text in emails or ()):
        problems.append("--email: not an e-mail address")
    moment: datetime | None = None
    try:
        moment = moment_of(since, now) if since is not None else None
    except ValueError as error:
        problems.append(str(error))
    listed = Selection()
    if ids_from is not None:
        try:
            listed = bootstrap.read_ids(ids_from)
            if listed.empty:  # it must not turn --failed or --since into everybody's
                problems.append(f"--ids-from: {ids_from} names nobody")
        except config.SettingsInvalid as invalid:
            problems += invalid.problems
    if problems:
        raise config.SettingsInvalid(problems)
    selection = replace(
        listed,
        prospects=_once(prospects, listed.prospects),
        people=_once(people, listed.people),
        addresses=tuple(dict.fromkeys([*(emails or ()), *listed.addresses])),
        sequences=_once(sequences, listed.sequences),
        tasks=_once(tasks, listed.tasks),
        since=moment,
        failed=failed,
        everyone=everyone,
        limit=limit,
    )
    if selection.empty and (needed or limit is not None):
        raise config.SettingsInvalid([HINT])
    return selection


def _once(*ids: Sequence[int] | None) -> tuple[int, ...]:
    return tuple(dict.fromkeys(one for some in ids for one in some or ()))
