"""What goes wrong, as data: the facts' number (delivery D.3), what is done in each wave, and what must hold.

A scenario of less than the facts ask for says so in ``short_of``. What is not built at all stands in ``NOT_BUILT``.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import httpx
from sqlalchemy.engine import make_url

from tests.fault.rig import OURS, Rig, Unsettled, listens

ALWAYS = ("I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8")
STOP_S, PUBLISHER_S = 30.0, 12.0


@dataclass(slots=True)
class Scene:
    """One wave of a scenario: the edits are made, and this is done while they are on their way."""

    rig: Rig
    chance: random.Random
    wave: int
    last: bool


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way in which things go wrong. ``first`` comes before the first wave's edits, ``strike`` after each wave's."""

    name: str
    words: str
    strike: Callable[[Scene], None]
    first: Callable[[Scene], None] = lambda scene: None
    calm: bool = False
    sqlite_only: bool = False
    short_of: str = ""
    holds: tuple[str, ...] = ALWAYS


def nothing(_scene: Scene) -> None:
    """Nothing goes wrong."""
    time.sleep(1)


def child_killed(scene: Scene) -> None:
    """A worker's child is killed three times."""
    for _ in range(3):
        time.sleep(scene.chance.uniform(0.3, 1.5))
        scene.rig.kill_child(scene.chance.choice(("worker", "optout")), scene.chance.randrange(4))


def parent_killed(scene: Scene) -> None:
    """A worker is killed, its children are not; a second later it is started again."""
    time.sleep(scene.chance.uniform(0.5, 3))
    scene.rig.kill_parent("worker", down_s=1)
    scene.rig.start("worker")


def sweeper_gone(scene: Scene) -> None:
    """Nobody sweeps for a while; then three do at once."""
    if scene.wave == 0:
        scene.rig.kill("optout")
    elif scene.last:
        scene.rig.start("optout", "optout2", "optout3")
    time.sleep(4)


def beat_gone(scene: Scene) -> None:
    """Nobody rings for a while; then two beats do."""
    if scene.wave == 0:
        scene.rig.kill("beat")
    elif scene.last:
        scene.rig.start("beat", "beat2")
    time.sleep(4)


def ended_in_order(scene: Scene) -> None:
    """A worker is ended by SIGTERM with a write in hand, and another started, as in a rolling deployment."""
    scene.rig.fault(
        {"match": {"op": "write"}, "kind": "delay", "times": 2, "args": {"seconds": 2}}, vendors=("workbooks",)
    )
    time.sleep(scene.chance.uniform(0.5, 2))
    taken_s = scene.rig.end("worker")
    scene.rig.start("worker")
    if taken_s > STOP_S:
        raise Unsettled(f"F05 a worker took {taken_s:.0f} s to end, above {STOP_S:.0f}")


def frozen_past_its_lease(scene: Scene) -> None:
    """A worker stands still for longer than its lease, another takes its work up, then it goes on."""
    if scene.wave:
        return
    time.sleep(2)
    scene.rig.freeze("worker")
    scene.rig.start("worker2")
    time.sleep(20)
    scene.rig.thaw("worker")


def power_cut(scene: Scene) -> None:
    """Everything of ours is killed at once, the broker too, and started again."""
    time.sleep(scene.chance.uniform(0.5, 3))
    scene.rig.kill(*OURS)
    scene.rig.start(*OURS)


def broker_lost(scene: Scene) -> None:
    """The broker is killed and comes back empty."""
    time.sleep(scene.chance.uniform(0.2, 1))
    scene.rig.kill("broker")
    scene.rig.forget_messages()
    time.sleep(scene.chance.uniform(0.5, 3))
    scene.rig.start("broker")


def broker_killed(scene: Scene) -> None:
    """The broker is killed and comes back with its messages."""
    time.sleep(scene.chance.uniform(0.2, 1))
    scene.rig.kill("broker")
    time.sleep(scene.chance.uniform(0.5, 3))
    scene.rig.start("broker")


