"""`peers`: the same records from the same simulated Outreach into local state, by Outbook and by programs that others use.

Each is a process from its start to its end: what it imports, opens and writes is in its figures, the simulator is not.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench import rivals
from tests.bench.report import Findings
from tests.bench.rivals import Rival
from tests.bench.site import ROOT, Site, site
from tests.bench.spent import Failed, Spent, spent

STATES = 100_000
IN_SEEDED = 0.9
"""The share of the seeded people who are in Outreach."""
CHANGED = 0.01
"""The share of the states that change before the second run."""
LEAST = 8.0
WITHIN_S = 420.0
OURS = "outbook"
STREAMS = {
    "sequences": "sequences",
    "sequence_steps": "sequenceSteps",
    "prospects": "prospects",
    "sequence_states": "sequenceStates",
    "tasks": "tasks",
}
"""The streams of a whole pass over Outreach, as the tap calls them and as Outreach does."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of one program: what it cost, its requests, how many records it says it has brought."""

    spent: Spent
    requests: int
    read: int


Told = dict[str, Ran | str]
"""By program what its run was, or why there was none."""


def run(scale: float) -> Findings:
    """Let each read everything, then what has changed; then ours and the tap read five streams instead of one."""
    wanted = round(STATES * scale)
    found = Findings({"sequence states": wanted})
    with site(round(wanted / IN_SEEDED), states=1, people_in_crm=0) as here:
        there = [one for one in rivals.RIVALS if _is_there(one, found)]
        first: Told = {OURS: _ours(here, here.directory / "first", "sequenceStates")}
        first |= {one.name: _theirs(one, here, here.directory / "first") for one in there}
        changed = _edit(here, round(wanted * CHANGED))
        again: Told = {OURS: _ours(here, here.directory / "first", "sequenceStates")}
        again |= {one.name: _theirs(one, here, here.directory / "first") for one in there}
        whole: Told = {OURS: _whole(here)}
        if rivals.TAP in there:
            whole[rivals.TAP.name] = _theirs(rivals.TAP, here, here.directory / "whole", *STREAMS)
    _tell(found, "all states", first, least=LEAST)
    _tell(found, f"then {changed} changed", again)
    _tell_net(found, first, again)
    _tell(found, "five streams, a real `outbook sync`", whole)
    found.notes += [
        "CPU: user and system seconds of the process and its children, from start to end, by the kernel's account",
        "ours: into SQLite, indexed, with a change opened for each prospect; dlt merges into DuckDB",
        "tap-outreach and airbyte-cdk only print JSON into a file: what would store that is not in their figures",
        f"each asks for pages of {rivals.PAGE} (the tap's own default is 250) and renews no state but its own",
        "five streams: `outbook sync --prospect … --dry-run` reads all of Outreach, plans one; the CRM is empty",
    ]
    return found


def _is_there(rival: Rival, found: Findings) -> bool:
    try:
        rivals.environment(rival)
    except rivals.LeftOut as why:
        found.notes.append(f"left out: {rival.name} ({rival.requirement}): {why}")
        return False
    return True


def _tell(found: Findings, what: str, told: Told, *, least: float | None = None) -> None:
    ours = told[OURS]
    assert isinstance(ours, Ran), ours
    for name, ran in told.items():
        if isinstance(ran, str):
            found.notes.append(f"left out: {name}, {what}: {ran}")
            continue
        found.tell(f"{what}: {name}: CPU", ran.spent.cpu_s, "s")
        found.tell(f"{what}: {name}: wall time", ran.spent.wall_s, "s")
        found.tell(f"{what}: {name}: peak memory", ran.spent.peak_mb, "MB")
        found.tell(f"{what}: {name}: requests", ran.requests)
        found.tell(f"{what}: {name}: records", ran.read)
        if name != OURS:
            wanted = least if name == rivals.TAP.name else None
            found.tell(f"{what}: CPU of {name} against ours", ran.spent.cpu_s / ours.spent.cpu_s, "×", least=wanted)


def _tell_net(found: Findings, first: Told, again: Told) -> None:
    """Tell what the states alone took: a first run less one that starts up and finds next to nothing."""
    net = {}
    for name, ran in first.items():
        other = again[name]
        if isinstance(ran, Ran) and isinstance(other, Ran):
            net[name] = (ran.spent.cpu_s - other.spent.cpu_s) / (ran.read - other.read) * 1e6
    for name, each_us in net.items():
        found.tell(f"without starting up: {name}: CPU per state", each_us, "µs")
        if name != OURS:
            found.tell(f"without starting up: CPU of {name} against ours", each_us / net[OURS], "×")


def _edit(here: Site, count: int) -> int:
    """Let some states change, and return how many."""
    count = max(10, count)
    told = {"state": "paused", "stateChangedAt": "2026-11-20T09:00:00.000Z"}
    here.outreach.edit(
        *({"op": "set", "type": "sequenceState", "id": one, "attributes": told} for one in range(1, count + 1))
    )
    return count


def _ours(here: Site, place: Path, *streams: str) -> Ran:
    command = [sys.executable, "-m", "tests.bench.ours", *streams]
    return _ran(here, place / OURS, command, lambda out: int(out.read_text()))


def _whole(here: Site) -> Ran:
    command = [sys.executable, "-m", "worker", "sync", "--prospect", "2", "--dry-run", "--json"]

    def read(out: Path) -> int:
        return sum(json.loads(out.read_text())["polled"][stream] for stream in STREAMS.values())

    return _ran(here, here.directory / "whole" / OURS, command, read)


def _ran(here: Site, place: Path, command: list[str], read: Callable[[Path], int]) -> Ran:
    """Run ours."""
    place.mkdir(parents=True, exist_ok=True)
    env = {
        "PATH": os.defpath,
        "PYTHONPATH": str(ROOT),
        **replace(here, directory=place).environ,
        "OUTBOOK_LOG_LEVEL": "WARNING",
    }
    here.outreach.calls()
    took = spent(command, env=env, place=place, out=place / "out", within_s=WITHIN_S)
    return Ran(took, len(here.outreach.calls()), read(place / "out"))


def _theirs(rival: Rival, here: Site, where: Path, *streams: str) -> Ran | str:
    """Run a rival; the words say why it came to nothing."""
    place = where / rival.name
    place.mkdir(parents=True, exist_ok=True)
    binaries, out, env = rivals.environment(rival), place / "out", rivals.surroundings(place)
    command = rival.prepare(binaries, place, here.outreach.url, streams or ("sequence_states",))
    here.outreach.calls()
    try:
        took = spent(command, env=env, place=place, out=out, within_s=WITHIN_S)
    except Failed as why:
        return str(why)
    ran = Ran(took, len(here.outreach.calls()), rival.read(out))
    rival.keep(out, place)
    return ran
