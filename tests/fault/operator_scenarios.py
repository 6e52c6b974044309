"""What operators do at the wrong moment (facts, delivery D.3: F50), and everything at random (F53)."""

from __future__ import annotations

import time

import sqlalchemy as sa

from tests.fault import broker_scenarios, network_scenarios, process_scenarios, store_scenarios
from tests.fault.rig import Rig
from tests.fault.scene import Scenario, Scene
from worker.store.runs import RUN

PASSES, PASSES_S = ("sync1", "sync2"), 60.0
REST_S = 20.0
"""How often the soak does something else."""


def operators(scene: Scene) -> None:
    """Two passes by hand at once, beside the workers; everything sent out again twice; pausing and resuming meanwhile."""
    rig = scene.rig
    for name in PASSES:
        if name in rig.processes:
            rig.processes[name].popen.wait(90)
    rig.fault({"match": {"op": "read"}, "kind": "delay", "times": 6, "args": {"seconds": 1}})
    before = _under_way(rig)  # who was killed never ended
    rig.start(*PASSES)
    rig.wait_for(lambda: _under_way(rig) - before == len(PASSES) or _ended(rig), PASSES_S)
    scene.notes["at once"] = max(scene.notes.get("at once", 0), _under_way(rig) - before)
    if scene.wave == 1:
        rig.must("pause")
        rig.must("resume")
    if scene.wave == 2:
        for verb in (("failures", "retry", "--all"), ("resync", "--all")) * 2:
            rig.must(*verb)


def _under_way(rig: Rig) -> int:
    """Return how many passes have begun and not ended."""
    with rig.store() as db:
        going = sa.select(sa.func.count()).select_from(RUN).where(RUN.c.ended_at.is_(None))
        return int(db.execute(going).scalar_one())


def _ended(rig: Rig) -> bool:
    return all(rig.processes[name].popen.poll() is not None for name in PASSES)


def were_at_once(scene: Scene) -> str:
    """Both passes were under way at the same moment, and workers beside them."""
    return "" if scene.notes.get("at once", 0) >= len(PASSES) else "the passes by hand came one after the other"


def nemesis(scene: Scene) -> None:
    """One of all the others, drawn at random, struck once as at its beginning and once as at its end; then all is mended."""
    began = time.monotonic()
    rooms = (process_scenarios, broker_scenarios, store_scenarios, network_scenarios)
    kind = "postgres" if scene.rig.postgres else "sqlite"
    fit = [
        one
        for room in rooms
        for one in room.SCENARIOS
        if kind in one.stores and not (one.calm or one.alone or one.environ or one.disk_mb)
    ]
    chosen = scene.chance.choice(fit)
    scene.notes.setdefault("drawn", []).append(chosen.name)
    mine = Scene(scene.rig, scene.chance, scene.plan, 0, scene.people, scene.since)
    for wave in (0, len(scene.plan.waves) - 1):
        mine.wave = wave
        chosen.strike(mine)
    scene.rig.mend()
    time.sleep(max(0.0, REST_S - (time.monotonic() - began)))


SCENARIOS = [
    Scenario(
        "F50",
        "passes by hand at once, resync and redrive twice, pause, resume",
        operators,
        check=were_at_once,
        short_of="no console",
    ),
    Scenario("F53", "a soak: something else goes wrong every 20 s", nemesis, long=True, short_of="6 h; see --minutes"),
]
