"""`memory`: the peak of a process that reads everything for the first time, and how it grows with four times as much.

Then the same of a whole first pass, a real `outbook sync` that reads both sides and brings everybody over.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from tests.bench.report import Findings
from tests.bench.site import ROOT, site
from tests.bench.spent import spent

RECORDS = 100_000
TIMES = 4
A_PERSON = 2.92
"""Records in the mirror for each seeded person: prospects, states, tasks and people."""
WITHIN_S = 3600.0


def run(scale: float) -> Findings:
    """Read the smaller and the larger world, then make a pass over each, always in a fresh process."""
    small = _peak(round(RECORDS * scale / A_PERSON))
    large = _peak(round(RECORDS * scale * TIMES / A_PERSON))
    found = Findings({"records": small["read"], "records in the larger": large["read"]})
    found.tell("reading: peak memory before the first page", small["before"], "MB")
    found.tell("reading: peak memory", small["after"], "MB", most=110)
    found.tell("reading: peak memory of the larger", large["after"], "MB", most=110)
    found.tell("reading: growth", large["after"] / small["after"], "×", most=1.25)
    (small_mb, small_n), (large_mb, large_n) = (
        _pass(round(RECORDS * scale * times / A_PERSON)) for times in (1, TIMES)
    )
    found.tell(f"a whole first pass, {small_n:,} people written: peak memory", small_mb, "MB", most=110)
    found.tell(f"a whole first pass, {large_n:,} people written: peak memory", large_mb, "MB", most=110)
    found.tell("a whole first pass: growth", large_mb / small_mb, "×", most=1.25)
    found.notes.append("reading: every stream for the first time in our own rooms, applying not in it")
    found.notes.append(
        "a whole first pass: `outbook sync`, reading, planning, writing and its own echoes; resident, by the kernel"
    )
    return found


def _peak(people: int) -> dict[str, Any]:
    with site(people) as here:
        command = [sys.executable, "-m", "tests.bench.measured", str(here.directory), "poll"]
        done = subprocess.run(
            command, cwd=ROOT, input=json.dumps(here.environ) + "\n", capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise SystemExit(f"bench: {done.stderr[-1000:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _pass(people: int) -> tuple[float, int]:
    """Make a first pass in a real process; return its peak in MB and how many people it wrote."""
    with site(people) as here:
        env = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "OUTBOOK_LOG_LEVEL": "ERROR", **here.environ}
        command = [sys.executable, "-m", "worker", "sync", "--json", "--wait", "60"]
        out = here.directory / "report.json"
        took = spent(command, env=env, place=here.directory, out=out, within_s=WITHIN_S)
        crm = json.loads(out.read_text())["crm"]
    return took.peak_mb, crm["created"] + crm["updated"]
