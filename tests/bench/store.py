"""`store`: what the outbox costs a record, on SQLite and on Postgres: opened, claimed, written down, settled."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.report import Findings
from tests.bench.site import seconds_of
from worker.core.records import Kind
from worker.store import database, outbox, tables
from worker.store.outbox import Lane

RECORDS = 100_000
NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
INTENT = {"write": {"person_job_title": "Chair"}, "version": 3}


def run(scale: float) -> Findings:
    """Take as many changes through the outbox of each kind of database."""
    from tests import conftest  # it stands up the real Postgres of the tests

    records = round(RECORDS * scale)
    found = Findings({"records": records})
    place = Path(tempfile.mkdtemp(prefix="outbook-bench-"))
    try:
        with ExitStack() as stack:
            _through(found, "SQLite", f"sqlite:///{place / 'store.db'}", records)
            (place / "pg").mkdir()
            place.chmod(0o755)
            url = stack.enter_context(conftest._postgres(place / "pg"))
            _through(found, "Postgres", f"{url}/postgres".replace("postgresql://", "postgresql+psycopg://"), records)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    found.notes.append("CPU is the client's; Postgres runs on the same cores, without fsync; a claim takes a hundred")
    return found


def _through(found: Findings, name: str, url: str, records: int) -> None:
    store = database.connect(url)
    try:
        tables.metadata.create_all(store.engine)
        ids = range(1, records + 1)
        _measure(found, f"{name}: opened", records, lambda: _open(store, ids))
        cpu_s = _measure(found, f"{name}: claimed, written down, settled", records, lambda: _work(store))
        found.tell(f"{name}: the same in CPU per record", cpu_s / records * 1e6, "µs", most=80)
    finally:
        store.engine.dispose()


def _open(store: database.Store, ids: range) -> None:
    for start in range(0, len(ids), 1000):
        with store.write() as db:
            outbox.open_changes(db, Kind.PROSPECT, ids[start : start + 1000], lane=Lane.EDIT, now=NOW)


def _work(store: database.Store) -> None:
    while True:
        with store.write() as db:
            mine = outbox.claim(db, Kind.PROSPECT, now=NOW)
        if not mine:
            return
        with store.write() as db:
            outbox.intend(db, [(one, INTENT) for one in mine], NOW)
        with store.write() as db:
            outbox.settle(db, mine)


def _measure(found: Findings, what: str, records: int, work: Callable[[], None]) -> float:
    """Do some work, tell its wall time per record, and return our CPU seconds."""
    began, cpu = time.monotonic(), time.process_time()
    work()
    cpu_s = seconds_of(cpu)
    found.tell(f"{what}: wall time per record", (time.monotonic() - began) / records * 1e6, "µs")
    return cpu_s
