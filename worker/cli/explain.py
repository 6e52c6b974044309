"""`outbook explain`: why a record is as it is."""

from __future__ import annotations

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
from worker.cli.show import SIDES, count, indented, local, page, pairs, say_json, table
from worker.core import explanation as told
from worker.core.outlook import as_json
from worker.core.records import Value
from worker.store.selection import Chosen, Selection, resolve
from worker.sync import explain as explaining

LIMIT = 20
PAST = 10
BLANK = "(blank)"
ACTIONS = {"exclude": "left out", "hold": "held", "nothing": "nothing to do"}
SHORT = 10
HIDDEN = "•••"


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
        say_json(as_json(answer))
    else:
        page(*drawn(answer))
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
    """Yield the parts of the page, one after the other, a blank line between two records."""
    told_of = [*map(_person, answer.people), *map(_stranger, answer.strangers), *map(_task, answer.tasks)]
    for number, parts in enumerate(told_of):
        if number:
            yield ""
        yield from parts


def _stranger(one: told.Stranger) -> Iterator[RenderableType]:
    yield f"[bold]person {one.person} – no prospect[/]"
    yield ""
    rows = (
        ("why", one.why),
        ("wanted in Outreach", "yes" if one.wanted else "no"),
        ("opted out", "yes" if one.opted_out else "no"),
    )
    yield pairs([*rows, *_standing(one.due, one.held, one.excluded)])
    yield from _asked(one.exchanges)


def _person(one: told.Person) -> Iterator[RenderableType]:
    other = f"person {one.who.person}" if one.who.person else "nobody in Workbooks"
    yield f"[bold]prospect {one.who.prospect} – {other}[/]"
    yield ""
    gates = _grid(4)
    for number, gate in enumerate(one.gates, start=1):
        mark = "[bold green]→[/]" if gate.decides else " "
        gates.add_row(mark, f"{number}.", f"{escape(gate.rule)}:", escape(gate.outcome))
    yield indented(gates, 1)
    yield from _sequences(one)
    yield from _consent(one.consent)
    yield from _fields(one)
    yield ""
    plan = one.plan
    writes = "; ".join(f"{side}: {', '.join(names)}" for side, names in _sides(plan).items() if names) or "nothing"
    rows = [("plan", f"{ACTIONS.get(plan.action, plan.action)}, {plan.why}"), ("would write now", writes)]
    rows += [("fails because", plan.fault)] if plan.fault else []
    rows += [("but", plan.kept_back)] if plan.kept_back else []
    yield pairs([*rows, *_standing(one.due, one.held, one.excluded)])
    yield from _past(one.history)
    yield from _asked(one.exchanges)


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
        rules = _grid(3)
        for rule in line.rules:
            sign = "[green]✓[/]" if rule.verdict == "decides" else "·" if rule.verdict == "no" else " "
            note = "" if rule.verdict != "not looked at" else "  [dim](not looked at)[/]"
            rules.add_row(sign, str(rule.number), escape(rule.rule) + note)
        yield indented(rules, 5)
    if len(one.sequences) > 1:
        yield indented(f"of several the first of these counts: {escape(', '.join(one.standing.roll_up))}", 3)


def _consent(consent: told.Consent) -> Iterator[RenderableType]:
    if not (consent.signs or consent.remembered):
        return
    yield ""
    yield indented(f"opted out: {'yes, ' + escape(str(consent.evidence)) if consent.opted_out else 'no'}", 3)
    for sign in consent.signs:
        at = f" of {local(sign.at)}" if sign.at else ""
        lifted = f", lifted: {sign.lifted}" if sign.lifted else ""
        counts = "counts" if sign.counts else "counts no more"
        yield indented(f"{escape(sign.words)}{at}: {counts}{escape(lifted)}", 5)
    for one in consent.remembered:
        yield indented(f"remembered by {one.under} since {local(one.since)}: {escape(one.evidence)}", 5)


