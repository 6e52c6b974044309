"""`fresh`: how long after a change in Outreach the CRM shows it, through real processes: broker, worker, beat."""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.report import Findings
from tests.celery.rig import Rig, rig
from worker import embedded

PEOPLE, CHANGES, POLL_S = 20, 200, 2.0
LATE_S = 5.0
"""What may come on top of the poll interval."""
PATIENCE_S = 90.0


def run(scale: float) -> Findings:
    """Let one state after the other change, then one opt-out after the other, and wait for each."""
    changes = max(4, round(CHANGES * scale))
    found = Findings({"changes": changes, "s between polls": POLL_S})
    with tempfile.TemporaryDirectory(prefix="outbook-bench-") as name, Path(os.devnull).open("w") as nowhere:
        place = Path(name)
        (place / "broker").mkdir()
        broker = embedded.start_broker(place / "broker", out=nowhere)
        try:
            with rig(place, broker.url) as made:
                _measure(found, made, changes)
        finally:
            broker.stop()
    found.notes.append(
        "from the save in Outreach to the value in the simulated CRM, one at a time, nothing else waiting"
    )
    found.notes.append("the simulators, two workers, beat and the broker share the cores; not measured: by webhook")
    return found


def _measure(found: Findings, made: Rig, changes: int) -> None:
    made.environ |= {"OUTBOOK_POLL_SECONDS": str(int(POLL_S)), "OUTBOOK_LOG_LEVEL": "WARNING"}
    people = max(PEOPLE, changes)
    states = {}
    for number in range(1, people + 1):
        made.prospect(number, 1)
        states[number] = made.states_of(number)[0]
    first = made.start("sync")
    assert first.popen.wait(PATIENCE_S) == 0, made.words()
    rows: Any = made.crm.world
    held = {int(one["cf_person_outreach_id"]): rows.tables["person"].rows[one["id"]] for one in made.people()}
    made.worker("--queues", "apply,poll,slow")
    made.worker("--queues", "optout")
    made.start("beat")
    _wait(made.primed)
    chance = random.Random(1)
    paused, opted = [], []
    for number in range(1, changes + 1):
        time.sleep(chance.uniform(0, POLL_S))
        told = {"state": "paused", "stateChangedAt": made.outreach.clock.now().isoformat()}
        made.edit_outreach(op="set", type="sequenceState", id=states[number], attributes=told)
        paused.append(_wait(partial(_shows, held[number], "cf_person_sequence_state", "Active – Paused")))
    for number in range(1, changes // 2 + 1):
        time.sleep(chance.uniform(0, POLL_S))
        made.edit_outreach(op="opt_out", prospect=number, how="manual")
        opted.append(_wait(partial(_shows, held[number], "no_email_soliciting", True)))
    for what, seconds in (("a state", paused), ("an opt-out", opted)):
        cuts = statistics.quantiles(seconds, n=20, method="inclusive")
        found.tell(f"{what}: p50", statistics.median(seconds), "s")
        found.tell(f"{what}: p95", cuts[-1], "s", most=POLL_S + LATE_S)
        found.tell(f"{what}: worst", max(seconds), "s")


def _shows(row: Any, column: str, value: object) -> bool:  # noqa: ANN401 - a row of the simulator
    return bool(row.values.get(column) == value)


def _wait(claim: Callable[[], bool]) -> float:
    """Return after how many seconds the claim held."""
    began = time.monotonic()
    while not claim():
        if time.monotonic() - began > PATIENCE_S:
            raise SystemExit("bench: a change did not arrive")
        time.sleep(0.02)
    return time.monotonic() - began
