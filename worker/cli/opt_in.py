"""`outbook opt-in`: the only way to lift an opt-out."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import typer

from worker import bootstrap, config
from worker.cli.asking import sure
from worker.cli.exits import INVALID, UNFINISHED
from worker.cli.show import count, say_json
from worker.core import transforms
from worker.sync import opt_in as opting_in
from worker.sync.case import Pilot

MANY = 20


def opt_in(
    prospects: list[int] = typer.Option([], "--prospect", min=1, help="A prospect's id; may be given several times."),
    people: list[int] = typer.Option([], "--person", min=1, help="A person's id in Workbooks."),
    emails: list[str] = typer.Option([], "--email", help="Everybody who bears this address, on either side."),
    ids_from: Path | None = typer.Option(
        None, help="A file with an e-mail address, prospect:ID or person:ID a line; # begins a comment."
    ),
    reason: str = typer.Option("", help="Why, for the history; no personal data."),
    *,
    yes: bool = typer.Option(False, "--yes", help="Do not ask, however many they are."),
    as_json: bool = typer.Option(False, "--json", help="Print the receipt as one JSON document."),
) -> None:
    """Lift an opt-out on both sides: the latch is taken away, e-mail is allowed again in Outreach and in Workbooks."""
    if not reason.strip():
        _leave(["--reason: say why"])
    wanted = _wanted(prospects, people, emails, ids_from)
    settings = config.load(os.environ, Path.cwd())
    with bootstrap.runtime(settings) as runtime:
        on = runtime.applier()
        try:
            chosen = opting_in.choose(on, wanted)
            many = f"{len(chosen.people)} people"
            if (
                len(chosen.people) > MANY
                and not yes
                and not sure(f"{many} would be opted in", f"{many} are opted in again")
            ):
                raise typer.Exit(INVALID)
            told = opting_in.opt_in(on, chosen, reason=reason.strip(), sleep=time.sleep)
        except opting_in.Refused as refused:
            _leave(refused.problems)
    if as_json:
        say_json(_as_json(told))
    else:
        typer.echo(_words(told))
    if not told.done:
        raise typer.Exit(UNFINISHED)


def _wanted(prospects: list[int], people: list[int], emails: list[str], ids_from: Path | None) -> Pilot:
    listed = bootstrap.read_pilot(ids_from, "--ids-from") if ids_from else Pilot()
    if any(transforms.address(text) is None for text in emails):
        _leave(["--email: not an e-mail address"])
    addresses = listed.addresses | {text for one in emails if (text := transforms.address(one))}
    wanted = Pilot(listed.prospects | set(prospects), listed.people | set(people), addresses)
    if wanted == Pilot():
        _leave(["say whom: --prospect, --person, --email or --ids-from"])
    return wanted


def _as_json(told: opting_in.Receipt) -> dict[str, object]:
    return {
        "people": [
            {
                "prospect": one.who.prospect,
                "person": one.who.person,
                "opted_in": one.why is None and not one.unchanged,
                "was_opted_out": not one.unchanged,
                "waits_for": one.why,
            }
            for one in told.outcomes
        ],
        "addresses": told.addresses,
    }


def _words(told: opting_in.Receipt) -> str:
    lines = []
    for one in told.outcomes:
        state = "was not opted out" if one.unchanged else "opted in on both sides"
        lines.append(f"{one.who}: {one.why or state}")
    if told.addresses:
        lines.append(
            f"{count(told.addresses, 'address', 'addresses')} without a record: no longer remembered as opted out"
        )
    return "\n".join(lines)


def _leave(problems: list[str]) -> None:
    for words in problems:
        sys.stderr.write(f"outbook: {words}\n")
    raise typer.Exit(INVALID)
