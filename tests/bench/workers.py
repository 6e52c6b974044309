"""`workers`: one, two and four worker processes share a backlog over one Postgres and one broker; the CRM's latency binds.

On a machine of few cores our own CPU binds long before the latency that a real CRM has, so the simulated one is made slow
enough; how slow, is told. What has been written is counted by the CRM's journal, not by ours.
"""

from __future__ import annotations

import time
from collections import Counter

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
LATENCY_S = 3.0
"""How long the CRM takes over each request; twenty times that of the other benches, so that two cores are not what binds."""


def run(scale: float) -> Findings:
    """Let as many people change for each number of workers, and let those deliver them."""
    people = max(LEAST, round(PEOPLE * scale))
    found = Findings({"people": people, "ms of latency": LATENCY_S * 1000})
    rates: dict[int, float] = {}
    with postgres() as url, site(people) as here, here.runtime(OUTBOOK_DATABASE_URL=url) as on:
        one_pass(on)
        one_pass(on)
        chosen = sorted(crowd.linked(on.store))
        found.size["linked people"] = len(chosen)
        with crew(here.environ | {"OUTBOOK_DATABASE_URL": url, "OUTBOOK_LOG_LEVEL": "WARNING"}) as hands:
            for number in WORKERS:
                rates[number] = _shared(found, here, on, hands, chosen, number)
    found.tell("throughput, two workers against one", rates[2] / rates[1], "×", least=1.7)
    found.tell("throughput, four workers against one", rates[4] / rates[1], "×")
    found.notes.append(
        "a worker is `outbook worker --queues apply --concurrency 1`; each has its own connections to everything"
    )
    found.notes.append(
        f"the sweep's {RINGS} messages begin it; the simulators, Postgres and the broker share the cores"
    )
    return found


def _shared(found: Findings, here: Site, on: Runtime, hands: Crew, chosen: list[int], number: int) -> float:
    """Let so many workers deliver everybody's new title; return people a second."""
    told = {"title": f"Chair of {number}"}
    here.outreach.edit(*({"op": "set", "type": "prospect", "id": one, "attributes": told} for one in chosen))
    polled(on, Kind.PROSPECT)
    for _ in range(number):
        hands.worker("--queues", "apply", "--concurrency", "1")
    here.crm.calls()
    here.crm.control("latency", {"seconds": LATENCY_S})
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
    what = f"{number} worker{'s' if number > 1 else ''}"
    found.tell(f"{what}: people delivered", len(chosen) / seconds, "/s")
    found.tell(f"{what}: people written more than once", sum(times > 1 for times in written.values()), most=0)
    found.tell(f"{what}: people not written", len(chosen) - len(written), most=0)
    found.tell(f"{what}: CPU per person, all workers", spent_s / len(chosen) * 1e6, "µs")
    found.tell(f"{what}: messages per 1,000 people", sent / len(chosen) * 1000)
    one_pass(on)
    return len(chosen) / seconds


def _due(on: Runtime) -> int:
    """Return how many changes of people are open."""
    with on.store.read() as db:
        which = outbox.CHANGE.c.kind == Kind.PROSPECT
        return int(db.execute(sa.select(sa.func.count()).select_from(outbox.CHANGE).where(which)).scalar_one())
