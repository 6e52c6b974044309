"""What operators do at the wrong moment (facts, delivery D.3: F50), and everything at random (F53)."""

from __future__ import annotations

import time

import sqlalchemy as sa

from tests.fault import broker_scenarios, network_scenarios, process_scenarios, store_scenarios
from tests.fault.rig import Rig, Unsettled
from tests.fault.scene import Scenario, Scene
from worker.store.runs import RUN

PASSES, PASSES_S = ("sync1", "sync2"), 60.0
PATIENCE_S = 120.0
REST_S = 20.0
"""How often the soak does something else."""
SOAKED = 40_000
"""So many people are changed 50,000 times: two in three of them twice or so (``edits.draw``)."""


def operators(scene: Scene) -> None:
    """Two passes by hand at once, beside the workers; pausing and resuming; everything sent out again twice, at one moment."""
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
        _at_once(rig, "retry1", "retry2", "resync1", "resync2")


def _at_once(rig: Rig, *names: str) -> None:
    """Run verbs at the same moment, as whoever clicks twice does; each has to end well, with or without failures found."""
    rig.start(*names)
    codes = {name: rig.processes[name].popen.wait(PATIENCE_S) for name in names}
    if any(code not in {0, 3} for code in codes.values()):
        raise Unsettled(f"F50 the same verbs at once end with {codes}")


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
        short_of="a double click in the console: there is none, so the same verbs are run at the same moment",
    ),
    Scenario(
        "F53",
        "a soak: something else goes wrong every 20 s",
        nemesis,
        long=True,
        told=SOAKED,
        in_short="6 h and 50,000 changes; here --minutes",
    ),
]