def messages_lost(scene: Scene) -> None:
    """The broker is emptied, or what it holds unacknowledged or its bindings vanish."""
    time.sleep(scene.chance.uniform(0.2, 1))
    with scene.rig.messages() as db:
        for key in list(db.scan_iter(("*", "*unacked*", "*_kombu.binding.*")[scene.wave % 3])):
            db.delete(key)
    time.sleep(1)


def broker_frozen(scene: Scene) -> None:
    """The broker stands still; meanwhile the web answers in time."""
    if scene.wave:
        return
    url = listens(scene.rig)
    scene.rig.freeze("broker")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        began = time.monotonic()
        code = httpx.get(f"{url}/readyz", timeout=PUBLISHER_S).status_code
        if code not in {200, 503}:
            raise Unsettled(f"F12 readyz answers {code}")
        time.sleep(max(0.0, 2 - (time.monotonic() - began)))
    scene.rig.thaw("broker")


def garbage(scene: Scene) -> None:
    """What is no message of ours lies in the queues."""
    with scene.rig.messages() as db:
        for queue in ("apply", "poll", "optout"):
            foreign = '{"body": "gASVAQAAAA==", "content-type": "application/x-python-serialize", "headers": {}}'
            unknown = (
                '{"body": "W1tdLCB7fSwge31d", "content-encoding": "utf-8", "content-type": "application/json", "headers":'
                ' {"task": "foreign.task", "id": "1"}, "properties": {"body_encoding": "base64", "delivery_tag": "f1",'
                ' "delivery_info": {"exchange": "", "routing_key": "apply"}}}'
            )
            db.lpush(f"outbook:{queue}", foreign if scene.wave % 2 else unknown)
    time.sleep(1)


def store_locked(scene: Scene) -> None:
    """Somebody else holds the database's write lock for a while."""
    with closing(sqlite3.connect(str(make_url(scene.rig.database_url).database), timeout=30)) as db:
        db.isolation_level = None
        db.execute("BEGIN IMMEDIATE")
        time.sleep(20 if scene.last else 5)
        db.execute("ROLLBACK")


def throttled(scene: Scene) -> None:
    """Both vendors throttle, with and without a word on how long to wait."""
    headers = {"Retry-After": "2"} if scene.wave % 2 == 0 else {}
    args = {"code": 429, "body": "", "headers": headers}
    scene.rig.fault({"kind": "status", "times": 4, "args": args})
    time.sleep(1)


def storm(scene: Scene) -> None:
    """Half of all calls are answered with an error of the server."""
    code = (500, 502, 503, 504)[scene.wave % 4]
    scene.rig.fault({"kind": "status", "probability": 0.5, "args": {"code": code, "body": "unwell"}})
    time.sleep(3)


def slow(scene: Scene) -> None:
    """Answers come late, in drops, or break off."""
    scene.rig.fault(
        {"kind": "delay", "probability": 0.2, "args": {"seconds": 2}},
        {"kind": "slow_drip", "probability": 0.2, "args": {"seconds": 2}},
        {"kind": "reset", "probability": 0.1},
    )
    time.sleep(4)


def nonsense(scene: Scene) -> None:
    """Answers are cut short, or a page for people comes with 200."""
    scene.rig.fault({"kind": "truncate", "probability": 0.15}, {"kind": "html200", "probability": 0.15})
    time.sleep(4)


def replies_lost(scene: Scene) -> None:
    """A tenth of the writes are carried out, and the answer is lost."""
    scene.rig.fault({"match": {"op": "write"}, "kind": "lost_reply", "probability": 0.1})
    time.sleep(2)


def first_reply_lost(scene: Scene) -> None:
    """The first write of each wave is carried out, and the answer is lost; then the worker is killed."""
    scene.rig.fault({"match": {"op": "write"}, "kind": "lost_reply", "times": 1})
    time.sleep(scene.chance.uniform(1, 2.5))
    scene.rig.kill("worker")
    scene.rig.start("worker")


