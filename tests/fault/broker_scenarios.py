"""What goes wrong with the broker (facts, delivery D.3: F10 to F16)."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import httpx

from tests.celery.rig import QUEUES, children, is_alive
from tests.fault.rig import START_S, Rig, Unsettled, listens
from tests.fault.scene import Scenario, Scene

PUBLISHER_S, FROZEN_S, RESUME_S, AWAY_S = 12.0, 60.0, 60.0, 30.0
FULL_S, PILE_S, LATE_S = 6.0, 3.0, 600.0
LOST = ("*_kombu.binding.*", "*unacked*", "*")
UNACKED = "outbook:unacked"
POLLS = 8
"""More calls than what was under way can still make by itself."""


def broker_lost(scene: Scene) -> None:
    """The broker is killed and comes back empty half a second to half a minute later, ten times in all."""
    for _ in range(scene.often(10)):
        time.sleep(scene.chance.uniform(0.2, 1))
        scene.rig.kill("broker")
        scene.rig.forget_messages()
        longest = scene.as_told and "away" not in scene.notes
        away_s = scene.notes["away"] = AWAY_S if longest else scene.chance.uniform(0.5, scene.span(AWAY_S, 3))
        time.sleep(away_s)
        scene.rig.start("broker")


def broker_killed(scene: Scene) -> None:
    """The broker is killed and comes back with its messages."""
    time.sleep(scene.chance.uniform(0.2, 1))
    scene.rig.kill("broker")
    time.sleep(scene.chance.uniform(0.5, 3))
    scene.rig.start("broker")


def messages_lost(scene: Scene) -> None:
    """The bindings vanish, then what the broker holds unacknowledged, then everything.

    In this order: a worker that goes on with its connection never makes the bindings anew.
    """
    pattern = LOST[min(scene.wave, len(LOST) - 1)]
    with _taking_nothing_up(scene.rig), scene.rig.messages() as db:
        with contextlib.suppress(Unsettled):
            scene.rig.wait_for(lambda: bool(db.exists(UNACKED)), PILE_S)
        keys = list(db.scan_iter(pattern))
        scene.notes.setdefault("lost", set()).update({pattern} if keys else ())
        if pattern == "*":
            db.flushall()
        elif keys:
            db.delete(*keys)
    time.sleep(1)


def were_lost(scene: Scene) -> str:
    """There was something of each kind to be lost."""
    kept = set(LOST) - scene.notes.get("lost", set())
    return f"the broker held no {' '.join(sorted(kept))}" if scene.whole and kept else ""


@contextlib.contextmanager
def _taking_nothing_up(rig: Rig) -> Iterator[None]:
    """Let the workers' pools stand still: a message that is handed to one stays unacknowledged."""
    pools = [child for name in ("worker", "optout") for child in children(rig.processes[name].pid)]
    try:
        for child in pools:
            _signal(child, signal.SIGSTOP)
        yield
    finally:
        for child in pools:
            _signal(child, signal.SIGCONT)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def broker_frozen(scene: Scene) -> None:
    """The broker stands still; meanwhile the web answers in time, and who publishes does not hang."""
    if scene.wave:
        return
    url = listens(scene.rig)
    with _publishing(scene.rig):
        scene.rig.freeze("broker")
        deadline = time.monotonic() + FROZEN_S
        while time.monotonic() < deadline:
            began = time.monotonic()
            code = httpx.get(f"{url}/readyz", timeout=PUBLISHER_S).status_code
            if code not in {200, 503}:
                raise Unsettled(f"F12 readyz answers {code}")
            time.sleep(max(0.0, 2 - (time.monotonic() - began)))
        scene.rig.thaw("broker")
    goes_on(scene, "F12")


@contextlib.contextmanager
def _publishing(rig: Rig) -> Iterator[None]:
    """Let somebody ring all the while; Unsettled if a ring took too long."""
    rig.start("publisher1")
    log = rig.processes["publisher1"].log
    rig.wait_for(lambda: log.read_text().count("\n") > 1, START_S)
    yield
    rings = log.read_text().count("\n")
    rig.wait_for(lambda: log.read_text().count("\n") > rings, 2 * PUBLISHER_S)
    longest = max(float(line) for line in log.read_text().splitlines())
    rig.kill("publisher1")
    if longest > PUBLISHER_S:
        raise Unsettled(f"F12 a ring took {longest:.1f} s, above {PUBLISHER_S:.0f}")


