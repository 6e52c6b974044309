"""`outbook forget`: a person's data erased here for good."""

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
from worker.store import forgotten
from worker.store.forgotten import Circle
from worker.sync import forget as forgetting
from worker.sync.forget import Receipt, Seen

MANY = 20


def forget(
    prospects: list[int] = typer.Option([], "--prospect", min=1, help="A prospect's id; may be given several times."),
    people: list[int] = typer.Option([], "--person", min=1, help="A person's id in Workbooks."),
    emails: list[str] = typer.Option([], "--email", help="Everybody who bears this address, on either side."),
    ids_from: Path | None = typer.Option(
        None, help="A file with an e-mail address, prospect:ID or person:ID a line; # begins a comment."
    ),
    *,
    offline: bool = typer.Option(False, "--offline", help="Do not ask the two systems who still exists there."),
    yes: bool = typer.Option(False, "--yes", help="Do not ask, however many they are."),
    as_json: bool = typer.Option(False, "--json", help="Print the receipt as one JSON document."),
) -> None:
    """Erase a person here: under both ids and every known address, with copies, links, history and whatever waits.

    Only keyed hashes stay, by which no poll, webhook or load of the two systems brings the person back. Nothing is deleted in
    Outreach or Workbooks: the receipt tells which records still exist there. It cannot be undone. Backups of this store made
    before hold the data until they expire; after one is restored, run the same again.
    """
    named = _named(prospects, people, emails, ids_from)
    settings = config.load(os.environ, Path.cwd(), credentials=not offline)
    with bootstrap.runtime(settings) as runtime:
        on = runtime.applier()
        whom = forgetting.choose(on, named)
        seen = Seen(whom) if offline else forgetting.look_up(on, whom)
        whom = seen.whom
        number = max(len(whom.prospects), len(whom.people), _size(named))
        many = f"{number} people"
        if number > MANY and not yes and not sure(f"{many} would be forgotten", f"{many} are erased here for good"):
            raise typer.Exit(INVALID)
        told = forgetting.forget(on, whom, sleep=time.sleep)
        swept = forgotten.sweep_away(on.store)
    troubles = list(seen.troubles)
    if not swept:
        troubles.append(
            "the file could not be written anew (somebody is using it, or the disk is full) and still holds what was erased: "
            "run the same again"
        )
    if as_json:
        say_json(_as_json(told, seen, troubles))
    else:
        typer.echo("\n".join(_words(told, seen)))
    for words in troubles:
        sys.stderr.write(f"outbook: {words}\n")
    if troubles:
        raise typer.Exit(UNFINISHED)


def _named(prospects: list[int], people: list[int], emails: list[str], ids_from: Path | None) -> Circle:
    problems = ["--email: not an e-mail address"] if any(transforms.address(text) is None for text in emails) else []
    problems += ["--prospect, --person: no such id"] if any(one >= 2**63 for one in [*prospects, *people]) else []
    if problems:
        raise config.SettingsInvalid(problems)
    addresses = frozenset(text for one in emails if (text := transforms.address(one)))
    named = Circle(frozenset(prospects), frozenset(people), addresses)
    if ids_from is not None:
        listed = bootstrap.read_pilot(ids_from, "--ids-from")
        addresses = frozenset(transforms.address(text) or text for text in listed.addresses)
        named |= Circle(listed.prospects, listed.people, addresses)
    if named == Circle():
        raise config.SettingsInvalid(["say whom: --prospect, --person, --email or --ids-from"])
    return named


def _size(named: Circle) -> int:
    return len(named.prospects) + len(named.people) + len(named.addresses)


def _as_json(told: Receipt, seen: Seen, troubles: list[str]) -> dict[str, object]:
    return {
        "prospects": sorted(told.whom.prospects),
        "people": sorted(told.whom.people),
        "addresses": len(told.whom.addresses),
        "erased": dict(sorted(told.erased.items())),
        "still_in_outreach": None if seen.prospects is None else list(seen.prospects),
        "still_in_workbooks": None if seen.people is None else list(seen.people),
        "troubles": troubles,
    }


def _words(told: Receipt, seen: Seen) -> list[str]:
    whom, addresses = told.whom, count(len(told.whom.addresses), "address", "addresses")
    lines = [
        f"forgotten: {_list('prospect', whom.prospects)}, {_list('person', whom.people)}, {addresses}",
        f"erased here: {count(sum(told.erased.values()), 'row')}",
    ]
    for side, noun, found in (("Outreach", "prospect", seen.prospects), ("Workbooks", "person", seen.people)):
        if found is None:
            lines.append(f"still in {side}: not asked")
        else:
            lines.append(f"still in {side}: {_list(noun, frozenset(found))}{'; delete it there' if found else ''}")
    return lines


def _list(noun: str, ids: frozenset[int]) -> str:
    return f"{noun} {', '.join(str(one) for one in sorted(ids))}" if ids else f"no {noun}"
