"""`outbook plan`: what would be written now, or by another mapping, without one write."""

from __future__ import annotations

import contextlib
import csv
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape
from rich.table import Table

from worker import bootstrap, config
from worker.cli.exits import CHANGES, UNFINISHED
from worker.cli.selection import selecting
from worker.cli.show import Progress, count, indented, page, say_json, table
from worker.cli.stopper import Stopper
from worker.core import masks
from worker.core.effects import CRM, OUTREACH, TASKS, Effect
from worker.core.records import Kind
from worker.store.selection import Selection, resolve
from worker.sync import adoption, in_force, planning, run
from worker.sync.case import Permit

if TYPE_CHECKING:
    from rich.console import RenderableType

    from worker.bootstrap import Runtime
    from worker.core.mapping import Mapping
    from worker.core.records import Value
    from worker.store.selection import Chosen
    from worker.sync.case import Applier
    from worker.sync.planning import Plan

COLUMNS = ("action", "prospect", "person", "task", "side", "field", "before", "after")
ROWS = (
    ("created", "created", ""),
    ("updated", "updated", "updated"),
    ("created again", "recreated", ""),
    ("opted out", "opted_out", "opted_out"),
    ("with a value cleared", "cleared", "cleared"),
    ("tasks cancelled", "tasks_cancelled", ""),
    ("tasks moved to the new person", "tasks_moved", ""),
    ("tasks finished", "", "tasks_finished"),
    ("looked up, then linked or created", "", "looked_up"),
    ("sequence actions asked for", "", "actions"),
)
SHOWN = 12
"""So many sample records are printed."""


@selecting(needed=False)
def plan(
    selection: Selection,
    *,
    mapping: Path | None = typer.Option(None, "--mapping", help="What this mapping would change, for everybody."),
    offline: bool = typer.Option(False, "--offline", help="Ask no vendor anything: go by what is mirrored."),
    listing: Path | None = typer.Option(None, "--csv", help="Write every single change into this file."),
    as_json: bool = typer.Option(False, "--json", help="Print the plan as one JSON document."),
    show_personal: bool = typer.Option(
        False, "--show-personal", help="Show names, addresses and other personal values."
    ),
) -> None:
    """Poll, then tell what would be written now, totals first; nothing is written. Exit code 2 if anything would be."""
    settings = config.load(os.environ, Path.cwd(), credentials=not offline)
    other = bootstrap.read_mapping(mapping) if mapping else None
    with bootstrap.runtime(settings) as runtime:
        report = None if offline else _polled(runtime)
        on = _reader(runtime, other)
        chosen = None if selection.empty else _chosen(on, selection)
        with _listed(listing, on.mapping, show_personal=show_personal) as rows:
            told = planning.plan_all(on, chosen=chosen, live=not offline and other is None, rows=rows)
        adoption.remember(on.store, told, on.now())
        standing = in_force.standing(on.store, settings.mapping)
    notes = _notes(runtime, told, other is None)
    if as_json:
        hourly = settings.outreach.hourly_calls
        say_json(_document(told, notes, report, hourly, show=show_personal))
    else:
        page(*_drawn(told, settings.outreach.hourly_calls, show=show_personal, file=mapping))
    differs = [standing.words] if other is None and standing.differs else []
    unknown = [f"{one}: not known here" for one in chosen.unknown] if chosen else []
    for line in [*notes, *differs, *unknown, *(report.troubles if report else [])]:
        sys.stderr.write(f"outbook: {line}\n")
    _leave(told, report)


def _leave(told: Plan, report: run.Report | None) -> None:
    if report is not None and report.halt is not None:
        raise typer.Exit(bootstrap.exit_code(report.halt))
    if told.anything:
        raise typer.Exit(CHANGES)
    if report is not None and report.troubles:
        raise typer.Exit(UNFINISHED)


