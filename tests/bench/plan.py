"""`plan`: what would be written for everybody, from a full mirror, no vendor asked."""

from __future__ import annotations

import resource
import time

from tests.bench.report import Findings
from tests.bench.site import poll_all, site
from worker.core.records import Kind
from worker.store import mirror
from worker.sync import planning

PEOPLE = 100_000
IN_SEEDED = 0.9
"""The share of the seeded people who are in Outreach."""


def run(scale: float) -> Findings:
    """Read everybody into the mirror, then plan for all of them."""
    with site(round(PEOPLE * scale / IN_SEEDED)) as here, here.runtime() as on:
        poll_all(on)
        with on.store.read() as db:
            people = mirror.extent(db, Kind.PROSPECT)[0]
        began, at = _cpu(), time.monotonic()
        told = planning.plan_all(on.applier(), every=True)
        wall_s, cpu_s = time.monotonic() - at, _cpu() - began
    found = Findings({"prospects": people})
    found.tell("looked at", told.looked_at)
    found.tell("people who would be written", told.total.crm["created"] + told.total.crm["updated"])
    found.tell("wall time", wall_s, "s")
    found.tell("CPU, all processes", cpu_s, "s")
    found.tell("CPU per prospect", cpu_s / people * 1e6, "µs")
    share = planning.PROCESSES if people > planning.ALONE else 1
    found.notes.append(f"in {share} process(es); above {planning.ALONE:,} prospects two share the work")
    return found


def _cpu() -> float:
    """Return the processor seconds of this process and of the children that have ended."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(told.ru_utime + told.ru_stime for told in map(resource.getrusage, whose))
