"""The rows of one kind of record, with the ways to find them fast."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(slots=True)
class Row:
    """One record. ``values`` holds what was set, by wire name; times are epoch seconds. ``hidden``: not permitted."""

    id: int
    created_at: int
    created_by: int
    updated_at: int
    updated_by: int
    version: int = 0
    is_deleted: bool = False
    hidden: bool = False
    values: dict[str, Any] = field(default_factory=dict)

    def copy(self) -> Row:
        """Return the row as it stands now."""
        return Row(
            self.id,
            self.created_at,
            self.created_by,
            self.updated_at,
            self.updated_by,
            self.version,
            self.is_deleted,
            self.hidden,
            dict(self.values),
        )


def fold(value: object) -> object:
    """Return a value as the hash indexes compare it: texts regardless of case and outer blanks."""
    return value.strip().casefold() if isinstance(value, str) else value


class Table:
    """Rows by id, by ``updated_at``, and by any column that somebody has looked rows up by."""

    def __init__(self, first_id: int = 1) -> None:
        """Start empty; the first row gets ``first_id``."""
        self.rows: dict[int, Row] = {}
        self.ids: list[int] = []
        self.by_time: list[tuple[int, int]] = []
        self.generation = 0
        self.next_id = first_id
        self._indexes: dict[str, dict[Any, set[int]]] = {}
        self.pages: dict[Any, list[Row]] = {}

    def insert(self, row: Row) -> Row:
        """Keep a new row under its id, which must be higher than all before it."""
        self.rows[row.id] = row
        self.ids.append(row.id)
        insort(self.by_time, (row.updated_at, row.id))
        self.next_id = max(self.next_id, row.id + 1)
        for column, index in self._indexes.items():
            index.setdefault(fold(row.values.get(column)), set()).add(row.id)
        self.generation += 1
        return row

    def touch(self, row: Row, at: int, *, by: int) -> None:
        """Stamp a row as updated; its place in the order of time moves."""
        place = bisect_left(self.by_time, (row.updated_at, row.id))
        del self.by_time[place]
        row.updated_at, row.updated_by = at, by
        insort(self.by_time, (at, row.id))
        self.generation += 1

    def put(self, row: Row, values: dict[str, Any]) -> None:
        """Set values of a row, with the indexes following."""
        for column, index in self._indexes.items():
            if column in values:
                index.get(fold(row.values.get(column)), set()).discard(row.id)
                index.setdefault(fold(values[column]), set()).add(row.id)
        row.values.update(values)
        self.generation += 1

    def found(self, column: str, values: Iterable[Any]) -> set[int]:
        """Return the ids of the rows whose stored column equals one of the values, texts regardless of case."""
        index = self._indexes.get(column)
        if index is None:
            index = self._indexes[column] = {}
            for row in self.rows.values():
                index.setdefault(fold(row.values.get(column)), set()).add(row.id)
        return set().union(*(index.get(fold(value), ()) for value in values))

    def since(self, low: int | None, high: int | None) -> list[tuple[int, int]]:
        """Return ``(updated_at, id)`` of the rows updated from ``low`` to ``high``, both included, in that order."""
        start = 0 if low is None else bisect_left(self.by_time, (low, 0))
        stop = len(self.by_time) if high is None else bisect_left(self.by_time, (high + 1, 0))
        return self.by_time[start:stop]

    def between(self, low: int | None, high: int | None) -> list[int]:
        """Return the ids from ``low`` to ``high``, both included, ascending."""
        start = 0 if low is None else bisect_left(self.ids, low)
        stop = len(self.ids) if high is None else bisect_left(self.ids, high + 1)
        return self.ids[start:stop]

    def select(self, test: Callable[[Row], bool]) -> list[Row]:
        """Return the rows that pass a test, by id."""
        return [row for row in self.rows.values() if test(row)]
