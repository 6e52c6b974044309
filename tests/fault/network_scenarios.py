"""What goes wrong between us and the vendors (facts, delivery D.3: F24 to F28, F48, F51)."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from tests.fault.rig import VENDORS, Unsettled, listens
from tests.fault.scene import Scenario, Scene

DRIP_S, APART_S, OFF_S = 70.0, 30.0, 600


def throttled(scene: Scene) -> None:
    """Both vendors throttle: with seconds, without a word on how long to wait, with a date, with nonsense."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
    told = ("2", None, date, "-30")[scene.wave % 4]
    headers = {"Retry-After": told} if told else {}
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


def broken_off(scene: Scene) -> None:
    """Connections to both vendors are half closed or reset in mid-answer; at last answers come by the byte, one a second."""
    wires, seed = scene.rig.wires, scene.chance.randrange(1_000)
    modes: tuple[dict[str, Any], ...] = (
        {"mode": "half_close", "after": 300, "probability": 0.4},
        {"mode": "reset", "after": 20, "probability": 0.4},
        {"mode": "reset", "after": 700, "probability": 0.4},
    )
    for vendor in VENDORS:
        if scene.last:
            wires.turn(vendor, "drip", rate=1, probability=0.5, seed=seed)
        else:
            wires.turn(vendor, seed=seed, **modes[scene.wave % len(modes)])
            wires.turn(vendor, "cut")
            wires.turn(vendor, seed=seed, **modes[scene.wave % len(modes)])
    time.sleep(DRIP_S if scene.last else 4)
    scene.notes["struck"] = {vendor: wires.struck(vendor) for vendor in VENDORS}
    wires.heal()


def _were_broken_off(scene: Scene) -> str:
    told = scene.notes.get("struck", {})
    return "" if all(told.get(vendor) for vendor in VENDORS) else f"no connection was hit: {told}"


def partitioned(scene: Scene) -> None:
    """Ours reach the broker and not Postgres, then Postgres and not the broker, then neither vendor; each heals."""
    store = ["store"] if scene.rig.postgres else ["outreach"]
    away = (store, ["broker"], list(VENDORS), [*store, "broker"])[scene.wave % 4]
    for wire in away:
        scene.rig.wires.turn(wire, "hole")
    time.sleep(APART_S)
    scene.rig.wires.heal()
    time.sleep(1)


def clocks_off(scene: Scene) -> None:
    """The vendors' clocks go ten minutes ahead of ours, one falls behind, and both jump back.

    Each stays so for some polls, and after each edit: one shows that a clock was set back, the next what was dated by it.
    """
    time.sleep(6)
    shifts = ({"outreach": OFF_S, "workbooks": OFF_S}, {"workbooks": -2 * OFF_S}, {"outreach": -2 * OFF_S})
    for vendor, seconds in shifts[scene.wave % len(shifts)].items():
        scene.rig.control(vendor, "clock", {"shift": seconds})
    time.sleep(6)


SCENARIOS = [
    Scenario("F24", "429 with and without Retry-After", throttled, short_of="no wait of an hour"),
    Scenario("F25", "half of all calls fail with 5xx", storm, short_of="no outage of 30 min"),
    Scenario(
        "F26", "slow, dripping and reset answers", slow, short_of="resets before the headers; no half-closed sockets"
    ),
    Scenario(
        "F26k",
        "half-closed and reset in mid-answer, then 1 B/s for 70 s",
        broken_off,
        check=_were_broken_off,
        short_of="not in the facts by itself",
    ),
    Scenario("F27", "answers cut short, HTML with 200", nonsense, short_of="no bad gzip, lengths, NaN or huge bodies"),
    Scenario("F28", "a tenth of the writes' answers lost", replies_lost),
    Scenario("F28k", "an answer lost, then the worker killed", first_reply_lost, short_of="not in the facts by itself"),
    Scenario(
        "F37",
        "both vendors' clocks 10 min ahead, then back and behind",
        clocks_off,
        alone=True,
        short_of="our own clocks, which F37b tells; a vendor's clock wrong for less than two polls",
    ),
    Scenario(
        "F48",
        "a fifth of the webhooks lost, workers killed every 10 s",
        both_workers_killed,
        first=webhooks_lose,
        short_of="not silent for a day",
    ),
    Scenario("F51", "cut off from store, broker, vendors by turns", partitioned, short_of="2 min each; here 30 s"),
]
