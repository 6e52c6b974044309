"""What goes wrong with our own clocks (facts, delivery D.3: F37); those of the vendors are among the network's."""

from __future__ import annotations

import time
from pathlib import Path

import sqlalchemy as sa

from tests.fault import edits
from tests.fault.edits import Wanted
from tests.fault.invariants import missing
from tests.fault.rig import CLOCKS, ROOT, Rig, Unsettled
from tests.fault.scene import Scenario, Scene
from worker.store.outbox import CHANGE

OFF_S, FLOWS_S, HELD_S = 7_200.0, 60.0, 30.0
PASSER_BY = 9_100_000
"""Of whom no plan knows; one a wave."""
SLOW = {"match": {"op": "write"}, "kind": "delay", "times": 6, "args": {"seconds": 3}}


def clocks_off(scene: Scene) -> None:
    """A worker's clock is two hours ahead, then two behind; then all of ours are ahead, and jump back in mid-run.

    With SQLite all of ours are on one host and have one clock; with Postgres the worker's host is off by itself.

    As they jump, somebody has a write in hand, and is killed with the leases taken ahead of time. Whatever the clocks say,
    who comes in is in the CRM within a minute.
    """
    rig = scene.rig
    rig.fault(SLOW, vendors=("workbooks",))
    time.sleep(scene.chance.uniform(0.2, 1))
    if scene.last:
        _come_in(scene, "jumped back")
        rig.wait_for(lambda: _in_hand(rig) > 0, HELD_S)
        rig.kill("worker", "optout")
        rig.set_clocks(0, *CLOCKS)
        rig.start("worker", "optout")
    elif scene.wave < 2:
        rig.set_clocks((OFF_S, -OFF_S)[scene.wave], *(("worker",) if rig.postgres else CLOCKS))
        _come_in(scene, ("ahead", "behind")[scene.wave])
    else:
        rig.set_clocks(OFF_S, *CLOCKS)
        _come_in(scene, "all ahead")
    _is_in(scene)


def _come_in(scene: Scene, words: str) -> None:
    scene.notes["words"] = words
    scene.rig.edit("outreach", edits.newcomer(PASSER_BY + scene.wave))


def _is_in(scene: Scene) -> None:
    """Wait until who came in last is in the CRM."""
    wanted = [Wanted(PASSER_BY + scene.wave, "crm", edits.LABEL, edits.RUNNING)]
    words = scene.notes["words"]
    try:
        scene.notes[words] = scene.rig.wait_for(lambda: not missing(scene.rig.seen(), wanted), FLOWS_S)
    except Unsettled:
        raise Unsettled(f"F37b with clocks {words} nothing flows for {FLOWS_S:.0f} s: {scene.rig.stuck()}") from None


def _in_hand(rig: Rig) -> int:
    with rig.store() as db:
        held = sa.select(sa.func.count()).select_from(CHANGE).where(CHANGE.c.lease_until.is_not(None))
        return int(db.execute(held).scalar_one())


SCENARIOS = [
    Scenario(
        "F37b",
        "our clocks 2 h ahead, behind, and back in mid-run",
        clocks_off,
        environ={"PYTHONPATH": f"{Path(__file__).with_name('clock')}:{ROOT}"},
    ),
]