def goes_on(scene: Scene, name: str) -> None:
    """Messages arrive again in time: streams are polled, which beat rings for."""
    asked = scene.rig.mark()["outreach"]
    try:
        scene.notes["resumed"] = scene.rig.wait_for(lambda: scene.rig.mark()["outreach"] > asked + POLLS, RESUME_S)
    except Unsettled:
        raise Unsettled(f"{name} nothing is polled {RESUME_S:.0f} s later") from None


def broker_half_open(scene: Scene) -> None:
    """Nothing gets to the broker for five minutes; then every connection is dead, and nobody says so; new ones are well."""
    if scene.wave % 2 == 0:
        scene.rig.wires.turn("broker", "hole")
        time.sleep(scene.span(300, 3) if scene.wave == 0 else 0)
        scene.rig.wires.turn("broker", "deaf")
        scene.rig.wires.heal()
        goes_on(scene, "F13")


def broker_full(scene: Scene) -> None:
    """The broker takes nothing more, for its memory is used up; then there is room again."""
    with scene.rig.messages() as db:
        db.config_set("maxmemory", 1)
        time.sleep(FULL_S)
        db.config_set("maxmemory", 0)


def replayed(scene: Scene) -> None:
    """What waits in the broker comes three times over, shuffled, a part of it waves later, as told ten minutes."""
    rig, late = scene.rig, scene.notes.setdefault("late", [])
    since = scene.notes.setdefault("since", time.monotonic())
    if scene.last and scene.as_told:
        time.sleep(max(0.0, since + PILE_S + LATE_S - time.monotonic()))
    for name in ("worker", "optout"):
        rig.freeze(name)
    time.sleep(PILE_S)
    with rig.messages() as db:
        for queue in QUEUES:
            key = f"outbook:{queue}"
            told = 3 * sorted(set(db.lrange(key, 0, -1)))  # thrice of each, also where the last wave's still wait
            scene.chance.shuffle(told)
            late += [(key, one) for one in told[::3]]
            db.delete(key)
            for one in told:
                db.lpush(key, one)
        for key, one in late if scene.last else ():
            db.lpush(key, one)
    scene.notes["replayed"] = scene.notes.get("replayed", 0) + len(late)
    for name in ("worker", "optout"):
        rig.thaw(name)
    time.sleep(1)


def _were_replayed(scene: Scene) -> str:
    return "" if scene.notes.get("replayed") else "no message waited to be replayed"


def garbage(scene: Scene) -> None:
    """What is no message of ours lies in the queues; the workers live on."""
    foreign = b'{"body": "gASVAQAAAA==", "content-type": "application/x-python-serialize", "headers": {}}'
    unknown = (
        b'{"body": "W1tdLCB7fSwge31d", "content-encoding": "utf-8", "content-type": "application/json", "headers":'
        b' {"task": "foreign.task", "id": "1"}, "properties": {"body_encoding": "base64", "delivery_tag": "f1",'
        b' "delivery_info": {"exchange": "", "routing_key": "apply"}}}'
    )
    large = (
        b'{"body": "' + b"A" * 5_000_000 + b'", "content-type": "application/json", "headers": {}, "properties": {}}'
    )
    nonsense = (unknown, foreign, b"\xff\xfe\x00 no JSON", large)[scene.wave % 4]
    ids = {name: scene.rig.processes[name].pid for name in ("worker", "optout")}
    with scene.rig.messages() as db:
        for queue in ("apply", "poll", "optout"):
            db.lpush(f"outbook:{queue}", nonsense)
    time.sleep(2)
    for name, pid in ids.items():
        if not is_alive(pid):
            raise Unsettled(f"F16 {name} died of {nonsense[:20]!r}")


SCENARIOS = [
    Scenario("F10", "broker killed, its data lost", broker_lost, in_short="up to 30 s away; here 3 s"),
    Scenario("F10k", "broker killed, its data kept", broker_killed),
    Scenario("F11", "bindings gone; unacked gone; FLUSHALL", messages_lost, check=were_lost),
    Scenario("F12", "broker frozen for 60 s, somebody rings all the while", broker_frozen),
    Scenario(
        "F13", "broker out of reach without a word", broker_half_open, in_short="5 min; here 3 s, then dead connections"
    ),
    Scenario("F14", "the broker's memory used up", broker_full),
    Scenario(
        "F15",
        "every message three times, shuffled, some late",
        replayed,
        check=_were_replayed,
        in_short="late by 10 min; here by some waves",
    ),
    Scenario("F16", "foreign, huge and broken messages in the queues", garbage),
]
