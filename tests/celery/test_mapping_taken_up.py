"""Running workers and the mapping: they keep it whatever its file says, and take up another one without a restart."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.celery.rig import ROOT, Rig
from worker import config

pytestmark = [pytest.mark.broker, pytest.mark.processes]

PAUSED = ('paused:     "Active – Paused"', 'paused:     "On Hold"')


def outbook(rig: Rig, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a verb beside the workers."""
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **rig.environ}
    command = [sys.executable, "-m", "worker", *arguments]
    return subprocess.run(
        command, env=environ, cwd=rig.directory, capture_output=True, text=True, timeout=90, check=False
    )


def test_a_mapping_is_taken_up_without_a_restart(rig: Rig) -> None:
    """A file that is edited, even into nonsense, changes nothing; `mapping apply` reaches everybody through the same worker."""
    text = config.shipped_mapping().read_text(encoding="utf-8")
    path = rig.directory / "mapping.yaml"
    path.write_text(text, encoding="utf-8")
    rig.environ["OUTBOOK_MAPPING"] = str(path)
    rig.edit_crm(op="add_label", field="cf_person_sequence_state", label="On Hold")
    rig.prospect(1, 1)
    worker, _ = rig.worker("--concurrency", "1"), rig.start("beat")
    rig.wait_for(lambda: rig.label(1) == "Active – Running")
    rig.wait_for(rig.primed)
    (state,) = rig.states_of(1)
    path.write_text("version: 2\n", encoding="utf-8")
    rig.edit_outreach(op="pause", state=state)
    rig.wait_for(lambda: rig.label(1) == "Active – Paused")
    rig.wait_for(rig.primed)
    refused = outbook(rig, "mapping", "apply")
    assert refused.returncode == 4
    assert f"{path}:1:10" in refused.stderr
    path.write_text(text.replace(*PAUSED), encoding="utf-8")
    applied = outbook(rig, "mapping", "apply")
    assert applied.returncode == 0, applied.stderr
    rig.wait_for(lambda: rig.label(1) == "On Hold")
    rig.wait_for(rig.primed)
    assert worker.popen.poll() is None
    assert worker.said("mapping_taken_up")
    assert rig.creates() == ["person 1"]
