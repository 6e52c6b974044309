"""`outbook sync`: one pass in the foreground."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path

import typer

from worker import bootstrap, config
from worker.cli import cost
from worker.cli.exits import CHANGES, UNFINISHED
from worker.cli.selection import selecting
from worker.cli.show import Progress, say_json, say_report
from worker.cli.stopper import Stopper
from worker.core.records import Kind, System
from worker.store.selection import Selection
from worker.sync import run
from worker.sync.case import Permit
from worker.sync.cost import of_everything

SHOWN = 20


class Way(StrEnum):
    """Which side may be written."""

    BOTH = "both"
    TO_CRM = "to-crm"
    TO_OUTREACH = "to-outreach"


@selecting(needed=False)
def sync(
    selection: Selection,
    *,
    as_json: bool = typer.Option(False, "--json", help="Print the report as one JSON document."),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Poll, then tell what would be written; write to neither side."
    ),
    direction: Way = typer.Option(Way.BOTH, help="Hold back every write to the other side; it stays queued."),
    full: bool = typer.Option(False, "--full", help="Ignore the cursors and read everything again."),
    wait: float = typer.Option(30.0, min=0, help="Seconds to wait for retries that fall due."),
) -> None:
    """Make one pass: poll both sides from the cursors, apply until nothing is due.

    With a selection only the selected are applied, each looked at anew; whatever else is due stays queued.
    """
    settings = config.load(os.environ, Path.cwd())
    mapping = bootstrap.read_mapping(settings.mapping)
    with bootstrap.runtime(settings, mapping) as runtime, Progress() as progress, Stopper() as stopper:
        _tell_cost(runtime, full=full)
        this = run.Pass(
            on=runtime.applier(_narrowed(runtime.permit(), direction)),
            sleep=stopper.sleep,
            calls=runtime.calls,
            wait_s=wait,
            dry_run=dry_run,
            full=full,
            selection=None if selection.empty else selection,
            on_poll=progress.polled,
            on_apply=progress.applied,
            on_sweep=progress.swept,
            lane=bootstrap.lane,
            rate=runtime.rate,
            flush=runtime.flush,
            stopping=stopper.wanted,
        )
        try:
            report = run.run(this)
        except run.Interrupted:
            words = "stopped after the current batch; what was done is kept, and the next pass goes on from here"
            sys.stderr.write(f"outbook: {words}\n")
            raise typer.Exit(stopper.exit_code) from None
    if as_json:
        say_json(report.as_json())
    else:
        say_report(report)
    unknown = report.chosen.unknown if report.chosen else ()
    paused = [str(one) for one in report.paused]
    told = [
        *paused,
        *(f"{one}: not known here, even after polling" for one in unknown),
        *map(_by_vendor, report.troubles),
        *report.waiting,
    ]
    for line in told[:SHOWN]:
        sys.stderr.write(f"outbook: {line}\n")
    if len(told) > SHOWN:
        sys.stderr.write(f"outbook: and {len(told) - SHOWN} more; `outbook held list` shows what waits for a person\n")
    code = exit_code(report)
    if code:
        raise typer.Exit(code)


def _tell_cost(runtime: bootstrap.Runtime, *, full: bool) -> None:
    if full:
        cost.say(runtime.store, runtime.settings, "reading everything again", of_everything(runtime.store))


def _by_vendor(trouble: str) -> str:
    """Return a stream's trouble with the vendor whose stream it is."""
    stream = trouble.partition(":")[0]
    if stream == "the CRM's fields":
        return f"Workbooks, {trouble}"
    if stream not in set(Kind):
        return trouble
    return f"{'Workbooks' if Kind(stream).system is System.CRM else 'Outreach'}, {trouble}"


def _narrowed(permit: Permit, direction: Way) -> Permit:
    to_crm, to_outreach = direction is not Way.TO_OUTREACH, direction is not Way.TO_CRM
    return Permit(permit.to_crm and to_crm, permit.to_outreach and to_outreach, permit.only)


def exit_code(report: run.Report) -> int:
    """Return the contract's exit code for a pass (section 3)."""
    if report.halt is not None:
        return bootstrap.exit_code(report.halt)
    if report.would_write is not None:
        return CHANGES if report.would_write else 0
    unfinished = report.counts.dead + report.counts.holds + report.counts.deferred + report.counts.due
    unknown = report.chosen.unknown if report.chosen else ()
    return UNFINISHED if unfinished or report.troubles or unknown else 0
