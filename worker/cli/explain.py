"""`outbook explain`: why a record is as it is."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import typer
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from worker import bootstrap, config
from worker.cli.exits import UNFINISHED
from worker.cli.selection import selecting
from worker.cli.show import local, paper
from worker.core import explanation as told
from worker.core.outlook import as_json
from worker.core.records import Value
from worker.store.selection import Chosen, Selection, resolve
from worker.sync import explain as explaining

LIMIT = 20
PAST = 10
BLANK = "(blank)"


@selecting()
def explain(
    selection: Selection,
    *,
    show_personal: bool = typer.Option(False, "--show-personal", help="Show names, addresses and the like, too."),
    as_document: bool = typer.Option(False, "--json", help="Print it as one JSON document."),
) -> None:
    """Tell why records are as they are: each rule in order, the deciding one, both sides, what is due, the history."""
    settings = config.load(os.environ, Path.cwd(), credentials=False)
    with bootstrap.runtime(settings) as runtime:
        on = runtime.applier()
        with on.store.read() as db:
            found = resolve(db, replace(selection, limit=None), on.now())
        chosen = _first(found, selection.limit or LIMIT)
        answer = explaining.explain(on, chosen, personal=show_personal, left_out=len(found) - len(chosen))
    if as_document:
        sys.stdout.write(json.dumps(as_json(answer), ensure_ascii=False) + "\n")
    else:
        console = paper()
        for part in drawn(answer):
            console.print(part)
    for line in complaints(answer):
        sys.stderr.write(f"outbook: {line}\n")
    if answer.unknown or not len(chosen):
        raise typer.Exit(UNFINISHED)


def _first(found: Chosen, limit: int) -> Chosen:
    left, parts = limit, []
    for ids in (found.prospects, found.people, found.tasks):
        parts.append(ids[:left])
        left -= len(parts[-1])
    return Chosen(parts[0], parts[1], parts[2], found.unknown)


def complaints(answer: told.Explained) -> Iterator[str]:
    """Yield what was not found, where it was looked for, and what to do."""
    for one in answer.unknown:
        if one.forgotten_at:
            yield f"{one.named}: was forgotten on request on {local(one.forgotten_at)}; nothing brings it back"
        else:
            where = "neither among the records read from either side, nor the links, nor what is open"
            yield f"{one.named}: not found, {where}; if it is new, `outbook sync` reads it"
    if not (answer.people or answer.strangers or answer.tasks or answer.unknown):
        yield "nothing fits that selection; `outbook status` tells what has been read"
    if answer.left_out:
        yield f"{answer.left_out} more fit the selection; --limit N shows more of them"


def drawn(answer: told.Explained) -> Iterator[RenderableType]:
    """Yield the parts of the page, one after the other."""
    for person in answer.people:
        yield from _person(person)
    for stranger in answer.strangers:
        yield f"[bold]person {stranger.person}[/]  (no prospect)"
        yield _pairs(
            ("why", stranger.why),
            ("wanted in Outreach", "yes" if stranger.wanted else "no"),
            ("opted out", "yes" if stranger.opted_out else "no"),
            *_standing(stranger.due, stranger.held, stranger.excluded),
        )
        yield ""
    for task in answer.tasks:
        yield from _task(task)


def _person(one: told.Person) -> Iterator[RenderableType]:
    other = f"person {one.who.person}" if one.who.person else "nobody in Workbooks"
    yield f"[bold]prospect {one.who.prospect} – {other}[/]  {escape(one.who.how)}"
    yield ""
    for number, gate in enumerate(one.gates, start=1):
        mark = "[bold green]→[/]" if gate.decides else " "
        yield f" {mark} {number}. {escape(gate.rule)}: {escape(gate.outcome)}"
    yield from _sequences(one)
    yield from _consent(one.consent)
    yield ""
    yield _fields(one.fields)
    yield ""
    plan = one.plan
    writes = "; ".join(f"{side}: {', '.join(names)}" for side, names in _sides(plan).items() if names) or "nothing"
    rows = [("plan", f"{plan.action}, {plan.why}"), ("would write now", writes)]
    rows += [("fails because", plan.fault)] if plan.fault else []
    rows += [("but", plan.kept_back)] if plan.kept_back else []
    yield _pairs(*rows, *_standing(one.due, one.held, one.excluded))
    yield from _past(one.history, one.exchanges)


def _sides(plan: told.Planned) -> dict[str, tuple[str, ...]]:
    return {"Workbooks": plan.workbooks, "Outreach": plan.outreach}


def _sequences(one: told.Person) -> Iterator[RenderableType]:
    for line in one.sequences:
        mark = "[bold green]→[/]" if line.decides else " "
        step = f", step {line.step}" if line.step is not None else ""
        since = f" since {local(line.changed_at)}" if line.changed_at else ""
        head = f"{line.name} ({line.sequence}), state {line.state}: {line.word}{step}{since}"
        yield ""
        yield f" {mark} {escape(head)} → {escape(line.label or 'left as it is')}"
        for rule in line.rules:
            sign = "[green]✓[/]" if rule.verdict == "decides" else "·" if rule.verdict == "no" else " "
            note = "" if rule.verdict != "not looked at" else "  [dim](not looked at)[/]"
            yield f"     {sign} {rule.number} {escape(rule.rule)}{note}"
    if len(one.sequences) > 1:
        yield f"   of several the first of these counts: {escape(', '.join(one.standing.roll_up))}"


def _consent(consent: told.Consent) -> Iterator[RenderableType]:
    if not (consent.signs or consent.remembered):
        return
    yield ""
    yield f"   opted out: {'yes, ' + escape(str(consent.evidence)) if consent.opted_out else 'no'}"
    for sign in consent.signs:
        at = f" of {local(sign.at)}" if sign.at else ""
        lifted = f", lifted: {sign.lifted}" if sign.lifted else ""
        yield f"     {escape(sign.words)}{at}: {'counts' if sign.counts else 'counts no more'}{escape(lifted)}"
    for one in consent.remembered:
        yield f"     remembered by {one.under} since {local(one.since)}: {escape(one.evidence)}"


def _fields(fields: Sequence[told.FieldTold]) -> Table:
    table = _table("field", "from", "Outreach now", "Workbooks now", "when last agreed", "why")
    for one in fields:
        agreed = [one.agreed[side] for side in ("outreach", "workbooks") if side in one.agreed]
        then = _value(agreed[0]) if len({str(item) for item in agreed}) == 1 else " / ".join(map(_value, agreed))
        arrows = "".join({"workbooks": " → Workbooks", "outreach": " → Outreach"}[side] for side in one.writes)
        cells = (one.field, one.source, _of(one.now, "outreach"), _of(one.now, "workbooks"), then or "–")
        table.add_row(*(escape(cell) for cell in cells), escape(one.why + arrows))
    return table


def _of(values: Mapping[str, Value], side: str) -> str:
    return _value(values[side]) if side in values else "–"


def _value(value: Value) -> str:
    if value is None or value in ("", []):
        return BLANK
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)


def _standing(due: told.Due | None, held: Sequence[told.Waits], excluded: str | None) -> Iterator[tuple[str, str]]:
    if due is None:
        yield "open", "nothing is due"
    else:
        tries = f", {due.attempts} attempts so far" if due.attempts else ""
        when = f", next {local(due.next_at)}" if due.standing == "due" else ""
        yield "open", f"{due.standing} in the lane {due.lane} since {local(due.opened_at)}{when}{tries}"
        if due.error:
            yield "last error", due.error + (f" ({local(due.failed_at)})" if due.failed_at else "")
    for one in held:
        yield "held", f"{one.kind} since {local(one.since)}: {one.words}"
    if excluded:
        yield "excluded", excluded


def _task(one: told.Task) -> Iterator[RenderableType]:
    shown = f"task {one.crm_task} in Workbooks" if one.crm_task else "no task in Workbooks"
    yield f"[bold]task {one.task} – {shown}[/]"
    yield _pairs(
        ("why", one.why),
        ("of", f"prospect {one.prospect or '–'}, person {one.person or '–'}"),
        ("state in Outreach", one.state or "–"),
        ("sign of a skip", one.skipped_by or "none"),
        *_standing(one.due, one.held, None),
    )
    yield from _past(one.history, one.exchanges)


def _past(history: Sequence[told.Wrote], asked: Sequence[told.Exchanged]) -> Iterator[RenderableType]:
    if history:
        yield ""
        table = _table("written", "side", "action", "field", "before", "after", "why", "mapping")
        for one in history[:PAST]:
            for number, name in enumerate(one.after):
                head = (local(one.at), one.side, one.action) if number == 0 else ("", "", "")
                tail = (one.why, one.mapping_version.removeprefix("sha256:")[:8]) if number == 0 else ("", "")
                cells = (*head, name, _of(one.before, name), _of(one.after, name), *tail)
                table.add_row(*(escape(cell) for cell in cells))
        yield table
    for exchange in asked:
        yield ""
        yield f"last request to {exchange.side}, {local(exchange.at)}"
        yield f"  {escape(exchange.request)}"
        yield f"  answered {escape(exchange.reply)}"
    yield ""


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, heading in enumerate(headings):
        table.add_column(heading, overflow="fold", no_wrap=number == 0)
    return table


def _pairs(*rows: tuple[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, escape(text))
    return table
