"""Messages: each goes to just one queue, says nothing of anybody, and no broker holds a publisher up for long."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import kombu.pools
import pytest
import redis

from tests.celery.rig import QUEUES, Rig
from worker import app as front
from worker import embedded, tasks
from worker.store.cursors import STREAMS

pytestmark = [pytest.mark.broker, pytest.mark.processes]

Bind = Callable[[str], None]
WHERE = {
    "outbook.poll": "poll",
    "outbook.apply": "apply",
    "outbook.opt_outs": "optout",
    "outbook.sweep": "optout",
    "outbook.hints": "optout",
    "outbook.watch_webhooks": "slow",
    "outbook.check_fields": "slow",
    "outbook.round": "slow",
    "outbook.reconcile": "slow",
    "outbook.events": "slow",
    "outbook.resync": "slow",
    "outbook.alerts": "slow",
}


@pytest.fixture
def bind() -> Iterator[Callable[[str], None]]:
    """Let messages go to the broker of a URL, over connections not yet made; in the end to where they went before."""
    before = front.app.conf.broker_url

    def bound(url: str | None) -> None:
        kombu.pools.reset()
        front.app.conf.update(broker_url=url)
        front.app._after_fork()  # type: ignore[attr-defined]

    yield bound
    bound(before)


def seconds(deed: Callable[[], object]) -> float:
    """Return how long something took."""
    began = time.monotonic()
    deed()
    return time.monotonic() - began


def lengths(broker_url: str) -> dict[str, int]:
    """Return how many messages lie in each queue that is not empty."""
    with redis.Redis.from_url(broker_url, decode_responses=True) as db:
        found = {name: db.llen(name) for name in db.scan_iter() if db.type(name) == "list"}
    return {name.removeprefix("outbook:"): int(str(count)) for name, count in found.items()}


@pytest.mark.parametrize("task", WHERE)
def test_a_message_reaches_just_one_queue(broker_url: str, bind: Bind, task: str) -> None:
    """Each task's message lies once in its own queue and in no other, so that no task runs twice by routing."""
    bind(broker_url)
    tasks.ring(task, *(["tasks"] if task == "outbook.poll" else []))
    assert lengths(broker_url) == {WHERE[task]: 1}


def test_every_task_and_every_tick_has_a_queue() -> None:
    """No task goes to a queue by default, no tick is sent that no task answers, and each tick expires in time."""
    ours = {name for name in front.app.tasks if name.startswith("outbook.")}
    assert ours == set(WHERE) == set(front.app.conf.task_routes)
    table = front.beat_table(60)
    clock = "poll sweep check_fields round reconcile events alerts"
    ticks = {f"outbook.{name}" for name in clock.split()}
    assert {entry["task"] for entry in table.values()} == ticks
    assert [entry["args"] for entry in table.values() if entry["task"] == "outbook.poll"] == [
        (s.value,) for s in STREAMS
    ]
    heard = {**front.beat_table(60, webhooks=True), **table}
    assert {entry["task"] for entry in heard.values()} - ticks == {"outbook.hints", "outbook.watch_webhooks"}
    assert all(
        0 < entry["options"]["headers"][front.LASTS] < max(31, entry["schedule"].seconds) for entry in heard.values()
    )
    assert {queue.name for queue in front.app.conf.task_queues} == set(QUEUES)


def test_a_message_says_only_look_here(broker_url: str, bind: Bind) -> None:
    """A message is JSON with at most a stream's name in it: nobody's data, no token, no path of this machine."""
    bind(broker_url)
    tasks.ring("outbook.poll", "prospects")
    with redis.Redis.from_url(broker_url, decode_responses=True) as db:
        (raw,) = db.lrange("outbook:poll", 0, -1)
    message = json.loads(raw)
    assert message["content-type"] == "application/json"
    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    assert (args, kwargs) == (["prospects"], {})


def test_an_absent_broker_holds_nobody_up(bind: Bind) -> None:
    """A ring that nobody hears is given up within seconds and without an error."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        bind(f"redis://127.0.0.1:{probe.getsockname()[1]}/0")
    assert seconds(lambda: tasks.ring("outbook.apply")) < 12


def test_a_stopped_broker_holds_nobody_up_for_long(tmp_path: Path, bind: Bind) -> None:
    """A broker that takes connections and never answers costs a publisher twelve seconds at most, connected or not."""
    with (tmp_path / "broker.log").open("w") as out:
        handle = embedded.start_broker(tmp_path, out=out)
        try:
            bind(handle.url)
            tasks.ring("outbook.apply")
            os.kill(handle.pid, signal.SIGSTOP)
            took = [seconds(lambda: tasks.ring("outbook.apply"))]
            bind(handle.url)
            took.append(seconds(lambda: tasks.ring("outbook.apply")))
        finally:
            os.kill(handle.pid, signal.SIGCONT)
            handle.stop()
    assert max(took) < 12


def test_the_foreground_pass_needs_no_broker(rig: Rig) -> None:
    """`outbook sync` is done in seconds though the broker named in the settings is not there at all."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        rig.environ["OUTBOOK_BROKER_URL"] = f"redis://127.0.0.1:{probe.getsockname()[1]}/0"
    rig.prospect(1, 1)
    process = rig.start("sync", "--json")
    assert process.popen.wait(120) == 0, rig.words()
    assert rig.label(1) == "Active – Running"
