"""Filters: the three ways to write them, their operators, and the boolean expression over them.

README "Filtering": triples ``_ff[] _ft[] _fc[]`` matched by position, a single one without brackets, or
``_filter_json``; ``_fm`` is ``and``, ``or`` or an expression over filter numbers from 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.sim import workbooks_dates as dates
from worker.sim.workbooks_columns import Column, column
from worker.sim.workbooks_values import TRUTHS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.sim.workbooks_table import Row
    from worker.sim.workbooks_types import Kind
    from worker.sim.workbooks_wire import Parameters
    from worker.sim.workbooks_world import World

Test = Callable[["Row"], bool]
Triple = tuple[str, str, str]
VALUELESS = frozenset("blank not_blank true false today lt_today le_today gt_today ge_today".split())
_ORDERS = frozenset("lt le gt ge between not_between".split())
_NUMBERS = frozenset({"integer", "float"})
_TIMES = frozenset({"date", "datetime", "var_date_time"})
_TOKEN = re.compile(r"\s*(?:(\d+)|(and|or|xor|not)\b|([!()]))\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Condition:
    """One filter: its column, operator, the values it names (of ``eq``; else the bounds), and its test of a row."""

    column: Column
    operator: str
    values: tuple[Any, ...]
    test: Test = field(compare=False)


@dataclass(frozen=True, slots=True)
class Node:
    """A place in the expression: ``kind`` is ``leaf``, ``and``, ``or``, ``xor`` or ``not``."""

    kind: str
    parts: tuple[Node, ...] = ()
    condition: Condition | None = None


def triples(parameters: Parameters) -> list[Triple]:
    """Return the filters of a request; ValueError when they do not fit together."""
    written = parameters.get("_filter_json")
    if written:
        return [_from_json(item) for item in json.loads(written)]
    fields, types, criteria = (parameters.all(name) for name in ("_ff", "_ft", "_fc"))
    if not len(fields) == len(types) == len(criteria):
        raise ValueError(f"{len(fields)} filter fields, {len(types)} types and {len(criteria)} criteria do not match")
    return list(zip(fields, types, criteria, strict=True))


def _from_json(item: object) -> Triple:
    if not isinstance(item, list) or len(item) not in {2, 3}:
        raise ValueError("_filter_json is an array of [field, type, criteria]")
    criteria = item[2] if len(item) == len(("field", "type", "criteria")) else ""
    return str(item[0]), str(item[1]), "" if criteria is None else str(criteria)


def parse(world: World, kind: Kind, parameters: Parameters) -> tuple[list[Condition], Node]:
    """Return the conditions of a request and the expression over them; ValueError for what makes no sense."""
    conditions = [_condition(world, kind, triple) for triple in triples(parameters)]
    leaves = [Node("leaf", condition=one) for one in conditions]
    mode = (parameters.get("_fm") or "and").strip()
    if mode.lower() in {"and", "or"}:
        return conditions, Node(mode.lower(), tuple(leaves))
    return conditions, _Expression(mode, leaves).tree()


class _Expression:
    """A reader of ``1 AND (2 OR NOT 3)``; NOT binds closest, then AND, XOR, OR."""

    def __init__(self, text: str, leaves: Sequence[Node]) -> None:
        self.leaves = leaves
        self.tokens: list[str] = []
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise ValueError(f"'{text}' is not a filter expression")
            self.tokens.append((found[1] or found[2] or found[3]).lower())
            at = found.end()

    def tree(self) -> Node:
        """Return the whole expression."""
        node = self._binary(0)
        if self.tokens:
            raise ValueError(f"'{self.tokens[0]}' is too much in the filter expression")
        return node

    def _binary(self, level: int) -> Node:
        words = ("or", "xor", "and")
        if level == len(words):
            return self._single()
        parts = [self._binary(level + 1)]
        while self.tokens and self.tokens[0] == words[level]:
            self.tokens.pop(0)
            parts.append(self._binary(level + 1))
        return parts[0] if len(parts) == 1 else Node(words[level], tuple(parts))

    def _single(self) -> Node:
        token = self.tokens.pop(0) if self.tokens else "the end"
        if token in {"not", "!"}:
            return Node("not", (self._single(),))
        if token == "(":  # noqa: S105
            node = self._binary(0)
            if not self.tokens or self.tokens.pop(0) != ")":
                raise ValueError("a parenthesis is missing in the filter expression")
            return node
        if token.isdigit() and 1 <= int(token) <= len(self.leaves):
            return self.leaves[int(token) - 1]
        raise ValueError(f"'{token}' is not the number of a filter")


def compiled(node: Node) -> Test | None:
    """Return the test of an expression; None when every row passes."""
    if node.condition is not None:
        return node.condition.test
    tests = [test for test in (compiled(part) for part in node.parts) if test is not None]
    if not tests:
        return None
    if len(tests) == 1 and node.kind != "not":
        return tests[0]
    if node.kind == "not":
        return lambda row: not tests[0](row)
    if node.kind == "xor":
        return lambda row: sum(test(row) for test in tests) % 2 == 1
    if node.kind == "or":
        return lambda row: any(test(row) for test in tests)
    return lambda row: all(test(row) for test in tests)


def split(criteria: str) -> list[str]:
    """Return the values of a comma list; a comma behind a backslash belongs to the value."""
    parts = re.split(r"(?<!\\),", criteria)
    return [part.replace("\\,", ",").strip() for part in parts]


def _condition(world: World, kind: Kind, triple: Triple) -> Condition:
    name, operator, criteria = triple
    found = column(world, kind, name)
    if found is None:
        raise ValueError(f"'{name}' is not a field that can be filtered on")
    if operator in VALUELESS:
        return Condition(found, operator, (), _valueless(world, found, operator))
    if operator in {"bg", "nbg", "ct", "nct"}:
        return Condition(found, operator, (), _textual(found, operator, criteria))
    if operator in {"eq", "ne"}:
        values = split(criteria)
        if found.datatype in _TIMES:
            return _interval(world, found, operator, values)
        return _equality(world, found, operator, values)
    if operator in _ORDERS:
        return _interval(world, found, operator, _bounds(operator, criteria))
    raise ValueError(f"'{operator}' is not a filter type")


def _bounds(operator: str, criteria: str) -> list[str]:
    if "between" not in operator:
        return [criteria.strip()]
    found = re.fullmatch(r"JSON\(\[(.*)\]\)", criteria.strip(), re.DOTALL)
    parts = [part.strip().strip("\"'") for part in found[1].split(",")] if found else []
    if len(parts) != 2:  # noqa: PLR2004
        raise ValueError(f"{operator} needs JSON([from,to])")
    return parts


def _valueless(world: World, found: Column, operator: str) -> Test:
    read = found.read
    if operator in {"true", "false"}:
        wanted = operator == "true"
        return lambda row: bool(read(row)) is wanted
    if operator == "blank":
        return lambda row: read(row) in {None, ""}
    if operator == "not_blank":
        return lambda row: read(row) not in {None, ""}
    plain = "eq" if operator == "today" else operator.removesuffix("_today")
    return _interval(world, found, plain, [dates.day_of(world.now())]).test


def _textual(found: Column, operator: str, criteria: str) -> Test:
    read, wanted = found.read, criteria.replace("\\,", ",").casefold()

    def text(row: Row) -> str:
        value = read(row)
        return "" if value is None else str(value).casefold()

    tests: dict[str, Test] = {
        "bg": lambda row: text(row).startswith(wanted),
        "nbg": lambda row: not text(row).startswith(wanted),
        "ct": lambda row: wanted in text(row),
        "nct": lambda row: wanted not in text(row),
    }
    return tests[operator]


def _equality(world: World, found: Column, operator: str, texts: list[str]) -> Condition:
    """Return ``eq`` or ``ne`` of texts, numbers and booleans; a list means any (none) of them."""
    read = found.read
    if found.datatype == "boolean":
        values: set[Any] = {text.casefold() in TRUTHS for text in texts}
        test: Test = lambda row: bool(read(row)) in values  # noqa: E731
    elif found.datatype in _NUMBERS:
        values = {number for number in map(_number, texts) if number is not None}
        test = lambda row: read(row) in values  # noqa: E731
    elif world.options.case_sensitive:
        values = set(texts)
        test = lambda row: (read(row) or "") in values  # noqa: E731
    else:
        values = {text.casefold() for text in texts}
        test = lambda row: str(read(row) or "").strip().casefold() in values  # noqa: E731
    if operator == "eq":
        return Condition(found, "eq", tuple(values), test)
    return Condition(found, "ne", tuple(values), lambda row: not test(row))


def _number(text: str) -> float | None:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return None


def _interval(world: World, found: Column, operator: str, texts: list[str]) -> Condition:
    """Return a comparison by order. A day given to a time means all of that day, as README's example has it."""
    spans = [_span(world, found, text) for text in texts]
    low, high = spans[0][0], spans[-1][1]
    if operator in {"eq", "ne"}:
        low, high = min(start for start, _ in spans), max(end for _, end in spans)
    read = found.read
    if found.datatype == "var_date_time":
        raw = found.read
        read = lambda row: dates.var_epoch(raw(row))  # noqa: E731
    elif found.datatype not in _NUMBERS | _TIMES:
        raw = found.read
        read = lambda row: str(raw(row) or "").casefold()  # noqa: E731

    def known(compare: Callable[[Any], bool]) -> Test:
        return lambda row: (value := read(row)) is not None and compare(value)

    tests: dict[str, Test] = {
        "eq": known(lambda value: any(start <= value <= end for start, end in spans)),
        "ne": lambda row: (value := read(row)) is None or not any(start <= value <= end for start, end in spans),
        "lt": known(lambda value: value < low),
        "le": known(lambda value: value <= high),
        "gt": known(lambda value: value > high),
        "ge": known(lambda value: value >= low),
        "between": known(lambda value: low <= value <= high),
        "not_between": known(lambda value: not low <= value <= high),
    }
    return Condition(found, operator, (low, high), tests[operator])


def _span(world: World, found: Column, text: str) -> tuple[Any, Any]:
    if found.datatype in _NUMBERS:
        number = _number(text)
        if number is None:
            raise ValueError(f"'{text[:40]}' is not a number")
        return number, number
    if found.datatype not in _TIMES:
        return text.casefold(), text.casefold()
    moment = dates.read(text, world.zone)
    if found.datatype == "date":
        return moment.day, moment.day
    return moment.start, moment.end
