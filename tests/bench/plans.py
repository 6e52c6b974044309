"""Query plans of the statements that a piece of work really makes: each is explained where it stands, and undone."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from worker.store.database import Store

MANY = 10_000
"""Rows of a table that no statement of a hot path may walk through one by one."""
AT_MOST = 3
"""How often one statement is explained; the dearest counts."""
_LIST = re.compile(r"\((?:%\(\w+\)s(?:::\w+)?|\?)(?:, (?:%\(\w+\)s(?:::\w+)?|\?))+\)")
_PAIRS = re.compile(r"\((?:\(\*\)(?:, )?)+\)")


@dataclass(slots=True)
class Statement:
    """One statement: which work made it, in which function of ours, and how the database goes about it.

    ``rows`` is how many rows it has looked at (SQLite does not tell), ``scanned`` the large tables it walks through.
    """

    work: str
    where: str
    text: str
    ms: float = 0.0
    rows: float = 0.0
    scanned: tuple[str, ...] = ()
    seen: int = 0


@dataclass(slots=True)
class Plans:
    """Explains whatever goes through a store while :meth:`of` lasts. ``sizes`` are the rows of each table."""

    store: Store
    sizes: Mapping[str, int]
    work: str = ""
    statements: dict[tuple[str, str, str], Statement] = field(default_factory=dict)
    _explaining: bool = False

    @contextmanager
    def of(self, work: str) -> Iterator[None]:
        """Explain what the block does, under a name."""
        self.work = work
        engine = self.store.engine
        sa.event.listen(engine, "before_cursor_execute", self._before)
        try:
            yield
        finally:
            sa.event.remove(engine, "before_cursor_execute", self._before)

    def _before(self, db: Any, _cursor: Any, text: str, given: Any, _context: Any, many: bool) -> None:  # noqa: ANN401
        verb = text.lstrip().partition(" ")[0].upper()
        if verb not in {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"}:
            return
        key = self.work, where(), shortened(text)
        known = self.statements.setdefault(key, Statement(*key))
        known.seen += 1
        if known.seen > AT_MOST:
            return
        one = given[0] if many and given else given
        look = self._on_sqlite if db.dialect.name == "sqlite" else self._on_postgres
        look(db.connection.driver_connection, known, text, one)

    def _on_sqlite(self, db: Any, known: Statement, text: str, given: Any) -> None:  # noqa: ANN401
        steps = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {text}", given)]
        # In order of the primary key it ends at its limit; SQLite does not say so.
        first = "LIMIT" in text and "ORDER BY" in text and not any("TEMP B-TREE" in step for step in steps)
        names = [] if first else [step.split()[1] for step in steps if step.startswith("SCAN ")]
        known.scanned += tuple(self._large(set(names) - set(known.scanned)))

    def _on_postgres(self, db: Any, known: Statement, text: str, given: Any) -> None:  # noqa: ANN401
        with db.cursor() as cursor:
            cursor.execute("SAVEPOINT explained")
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}", given)
            told = cursor.fetchone()[0][0]
            cursor.execute("ROLLBACK TO SAVEPOINT explained")
        known.ms = max(known.ms, told["Execution Time"])
        nodes = list(_nodes(told["Plan"]))
        known.rows = max(known.rows, max((_looked_at(one) for one in nodes), default=0))
        found = {one["Relation Name"] for one in nodes if one["Node Type"] == "Seq Scan" and _looked_at(one) > 0}
        known.scanned += tuple(self._large(found - set(known.scanned)))

    def _large(self, names: set[str]) -> list[str]:
        return sorted(name for name in names if self.sizes.get(name, 0) > MANY)


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for one in plan.get("Plans", ()):
        yield from _nodes(one)


def _looked_at(node: Mapping[str, Any]) -> float:
    if "Scan" not in node["Node Type"]:
        return 0.0
    dropped = sum(node.get(name, 0) for name in ("Rows Removed by Filter", "Rows Removed by Index Recheck"))
    return float((node["Actual Rows"] + dropped) * node["Actual Loops"])


def where() -> str:
    """Return the function of ours that is nearest to a statement being made: ``store/outbox.claim``."""
    frame = sys._getframe(1)
    while frame is not None:
        _, found, rest = frame.f_code.co_filename.partition("/worker/")
        name = frame.f_code.co_name
        if found and not name.startswith("<") and not rest.startswith("store/database"):
            return f"{rest.removesuffix('.py')}.{name}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return "?"


def shortened(text: str) -> str:
    """Return a statement with its lists of values made one, so that it is the same however long they are."""
    return _PAIRS.sub("(*)", _LIST.sub("(*)", " ".join(text.split())))
