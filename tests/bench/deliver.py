"""`deliver`: changed people to a CRM of 150 ms latency, against one request per record and against what batches allow.

K connections, batches of B, a latency of L and c seconds a record allow K·B/(L + c·B) records a second.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

from tests.bench.report import Findings
from tests.bench.site import ROOT, Site, one_pass, polled, site
from worker.bootstrap import Runtime
from worker.core.records import Kind
from worker.remote.workbooks import Applied, Write
from worker.store import links, mirror, outbox

PEOPLE = 10_000
CONNECTIONS = (1, 2, 4)
BATCH = outbox.BATCH
LATENCY_S = 0.15
BATCHES, SINGLY = 3, 30


def run(scale: float) -> Findings:
    """Deliver as many changes over one, two and four connections; then measure what the CRM alone allows."""
    people = max(600, round(PEOPLE * scale))
    found = Findings({"people": people, "ms of latency": LATENCY_S * 1000})
    with site(people) as here, here.runtime() as on:
        one_pass(on)
        one_pass(on)
        pairs = _linked(on)
        told = {}
        for connections in CONNECTIONS:
            _retitle(here, list(pairs), f"Chair {connections}")
            polled(on, Kind.PROSPECT)
            here.crm.control("latency", {"seconds": LATENCY_S})
            told[connections] = _deliver(here, connections, len(pairs))
            here.crm.control("latency", {"seconds": 0})
            one_pass(on)
        people_ids = sorted(pairs.values())
        batches = [people_ids[start : start + BATCH] for start in range(0, BATCHES * BATCH, BATCH)]
        plain_s = min(_write(on, one) for one in batches)
        here.crm.control("latency", {"seconds": LATENCY_S})
        singles = people_ids[BATCHES * BATCH :][:SINGLY]
        each_s = sum(_write(on, [one]) for one in singles) / len(singles)
    _tell(found, told, plain_s, each_s)
    found.size["linked people"] = len(pairs)
    return found


def _tell(found: Findings, told: dict[int, tuple[float, float]], plain_s: float, each_s: float) -> None:
    found.tell("c: a record of a bare batch, simulator and client", plain_s / BATCH * 1000, "ms")
    found.tell(f"one bare request per record, {SINGLY} of them", 1 / each_s, "/s")
    for connections, (rate, cpu_s) in told.items():
        most = connections * BATCH / (LATENCY_S + plain_s)
        least = 60.0 if connections == CONNECTIONS[-1] else None
        found.tell(f"{connections} at once: delivered", rate, "/s")
        found.tell(f"{connections} at once: against one request per record", rate * each_s, "×", least=least)
        found.tell(f"{connections} at once: of K·B/(L+c·B)", rate / most, least=0.75)
        found.tell(f"{connections} at once: CPU per record, ours", cpu_s * 1e6, "µs")
    cpu_s = told[1][1]
    request_s, ours_s = LATENCY_S + plain_s, cpu_s * BATCH
    found.tell(
        "our CPU for a batch, against its request, which it fits into while that is on its way", ours_s / request_s
    )
    found.notes.append("from claim to receipt, planning and storing included; K is a process each, as in a worker")
    found.notes.append(
        "the simulator answers one write at a time beside its latency, on the same cores: K·c is not to be had"
    )


def _linked(on: Runtime) -> dict[int, int]:
    """Return the pairs of linked ids."""
    with on.store.read() as db:
        found = links.load(db, Kind.PROSPECT, mirror.living(db, Kind.PROSPECT)).values()
    return {one.outreach_id: one.crm_id for one in found if one.crm_id}


def _retitle(here: Site, prospects: Sequence[int], title: str) -> None:
    told = {"title": title}
    here.outreach.edit(*({"op": "set", "type": "prospect", "id": one, "attributes": told} for one in prospects))


def _deliver(here: Site, connections: int, people: int) -> tuple[float, float]:
    """Apply what is due in as many processes; return records a second, and our CPU seconds a record."""
    command = [sys.executable, "-m", "tests.bench.measured", str(here.directory), "deliver"]
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(connections)
        ]
        for one in started:
            _say(one, json.dumps(here.environ))
        assert [_hear(one) for one in started] == ["ready"] * connections
        began = time.monotonic()
        for one in started:
            _say(one, "go")
        told = [json.loads(_hear(one)) for one in started]
        seconds = time.monotonic() - began
    return people / seconds, sum(one["cpu"] for one in told) / people


def _say(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _write(on: Runtime, ids: Sequence[int]) -> float:
    """Return the seconds of one bare request that retitles some people, each for the first time."""
    with on.store.read() as db:
        known = mirror.load(db, Kind.PERSON, ids)
    writes = [Write(one, known[one].version or 0, {"person_job_title": "Bare"}) for one in ids]
    began = time.monotonic()
    told = on.remotes.crm.write(Kind.PERSON, writes, reference_field=on.mapping.reference)
    seconds = time.monotonic() - began
    assert all(isinstance(one, Applied) for one in told), told[0]
    return seconds
