"""`outbook status`: is it safe, is it fresh, is it stuck, how much budget is left, and the next command to type."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from worker import bootstrap, config
from worker.cli.show import SIDES, count, indented, local, page, say_json, span, table
from worker.config import Settings
from worker.core import circuit
from worker.core.outlook import Lag, Nets, Outlook, Resting, Round, Spent, as_json
from worker.store.database import Store
from worker.sync import outlook as drawing

INTERRUPTED = 130
EVERY_S = 2.0
SHOWN = 5
VERSION = len("sha256:") + 12
CALLS = {"read": "reads", "write": "writes", "authorise": "logins"}
MARKS = {True: "[green]ok[/]", False: "[bold yellow]WARN[/]"}


def status(
    *,
    as_document: bool = typer.Option(False, "--json", help="Print it as one JSON document."),
    watch: bool = typer.Option(False, "--watch", help="Keep showing it until Ctrl-C."),
) -> None:
    """Show whether all is well, and the next command to type."""
    if watch and as_document:
        raise config.SettingsInvalid(["--watch and --json exclude each other: JSON is one document"])
    settings = config.load(os.environ, Path.cwd(), credentials=False)
    store = bootstrap.open_store(settings)
    if as_document:
        say_json(as_json(look(settings, store)))
        return
    if not watch:
        page(drawn(look(settings, store)))
        return
    console = Console(file=sys.stdout, highlight=False)
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        try:
            while True:
                live.update(drawn(look(settings, store)), refresh=True)
                time.sleep(EVERY_S)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


def look(settings: Settings, store: Store) -> Outlook:
    """Return how everything stands."""
    return drawing.look(store, drawing.terms(settings, store), bootstrap.now())


def drawn(outlook: Outlook) -> Group:
    """Return the outlook as a person reads it."""
    blocks = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        blocks.add_column(overflow="fold")
    for name, ok, lines in _blocks(outlook):
        for number, line in enumerate(lines):
            head = (f"[bold]{name}[/]", MARKS[ok]) if number == 0 else ("", "")
            blocks.add_row(*head, _hanging(line))
    closing = [
        f"{'then' if number else 'next'}: [bold]{escape(one.command)}[/]  ({escape(one.why)})"
        for number, one in enumerate(outlook.next)
    ]
    return Group(
        f"[bold]Outbook[/] at {local(outlook.at)}",
        "",
        blocks,
        "",
        _streams(outlook),
        "",
        *(closing or ["next: nothing; all is well"]),
    )


def _hanging(line: str) -> RenderableType:
    """Return a line of a block, its own indentation kept where it goes on in the next line."""
    words = line.lstrip()
    return indented(escape(words), len(line) - len(words))


def _blocks(outlook: Outlook) -> Iterator[tuple[str, bool, Iterator[str]]]:
    yield "safe", outlook.safe.ok, _safe(outlook)
    yield "fresh", outlook.fresh.ok, _fresh(outlook)
    yield "stuck", outlook.stuck.ok, _stuck(outlook)
    yield "work", outlook.work.ok, _work(outlook)
    yield "budget", outlook.budget.ok, _budget(outlook)
    yield "mapping", outlook.mapping.problem is None and not outlook.mapping.differs, _mapping(outlook)
    yield "keys", _keys_ok(outlook), _keys(outlook)
    yield "rounds", outlook.nets.silence is None, _nets(outlook.nets, outlook.at)


def _streams(outlook: Outlook) -> Table:
    streams = table("stream", "read until", "last poll", "p50", "p95", "", numbers=("p50", "p95"))
    for one in outlook.fresh.streams:
        ago = "never" if one.polled_age_s is None else f"{span(one.polled_age_s)} ago"
        note = one.trouble or ("being read" if one.reading else "" if one.primed else "not read to its end yet")
        lag = [span(seconds) if seconds is not None else "–" for seconds in (one.lag.p50_s, one.lag.p95_s)]
        streams.add_row(one.stream, local(one.watermark), ago, *lag, escape(note))
    return streams


def _safe(outlook: Outlook) -> Iterator[str]:
    out, kept = outlook.safe.opt_outs, outlook.safe.kept_back
    if out.undelivered:
        yield f"opt-outs on their way: {out.undelivered}, the oldest for {span(out.oldest_age_s or 0)}"
    else:
        yield "no opt-out is waiting"
    if out.failed:
        yield f"opt-outs that could not be delivered: {out.failed}"
    yield f"opted out within the last hour: {out.last_hour}" + ("; unusually many" if out.alarm else "")
    if kept.records:
        yield f"kept back: {kept.records}, opt-outs among them {kept.opt_outs} ({', '.join(kept.because)})"
    for one in outlook.safe.pauses:
        yield f"paused: {one.scope} since {local(one.since)}" + (f", {one.words}" if one.words else "")


def _fresh(outlook: Outlook) -> Iterator[str]:
    yield f"to Workbooks: {_lag(outlook.fresh.to_crm)}"
    yield f"to Outreach: {_lag(outlook.fresh.to_outreach)}"


def _lag(lag: Lag) -> str:
    if lag.p50_s is None or lag.p95_s is None:
        return "no edit was carried over within 24 h"
    written = count(lag.writes, "write")
    return f"from edit to write p50 {span(lag.p50_s)}, p95 {span(lag.p95_s)} ({written} within 24 h)"


def _rests(rest: Resting) -> str:
    if rest.until is None:
        return f"mostly fail since {local(rest.since)}: one is tried every {circuit.PROBE_EVERY.seconds} s"
    return f"wait until {local(rest.until)}, as asked for by the other end"


def _work(outlook: Outlook) -> Iterator[str]:
    work = outlook.work
    if work.oldest_due_age_s is None:
        yield "nothing is due" + (f", {work.leased} in hand" if work.leased else "")
    else:
        yield f"the oldest due for {span(work.oldest_due_age_s)}, {work.leased} in hand"
    for one in work.halted:
        yield f"{SIDES.get(one.system, one.system)} stands still since {local(one.since)}: {one.reason}"
    for rest in work.resting:
        yield f"{SIDES.get(rest.system, rest.system)} {CALLS.get(rest.calls, rest.calls)} {_rests(rest)}"
    yield from work.troubles
    ticks = ", ".join(f"{one.who} {span(one.age_s)} ago" for one in work.ticks)
    yield f"got on: {ticks}" if ticks else "no worker and no beat has run on this store yet"


def _stuck(outlook: Outlook) -> Iterator[str]:
    stuck, tally = outlook.stuck, outlook.stuck.open
    yield f"in sync: {stuck.in_sync} of {stuck.linked} linked people"
    yield (
        f"open: due {tally.due}, deferred {tally.deferred}, waiting {tally.waiting}, held {tally.held}, "
        f"failed {tally.failed}, kept back {tally.kept_back}"
    )
    if stuck.excluded:
        yield f"excluded: {stuck.excluded_records}"
        yield from (f"  {one.records}  {one.reason}" for one in stuck.excluded[:SHOWN])
    for held in stuck.held:
        yield f"held: {held.entries} {held.kind} ({count(held.records, 'record')} hang{'s' * (held.records == 1)} on it)"
    for one in stuck.failed[:SHOWN]:
        newest = f", newest {local(one.newest)}" if one.newest else ""
        yield f"failed: {one.records}  {one.cause}{newest}"


def _budget(outlook: Outlook) -> Iterator[str]:
    yield f"Outreach: {_spent(outlook.budget.outreach)}"
    yield f"Workbooks: {_spent(outlook.budget.workbooks)}"
    yield from (f"slower for the calls to last: {one.words}" for one in outlook.budget.slowed)


def _spent(spent: Spent) -> str:
    hour = f"{spent.hour_used} calls this hour" + (f" of {spent.hour_limit}" if spent.hour_limit is not None else "")
    year = f"{spent.year_used} within a year" + (f" of {spent.year_limit}" if spent.year_limit is not None else "")
    pace = spent.a_year_at_this_pace
    ahead = "pace not known before a day has passed" if pace is None else f"{pace} a year at this pace"
    end = f", used up on {spent.runs_out_on}" if spent.runs_out_on else ""
    return f"{hour}, {year}, {ahead}{end}"


def _mapping(outlook: Outlook) -> Iterator[str]:
    mapping = outlook.mapping
    since = f" since {local(mapping.applied_at)}" if mapping.applied_at else ""
    yield f"in force: {mapping.version[:VERSION]}{since}" if mapping.version else "none in force yet"
    if mapping.problem:
        yield f"the file cannot be used, {mapping.path}:{mapping.problem}"
    elif mapping.differs and mapping.file:
        yield f"the file is another one: {mapping.file[:VERSION]} ({mapping.path})"
    elif mapping.version:
        yield "the file is the same"
    if mapping.unread:
        yield f"read whole for it before everything is written: {', '.join(mapping.unread)}"


def _keys_ok(outlook: Outlook) -> bool:
    return not any(one.why.startswith(("the Workbooks key", "nobody has renewed")) for one in outlook.next)


def _keys(outlook: Outlook) -> Iterator[str]:
    keys = outlook.credentials
    if keys.workbooks_key_expires:
        yield f"Workbooks: the key runs out on {keys.workbooks_key_expires}, in {keys.workbooks_key_days_left} days"
    else:
        yield "Workbooks: when the key runs out is not told (OUTBOOK_WORKBOOKS__API_KEY_EXPIRES)"
    if keys.outreach_renewed_at:
        left = f"good for {keys.outreach_days_left:.1f} days more without us"
        yield f"Outreach: token renewed {local(keys.outreach_renewed_at)}, {left}"
    else:
        yield "Outreach: no token has been renewed here"


def _nets(nets: Nets, now: datetime) -> Iterator[str]:
    if nets.silence:
        yield nets.silence
    if nets.webhooks.last_at:
        yield f"webhooks: the last one {local(nets.webhooks.last_at)}, {nets.webhooks.waiting} not looked at yet"
    else:
        yield "webhooks: none has come in"
    for one in nets.rounds:
        yield f"{one.name}: {', '.join(_round(one, now))}"
    channels = ", ".join(f"{name} {number}" for name, number in sorted(nets.seen.items())) or "nothing yet"
    yield f"first seen within a week by: {channels}; caught only by the sweep: {nets.caught_only_by_sweep}"


def _round(one: Round, now: datetime) -> Iterator[str]:
    yield f"last round ended {local(one.ended_at)}" if one.ended_at else "no round has ended yet"
    if "coverage" in one.last:
        yield f"{one.last['coverage']:g} % of the pairs compared"
    if "differences" in one.last:
        yield count(one.last["differences"], "difference")
    if one.oldest_at:
        yield f"the oldest slice {span(max(0.0, (now - one.oldest_at).total_seconds()))} ago"
    if one.part is not None:
        yield f"under way: {one.part:.0%}"
    if one.next_at:
        yield f"next {local(one.next_at)}"
