"""Workers and beats as they run in production: what they bring about, and what is left when they are killed."""

from __future__ import annotations

import os
import signal

import pytest
import redis

from tests.celery.rig import QUEUES, Rig, children, command, family, is_alive, wait_for

pytestmark = [pytest.mark.broker, pytest.mark.processes, pytest.mark.timeout(150)]

RUNNING, PAUSED = "Active – Running", "Active – Paused"
ONE_AT_A_TIME = ("--concurrency", "1")


def flush(rig: Rig) -> None:
    """Empty the broker."""
    with redis.Redis.from_url(rig.environ["OUTBOOK_BROKER_URL"]) as db:
        db.flushall()


def queued(rig: Rig) -> int:
    """Return how many messages lie in the broker or are being worked on."""
    with redis.Redis.from_url(rig.environ["OUTBOOK_BROKER_URL"], decode_responses=True) as db:
        return sum(int(str(db.llen(f"outbook:{name}"))) for name in QUEUES) + int(str(db.hlen("outbook:unacked")))


def test_changes_arrive_whatever_becomes_of_the_messages(rig: Rig) -> None:
    """Two beats ring, messages vanish, and yet every change arrives once; an idle worker then ends in a few seconds."""
    rig.prospect(1, 1)
    worker, beats = rig.worker(), [rig.start("beat"), rig.start("beat")]
    rig.wait_for(lambda: rig.label(1) == RUNNING)
    rig.wait_for(rig.primed)
    (state,) = rig.states_of(1)
    flush(rig)
    rig.edit_outreach(op="pause", state=state)
    rig.prospect(2, 2)
    flush(rig)
    rig.wait_for(lambda: rig.label(1) == PAUSED and rig.label(2) == RUNNING)
    assert sorted(rig.creates()) == ["person 1", "person 2"]
    assert all(beat.stop() < 10 for beat in beats)
    rig.wait_for(lambda: queued(rig) == 0)
    assert worker.stop() < 5
    assert worker.popen.returncode == 0
    assert sorted(rig.creates()) == ["person 1", "person 2"]
    writes = [call for call in rig.crm.journal.entries() if call["effect"]]
    assert len(writes) <= 4


def test_work_goes_on_after_a_kill(rig: Rig) -> None:
    """Kill -9 of one worker's child and of another worker outright, each in the middle of a write: both are done once."""
    rig.prospect(1, 1)
    one, other, beat = rig.worker(*ONE_AT_A_TIME), rig.worker(*ONE_AT_A_TIME), rig.start("beat")
    rig.wait_for(lambda: rig.label(1) == RUNNING)
    rig.wait_for(rig.primed)
    rig.hold_up_writes(8.0, times=2)
    rig.prospect(2, 1)
    rig.wait_for(lambda: rig.held_up() == 1)
    rig.prospect(3, 1)
    rig.wait_for(lambda: rig.held_up() == 2)
    (child,) = children(one.pid)
    os.kill(child, signal.SIGKILL)
    other.stop(signal.SIGKILL)
    rig.wait_for(lambda: children(one.pid) not in ([], [child]))
    assert one.popen.poll() is None
    rig.wait_for(lambda: rig.label(2) == RUNNING and rig.label(3) == RUNNING)
    rig.wait_for(rig.primed)
    assert sorted(rig.creates()) == ["person 1", "person 2", "person 3"]
    # Busy once more: SIGTERM ends it in bounded time, and what it had in hand is neither lost nor doubled.
    rig.hold_up_writes(3.0)
    rig.prospect(4, 1)
    rig.wait_for(lambda: rig.held_up() == 1)
    assert one.stop() < 30
    beat.stop()
    left = rig.start("sync", "--json", "--wait", "60")
    assert left.popen.wait(90) == 0, rig.words()
    assert rig.label(4) == RUNNING
    assert sorted(rig.creates()) == ["person 1", "person 2", "person 3", "person 4"]


def named(pid: int, words: str) -> list[int]:
    """Return the children of a process whose command line holds some words."""
    return [child for child in children(pid) if words in command(child)]


def test_one_box_mends_itself_and_leaves_no_orphan(boxed: Rig) -> None:
    """`outbook up`: the broker bounced with a task in flight and a worker killed, all goes on; SIGTERM leaves nothing."""
    boxed.prospect(1, 1)
    up = boxed.start("up")
    boxed.wait_for(lambda: boxed.label(1) == RUNNING)
    boxed.wait_for(boxed.primed)
    boxed.hold_up_writes(2.0)
    boxed.prospect(2, 1)
    boxed.wait_for(lambda: boxed.held_up() == 1)
    (broker,) = named(up.pid, "valkey")
    os.kill(broker, signal.SIGKILL)
    boxed.wait_for(lambda: named(up.pid, "valkey") not in ([], [broker]))
    boxed.wait_for(lambda: boxed.label(2) == RUNNING)
    (state,) = boxed.states_of(2)
    boxed.edit_outreach(op="pause", state=state)
    boxed.wait_for(lambda: boxed.label(2) == PAUSED)
    (victim,) = named(up.pid, "apply,poll,slow")
    os.kill(victim, signal.SIGKILL)
    boxed.prospect(3, 1)
    boxed.wait_for(lambda: named(up.pid, "apply,poll,slow") not in ([], [victim]))
    boxed.wait_for(lambda: boxed.label(3) == RUNNING)
    assert sorted(boxed.creates()) == ["person 1", "person 2", "person 3"]
    everybody = family(up.pid)
    assert len(everybody) >= 6
    up.stop()
    assert up.popen.returncode == 143
    wait_for(lambda: not any(is_alive(pid) for pid in everybody), within_s=60, words=lambda: str(everybody))


def test_the_demo_plays_to_its_end(boxed: Rig) -> None:
    """`outbook demo --once` ends by itself with 0: everything that it expects was seen in the simulated CRM."""
    for name in [name for name in boxed.environ if name != "OUTBOOK_DATA_DIR"]:
        del boxed.environ[name]
    demo = boxed.start("demo", "--once", "--records", "60")
    wait_for(lambda: len(children(demo.pid)) >= 6 or demo.popen.poll() is not None, words=boxed.words)
    everybody = family(demo.pid)
    assert demo.popen.wait(120) == 0, boxed.words()
    wait_for(lambda: not any(is_alive(pid) for pid in everybody), within_s=60, words=lambda: str(everybody))