def _polled(runtime: Runtime) -> run.Report:
    """Read what has moved on both sides, by the mapping in force, and return how that went."""
    with Progress() as progress, Stopper() as stopper:
        this = run.Pass(
            on=runtime.applier(),
            sleep=stopper.sleep,
            calls=runtime.calls,
            dry_run=True,
            on_poll=progress.polled,
            flush=runtime.flush,
            stopping=stopper.wanted,
            look=lambda _: [],
        )
        try:
            return run.run(this)
        except run.Interrupted:
            raise typer.Exit(stopper.exit_code) from None


def _reader(runtime: Runtime, other: Mapping | None) -> Applier:
    """Return what a plan is made with: only a pilot narrows it, for it is to tell what would be written."""
    on = runtime.applier(Permit(only=runtime.permit().only))
    mapping = in_force.named(on.store, other) if other else in_force.stored(on.store) or on.mapping
    return replace(on, mapping=mapping)


def _chosen(on: Applier, selection: Selection) -> Chosen:
    with on.store.read() as db:
        return resolve(db, selection, on.now())


@contextlib.contextmanager
def _listed(path: Path | None, mapping: Mapping, *, show_personal: bool) -> Iterator[Callable[[Effect], None] | None]:
    """Write each effect into a file, a line for each value; without a file do nothing."""
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise config.SettingsInvalid([f"--csv: {path} cannot be written: {error.strerror}"]) from None
    with file:
        out = csv.writer(file)
        out.writerow(COLUMNS)

        def row(one: Effect) -> None:
            who = (one.action, one.prospect, one.person, one.task)
            for side, name, before, after in _cells(one, mapping, show=show_personal):
                out.writerow((*who, side, name, _harmless(before), _harmless(after)))

        yield row


def _harmless(value: Value) -> str:
    """Return a value as a cell that no spreadsheet takes for a formula."""
    text = ", ".join(value) if isinstance(value, list) else "" if value is None else str(value)
    dangerous = text.startswith(("=", "@", "\t", "\r")) or (
        text[:1] in "+-" and not text[1:2].isdecimal() and text != ""
    )
    return f"'{text}" if dangerous else text


def _cells(one: Effect, mapping: Mapping, *, show: bool) -> Iterator[tuple[str, str, Value, Value]]:
    here = CRM if one.task is None else TASKS
    for side, cells in ((here, one.crm), (OUTREACH, one.outreach)):
        before, after = ({name: cell[n] for name, cell in sorted(cells.items())} for n in (0, 1))
        if not show:
            before, after = masks.shown(before, mapping), masks.shown(after, mapping)
        yield from ((side, name, before[name], after[name]) for name in before)


def _notes(runtime: Runtime, told: Plan, now: bool) -> list[str]:
    """Return in words what the numbers do not say: what is left out, and which brake would stop the rest."""
    aside, crm = told.total.aside, told.total.crm
    lines = []
    if aside["held"]:
        lines.append(f"{aside['held']} wait for a decision and are not counted: outbook held list")
    if aside["held_back"]:
        lines.append(f"{aside['held_back']} would change, but are not in the file of OUTBOOK_ONLY")
    if aside["anyway"]:
        lines.append(f"{aside['anyway']} changes are written by the mapping in force anyway and are not counted")
    if now and runtime.settings.writes == "none":
        lines.append("OUTBOOK_WRITES=none: none of this is written while that stands")
    limit = told.mapping.brakes.new_people
    if limit is not None and crm["created"] > limit:
        lines.append(f"{crm['created']} new people are more than the brake new_people ({limit}) lets through in a day")
    emptied = told.mapping.brakes.emptied_values
    for (side, name), records in sorted(told.total.cleared.items()):
        if emptied is not None and not emptied.allows(records, told.sizes.get(Kind.PERSON, 0)):
            lines.append(
                f"{side.capitalize()} {name} is emptied on {records} records: the brake emptied_values would stop that"
            )
    return lines


