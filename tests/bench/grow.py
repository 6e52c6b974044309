"""`grow`: what a changed person costs, from the poll to the receipt, beside mirrors of ten thousand records to a million.

Five hundred people are real to the simulators; the rest of each mirror is copies of them, made in the store alone.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench import crowd
from tests.bench.crew import postgres
from tests.bench.report import Findings
from tests.bench.site import one_pass, polled, seconds_of, site
from worker.core.records import Kind
from worker.sync import apply

SIZES = (10_000, 100_000, 1_000_000)
PEOPLE, CHANGED, ROUNDS = 800, 400, 3
MOST = 1.25
"""How much dearer a change may be beside the largest mirror than beside the smallest: noise and deeper trees, no more."""


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU of this process for one changed person, in microseconds, in a store with so many mirrored records."""

    mirrored: int
    poll_us: float
    apply_us: float


def run(scale: float) -> Findings:
    """Let as many people change beside each mirror, on either database, and compare the best of three."""
    found = Findings({"changed people": CHANGED})
    for name in ("SQLite", "Postgres"):
        with tempfile.TemporaryDirectory(prefix="outbook-bench-") as place:
            told = [_one(name, Path(place), number, round(size * scale)) for number, size in enumerate(SIZES)]
        for one in told:
            found.tell(f"{name}, {one.mirrored:,} mirrored: CPU of a poll per changed person", one.poll_us, "µs")
            found.tell(f"{name}, {one.mirrored:,} mirrored: CPU of applying per changed person", one.apply_us, "µs")
        least, largest = told[0], told[-1]
        found.tell(
            f"{name}: a poll beside the largest against the smallest", largest.poll_us / least.poll_us, "×", most=MOST
        )
        found.tell(
            f"{name}: applying beside the largest against the smallest",
            largest.apply_us / least.apply_us,
            "×",
            most=MOST,
        )
    found.notes.append("CPU is the client's, with Postgres that of the server not in it; the best of three rounds")
    found.notes.append(
        "two thirds of a mirror are copies of living, linked people, with addresses, links, latches and history"
    )
    return found


def _one(name: str, place: Path, number: int, records: int) -> Cost:
    """Return what a change costs beside so many records."""
    if name == "SQLite":
        return _measured(f"sqlite:///{place / f'{number}.db'}", records)
    with postgres() as url:
        return _measured(url, records)


def _measured(url: str, records: int) -> Cost:
    with site(PEOPLE) as here, here.runtime(OUTBOOK_DATABASE_URL=url) as on:
        one_pass(on)
        one_pass(on)
        mirrored = crowd.sizes(on.store)["mirror"]
        if records > mirrored:
            crowd.multiply(on.store, max(2, round(records / mirrored)), on.applier().now(), others=False)
        chosen = sorted(crowd.linked(on.store))[:CHANGED]
        best_poll = best_apply = float("inf")
        for turn in range(ROUNDS):
            told = {"title": f"Chair {turn}"}
            here.outreach.edit(*({"op": "set", "type": "prospect", "id": one, "attributes": told} for one in chosen))
            began = time.process_time()
            polled(on, Kind.PROSPECT)
            best_poll = min(best_poll, seconds_of(began))
            began = time.process_time()
            while apply.apply_people(on.applier()).claimed:
                pass
            best_apply = min(best_apply, seconds_of(began))
        return Cost(crowd.sizes(on.store)["mirror"], best_poll / CHANGED * 1e6, best_apply / CHANGED * 1e6)
