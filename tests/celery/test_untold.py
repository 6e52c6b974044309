"""A real worker whose task breaks tells where and of what kind, and nothing that the exception says."""

from __future__ import annotations

import kombu.pools
import pytest

from tests.celery.rig import ROOT, Rig
from worker import app as front
from worker import tasks

NAME = "Zyxashby"
BREAKS = f"""import sys
name = "{NAME}"
if sys.orig_argv[2:4] == ["worker", "worker"]:
    from worker.sync import timing

    def is_due(*_rest):
        try:
            int(name)
        except ValueError:
            raise KeyError(name, "and nobody else")

    timing.is_due = is_due
"""
"""Python reads this by itself as it starts; only what the tasks call is broken."""


@pytest.mark.broker
@pytest.mark.processes
@pytest.mark.timeout(200)
def test_a_task_that_breaks_names_nobody(rig: Rig) -> None:
    """In the line of Celery's own, in the traceback below it, in what led to it."""
    (rig.directory / "sitecustomize.py").write_text(BREAKS, encoding="utf-8")
    rig.environ["PYTHONPATH"] = f"{rig.directory}:{ROOT}"
    worker = rig.worker("--concurrency", "1")
    before = front.app.conf.broker_url
    try:
        kombu.pools.reset()
        front.app.conf.update(broker_url=rig.environ["OUTBOOK_BROKER_URL"])
        front.app._after_fork()  # type: ignore[attr-defined]
        tasks.ring("outbook.poll", "tasks")
        rig.wait_for(lambda: worker.said("raised unexpected"))
    finally:
        kombu.pools.reset()
        front.app.conf.update(broker_url=before)
        front.app._after_fork()  # type: ignore[attr-defined]
    rig.wait_for(lambda: worker.said("in is_due"))
    told = worker.log.read_text(errors="replace")
    assert NAME.lower() not in told.lower(), told[-3000:]
    assert "Task outbook.poll[" in told
    assert "KeyError" in told
    assert "was being handled when there came:" in told
