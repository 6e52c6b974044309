"""`outbook resync`: records queued again, whatever became of them before."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from worker import bootstrap, config
from worker.cli import cost
from worker.cli.exits import CHANGES, UNFINISHED
from worker.cli.selection import selecting
from worker.cli.show import count, say_json
from worker.cli.stopper import Stopper
from worker.store import backlog, seal
from worker.store.backlog import Counts
from worker.store.database import Store
from worker.store.links import Names
from worker.store.selection import Selection
from worker.sync import resync as again
from worker.sync.cost import of_looking_again

SHOWN = 20
LOOK_S = 0.5
IDLE_S = 15.0
"""How long nobody may take anything up before it is said that perhaps nobody is there."""
GIVE_UP_S = 120.0


@selecting()
def resync(
    selection: Selection,
    *,
    dry_run: bool = typer.Option(False, "--dry-run", help="Only tell what would be queued."),
    wait: bool = typer.Option(False, "--wait", help="Stay until the workers are done with them."),
    as_json: bool = typer.Option(False, "--json", help="Print the receipt as one JSON document."),
) -> None:
    """Queue records again: attempts start anew, failed ones are tried once more; the workers or the next pass do it."""
    settings = config.load(os.environ, Path.cwd(), credentials=False)
    store = bootstrap.open_store(settings)
    names = Names(seal.check_key(store, config.secret_key(settings)))
    told = again.resync(store, selection, names=names, now=bootstrap.now(), dry_run=True)
    if len(told.queued) > cost.MANY:
        cost.say(store, settings, f"{len(told.queued)} records looked at again", of_looking_again(len(told.queued)))
    if not dry_run:
        told = again.resync(store, selection, names=names, now=bootstrap.now())
    left = wait_for(store, told) if wait and not dry_run else None
    document = told.as_json() | ({"left": _left(left)} if left else {})
    if as_json:
        say_json(document)
    else:
        _say(told, left)
    code = _code(told, left)
    if code:
        raise typer.Exit(code)


def _code(told: again.Receipt, left: Counts | None) -> int:
    if told.lost or (left and any(_left(left).values())):
        return UNFINISHED
    return CHANGES if told.dry_run and len(told.queued) else 0


def _left(counts: Counts) -> dict[str, int]:
    return {
        "open": counts.due + counts.leased,
        "deferred": counts.deferred,
        "failed": counts.dead,
        "held_back": counts.kept,
    }


def _say(told: again.Receipt, left: Counts | None) -> None:
    queued = told.queued
    parts = ((queued.prospects, "prospect", None), (queued.people, "person", "people"), (queued.tasks, "task", None))
    what = ", ".join(count(len(ids), one, several) for ids, one, several in parts if ids) or "nothing"
    typer.echo(f"{'would queue' if told.dry_run else 'queued'}: {what}")
    for why, records in told.counts().items():
        typer.echo(f"skipped, {why}: {records}")
    for one in told.skipped[:SHOWN]:
        typer.echo(f"  {one.record}: {one.why}" + (f", {one.words}" if one.words else ""))
    if len(told.skipped) > SHOWN:
        typer.echo(f"  and {len(told.skipped) - SHOWN} more; --json lists all")
    if left is not None:
        done = [f"{records} {name.replace('_', ' ')}" for name, records in _left(left).items() if records]
        typer.echo("not done: " + ", ".join(done) if done else "all done")
    elif len(told.queued) and not told.dry_run:
        typer.echo("`outbook sync` or the workers go on with them")
    elif not len(told.queued) and not told.skipped:
        typer.echo("nothing fits that selection; `outbook status` tells what has been read")


def wait_for(store: Store, told: again.Receipt) -> Counts:
    """Return how the queued stand once nobody has anything to do about them, or nobody seems to be there to do it."""
    among, total = dict(again.kinds(told.queued)), len(told.queued)
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description:<12}"), BarColumn(bar_width=28), MofNCompleteColumn(), TimeElapsedColumn())

    def look() -> Counts:
        with store.read() as db:
            return backlog.count(db, bootstrap.now(), among=among)

    with (
        Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars,
        Stopper() as stop,
    ):
        bar = bars.add_task("apply", total=total)
        counts = _watched(look, lambda left: bars.update(bar, completed=total - left), stop)
    if stop.wanted():
        sys.stderr.write("outbook: no longer waiting; what is queued stays queued\n")
        raise typer.Exit(stop.exit_code)
    return counts


def _watched(look: Callable[[], Counts], show: Callable[[int], None], stop: Stopper) -> Counts:
    counts = look()
    left, moved, warned = counts.due + counts.leased, time.monotonic(), False
    while left and not stop.wanted():
        stop.sleep(LOOK_S)
        counts = look()
        idle_s = time.monotonic() - moved
        if counts.due + counts.leased != left or counts.leased:
            left, moved, warned = counts.due + counts.leased, time.monotonic(), False
        elif idle_s >= GIVE_UP_S:
            break
        elif idle_s >= IDLE_S and not warned:
            warned = True
            sys.stderr.write("outbook: nobody takes them up; is a worker running? `outbook sync` does it right here\n")
        show(left)
    return counts
