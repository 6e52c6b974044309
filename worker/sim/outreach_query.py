"""One list request: its parameters read and checked, and the page of records it asks for."""

from __future__ import annotations

import base64
import binascii
import json
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from worker.sim import outreach_schema as schema
from worker.sim.outreach_errors import invalid
from worker.sim.outreach_filters import ID, Clause, clauses

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.sim.instruments import Json
    from worker.sim.outreach_options import Options
    from worker.sim.outreach_store import Record, Store, Table

DEFAULT_SIZE = 50
OFFSET_CAP = 10_000
COUNT_CAP = 2_000_000
LAST = float("inf")
"""Sorts after every id."""


class Falling:
    """A value that sorts the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: Json) -> None:
        """Wrap ``value``."""
        self.value = value

    def __lt__(self, other: Falling) -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Falling) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)


@dataclass(slots=True)
class Query:
    """What a list request asks for. ``offset`` is None in cursor mode; a cursor is a record's sort values and id."""

    type: str
    parameters: dict[str, str]
    clauses: list[Clause]
    sort: list[tuple[str, bool]]
    size: int
    offset: int | None
    after: list[Any] | None
    before: list[Any] | None
    count: bool
    repeated: list[tuple[str, str]] = field(default_factory=list)

    def link(self, **changed: str | None) -> str:
        """Return the query string of a neighbouring page: every original parameter, with ``page[...]`` ones changed."""
        kept = dict(self.parameters)
        for name in ("after", "before", "offset"):
            kept.pop(f"page[{name}]", None)
        kept.update({f"page[{name}]": value for name, value in changed.items() if value is not None})
        return urlencode([*kept.items(), *self.repeated])


@dataclass(slots=True)
class Page:
    """The records asked for, whether there are more on either side, and the total if it was counted."""

    records: list[Record]
    more_after: bool
    more_before: bool
    total: int | None


def read(type_: str, query_string: str, options: Options) -> Query:
    """Return what a query string asks of a collection. Of a key given twice the last counts. Raises Refusal."""
    given = parse_qsl(query_string, keep_blank_values=True)
    repeated = [(key, value) for key, value in dict.fromkeys(given) if key.endswith("[]")]
    parameters = {key: value for key, value in given if not key.endswith("[]")}
    new_syntax = parameters.get("newFilterSyntax") == "true"
    asked = parameters.get("count")
    query = Query(
        type=type_,
        parameters=parameters,
        clauses=clauses(type_, [*parameters.items(), *repeated], new_syntax=new_syntax),
        sort=_sort(type_, parameters.get("sort", "")),
        size=DEFAULT_SIZE,
        offset=None,
        after=_cursor(parameters.get("page[after]")),
        before=_cursor(parameters.get("page[before]")),
        count=options.count_default if asked is None else asked == "true",
        repeated=repeated,
    )
    if "page[size]" in parameters or query.after or query.before:
        query.size = _number(parameters, "page[size]", DEFAULT_SIZE, most=options.page_cap, least=1)
    else:
        query.size = _number(parameters, "page[limit]", DEFAULT_SIZE, most=options.page_cap, least=1)
        query.offset = _number(parameters, "page[offset]", 0, most=OFFSET_CAP, least=0)
    return query


def _number(parameters: dict[str, str], name: str, fallback: int, *, most: int, least: int) -> int:
    text = parameters.get(name, str(fallback))
    if not text.isdecimal() or not least <= int(text) <= most:
        raise invalid(f"{name} must be a number between {least} and {most}.")
    return int(text)


def _sort(type_: str, text: str) -> list[tuple[str, bool]]:
    known = schema.resource(type_).attributes
    wanted = [
        (name.strip().removeprefix("-"), name.strip().startswith("-")) for name in text.split(",") if name.strip()
    ]
    for name, _ in wanted:
        if name != "id" and not (name in known and known[name].sortable):
            raise invalid(f"Sorting by '{name}' is not supported.")
    return wanted or [("id", False)]


def cursor(query: Query, record: Record, table: Table) -> str:
    """Return the opaque cursor that stands for a record's place in the order."""
    place = [*(table.value(record, name) for name, _ in query.sort), record.id]
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _cursor(text: str | None) -> list[Any] | None:
    if not text:
        return None
    try:
        place = json.loads(base64.urlsafe_b64decode(text.encode()))
    except (ValueError, binascii.Error):
        raise invalid("page cursor is not valid.") from None
    return place if isinstance(place, list) else None


