"""`outbook crm`: what the mapping needs in Workbooks, made there."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from worker import bootstrap, config
from worker.bootstrap import Runtime
from worker.cli.asking import may_write
from worker.cli.exits import CHANGES, INVALID, UNFINISHED
from worker.cli.show import say_json
from worker.core.records import System
from worker.remote.workbooks import Workbooks
from worker.sync import crm_setup, fields, tenants
from worker.sync.crm_setup import Step, Trouble

KEY = "OUTBOOK_WORKBOOKS__SETUP_API_KEY"

app = typer.Typer(help="Prepare Workbooks for what the mapping needs.", no_args_is_help=True)


@app.callback()
def _noun() -> None:
    """Prepare Workbooks for what the mapping needs."""


@app.command()
def setup(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be made.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON document.")] = False,
) -> None:
    """Make the custom fields and picklist entries that the mapping names and Workbooks lacks; change nothing that is there.

    Needs an administrator's key in OUTBOOK_WORKBOOKS__SETUP_API_KEY, used for this alone: take it out of the settings again.
    What is to be made is shown first, and asked about on a terminal. What Workbooks refuses is told with how to make it by
    hand.
    """
    settings = config.load(os.environ, Path.cwd(), credentials=False)
    key = settings.workbooks.setup_api_key.get_secret_value()
    if not key:
        raise config.SettingsInvalid([f"{KEY}: missing; an administrator's key, for this verb alone"])
    if not dry_run:
        may_write(settings, "Workbooks")
    with bootstrap.runtime(settings, guarded=False) as on:
        crm = Workbooks(on.remotes.crm.client, key)
        _same_database(on, crm)
        steps, troubles = crm_setup.look(crm, on.mapping)
        _show(steps)
        made: list[Step] = []
        if steps and not dry_run:
            if not yes and sys.stdin.isatty() and not typer.confirm("Make this in Workbooks?", err=True):
                raise typer.Exit(INVALID)
            made, refused = crm_setup.make(crm, steps, sleep=time.sleep)
            troubles += refused
            _mended(on, made)
    if as_json:
        say_json(_as_json(steps, made, troubles, dry_run=dry_run))
    else:
        typer.echo(_words(steps, made, troubles, dry_run=dry_run))
    for one in troubles:
        sys.stderr.write(f"outbook: {one.field}: {one.words}\n")
        sys.stderr.write(f"outbook:   {one.by_hand}\n" if one.by_hand else "")
    if dry_run and steps:
        raise typer.Exit(CHANGES)
    if troubles:
        raise typer.Exit(UNFINISHED)


def _same_database(on: Runtime, crm: Workbooks) -> None:
    """Raise WrongTenant if the administrator's key opens another database than this store belongs to."""
    with on.store.read() as db:
        bound = tenants.known(db).get(System.CRM)
    identity = crm.login().database_id
    if bound is not None and identity is not None and identity != bound:
        words = f"{KEY} opens the database {identity}, but this store belongs to {bound}: nothing was made"
        raise tenants.WrongTenant(words, system=System.CRM)


def _mended(on: Runtime, made: Sequence[Step]) -> None:
    """Let the fields that were held back for want of these be written again at once, as the integration's own key sees them."""
    if made and on.settings.workbooks.api_key.get_secret_value():
        fields.check(store=on.store, crm=on.remotes.crm, mapping=on.mapping, now=bootstrap.now())


def _show(steps: Sequence[Step]) -> None:
    for step in steps:
        sys.stderr.write(f"outbook: to be made: {step}\n")


def _as_json(
    steps: Sequence[Step], made: Sequence[Step], troubles: Sequence[Trouble], *, dry_run: bool
) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "planned": [_told(step) for step in steps],
        "made": [_told(step) for step in made],
        "troubles": [{"field": one.field, "words": one.words, "by_hand": one.by_hand} for one in troubles],
    }


def _told(step: Step) -> dict[str, object]:
    return {
        "on": crm_setup.RECORDS[step.kind].lower(),
        "field": step.field,
        "type": crm_setup.SPOKEN.get(step.data_type),
        "labels": list(step.labels),
    }


def _words(steps: Sequence[Step], made: Sequence[Step], troubles: Sequence[Trouble], *, dry_run: bool) -> str:
    if dry_run and steps:
        return f"{len(steps)} to make; nothing was done\nnext: outbook crm setup"
    if made:
        return "\n".join(f"made: {step}" for step in made)
    return "nothing was made" if troubles else "Workbooks has everything that the mapping names"
