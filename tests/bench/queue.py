"""`queue`: what a changed record costs between the doorbell and the settled outbox, through a real broker and a real worker.

First with nothing else in it, by workers that only claim and settle. Then messages are counted where the work is done, too:
one carries many batches while there is a backlog, and each single change has its own where there is none.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from tests.bench import crowd, settling, site
from tests.bench.crew import Crew, crew, postgres
from tests.bench.report import Findings
from tests.bench.site import Site, one_pass, polled
from worker import bootstrap, config
from worker.bootstrap import Runtime
from worker.core.records import Kind
from worker.store import cursors, outbox
from worker.store.database import Store
from worker.store.outbox import Lane
from worker.tasks import RINGS

RECORDS = 100_000
PEOPLE, SINGLE = 10_000, 10
NOWHERE = {
    "OUTBOOK_OUTREACH__BASE_URL": "http://127.0.0.1:9",
    "OUTBOOK_OUTREACH__ACCESS_TOKEN": "sim-access",
    "OUTBOOK_WORKBOOKS__BASE_URL": "http://127.0.0.1:9",
    "OUTBOOK_WORKBOOKS__API_KEY": "sim-key",
    "OUTBOOK_ALLOW_INSECURE_HOSTS": "1",
    "OUTBOOK_SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "OUTBOOK_LOG_LEVEL": "WARNING",
}


def run(scale: float) -> Findings:
    """Take as many changes through the queue over either database, then let real work be rung for."""
    records = round(RECORDS * scale)
    found = Findings({"records": records})
    with tempfile.TemporaryDirectory(prefix="outbook-bench-") as name, postgres() as url:
        _alone(found, "SQLite", f"sqlite:///{Path(name) / 'store.db'}", Path(name), records)
        _alone(found, "Postgres", url, Path(name), records)
    _with_work(found, max(500, round(PEOPLE * scale)))
    found.notes.append(
        "CPU of the worker's two processes and of the broker by the kernel's account; not that of Postgres"
    )
    found.notes.append("what a process does once, at its first message, is told by itself: it is no record's")
    found.notes.append("claims alone: the same three transactions a hundred, in one process without messages")
    return found


def _alone(found: Findings, name: str, url: str, place: Path, records: int) -> None:
    environ = NOWHERE | {"OUTBOOK_DATABASE_URL": url, "OUTBOOK_DATA_DIR": str(place)}
    with _opened(environ, place) as on, crew(environ) as hands:
        _open(on.store, records)
        began = time.process_time()
        while settling.settle(on.applier()).claimed:
            pass
        claims_us = site.seconds_of(began) / records * 1e6
        hands.worker("--queues", "apply", "--concurrency", "1", module="tests.bench.settling")
        first_s = _first(on.store, hands)
        _open(on.store, records)
        given, (ours, brokers) = hands.messages(), hands.cpu_s()
        hands.ring("outbook.apply", times=RINGS)
        wall_s = hands.wait_for(lambda: not _left(on.store))
        ours_us, brokers_us = (
            (after - before) / records * 1e6 for after, before in zip(hands.cpu_s(), (ours, brokers), strict=True)
        )
        found.tell(f"{name}: CPU per record, worker and broker", ours_us + brokers_us, "µs", most=80)
        found.tell(f"{name}: of these claims and settles alone", claims_us, "µs")
        found.tell(f"{name}: of these messages, taken and sent on", ours_us - claims_us, "µs")
        found.tell(f"{name}: of these the broker", brokers_us, "µs")
        found.tell(f"{name}: CPU of a process' first message, which opens everything", first_s * 1e3, "ms")
        found.tell(f"{name}: messages per 1,000 records", (hands.messages() - given) / records * 1000)
        found.tell(f"{name}: records settled by one process", records / wall_s, "/s")


def _first(store: Store, hands: Crew) -> float:
    """Let the worker do its first record, and return what that took it."""
    before = hands.cpu_s()[0]
    _open(store, 1)
    hands.ring("outbook.apply")
    hands.wait_for(lambda: not _left(store))
    time.sleep(1)
    return hands.cpu_s()[0] - before


def _opened(environ: Mapping[str, str], place: Path) -> AbstractContextManager[Runtime]:
    settings = config.load(dict(environ), place)
    return bootstrap.runtime(settings, bootstrap.read_mapping(settings.mapping))


def _open(store: Store, records: int) -> None:
    for start in range(1, records + 1, 1000):
        with store.write() as db:
            ids = range(start, min(start + 1000, records + 1))
            outbox.open_changes(db, Kind.PROSPECT, ids, lane=Lane.EDIT, now=bootstrap.now())


def _left(store: Store) -> int:
    with store.read() as db:
        return int(db.execute(sa.select(sa.func.count()).select_from(outbox.CHANGE)).scalar_one())


def _with_work(found: Findings, people: int) -> None:
    """Count messages where people are really written: many at once, then one at a time."""
    with site.site(people) as here, here.runtime() as on:
        one_pass(on)
        one_pass(on)
        with crew(here.environ | {"OUTBOOK_LOG_LEVEL": "WARNING", "OUTBOOK_POLL_SECONDS": "1"}) as hands:
            chosen = sorted(crowd.linked(on.store))
            _retitle(here, chosen, "Chair")
            polled(on, Kind.PROSPECT)
            hands.worker("--queues", "apply,poll,optout", "--concurrency", "1")
            given = hands.messages()
            ours, brokers = hands.cpu_s()
            hands.ring("outbook.apply", times=RINGS)
            hands.wait_for(lambda: not _left(on.store))
            after = hands.cpu_s()
            found.size["people written"] = len(chosen)
            found.tell("a backlog: messages per 1,000 people written", (hands.messages() - given) / len(chosen) * 1000)
            found.tell("a backlog: CPU per person, worker, all work in it", (after[0] - ours) / len(chosen) * 1e6, "µs")
            found.tell("a backlog: CPU per person, broker", (after[1] - brokers) / len(chosen) * 1e6, "µs")
            _one_by_one(found, here, on, hands, chosen[:SINGLE])


def _one_by_one(found: Findings, here: Site, on: Runtime, hands: Crew, chosen: list[int]) -> None:
    """Let one person change after the other, each noticed by a poll that is rung for."""
    given = hands.messages()
    for one in chosen:
        _retitle(here, [one], "Seat")
        with on.store.write() as db:
            db.execute(sa.update(cursors.CURSOR).values(polled_at=bootstrap.now() - timedelta(hours=1)))
        before = hands.messages()
        hands.ring("outbook.poll", Kind.PROSPECT.value)
        hands.wait_for(lambda: hands.messages() >= before + 2 and not _left(on.store))  # noqa: B023 - it is not kept
    time.sleep(1)
    sent = hands.messages() - given - len(chosen)
    found.tell("idle: messages per changed person, beside the poll's own", sent / len(chosen))


def _retitle(here: Site, prospects: list[int], title: str) -> None:
    told = {"title": title}
    here.outreach.edit(*({"op": "set", "type": "prospect", "id": one, "attributes": told} for one in prospects))
