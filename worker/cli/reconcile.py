"""`outbook reconcile`: both sides read again and compared, and on request set right."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
from rich.console import RenderableType
from rich.markup import escape

from worker import bootstrap, config
from worker.cli import cost
from worker.cli.exits import CHANGES, UNFINISHED, noted
from worker.cli.show import Progress, count, page, say_json, table
from worker.cli.stopper import Stopper
from worker.cli.sync import exit_code
from worker.store.selection import Selection
from worker.sync import reconcile as comparison
from worker.sync import repair, run
from worker.sync.cost import of_comparing

SHOWN = 20


@dataclass(slots=True)
class _Told:
    """What becomes of the command beside the comparison itself."""

    troubles: list[str] = field(default_factory=list)
    code: int = 0
    repaired: dict[str, Any] | None = None


def reconcile(
    *,
    mend: bool = typer.Option(
        False, "--repair", help="Tell the plan, then open ordinary changes for what differs and apply them."
    ),
    limit: int | None = typer.Option(None, min=1, help="Stop after so many slices; the next call goes on."),
    budget: int | None = typer.Option(None, min=1, help="Stop after so many calls of Outreach; the next call goes on."),
    as_json: bool = typer.Option(False, "--json", help="Print the report as one JSON document."),
) -> None:
    """Read both sides again and compare them in full: who disagrees, in what, and who is right.

    Without --limit or --budget the comparison begins anew; with either it goes on where the last one stopped.
    """
    settings = config.load(os.environ, Path.cwd())
    told = _Told()
    with bootstrap.runtime(settings) as runtime, Progress() as progress, Stopper() as stopper:
        on = runtime.applier()
        cost.say(runtime.store, settings, "comparing both sides in full", of_comparing(runtime.store))
        with bootstrap.lane(comparison.LANE), noted(runtime, told):
            (comparison.go_on if limit or budget else comparison.begin_anew)(on)
            _walk(runtime, progress, stopper, limit=limit, budget=budget)
        compared = repair.compared(runtime.store)
        if mend and not told.code and not stopper.wanted():
            _repair(runtime, compared, stopper, told)
    _say(compared, told, runtime.calls(), as_json=as_json)
    if stopper.wanted():
        sys.stderr.write("outbook: stopped after the current slice; `outbook reconcile --limit N` goes on from there\n")
        raise typer.Exit(stopper.exit_code)
    code = told.code or (CHANGES if compared.differences and not mend else 0)
    if code:
        raise typer.Exit(code)


def _walk(
    runtime: bootstrap.Runtime, progress: Progress, stopper: Stopper, *, limit: int | None, budget: int | None
) -> None:
    slices = read = 0
    for one in comparison.walk(runtime.applier(), sleep=stopper.sleep):
        slices, read = slices + (not one.busy), read + one.read
        progress.compared(read)
        runtime.flush()
        spent = runtime.calls()["outreach"]
        if stopper.wanted() or slices == limit or (budget is not None and spent >= budget):
            return


def _repair(runtime: bootstrap.Runtime, compared: repair.Compared, stopper: Stopper, told: _Told) -> None:
    """Say what is to be done, then do it: entries for a person, ordinary changes, and the ordinary pass over these."""
    on = runtime.applier()
    held = repair.entries(runtime.store, compared)
    plan = repair.plan_of(compared, held)
    sys.stderr.write(f"outbook: to be set right: {repair.words_of(plan)}\n")
    repair.hold(on, compared, held)
    told.repaired = {"plan": plan, "opened": len(compared.differing), "held": len(held)}
    if not compared.differing:
        told.code = UNFINISHED if held else 0
        return
    this = run.Pass(
        on=on,
        sleep=stopper.sleep,
        calls=runtime.calls,
        selection=Selection(prospects=compared.differing),
        lane=bootstrap.lane,
        flush=runtime.flush,
        stopping=stopper.wanted,
    )
    try:
        report = run.run(this)
    except run.Interrupted:
        return
    told.repaired["pass"] = report.as_json()
    told.troubles += [*report.troubles, *report.waiting]
    told.code = exit_code(report)


def _say(compared: repair.Compared, told: _Told, calls: dict[str, int], *, as_json: bool) -> None:
    document = compared.as_json() | {"calls": calls}
    if told.repaired is not None:
        document["repair"] = told.repaired
    if told.troubles:
        document["troubles"] = told.troubles
    if as_json:
        say_json(document)
    else:
        page(*_drawn(compared, told.repaired))
    for line in told.troubles[:SHOWN]:
        sys.stderr.write(f"outbook: {line}\n")


def _drawn(compared: repair.Compared, repaired: dict[str, Any] | None) -> Iterator[RenderableType]:
    whole = "" if compared.complete else ", not at its end yet"
    yield f"{compared.coverage:g} % of {count(compared.pairs, 'pair')} compared{whole}"
    yield f"differences: {repair.words_of(compared.found)}"
    yield f"missed by polls and webhooks: {repair.words_of(compared.told.get('missed', {}))}"
    findings = compared.told.get("findings", [])
    if not findings:
        return
    listed = table("kind", "prospect", "person", "right", "why", numbers=("prospect", "person"))
    for one in findings[:SHOWN]:
        people = ", ".join(map(str, one["people"]))
        right = "\n".join(f"{told['field']}: {told['right']}" for told in one["fields"])
        why = "\n".join([one["why"], *(f"{told['field']}: {told['why']}" for told in one["fields"])])
        cells = (one["kind"].replace("_", " "), str(one["prospect"] or ""), people, right, why)
        listed.add_row(*map(escape, cells))
    yield ""
    yield listed
    if len(findings) > SHOWN:
        yield f"and {len(findings) - SHOWN} more; --json lists them"
    if repaired is None:
        yield "next: outbook reconcile --repair"
        return
    done = repaired.get("pass", {}).get("converged", not repaired["opened"])
    end = "all of it is done" if done else "not all of it is done yet"
    yield f"set right: {count(repaired['opened'], 'record')}, {count(repaired['held'], 'entry', 'entries')} held; {end}"
