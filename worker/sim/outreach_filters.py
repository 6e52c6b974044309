"""What ``filter[...]`` parameters ask for, in the old and the new syntax, and whether a record meets it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from worker.sim import outreach_schema as schema
from worker.sim.outreach_errors import Refusal, invalid
from worker.sim.outreach_store import texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.sim.instruments import Json
    from worker.sim.outreach_store import Record, Store

KEY = re.compile(r"^filter((?:\[[^\]]*\])+)$")
BOUNDS = frozenset({"gte", "gt", "lte", "lt"})
FOLDED = frozenset({"emails", "email"})
"""Attributes compared regardless of case."""
ID = schema.Attribute("id", "int", longest=None, read_only=True, filterable=True, sortable=True)


@dataclass(slots=True)
class Clause:
    """One condition. ``relation`` None is about the record itself; all that is set must hold.

    ``null`` True asks for a missing value, False for a present one. ``values`` is a choice, bounds are inclusive unless
    ``above`` or ``below`` (exclusive ones). ``prefix`` is that of ``filter[q]``.
    """

    relation: str | None
    attribute: schema.Attribute
    values: frozenset[Any] | None = None
    low: Any = None
    high: Any = None
    above: Any = None
    below: Any = None
    null: bool | None = None
    prefix: str | None = None

    def holds(self, store: Store, record: Record) -> bool:
        """Return whether a record meets the condition."""
        if self.prefix is not None:
            return _begins(record, self.prefix)
        if self.relation is None:
            return self._fits(record.get(self.attribute.name))
        others = store.seen_from(record, self.relation)
        if self.null is not None and self.attribute.name == "id":
            return self.null is (not others)
        if self.attribute.name == "id" and (target := record.relations.get(self.relation)) is not None:
            return self._fits(target[1])
        return any(self._fits(other.get(self.attribute.name)) for other in others)

    def _fits(self, value: Json) -> bool:
        if self.null is not None:
            return self.null is (value is None or value in ((), []))
        if value is None:
            return False
        if self.values is not None:
            return any(one in self.values for one in _comparable(self.attribute, value))
        return any(self._within(one) for one in _comparable(self.attribute, value))

    def _within(self, value: Json) -> bool:
        return (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


def _comparable(attribute: schema.Attribute, value: Json) -> Sequence[Any]:
    if attribute.name in FOLDED:
        return tuple(texts(value))
    return value if isinstance(value, (list, tuple)) else (value,)


def _begins(record: Record, prefix: str) -> bool:
    read = ("firstName", "lastName", "name", "emails") if record.type == "prospect" else ("name", "domain")
    return any(text.startswith(prefix) for name in read for text in texts(record.get(name)))


def clauses(type_: str, parameters: Sequence[tuple[str, str]], *, new_syntax: bool) -> list[Clause]:
    """Return the conditions among decoded query ``parameters``. Raises Refusal on what cannot be filtered by."""
    grouped: dict[tuple[str, ...], list[str]] = {}
    for key, value in parameters:
        found = KEY.match(key)
        if found is None:
            continue
        path = tuple(re.findall(r"\[([^\]]*)\]", found[1]))
        if path[-1] == "":
            grouped.setdefault(path, []).append(value)
        else:
            grouped[path] = [value]
    return [_clause(type_, path, values, new_syntax=new_syntax) for path, values in grouped.items()]


def _clause(type_: str, path: tuple[str, ...], values: list[str], *, new_syntax: bool) -> Clause:
    if path == ("q",) and type_ in {"prospect", "account"}:
        return Clause(None, ID, prefix=values[-1].lower())
    relation, attribute, rest = _subject(type_, path)
    clause = Clause(relation, attribute)
    if rest == ("",):
        clause.values = frozenset(_value(attribute, value) for value in values)
    elif rest and rest[0] in BOUNDS and len(rest) == 1:
        _bound(clause, rest[0], values[-1])
    elif rest:
        raise _unfilterable(path)
    else:
        _plain(clause, values[-1], new_syntax=new_syntax)
    return clause


def _bound(clause: Clause, name: str, value: str) -> None:
    field = {"gte": "low", "lte": "high", "gt": "above", "lt": "below"}[name]
    setattr(clause, field, _value(clause.attribute, value))


def _plain(clause: Clause, value: str, *, new_syntax: bool) -> None:
    """Read a value of the old syntax; in the new one a text stands for itself, dots and commas included."""
    attribute = clause.attribute
    literal = new_syntax and attribute.kind in {"str", "array"}
    if value in {"__null__", "__notnull__"}:
        clause.null = value == "__null__"
    elif ".." in value and not literal:
        low, _, high = value.partition("..")
        clause.low = None if low in {"neginf", "-inf", ""} else _value(attribute, low)
        clause.high = None if high in {"inf", ""} else _value(attribute, high)
    else:
        wanted = [value] if literal else value.split(",")
        clause.values = frozenset(_value(attribute, one) for one in wanted)


def _subject(type_: str, path: tuple[str, ...]) -> tuple[str | None, schema.Attribute, tuple[str, ...]]:
    """Return relation, attribute and the rest of a path. Raises Refusal if the schema allows no such filter."""
    known = schema.resource(type_)
    name = path[0]
    if name == "id":
        return None, ID, path[1:]
    attribute = known.attributes.get(name)
    if attribute is not None and attribute.filterable:
        return None, attribute, path[1:]
    relation = known.relations.get(name)
    if relation is None or len(path) == 1:
        raise _unfilterable(path)
    allowed = path[1] in relation.filters or "*" in relation.filters
    other = _other(type_, relation).get(path[1])
    if path[1] == "id" and allowed:
        return name, ID, path[2:]
    if not allowed or other is None or not (other.filterable or path[1] in relation.filters):
        raise _unfilterable(path)
    return name, other, path[2:]


def _other(type_: str, relation: schema.Relation) -> dict[str, schema.Attribute]:
    """Return the attributes of the type on the other side, if it is simulated."""
    reverse = schema.REVERSE.get((type_, relation.name))
    types = (reverse[0],) if reverse is not None else relation.types
    return schema.resource(types[0]).attributes if types and types[0] in schema.PLURALS else {}


def _unfilterable(path: tuple[str, ...]) -> Refusal:
    return invalid(f"Filter '{'.'.join(path)}' is not supported.", "/data")


def _value(attribute: schema.Attribute, text: str) -> Json:
    """Return a filter's text as a value of the attribute's kind. Raises Refusal."""
    try:
        return _parse(attribute, text.strip())
    except ValueError:
        raise invalid(f"'{text}' is not a valid value for filter '{attribute.name}'.") from None


def _parse(attribute: schema.Attribute, text: str) -> Json:
    if attribute.kind in {"int", "num"}:
        return float(text) if attribute.kind == "num" else int(text)
    if attribute.kind == "bool":
        if text.lower() not in {"true", "false"}:
            raise ValueError(text)
        return text.lower() == "true"
    if attribute.kind == "dt":
        return timestamp(text)
    return text.lower() if attribute.name in FOLDED else text


def timestamp(text: str) -> str:
    """Return an ISO date or time as the API writes times: UTC with milliseconds. Raises ValueError."""
    # a plus sign in a query arrives as a blank when the client did not encode it
    at = datetime.fromisoformat(re.sub(r" (\d\d:?\d\d)$", r"+\1", text) if "T" in text else text)
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
