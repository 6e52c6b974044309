"""What operators do at the wrong moment (facts, delivery D.3: F50)."""

from __future__ import annotations

from tests.fault.scene import Scenario, Scene


def operators(scene: Scene) -> None:
    """Two passes by hand at once, beside the workers; pausing and resuming meanwhile."""
    for name in ("sync1", "sync2"):
        if name in scene.rig.processes:
            scene.rig.processes[name].popen.wait(90)
    scene.rig.start("sync1", "sync2")
    if scene.wave == 1:
        scene.rig.outbook("pause")
        scene.rig.outbook("resume")


SCENARIOS = [
    Scenario(
        "F50", "two passes by hand beside the workers, pause, resume", operators, short_of="no console, no redrive"
    ),
]