def _document(told: Plan, notes: list[str], report: run.Report | None, hourly: int, *, show: bool) -> dict[str, Any]:
    total = told.total
    return {
        "plan": told.digest,
        "mapping_version": told.mapping.version,
        "in_force": told.before,
        "scope": told.scope,
        "looked_at": told.looked_at,
        "anything": told.anything,
        "totals": {
            CRM: {name: total.crm[name] for _, name, _ in ROWS if name},
            OUTREACH: {name: total.outreach[name] for _, _, name in ROWS if name},
        },
        "fields": [
            {"side": side, "field": name, "records": records, "cleared": total.cleared[side, name]}
            for (side, name), records in sorted(total.fields.items())
        ],
        "aside": {name: total.aside[name] for name in ("held", "held_back", "excluded", "anyway")},
        "reads_first": [
            {"stream": kind.value, "names": sorted(told.unread[kind]), "calls": calls}
            for kind, calls in told.readings().items()
        ],
        "left_alone": sorted(told.left_alone),
        "calls": told.calls(),
        "minutes": told.minutes(hourly),
        "samples": [_sample(one, told.mapping, show=show) for one in total.samples],
        "notes": notes,
        "troubles": report.troubles if report else [],
    }


def _sample(one: Effect, mapping: Mapping, *, show: bool) -> dict[str, Any]:
    changes = [
        {"side": side, "field": name, "before": before, "after": after}
        for side, name, before, after in _cells(one, mapping, show=show)
    ]
    return {"action": one.action, "prospect": one.prospect, "person": one.person, "task": one.task, "changes": changes}


def _drawn(told: Plan, hourly: int, *, show: bool, file: Path | None) -> Iterator[RenderableType]:
    what = f"by {file}, compared with the mapping in force" if file else "now"
    yield f"{count(told.looked_at, 'record')} looked at; what would be written {escape(what)}:"
    if not told.total.anything:
        yield "nothing"
    else:
        yield ""
        yield _totals(told)
        yield ""
        yield _fields(told)
        yield from _samples(told, show=show)
    for kind, requests in told.readings().items():
        names = ", ".join(sorted(told.unread[kind]))
        yield f"read first: {kind.value}, once and whole, about {count(requests, 'call')}, for {escape(names)}"
    if told.left_alone:
        yield f"left alone until then: {escape(', '.join(sorted(told.left_alone)))}"
    if told.anything:
        calls = told.calls()
        minutes = f"{told.minutes(hourly):g} minutes"
        yield f"cost: about {calls[CRM]} calls to Workbooks and {calls[OUTREACH]} to Outreach, {minutes}"
    yield f"this plan: {told.digest}"
    if file:
        yield f"next: outbook mapping apply {escape(str(file))} --plan {told.digest}"
    elif told.anything:
        yield "next: outbook sync  (or let the workers do it)"


def _totals(told: Plan) -> Table:
    totals = table("", "Workbooks", "Outreach", numbers=("Workbooks", "Outreach"))
    for words, crm, outreach in ROWS:
        numbers = told.total.crm[crm] if crm else 0, told.total.outreach[outreach] if outreach else 0
        if any(numbers):
            totals.add_row(words, *(str(number) if number else "" for number in numbers))
    return totals


def _fields(told: Plan) -> Table:
    fields = table("field", "on", "records", "cleared", numbers=("records", "cleared"))
    for (side, name), records in told.total.fields.most_common():
        cleared = told.total.cleared[side, name]
        fields.add_row(escape(name), side.capitalize(), str(records), str(cleared) if cleared else "")
    return fields


def _samples(told: Plan, *, show: bool) -> Iterator[RenderableType]:
    yield ""
    yield f"samples{'' if show else ' (personal data hidden: --show-personal)'}:"
    for one in told.total.samples[:SHOWN]:
        names = {"prospect": one.prospect, "person": one.person, "task": one.task}
        who = ", ".join(f"{what} {number}" for what, number in names.items() if number is not None)
        yield f"  {who}: {escape(one.action)}"
        values = Table.grid(padding=(0, 2, 0, 0))
        for _ in range(3):
            values.add_column(overflow="fold")
        for side, name, before, after in _cells(one, told.mapping, show=show):
            values.add_row(side.capitalize(), escape(name), escape(f"{_plain(before)} → {_plain(after)}"))
        yield indented(values, 4)
    yield ""


def _plain(value: Value) -> str:
    if value is None or value in ("", []):
        return "blank"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(value) if isinstance(value, list) else str(value)
    return " / ".join(text.splitlines())