def run(store: Store, query: Query) -> Page:
    """Return the page a query asks for."""
    table = store[query.type]
    order, falling = _order(table, query)
    first, last, rest = _bounds(table, query, order)
    total = _count(store, table, order[first:last], rest) if query.count or query.offset is not None else None
    if query.offset is not None:
        places = _walk(order, first, last, falling=falling)
        found = list(islice(_matching(store, table, places, rest), query.offset, query.offset + query.size + 1))
        return Page(found[: query.size], len(found) > query.size, query.offset > 0, total)
    backwards = query.before is not None
    start = _place(query, query.before or query.after)
    if start is not None:
        cut_right = backwards == falling
        try:
            at = (bisect_right if cut_right else bisect_left)(order, start)
        except TypeError:
            raise invalid("page cursor does not belong to this query.") from None
        first, last = (max(first, at), last) if cut_right else (first, min(last, at))
    places = _walk(order, first, last, falling=falling != backwards)
    found = list(islice(_matching(store, table, places, rest), query.size + 1))
    more = len(found) > query.size
    found = found[: query.size]
    if backwards:
        return Page(found[::-1], more_after=True, more_before=more, total=total)
    return Page(found, more_after=more, more_before=start is not None, total=total)


def _place(query: Query, place: list[Any] | None) -> tuple[Any, ...] | None:
    if place is None:
        return None
    if len(place) != len(query.sort) + 1:
        raise invalid("page cursor does not belong to this query.")
    if len(query.sort) == 1:
        return tuple(place)
    values = [Falling(value) if falls else value for value, (_, falls) in zip(place[:-1], query.sort, strict=True)]
    return (*values, place[-1])


def _order(table: Table, query: Query) -> tuple[Sequence[tuple[Any, ...]], bool]:
    """Return candidates in ascending order, and whether they are to be read backwards."""
    few = _few(table, query.clauses)
    if len(query.sort) == 1:
        name, falling = query.sort[0]
        if few is None:
            return table.order(name), falling
        return sorted((table.value(table.rows[id], name), id) for id in few if id in table.rows), falling
    rows = table.rows.values() if few is None else [table.rows[id] for id in few if id in table.rows]
    return sorted(_composite(table, row, query) for row in rows), False


def _composite(table: Table, row: Record, query: Query) -> tuple[Any, ...]:
    values = ((table.value(row, name), falling) for name, falling in query.sort)
    return (*(Falling(value) if falling else value for value, falling in values), row.id)


def _few(table: Table, wanted: list[Clause]) -> set[int] | None:
    """Return ids among which all matches are, from the most selective condition that has a look-up; None for all."""
    found = [ids for ids in (_looked_up(table, clause) for clause in wanted) if ids is not None]
    return min(found, key=len) if found else None


def _looked_up(table: Table, clause: Clause) -> set[int] | None:
    if clause.values is None:
        return None
    if clause.relation is None and clause.attribute is ID:
        return set(clause.values)
    if clause.relation is None and clause.attribute.name in {"emails", "email"}:
        return set().union(*(table.holding(clause.attribute.name, value) for value in clause.values))
    if clause.attribute is ID and clause.relation is not None and (table.type, clause.relation) not in schema.REVERSE:
        return set().union(*(table.pointing(clause.relation, id) for id in clause.values))
    return None


def _bounds(table: Table, query: Query, order: Sequence[tuple[Any, ...]]) -> tuple[int, int, list[Clause]]:
    """Return the stretch of ``order`` that range conditions on its first value leave, and the conditions left over."""
    name = query.sort[0][0]
    first, last, rest = 0, len(order), []
    for clause in query.clauses:
        ranged = clause.values is None and clause.null is None and clause.above is None and clause.below is None
        if len(query.sort) > 1 or clause.relation or clause.attribute.name != name or not ranged or clause.prefix:
            rest.append(clause)
            continue
        least = table.least(name) if name != "id" else 0
        low = bisect_right(order, (least, LAST)) if clause.low is None else bisect_left(order, (clause.low,))
        first = max(first, low)
        last = last if clause.high is None else min(last, bisect_right(order, (clause.high, LAST)))
    return first, max(first, last), rest


def _walk(order: Sequence[tuple[Any, ...]], first: int, last: int, *, falling: bool) -> Iterator[int]:
    span = range(last - 1, first - 1, -1) if falling else range(first, last)
    return (order[n][-1] for n in span)


def _matching(store: Store, table: Table, ids: Iterator[int], rest: list[Clause]) -> Iterator[Record]:
    rows = (table.rows[id] for id in ids if id not in table.hidden)
    return (row for row in rows if all(clause.holds(store, row) for clause in rest)) if rest else rows


def _count(store: Store, table: Table, order: Sequence[tuple[Any, ...]], rest: list[Clause]) -> int:
    if not rest and not table.hidden:
        return len(order)
    return sum(1 for _ in _matching(store, table, iter([place[-1] for place in order]), rest))