def _fields(one: told.Person) -> Iterator[RenderableType]:
    """Yield both sides beside one another; what is blank everywhere is named in one line."""
    yield ""
    if one.who.person is None and not one.plan.workbooks:
        yield "nobody in Workbooks to compare with"
        return
    blank = [line.field for line in one.fields if not _filled(line)]
    listed = table("field", "Outreach", "Workbooks", "last agreed", "why")
    listed.columns[0].no_wrap = True
    for line in one.fields:
        if _filled(line):
            agreed = [line.agreed[side] for side in ("outreach", "workbooks") if side in line.agreed]
            then = _value(agreed[0]) if len({str(item) for item in agreed}) == 1 else " / ".join(map(_value, agreed))
            arrows = "".join(f" → {SIDES[side]}" for side in line.writes)
            here, there = _of(line.now, "outreach"), _of(line.now, "workbooks")
            cells = (line.field, here, _same(there, here), _same(then or "–", here, there), line.why + arrows)
            listed.add_row(*map(escape, cells))
    yield listed
    if blank:
        yield f"blank on both sides: {escape(', '.join(blank))}"


def _same(text: str, *others: str) -> str:
    """Return "same" for a longer text that stands beside itself; of a hidden one only the length would be."""
    return "same" if len(text) > SHORT and HIDDEN not in text and all(text == other for other in others) else text


def _filled(line: told.FieldTold) -> bool:
    held = [*line.now.values(), *line.agreed.values(), *line.writes.values()]
    return bool(line.writes) or any(value not in (None, "", [], False) for value in held)


def _of(values: Mapping[str, Value], side: str) -> str:
    return _value(values[side]) if side in values else "–"


def _value(value: Value) -> str:
    if value is None or value in ("", []):
        return BLANK
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " / ".join((", ".join(value) if isinstance(value, list) else str(value)).splitlines())


def _standing(due: told.Due | None, held: Sequence[told.Waits], excluded: str | None) -> Iterator[tuple[str, str]]:
    if due is None:
        yield "open", "nothing is due"
    else:
        tries = f", {count(due.attempts, 'attempt')} so far" if due.attempts else ""
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
    yield ""
    rows = (
        ("why", one.why),
        ("of", f"prospect {one.prospect or '–'}, person {one.person or '–'}"),
        ("state in Outreach", one.state or "–"),
        ("sign of a skip", one.skipped_by or "none"),
    )
    yield pairs([*rows, *_standing(one.due, one.held, None)])
    yield from _past(one.history)
    yield from _asked(one.exchanges)


def _past(history: Sequence[told.Wrote]) -> Iterator[RenderableType]:
    """Yield what was written, the newest first: when, where and by which rule, then each value before and after."""
    for one in history[:PAST]:
        rule, because = _reasons(one)
        mapping = one.mapping_version.removeprefix("sha256:")[:8]
        yield ""
        yield f"{local(one.at)}  [bold]{SIDES[one.side]}: {escape(one.action)}[/]  (mapping {mapping})"
        if rule:
            yield indented(escape(rule), 3)
        written = _grid(3)
        for name in one.after:
            moved = f"{_of(one.before, name)} → {_of(one.after, name)}"
            written.add_row(escape(name), escape(moved), escape(because.get(name, "")))
        yield indented(written, 3)


def _reasons(one: told.Wrote) -> tuple[str, dict[str, str]]:
    """Return the rule by which something was written, and what was said of single fields."""
    rule, because = [], {}
    for part in one.why.split("; "):
        name, colon, words = part.partition(": ")
        if colon and name in one.after:
            because[name] = words
        else:
            rule.append(part)
    return "; ".join(rule), because


def _asked(asked: Sequence[told.Exchanged]) -> Iterator[RenderableType]:
    for exchange in asked:
        yield ""
        yield f"last request to {SIDES[exchange.side]}, {local(exchange.at)}"
        yield indented(escape(exchange.request))
        yield indented(f"answered {escape(exchange.reply)}")


def _grid(columns: int) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for number in range(columns):
        grid.add_column(overflow="fold", no_wrap=number < columns - 2)
    return grid
