"""A load of the data share and its report. Only `outbook backfill` needs this room, and the reader that it brings along."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import typer

from worker import bootstrap, config
from worker.cli import cost
from worker.cli.exits import INVALID, UNFINISHED, noted
from worker.cli.show import Progress, local, page, say_json, table
from worker.cli.stopper import Stopper
from worker.core import errors, lanes
from worker.core.records import Kind, System
from worker.remote.share import Organisation, Share, ShareInvalid
from worker.sync import backfill as sync_backfill
from worker.sync.backfill import Fetched, Loaded, Need
from worker.sync.cost import Cost
from worker.sync.poll import Polled
from worker.sync.run import Interrupted

LANE = lanes.BACKFILL
WAITS = "calls are short just now, and what is not known here waits first; the same command goes on later"


@dataclass(slots=True)
class Report:
    """What a load did, and what is left to do."""

    files: int
    whose: Organisation
    nameless: int = 0
    loaded: Loaded = field(default_factory=Loaded)
    needs: list[Need] = field(default_factory=list)
    fetched: list[Fetched] = field(default_factory=list)
    watermark: datetime | None = None
    not_complete: str | None = None
    troubles: list[str] = field(default_factory=list)
    code: int = 0

    @property
    def unsettled(self) -> int:
        """How many rows were skipped and not looked up either."""
        looked_up = {one.need.kind for one in self.fetched}
        return self.nameless + (0 if Kind.STATE in looked_up else len(self.loaded.doubtful))

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        done = {one.need.kind: one for one in self.fetched}
        skipped = dict(self.loaded.skipped) | ({"has no usable ID": self.nameless} if self.nameless else {})
        return {
            "files": self.files,
            "bento": self.whose.bento,
            "o_id": self.whose.o_id,
            "rows_read": self.whose.rows,
            "superseded": self.whose.rows - self.loaded.current - self.nameless,
            "taken": self.loaded.taken,
            "unchanged": self.loaded.unchanged,
            "older": self.loaded.older,
            "deleted": self.loaded.deleted,
            "skipped": skipped,
            "queued": self.loaded.queued,
            "newest": self.loaded.newest.isoformat() if self.loaded.newest else None,
            "lacking": [
                {
                    "stream": need.kind.value,
                    "ids": len(need.ids),
                    "calls": need.calls,
                    "found": done[need.kind].found if need.kind in done else None,
                    "gone": done[need.kind].gone if need.kind in done else None,
                }
                for need in self.needs
            ],
            "watermark": self.watermark.isoformat() if self.watermark else None,
            "not_complete": self.not_complete,
            "troubles": self.troubles,
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command was asked: the files, whose rows of them, and the switches."""

    files: list[Path]
    org: str | None
    bento: str | None
    complete: bool
    fetch: bool


def load(settings: config.Settings, asked: Asked, *, as_json: bool) -> None:
    """Load the files and say what became of their rows; leave with the contract's exit code."""
    try:
        with Progress() as progress, Stopper() as stopper, contextlib.ExitStack() as stack:
            watch = _Watch(progress, stopper)
            with Share(asked.files, settings.data_dir) as share:
                report = Report(len(asked.files), sync_backfill.choose(share, asked.org, asked.bento))
                report.nameless = share.nameless()
                runtime = stack.enter_context(bootstrap.runtime(settings))
                report.loaded = sync_backfill.load(runtime.applier(), share.pages(), on_page=watch.loaded)
            report.needs = sync_backfill.needs(runtime.store, report.loaded.doubtful)
            if asked.fetch:
                _fetch(runtime, report, watch)
            if asked.complete:
                _complete(runtime, report)
    except ShareInvalid as invalid:
        for line in invalid.problems:
            sys.stderr.write(f"outbook: {line}\n")
        raise typer.Exit(INVALID) from None
    except Interrupted:
        sys.stderr.write("outbook: stopped; what was loaded is kept, and the same command goes on from here\n")
        raise typer.Exit(stopper.exit_code) from None
    _say(report, as_json=as_json)
    if report.code:
        raise typer.Exit(report.code)


@dataclass(frozen=True, slots=True)
class _Watch:
    """Shows how far it is, and ends the work between two transactions if somebody wants it to end."""

    progress: Progress
    stopper: Stopper

    def loaded(self, told: Loaded) -> None:
        self.read(Kind.STATE, told.current)

    def read(self, kind: Kind, records: int) -> None:
        self.progress.polled(kind, Polled(kind, records))
        if self.stopper.wanted():
            raise Interrupted


def _fetch(runtime: bootstrap.Runtime, report: Report, watch: _Watch) -> None:
    """Ask for what the share lacks, after saying how much that is."""
    for need in report.needs:
        least = "at least " if need.whole else ""
        words = f"{len(need.ids)} {need.kind.value} are not known here: {least}{need.calls} calls"
        sys.stderr.write(f"outbook: {words}\n")
    if report.needs:
        asked = Cost(sum(need.calls for need in report.needs), 0)
        cost.say(runtime.store, runtime.settings, "asking for what is not known here", asked)
    with bootstrap.lane(LANE), noted(runtime, report):
        for need in report.needs:

            def on_page(records: int, kind: Kind = need.kind) -> None:
                watch.read(kind, records)
                _heed_pace(runtime)

            _heed_pace(runtime)
            report.fetched.append(sync_backfill.fetch(runtime.applier(), need, on_page=on_page))


def _heed_pace(runtime: bootstrap.Runtime) -> None:
    """Stop where the year's calls, or the hour's, are short: of all that can wait this waits first."""
    if runtime.rate(LANE) <= 0:
        raise errors.BudgetSpent(WAITS, system=System.OUTREACH)


def _complete(runtime: bootstrap.Runtime, report: Report) -> None:
    """Set the cursor of the sequence states, unless a row was left out: nobody would ever read that one."""
    newest = report.loaded.newest
    if report.unsettled:
        report.not_complete = f"{report.unsettled} rows were skipped and not looked up"
    elif newest is None:
        report.not_complete = "no row has a time from which the API could be read on"
    else:
        try:
            report.watermark = sync_backfill.complete(runtime.store, newest, bootstrap.now())
        except errors.Throttled as error:
            report.not_complete = error.words
    if report.not_complete:
        report.troubles.append(f"the sequence states do not count as read: {report.not_complete}")


def _say(report: Report, *, as_json: bool) -> None:
    told = report.as_json()
    if as_json:
        say_json(told)
    else:
        rows = table("rows", "", numbers=("",))
        for name in ("rows_read", "superseded", "taken", "unchanged", "older", "deleted", "queued"):
            rows.add_row(name.replace("_", " "), str(told[name]))
        for why, skipped in told["skipped"].items():
            rows.add_row(f"skipped: {why}", str(skipped))
        for need in told["lacking"]:
            found = "not asked for" if need["found"] is None else f"found {need['found']}, gone {need['gone']}"
            rows.add_row(f"{need['stream']} not known here", f"{need['ids']} ({found})")
        page(rows)
        if report.watermark:
            typer.echo(f"the sequence states count as read; the API is read on from {local(report.watermark)}")
        typer.echo("next: outbook sync, or let the workers go on")
    if report.unsettled:
        report.troubles.append(f"{report.unsettled} rows were skipped and not looked up")
    for line in dict.fromkeys(report.troubles):
        sys.stderr.write(f"outbook: {line}\n")
    report.code = report.code or (UNFINISHED if report.troubles else 0)