def webhooks_lose(scene: Scene) -> None:
    """Webhooks are set up, and a fifth of the deliveries never comes."""
    url = listens(scene.rig)
    code, _ = scene.rig.outbook("webhooks", "setup", "--url", url)
    if code:
        raise Unsettled(f"webhooks setup ended with {code}")
    scene.rig.control("outreach", "webhooks", {"lose": 0.2, "seed": scene.chance.randrange(1_000)})


def both_workers_killed(scene: Scene) -> None:
    """Ten seconds later both workers are killed and started again."""
    time.sleep(10)
    scene.rig.kill("worker", "optout")
    scene.rig.start("worker", "optout")


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
    Scenario("F00", "nothing goes wrong", nothing, calm=True),
    Scenario("F01", "kill -9 of random children of the workers", child_killed, short_of="30 times; here 3 a wave"),
    Scenario(
        "F02", "kill -9 of a worker, started again after 1 s", parent_killed, short_of="10 times; here once a wave"
    ),
    Scenario("F03", "no sweeper, then three at once", sweeper_gone, short_of="60 s without; here until the last wave"),
    Scenario("F04", "no beat, then two", beat_gone, short_of="10 min each; here until the last wave"),
    Scenario("F05", "SIGTERM to a worker with a write in hand", ended_in_order, short_of="20 times; here once a wave"),
    Scenario(
        "F06", "SIGSTOP of a worker past its lease", frozen_past_its_lease, short_of="120 s; here 20 s, leases are 15 s"
    ),
    Scenario(
        "F09", "all of ours killed at once, broker too", power_cut, short_of="the host itself and Postgres live on"
    ),
    Scenario("F10", "broker killed, its data lost", broker_lost, short_of="10 times; here once a wave"),
    Scenario("F10k", "broker killed, its data kept", broker_killed, short_of="not in the facts by itself"),
    Scenario("F11", "FLUSHALL; unacked gone; bindings gone", messages_lost),
    Scenario("F12", "broker frozen", broker_frozen, short_of="60 s; here 20 s"),
    Scenario("F16", "foreign messages in the queues", garbage, short_of="no oversized ones, none that is no JSON"),
    Scenario("F18", "database locked by somebody else", store_locked, sqlite_only=True),
    Scenario("F24", "429 with and without Retry-After", throttled, short_of="no dates, negative values or hours"),
    Scenario("F25", "half of all calls fail with 5xx", storm, short_of="no outage of 30 min"),
    Scenario(
        "F26", "slow, dripping and reset answers", slow, short_of="resets before the headers; no half-closed sockets"
    ),
    Scenario("F27", "answers cut short, HTML with 200", nonsense, short_of="no bad gzip, lengths, NaN or huge bodies"),
    Scenario("F28", "a tenth of the writes' answers lost", replies_lost),
    Scenario("F28k", "an answer lost, then the worker killed", first_reply_lost, short_of="not in the facts by itself"),
    Scenario(
        "F48",
        "a fifth of the webhooks lost, workers killed every 10 s",
        both_workers_killed,
        first=webhooks_lose,
        short_of="not silent for a day",
    ),
    Scenario(
        "F50", "two passes by hand beside the workers, pause, resume", operators, short_of="no console, no redrive"
    ),
]
BY_NAME = {one.name: one for one in SCENARIOS}
NOT_BUILT = (
    "F07 F08 F13 F14 F15 F17 F19 F20 F21 F22 F23 F29 F30 F31 F32 F33 F34 F35 F36 F37 F38 F39 F40 F41 F42 F43 F44 F45 F46 F47 "
    "F49 F51 F52 F53 F54"
).split()
"""Some are held by tests of their own (F42 to F47 end to end, F54 by the model), none by these processes."""
