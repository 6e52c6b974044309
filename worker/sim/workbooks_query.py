"""Lists: which rows a request selects, in which order, and one page of them.

README "Retrieving Objects": ``_limit`` counts only beside ``_start``; 100 rows are the most; deleted rows show only
when a filter names ``is_deleted``; ``__skip_total_rows`` makes ``total`` the rows of this page.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from worker.sim import workbooks_columns as columns
from worker.sim import workbooks_dates as dates
from worker.sim import workbooks_filters as filters
from worker.sim.workbooks_wire import unacceptable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from worker.sim.workbooks_columns import Column
    from worker.sim.workbooks_filters import Condition, Node
    from worker.sim.workbooks_sessions import Caller
    from worker.sim.workbooks_table import Row, Table
    from worker.sim.workbooks_types import Kind
    from worker.sim.workbooks_wire import Parameters
    from worker.sim.workbooks_world import World

PAGE_LIMIT = 100
_EAGER_BELOW = 2_000
_KEPT_RESULTS = 8
Bounds = tuple[Any, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """What a list request asks for. ``key`` tells equal questions; ``sort`` is columns and whether descending."""

    key: tuple[Any, ...]
    conditions: list[Condition]
    node: Node
    sort: list[tuple[Column, bool]]
    start: int
    limit: int
    skip_total: bool


def question(world: World, kind: Kind, asked: Parameters) -> Query:
    """Return what a request asks for; Stop with 406 when it makes no sense."""
    try:
        conditions, node = filters.parse(world, kind, asked)
        start = asked.get("_start")
        limit = min(int(asked.get("_limit") or PAGE_LIMIT), PAGE_LIMIT) if start is not None else PAGE_LIMIT
        first = int(start or 0)
        sort = _sort(world, kind, asked)
        if first < 0 or limit < 0:
            raise ValueError("_start and _limit are not negative")  # noqa: TRY301
    except (ValueError, TypeError, AttributeError) as error:
        raise unacceptable(str(error)) from None
    order = tuple((column.name, descending) for column, descending in sort)
    key = (
        tuple(filters.triples(asked)),
        asked.get("_fm"),
        order,
        dates.day_of(world.now()),
        world.options.case_sensitive,
    )
    return Query(key, conditions, node, sort, first, limit, asked.flag("__skip_total_rows"))


def _sort(world: World, kind: Kind, asked: Parameters) -> list[tuple[Column, bool]]:
    directions = asked.all("_dir")
    found = []
    for place, name in enumerate(asked.all("_sort")):
        column = columns.column(world, kind, name)
        if column is None:
            raise ValueError(f"'{name}' is not a field that can be sorted by")
        found.append((column, place < len(directions) and directions[place].upper() == "DESC"))
    return found


def page(
    world: World, kind: Kind, asked: Parameters, caller: Caller, *, unreadable: Iterable[int] = ()
) -> dict[str, Any]:
    """Return the answer to a list request."""
    wanted = question(world, kind, asked)
    rows, total = _rows(world, kind, wanted, frozenset(unreadable))
    shown = chosen(world, kind, asked, strict=caller.strict)
    readers = [(column.name, column.written(caller.formats)) for column in shown]
    data = [{name: read(row) for name, read in readers} for row in rows]
    return {"success": True, "total": total, "data": data, "flash": "", "updates": {}}


def chosen(world: World, kind: Kind, asked: Parameters, *, strict: bool) -> list[Column]:
    """Return the columns to show: ``_select_columns[]``, or all; unknown ones are left out, or 406 when strict."""
    names = asked.all("_select_columns")
    if not names:
        return columns.every(world, kind)
    found = {name: columns.column(world, kind, name) for name in names}
    unknown = [name for name, column in found.items() if column is None]
    if unknown and strict:
        raise unacceptable(f"unrecognised columns: {', '.join(unknown)}")
    return [column for column in found.values() if column is not None]


def selected(world: World, kind: Kind, asked: Parameters) -> set[int]:
    """Return the ids that the filters of a request select, whatever their number."""
    wanted = question(world, kind, asked)
    table = world.tables[kind.short]
    test = _visible(wanted, frozenset())
    candidates = _candidates(table, wanted.node)
    ids: Iterable[int] = table.ids if candidates is None else candidates
    return {number for number in ids if number in table.rows and test(table.rows[number])}


def _visible(wanted: Query, unreadable: frozenset[int]) -> Callable[[Row], bool]:
    test = filters.compiled(wanted.node)
    with_deleted = any(one.column.name == "is_deleted" for one in wanted.conditions)

    def visible(row: Row) -> bool:
        if row.hidden or (row.is_deleted and not with_deleted) or row.id in unreadable:
            return False
        return test is None or test(row)

    return visible


def _rows(world: World, kind: Kind, wanted: Query, unreadable: frozenset[int]) -> tuple[list[Row], int]:
    """Return the rows of the page and the total to be told."""
    table = world.tables[kind.short]
    visible = _visible(wanted, unreadable)
    stop = wanted.start + wanted.limit
    behind = _behind(world, kind.short)
    if behind or unreadable:
        rows = (behind.get(number, row) for number, row in table.rows.items())
        found = _sorted((row for row in rows if row is not None and visible(row)), wanted.sort)
    else:
        ordered = _in_order(table, wanted)
        if ordered is not None and wanted.skip_total and stop <= _EAGER_BELOW:
            few = list(islice((row for row in ordered if visible(row)), wanted.start, stop))
            return few, len(few)
        found = _remembered(world, table, wanted, ordered, visible)
    rows_here = found[wanted.start : stop]
    return rows_here, len(rows_here) if wanted.skip_total else len(found)


def _remembered(
    world: World, table: Table, wanted: Query, ordered: Iterable[Row] | None, visible: Callable[[Row], bool]
) -> list[Row]:
    """Return all rows of a question in order, kept for the next page as long as nothing has changed anywhere."""
    key = (wanted.key, sum(one.generation for one in world.tables.values()))
    found = table.pages.get(key)
    if found is None:
        if ordered is not None:
            found = [row for row in ordered if visible(row)]
        else:
            found = _sorted((row for row in _narrowed(table, wanted.node) if visible(row)), wanted.sort)
        while len(table.pages) >= _KEPT_RESULTS:
            del table.pages[next(iter(table.pages))]
        table.pages[key] = found
    return found


def _sorted(rows: Iterable[Row], sort: list[tuple[Column, bool]]) -> list[Row]:
    """Return rows sorted by the columns, blanks lowest, texts regardless of case, and by id where those are equal."""
    found = sorted(rows, key=lambda row: row.id)
    for column, descending in reversed(sort):
        read = column.read

        def key(row: Row, read: Callable[[Row], Any] = read) -> tuple[bool, Any]:
            value = read(row)
            if value is None:
                return False, 0
            return True, value.casefold() if isinstance(value, str) else value

        found.sort(key=key, reverse=descending)
    return found


def _in_order(table: Table, wanted: Query) -> Iterable[Row] | None:
    """Return the rows that may pass, already in the asked order, where an index has that order; else None."""
    rows = table.rows
    candidates = _candidates(table, wanted.node)
    order = [column.name for column, _ in wanted.sort]
    downwards = {descending for _, descending in wanted.sort}
    if candidates is not None or len(downwards) > 1:
        return None
    ids: list[int]
    if order in ([], ["id"]):
        low, high = _bounds(wanted.node, "id")
        times = _bounds(wanted.node, "updated_at")
        recent = table.since(*times) if times != (None, None) else None
        if recent is not None and len(recent) < len(rows) // 4:
            ids = sorted(number for _, number in recent)
        else:
            ids = table.between(low, high)
    elif order in (["updated_at"], ["updated_at", "id"]):
        ids = [number for _, number in table.since(*_bounds(wanted.node, "updated_at"))]
        if order == ["updated_at"] and downwards == {True}:
            return None
    else:
        return None
    return (rows[number] for number in (reversed(ids) if downwards == {True} else ids))


def _narrowed(table: Table, node: Node) -> Iterable[Row]:
    """Return the rows that may pass, in no order."""
    candidates = _candidates(table, node)
    if candidates is not None:
        return (table.rows[number] for number in candidates if number in table.rows)
    return (table.rows[number] for _, number in table.since(*_bounds(node, "updated_at")))


def _candidates(table: Table, node: Node) -> set[int] | None:
    """Return ids among which all rows that pass are, by the hash indexes; None when that could be any."""
    condition = node.condition
    if condition is not None:
        column = condition.column
        if condition.operator != "eq" or column.datatype in {"boolean", "date", "datetime", "var_date_time"}:
            return None
        if column.name == "id":
            return {int(value) for value in condition.values}
        if not column.stored or any(value == "" for value in condition.values):
            return None
        return table.found(column.name, condition.values)
    if node.kind not in {"and", "or"} or not node.parts:
        return None
    parts = [_candidates(table, part) for part in node.parts]
    known = [part for part in parts if part is not None]
    if node.kind == "and":
        return min(known, key=len) if known else None
    return set().union(*known) if len(known) == len(parts) else None


def _bounds(node: Node, name: str) -> Bounds:
    """Return the lowest and highest value of a column that can pass, by the comparisons that always apply."""
    parts = [node] if node.condition is not None else list(node.parts) if node.kind == "and" else []
    low: Any = None
    high: Any = None
    for part in parts:
        condition = part.condition
        if condition is None or condition.column.name != name:
            continue
        if condition.operator in {"ge", "gt", "between"} or (condition.operator == "eq" and name != "id"):
            low = condition.values[0] if low is None else max(low, condition.values[0])
        if condition.operator in {"le", "lt", "between"} or (condition.operator == "eq" and name != "id"):
            high = condition.values[-1] if high is None else min(high, condition.values[-1])
    return low, high


def _behind(world: World, short: str) -> dict[int, Row | None]:
    """Return the records that lists still show as they were before a write (None: not yet at all)."""
    pending = world.pending[short]
    now = world.clock.now().timestamp()
    for number in [number for number, (until, _) in pending.items() if until <= now]:
        del pending[number]
    return {number: before for number, (_, before) in pending.items()}
