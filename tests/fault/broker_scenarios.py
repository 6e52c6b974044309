"""What goes wrong with the broker (facts, delivery D.3: F10 to F16)."""

from __future__ import annotations

import time

import httpx

from tests.fault.rig import Unsettled, listens
from tests.fault.scene import Scenario, Scene

PUBLISHER_S = 12.0


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


SCENARIOS = [
    Scenario("F10", "broker killed, its data lost", broker_lost, short_of="10 times; here once a wave"),
    Scenario("F10k", "broker killed, its data kept", broker_killed, short_of="not in the facts by itself"),
    Scenario("F11", "FLUSHALL; unacked gone; bindings gone", messages_lost),
    Scenario("F12", "broker frozen", broker_frozen, short_of="60 s; here 20 s"),
    Scenario("F16", "foreign messages in the queues", garbage, short_of="no oversized ones, none that is no JSON"),
]
