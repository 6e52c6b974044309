"""`memory`: the peak of a process that reads everything for the first time, and how it grows with four times as much."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.bench.report import Findings
from tests.bench.site import ROOT, site

RECORDS = 100_000
TIMES = 4
A_PERSON = 2.92
"""Records in the mirror for each seeded person: prospects, states, tasks and people."""


def run(scale: float) -> Findings:
    """Read the smaller and the larger world, each in a fresh process."""
    small = _peak(round(RECORDS * scale / A_PERSON))
    large = _peak(round(RECORDS * scale * TIMES / A_PERSON))
    found = Findings({"records": small["read"], "records in the larger": large["read"]})
    found.tell("peak memory before the first page", small["before"], "MB")
    found.tell("peak memory", small["after"], "MB", most=110)
    found.tell("peak memory of the larger", large["after"], "MB", most=110)
    found.tell("growth", large["after"] / small["after"], "×", most=1.25)
    found.notes.append("reading every stream for the first time in the foreground process; applying is not in it")
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
