"""A batch costs the same however much the store holds: SQLite finds each of its records by an index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.store.makers import NOW
from worker.core.records import Kind, Link, Ref, Snapshot
from worker.store import database, links, mirror, outbox, tables
from worker.store.mirror import Seen
from worker.store.outbox import Lane

IDS = range(1, 101)
WHOLE = ("(kind=?)", "SCAN ")
"""What a plan says that goes through all records, or through all of a kind."""
GIVEN = ("VIRTUAL TABLE", "CONSTANT ROW", "SCAN anon", "SCAN subquery")
"""What was handed over with the statement is gone through, of course."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[database.Store]:
    """A store on SQLite with a batch of everything."""
    opened = database.connect(f"sqlite:///{tmp_path / 'store.db'}")
    tables.metadata.create_all(opened.engine)
    with opened.write() as db:
        for kind in (Kind.PROSPECT, Kind.STATE, Kind.PERSON):
            mirror.save(db, kind, [seen(kind, one, "before") for one in IDS])
        links.save(db, Kind.PROSPECT, [Link(one, one) for one in IDS], NOW)
        outbox.open_changes(db, Kind.PROSPECT, IDS, lane=Lane.EDIT, now=NOW)
    yield opened
    opened.engine.dispose()


def seen(kind: Kind, record_id: int, title: str) -> Seen:
    """Return a record that belongs to a prospect and has an address."""
    relations = {"prospect": record_id} if kind is Kind.STATE else {}
    snapshot = Snapshot(Ref(kind, record_id), {"title": title}, relations=relations)
    return Seen(snapshot, title, frozenset({f"p{record_id}@people.example"}), record_id)


def work(db: sa.Connection) -> None:
    """Do what applying one batch does."""
    mine = outbox.claim(db, Kind.PROSPECT, now=NOW)
    mirror.load(db, Kind.PROSPECT, IDS)
    mirror.related(db, Kind.STATE, "prospect", IDS)
    mirror.referring(db, Kind.PERSON, IDS)
    mirror.references(db, Kind.PERSON, IDS)
    mirror.holders(db, Kind.PERSON, [f"p{one}@people.example" for one in IDS])
    links.load(db, Kind.PROSPECT, IDS)
    links.of_crm(db, Kind.PROSPECT, IDS)
    outbox.intend(db, [(one, {"crm": "update"}) for one in mine], NOW)
    outbox.renew(db, mine, NOW)
    mirror.save(db, Kind.PERSON, [seen(Kind.PERSON, one, "after") for one in IDS])
    links.save(db, Kind.PROSPECT, [Link(one, one, written_version=2) for one in IDS], NOW)
    links.exclude(db, Kind.PROSPECT, {}, IDS)
    links.last_written(db, Kind.PROSPECT, IDS)
    links.busy(db, Kind.PROSPECT, IDS, NOW, more_than=3)
    outbox.hasten(db, mine[:1])
    outbox.release(db, mine[:1])
    outbox.settle(db, mine[1:])


def test_no_statement_of_a_batch_goes_through_a_whole_table(store: database.Store) -> None:
    """Neither all rows nor all of a kind are looked at, for what a batch is about is found by its ids."""
    plans: dict[str, list[str]] = {}

    def explain(
        db: sa.Connection, _cursor: object, statement: str, values: Sequence[Any], _context: object, many: bool
    ) -> None:
        if statement.split(maxsplit=1)[0] in {"SELECT", "UPDATE", "DELETE"}:
            driver: Any = db.connection.driver_connection
            rows = driver.execute(f"EXPLAIN QUERY PLAN {statement}", values[0] if many else values)
            plans[statement] = [row[3] for row in rows]

    sa.event.listen(store.engine, "before_cursor_execute", explain)
    with store.write() as db:
        work(db)
    assert len(plans) >= 15
    slow = {
        (statement, step)
        for statement, steps in plans.items()
        for step in steps
        if any(word in step for word in WHOLE) and not any(word in step for word in GIVEN)
    }
    assert slow == set()
