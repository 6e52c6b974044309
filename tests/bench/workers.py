"""`workers`: one, two and four worker processes share a backlog over one Postgres and one broker; the CRM's latency binds.

On a machine of few cores our own CPU binds long before the latency that a real CRM has, so the simulated one is made so slow
that it does not; how slow, is told. What has been written is counted by the CRM's journal, not by ours.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

import sqlalchemy as sa

from tests.bench import crowd
from tests.bench.crew import Crew, crew, postgres
from tests.bench.report import Findings
from tests.bench.site import Site, one_pass, polled, site
from worker.bootstrap import Runtime
from worker.core.records import Kind
from worker.store import outbox
from worker.tasks import RINGS

PEOPLE, LEAST = 10_000, 1_500
WORKERS = (1, 2, 4)
OUR_SHARE = 6
"""So many times longer than all that we and the simulators do for a batch the CRM lets it wait, so that this is what binds."""
LEAST_S, MOST_S = 0.6, 10.0
EVEN = max(WORKERS) * outbox.BATCH
"""Every number of workers has as many batches each: a last one for somebody alone would be no measure of them all."""


def run(scale: float) -> Findings:
    """Let as many people change for each number of workers, and let those deliver them."""
    people = max(LEAST, round(PEOPLE * scale))
    found = Findings({"people": people})
    rates: dict[int, float] = {}
    with postgres() as url, site(people) as here, here.runtime(OUTBOOK_DATABASE_URL=url) as on:
        one_pass(on)
        one_pass(on)
        everybody = sorted(crowd.linked(on.store))
        chosen = everybody[: len(everybody) // EVEN * EVEN]
        found.size["linked people"] = len(chosen)
        with crew(here.environ | {"OUTBOOK_DATABASE_URL": url, "OUTBOOK_LOG_LEVEL": "WARNING"}) as hands:
            bare = _shared(found, here, on, hands, chosen, _Turn(1, 0.0))
            latency_s = min(MOST_S, max(LEAST_S, OUR_SHARE * outbox.BATCH / bare))
            found.size["ms of latency"] = round(latency_s * 1000)
            for number in WORKERS:
                rates[number] = _shared(found, here, on, hands, chosen, _Turn(number, latency_s))
    found.tell("throughput, two workers against one", rates[2] / rates[1], "×", least=1.7)
    found.tell("throughput, four workers against one", rates[4] / rates[1], "×")
    found.notes.append(
        "a worker is `outbook worker --queues apply --concurrency 1`; each has its own connections to everything"
    )
    found.notes.append(
        f"the sweep's {RINGS} messages begin it; the simulators, Postgres and the broker share the cores"
    )
    return found


@dataclass(frozen=True, slots=True)
class _Turn:
    """So many workers at once, and the CRM's latency."""

    workers: int
    latency_s: float

    def __str__(self) -> str:
        """Return it in words."""
        told = f"{self.workers} worker{'s' if self.workers > 1 else ''}"
        return told if self.latency_s else f"{told}, no latency"


def _shared(found: Findings, here: Site, on: Runtime, hands: Crew, chosen: list[int], turn: _Turn) -> float:
    """Let so many workers deliver everybody's new title; return people a second."""
    told = {"title": f"Chair of {turn}"}
    here.outreach.edit(*({"op": "set", "type": "prospect", "id": one, "attributes": told} for one in chosen))
    polled(on, Kind.PROSPECT)
    hands.hush()
    for _ in range(turn.workers):
        hands.worker("--queues", "apply", "--concurrency", "1")
    here.crm.calls()
    here.crm.control("latency", {"seconds": turn.latency_s})
    given, (cpu_s, _) = hands.messages(), hands.cpu_s()
    began = time.monotonic()
    hands.ring("outbook.apply", times=RINGS)
    hands.wait_for(lambda: not _due(on))
    seconds = time.monotonic() - began
    spent_s = hands.cpu_s()[0] - cpu_s
    here.crm.control("latency", {"seconds": 0})
    sent = hands.messages() - given
    hands.dismiss()
    written = Counter(
        effect["id"]
        for call in here.crm.calls()
        for effect in call["effect"]
        if effect["type"] == "person" and "person_job_title" in effect["changes"]
    )
    found.tell(f"{turn}: people delivered", len(chosen) / seconds, "/s")
    found.tell(f"{turn}: people written more than once", sum(times > 1 for times in written.values()), most=0)
    found.tell(f"{turn}: people not written", len(chosen) - len(written), most=0)
    found.tell(f"{turn}: CPU per person, all workers", spent_s / len(chosen) * 1e6, "µs")
    found.tell(f"{turn}: messages per 1,000 people", sent / len(chosen) * 1000)
    one_pass(on)
    return len(chosen) / seconds


def _due(on: Runtime) -> int:
    """Return how many changes of people are open."""
    with on.store.read() as db:
        which = outbox.CHANGE.c.kind == Kind.PROSPECT
        return int(db.execute(sa.select(sa.func.count()).select_from(outbox.CHANGE).where(which)).scalar_one())
