"""The records of the simulated Outreach, with sorted orders and look-ups that are built once and kept up to date.

Nothing is sorted per request: an order is a list of ``(value, id)`` in which a page is found by bisection, so that the
hundredth page of a hundred thousand records costs what the first does.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.sim import outreach_schema as schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from worker.sim.instruments import Json

Target = tuple[str, int]
"""What a to-one relation points at: type and id."""
NUMBERS = frozenset({"int", "num", "bool"})


def stamp(at: datetime) -> str:
    """Return a time as resources carry it: UTC, whole seconds, ``.000Z``."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.000Z"


@dataclass(slots=True)
class Record:
    """One record. ``attributes`` holds only what differs from the type's defaults; to-one ``relations`` only."""

    type: str
    id: int
    attributes: dict[str, Any]
    relations: dict[str, Target | None]

    def get(self, attribute: str) -> Json:
        """Return an attribute's value, its default where nothing is stored."""
        if attribute == "id":
            return self.id
        found = self.attributes.get(attribute)
        return found if found is not None else schema.defaults(self.type).get(attribute)


class Table:
    """All records of one type."""

    def __init__(self, type_: str) -> None:
        """Start empty."""
        self.type = type_
        self.rows: dict[int, Record] = {}
        self.version = 0
        self.hidden: set[int] = set()
        """Ids of records that the token may not see, though they are there."""
        self._next = 1
        self._orders: dict[str, list[tuple[Any, int]]] = {}
        self._pointing: dict[str, dict[int, set[int]]] = {}
        self._holding: dict[str, dict[str, set[int]]] = {}

    def new_id(self) -> int:
        """Return an id never used before."""
        self._next += 1
        return self._next - 1

    def put(self, record: Record) -> None:
        """Add a record."""
        self.rows[record.id] = record
        self._next = max(self._next, record.id + 1)
        self._index(record)

    def remove(self, record: Record) -> None:
        """Take a record out."""
        self._unindex(record)
        del self.rows[record.id]

    def change(self, record: Record, attributes: Mapping[str, Any], relations: Mapping[str, Target | None]) -> None:
        """Store new values of a record."""
        self._unindex(record)
        record.attributes.update(attributes)
        record.relations.update(relations)
        self._index(record)

    def order(self, attribute: str) -> list[tuple[Any, int]]:
        """Return every record as ``(sort value, id)``, ascending; a missing value comes first."""
        if attribute not in self._orders:
            self._orders[attribute] = sorted((self.value(row, attribute), row.id) for row in self.rows.values())
        return self._orders[attribute]

    def value(self, record: Record, attribute: str) -> Json:
        """Return the value by which a record is sorted."""
        found = record.get(attribute)
        return self.least(attribute) if found is None else found

    def least(self, attribute: str) -> Json:
        """Return what stands for a missing value: it sorts before every other."""
        known = schema.resource(self.type).attributes.get(attribute)
        return float("-inf") if known is None or known.kind in NUMBERS else ""

    def pointing(self, relation: str, target: int) -> set[int]:
        """Return the ids of the records whose ``relation`` is ``target``."""
        if relation not in self._pointing:
            self._pointing[relation] = {}
            for row in self.rows.values():
                self._point(relation, row)
        return self._pointing[relation].get(target, set())

    def holding(self, attribute: str, value: str) -> set[int]:
        """Return the ids of the records whose text (or list of texts) holds ``value``, regardless of case."""
        if attribute not in self._holding:
            self._holding[attribute] = {}
            for row in self.rows.values():
                self._hold(attribute, row)
        return self._holding[attribute].get(value.lower(), set())

    def _point(self, relation: str, row: Record) -> None:
        target = row.relations.get(relation)
        if target is not None:
            self._pointing[relation].setdefault(target[1], set()).add(row.id)

    def _hold(self, attribute: str, row: Record) -> None:
        for text in texts(row.get(attribute)):
            self._holding[attribute].setdefault(text, set()).add(row.id)

    def _index(self, row: Record) -> None:
        self.version += 1
        for attribute, order in self._orders.items():
            insort(order, (self.value(row, attribute), row.id))
        for relation in self._pointing:
            self._point(relation, row)
        for attribute in self._holding:
            self._hold(attribute, row)

    def _unindex(self, row: Record) -> None:
        self.version += 1
        for attribute, order in self._orders.items():
            del order[bisect_left(order, (self.value(row, attribute), row.id))]
        for relation, pointing in self._pointing.items():
            target = row.relations.get(relation)
            if target is not None:
                pointing[target[1]].discard(row.id)
        for attribute, holding in self._holding.items():
            for text in texts(row.get(attribute)):
                holding[text].discard(row.id)


class Store:
    """The tables, by type."""

    def __init__(self) -> None:
        """Start empty."""
        self.tables = {type_: Table(type_) for type_ in schema.PLURALS}

    def __getitem__(self, type_: str) -> Table:
        return self.tables[type_]

    def find(self, target: Target | None) -> Record | None:
        """Return the record a relation points at, if it is there."""
        if target is None or target[0] not in self.tables:
            return None
        return self.tables[target[0]].rows.get(target[1])

    def seen_from(self, record: Record, relation: str) -> list[Record]:
        """Return the records on the other side of a relation, by id; those of a deleted record are gone."""
        reverse = schema.REVERSE.get((record.type, relation))
        if reverse is None:
            found = self.find(record.relations.get(relation))
            return [] if found is None else [found]
        type_, back = reverse
        origin = record.id
        if (record.type, relation) == ("task", "sequenceSequenceSteps"):
            sequence = record.relations.get("sequence")
            origin = sequence[1] if sequence else 0
        rows = [self.tables[type_].rows[id] for id in sorted(self.tables[type_].pointing(back, origin))]
        return [row for row in rows if _belongs(relation, record, row)]

    @property
    def version(self) -> int:
        """Return a number that rises with every change."""
        return sum(table.version for table in self.tables.values())


def _belongs(relation: str, record: Record, row: Record) -> bool:
    if relation == "activeSequenceStates":
        return bool(row.get("state") != "finished")
    if relation == "activeStepTasks":
        return not row.get("completed") and row.relations.get("sequenceStep") == record.relations.get("sequenceStep")
    return True


def texts(value: Json) -> Iterable[str]:
    """Return the texts of a value in lower case: itself, or each of a list."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (value.lower(),)
    return tuple(str(item).lower() for item in value)
