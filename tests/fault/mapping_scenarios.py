"""What goes wrong with the mapping while all runs (facts, delivery D.3: F49)."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import sqlalchemy as sa

from tests.fault.broker_scenarios import goes_on
from tests.fault.people_scenarios import drawn
from tests.fault.rig import Rig, Unsettled
from tests.fault.scene import Scenario, Scene
from worker.store import mappings
from worker.store.tables import metadata

BOMB = "a: &a [x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 8)}]" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
BROKEN = ("fields: [", BOMB, "fields: &all\n  person_job_title: *all\n", "fields: {person_job_title: {outbook: eval}}")
"""No YAML; a bomb of aliases; what contains itself; a word for a value that nobody works out."""
HEARD_S = 3.0


def mapping_broken(scene: Scene) -> None:
    """The file is broken in four ways, then says something else; only then it is put in force. SIGHUP comes in between."""
    rig, path = scene.rig, Path(scene.rig.environ["OUTBOOK_MAPPING"])
    good = str(scene.notes.setdefault("good", path.read_text(encoding="utf-8")))
    if scene.wave == 0:
        for text in BROKEN:
            path.write_text(text, encoding="utf-8")
            code, _ = rig.outbook("mapping", "apply", "--json")
            if code != 4:
                raise Unsettled(f"F49 a mapping that is none was taken with {code}: {text[:40]}")
    elif scene.wave == 1:
        _told_to_reload(scene)
    else:
        newest = good.replace("on_conflict: crm", "on_conflict: newest", 1)
        path.write_text(good if scene.last else newest, encoding="utf-8")
        code, told = rig.outbook("mapping", "apply", "--json")
        if code:
            raise Unsettled(f"F49 mapping apply ended with {code}: {told[:300]}")
        scene.notes.setdefault("in force", []).append(_in_force(rig))
    time.sleep(3)


def _told_to_reload(scene: Scene) -> None:
    """Send SIGHUP to whoever runs, with a broken file there: who ends of it is started again, and all goes on as before."""
    for name in ("worker", "optout", "beat", "web"):
        os.kill(scene.rig.processes[name].pid, signal.SIGHUP)
    time.sleep(HEARD_S)
    scene.rig.supervise()
    goes_on(scene, "F49")


def _in_force(rig: Rig) -> str:
    with rig.store() as db:
        return str(mappings.version(db))


def versions_recorded(scene: Scene) -> str:
    """Every write tells by which mapping it was made, and each is one that was in force."""
    history, known = metadata.tables["history"], metadata.tables["mapping"]
    with scene.rig.store() as db:
        told = set(db.scalars(sa.select(history.c.mapping_version).distinct()))
        applied = set(db.scalars(sa.select(known.c.version)))
    put = set(scene.notes.get("in force", []))
    if not told or told - applied or not put <= applied:
        return f"writes tell of the mappings {sorted(told)}, in force were {sorted(applied)}"
    return ""


SCENARIOS = [
    Scenario(
        "F49",
        "the mapping broken, bombed, changed; SIGHUP to all",
        mapping_broken,
        check=versions_recorded,
        draw=drawn,
        alone=True,
    ),
]
