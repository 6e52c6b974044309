"""F08: a process dies at every point there is, in worlds of its own beside a deployment that works on."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.fault.rig import ROOT
from tests.fault.scene import Scenario, Scene, nothing

WITHIN_S = 3_600.0


def every_point(scene: Scene) -> str:
    """Return which points did not end as if nobody had died; the table of all points goes to stderr."""
    # In a process of its own: it makes copies of itself, which one with threads must not.
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fault.crash"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(scene.rig.directory)},
        stdout=subprocess.PIPE,
        text=True,
    ) as playing:
        try:
            told, _ = playing.communicate(timeout=WITHIN_S)
        except BaseException:
            playing.terminate()  # it ends its copies
            raise
    sys.stderr.write(told)
    return "" if playing.returncode == 0 else told[-1_000:]


SCENARIOS = [
    Scenario("F08", "killed at every commit and every exchange", nothing, check=every_point, calm=True),
]
