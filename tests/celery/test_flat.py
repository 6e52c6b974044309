"""What a worker holds after fifty thousand messages: a measurement, not run by default.

``./dev test tests/celery/test_flat.py -m slow -s`` prints the figures. ``MESSAGES`` is another number of them.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import celery
import pytest
import redis

from tests.celery.rig import Process, Rig, children
from worker.app import app

pytestmark = [pytest.mark.broker, pytest.mark.processes, pytest.mark.slow, pytest.mark.timeout(3600)]

MESSAGES = int(os.environ.get("MESSAGES", "50000"))
PEOPLE, EDIT_EVERY = 200, 500
GROWS = 1.05
"""How much more is held in the end than after the first fifth, at most (facts, delivery D, I10).

Before that, what is done once fills in: modules, compiled statements, the allocator's pieces.
"""
TASKS = (("outbook.apply", "apply"), ("outbook.opt_outs", "optout"), ("outbook.sweep", "optout"))


def held(worker: Process) -> dict[str, float]:
    """Return what the process that takes messages holds, and the most that any of its children does."""

    def megabytes(pid: int) -> float:
        return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024

    def files(pid: int) -> int:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))

    mine = children(worker.pid)
    return {
        "MB": megabytes(worker.pid),
        "files": files(worker.pid),
        "MB, a child": max(megabytes(pid) for pid in mine),
        "files, a child": max(files(pid) for pid in mine),
    }


def rung(rig: Rig, since: int, messages: int) -> None:
    """Send messages and edit somebody now and then, so that some of them find work; return when all are taken."""
    url = rig.environ["OUTBOOK_BROKER_URL"]
    bell = celery.Celery(broker=url)
    bell.conf.broker_transport_options = app.conf.broker_transport_options
    with redis.Redis.from_url(url) as broker, bell.connection_for_write() as line:
        for number in range(since, since + messages):
            if number % EDIT_EVERY == 0:
                title = {"title": f"Chair {number}"}
                rig.edit_outreach(op="set", type="prospect", id=number // EDIT_EVERY % PEOPLE + 1, attributes=title)
                bell.send_task("outbook.poll", args=["prospects"], queue="poll", connection=line)
            name, queue = TASKS[number % len(TASKS)]
            bell.send_task(name, queue=queue, connection=line)
        queues = [f"outbook:{name}" for name in ("apply", "optout", "poll")]
        rig.wait_for(lambda: not any(broker.llen(name) for name in queues), within_s=1800)
    time.sleep(2)


def test_a_worker_holds_no_more_after_fifty_thousand_messages(rig: Rig) -> None:
    """Memory and open files of the process that lasts, and of the children that come and go."""
    for number in range(1, PEOPLE + 1):
        rig.prospect(number, 1, title="Engineer")
    assert rig.start("sync", "--json", "--wait", "60").popen.wait(600) == 0, rig.words()
    rig.environ["OUTBOOK_POLL_SECONDS"] = "1"
    worker = rig.worker("--queues", "apply,optout,poll", "--concurrency", "2")
    first = MESSAGES // 5
    rung(rig, 0, first)
    early = held(worker)
    rung(rig, first, MESSAGES)
    late = held(worker)
    for what, before in early.items():
        sys.stderr.write(f"{what}: {before:.1f} after {first}, {late[what]:.1f} after {MESSAGES} more messages\n")
    assert all(late[what] <= max(before * GROWS, before + 2) for what, before in early.items()), (early, late)
    assert worker.popen.poll() is None
