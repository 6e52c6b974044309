"""What goes wrong between us and the vendors (facts, delivery D.3: F24 to F28, F48, F51)."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from tests.fault.invariants import OUT
from tests.fault.rig import VENDORS, Rig, Unsettled, listens
from tests.fault.scene import Scenario, Scene
from tests.fault.vendor_scenarios import nobody_was_taken_for_deleted

DRIP_S, APART_S, OFF_S = 70.0, 30.0, 600
TOLD_APART_S = 120.0
HOUR_S, QUIET_S = 3_600.0, 20.0
OUTAGE_S, OUT_S, HEARD_S = 1_800.0, 60.0, 60.0
PROBES_S, MINUTES_S = 15.0, 300.0
"""How often a vendor that is down is called once, and how often for an opt-out one that has asked for an hour."""
READ_ALL_S = 5.0
"""Longer than polls of all streams take to see an edit."""
KINDS = 2
"""Reads and writes are let through by themselves, and opt-outs whatever holds the rest."""
STAMPEDE = 2.0
"""So many times the ordinary peak of calls a second a recovery may cost (facts, delivery F25)."""
ASKED: tuple[tuple[str | None, ...], ...] = (("2", None), ("date",), ("-30", "in a while, perhaps"))


def throttled(scene: Scene) -> None:
    """Both vendors throttle: for seconds, for nobody knows how long, until a date, with nonsense; at last for an hour."""
    if scene.last:
        _an_hour(scene)
        return
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
    for told in ASKED[scene.wave % len(ASKED)]:
        headers = {"Retry-After": date if told == "date" else told} if told else {}
        scene.rig.fault({"kind": "status", "times": 4, "args": {"code": 429, "body": "", "headers": headers}})
        time.sleep(1)


def _an_hour(scene: Scene) -> None:
    """An hour of peace is asked for, and kept: nobody calls but now and then for an opt-out. Then somebody ends it."""
    rig, quiet_s = scene.rig, scene.span(HOUR_S - 2 * HEARD_S, QUIET_S)
    rig.fault({"kind": "status", "args": {"code": 429, "body": "", "headers": {"Retry-After": f"{HOUR_S:.0f}"}}})
    before = _heard(rig)
    time.sleep(quiet_s)
    most = _opt_outs(scene) * quiet_s / MINUTES_S + KINDS
    scene.notes["asked again"] = told = {vendor: len(_calls(scene, vendor, before[vendor])) for vendor in VENDORS}
    rig.fault()
    if max(told.values()) > most:
        raise Unsettled(f"F24 asked to wait an hour, within {quiet_s:.0f} s asked again: {told}")
    if scene.as_told:
        time.sleep(3 * HEARD_S)
    else:
        rig.must("resume")


def _heard(rig: Rig) -> dict[str, int]:
    """Wait until everybody has heard that nobody is to call; return how far both journals have come."""
    until, before = time.monotonic() + HEARD_S, rig.mark()
    time.sleep(QUIET_S / 4)
    while (after := rig.mark()) != before and time.monotonic() < until:
        before = after
        time.sleep(QUIET_S / 4)
    return after


def _calls(scene: Scene, vendor: str, since: int) -> list[dict[str, Any]]:
    """Return the calls of ours that a vendor has had since a mark; how it was reset and edited is none."""
    entries = scene.rig.control(vendor, f"journal?since={since}")["entries"]
    return [one for one in entries if not one["path"].startswith("/_sim/")]


def storm(scene: Scene) -> None:
    """At first all is well; then half of all calls are answered with an error of the server, at last all of them, for long.

    What is usual is measured in the calm of the first wave: a storm lets fewer calls through.
    """
    rig, code = scene.rig, (500, 502, 503, 504)[scene.wave % 4]
    if scene.wave == 0:
        time.sleep(READ_ALL_S)
        rig.wait_for(rig.is_quiet, MINUTES_S)
        return
    wrong: dict[str, Any] = {"kind": "status", "args": {"code": code, "body": "unwell"}}
    if not scene.last:
        rig.fault({**wrong, "probability": 0.5})
        time.sleep(scene.span(MINUTES_S, 3))
        return
    scene.notes["ordinary"] = {vendor: _peak(_calls(scene, vendor, 0)) for vendor in VENDORS}
    rig.fault(wrong)
    out_s = scene.span(OUTAGE_S, OUT_S)
    time.sleep(out_s / 2)
    before = rig.mark()
    time.sleep(out_s / 2)
    scene.notes["out"] = {vendor: len(_calls(scene, vendor, before[vendor])) for vendor in VENDORS}
    scene.notes["healed"] = rig.mark()
    rig.fault()
    most = KINDS * (1 + out_s / 2 / PROBES_S) + 2 * _opt_outs(scene) * max(1.0, out_s / 2 / MINUTES_S)
    if max(scene.notes["out"].values()) > most:
        raise Unsettled(
            f"F25 no circuit was open: {scene.notes['out']} calls within {out_s / 2:.0f} s, {most:.0f} at most"
        )


def _opt_outs(scene: Scene) -> int:
    """Return how many opt-outs there are in all: none of them is held by what holds other calls."""
    return sum(one.field in OUT and bool(one.value) for one in scene.plan.wanted)


def _peak(calls: list[dict[str, Any]]) -> int:
    """Return how many calls came within one second at the most."""
    return max(Counter(one["at"][:19] for one in calls).values(), default=0)


def no_stampede(scene: Scene) -> str:
    """Afterwards no vendor has had more than twice the calls a second that it has had before."""
    if "healed" not in scene.notes:
        return ""
    before = scene.notes["ordinary"]
    after = {vendor: _peak(_calls(scene, vendor, scene.notes["healed"][vendor])) for vendor in VENDORS}
    scene.notes["peaks"] = before, after
    much = [vendor for vendor in VENDORS if after[vendor] > STAMPEDE * before[vendor]]
    return f"a stampede: at most {before} calls a second before, {after} afterwards" if much else ""


def slow(scene: Scene) -> None:
    """Answers come late, in drops, or break off; connections are reset in mid-headers, half closed, or never come about."""
    rig = scene.rig
    if scene.wave % 4 == 1:
        _broken(scene, ({"mode": "reset", "after": 20}, {"mode": "half_close", "after": 300}), 4)
    elif scene.wave % 4 == 2:
        for vendor in VENDORS:
            rig.wires.turn(vendor, "unheard")
        time.sleep(scene.span(MINUTES_S / 5, CONNECTS_S))
        rig.wires.heal()
    elif scene.last:
        late = {"kind": "delay", "times": 2, "args": {"seconds": READ_S}}
        rig.fault(late)
        _broken(scene, ({"mode": "drip", "rate": 1}, {"mode": "drip", "rate": 1}), DRIP_S)
    else:
        rig.fault(
            {"kind": "delay", "probability": 0.2, "args": {"seconds": 2}},
            {"kind": "slow_drip", "probability": 0.2, "args": {"seconds": 2}},
            {"kind": "reset", "probability": 0.1},
        )
        time.sleep(4)


CONNECTS_S, READ_S = 12.0, 35.0
"""Longer than a connection is waited for, and than an answer."""
OVERDUE = b"Hard time limit"
"""Celery's words for a task that was ended from outside, for it had not ended itself at 50 s."""


def _broken(scene: Scene, modes: tuple[dict[str, Any], ...], seconds: float) -> None:
    """Let half of the connections to each vendor break off, each in its own way; those that stood are cut first."""
    wires, seed = scene.rig.wires, scene.chance.randrange(1_000)
    for vendor, mode in zip(VENDORS, modes, strict=True):
        wires.turn(vendor, "cut")
        wires.turn(vendor, seed=seed, probability=0.5, **mode)
    time.sleep(seconds)
    wires.heal()


def within_their_time(scene: Scene) -> str:
    """No task had to be ended from outside: each gave up by itself in time."""
    late = [name for name, text in scene.rig.texts().items() if OVERDUE in text]
    return f"tasks were ended by their time limit: {late}" if late else ""


def nonsense(scene: Scene) -> None:
    """Answers are cut short, packed wrongly, longer or deeper than anybody wants, a page for people; at last every list is."""
    some = (
        [{"kind": "truncate"}, garbled("html"), garbled("gzip")],
        [garbled("json"), garbled("nan"), garbled("length")],
        [garbled("deep"), {**garbled("huge"), "times": 3}, {**garbled("html"), "match": {"op": "write"}}],
        [{**garbled("html"), "match": {"op": "read"}, "probability": 1.0}],
    )[3 if scene.last else scene.wave % 3]
    scene.rig.fault(*({"probability": 0.15, **one} for one in some))
    time.sleep(4)


def garbled(how: str) -> dict[str, Any]:
    """Return the fault of an answer that is nonsense of this kind."""
    return {"kind": "garbled", "args": {"how": how}}


UNFORESEEN = b"raised unexpected"
"""Celery's words for an error that no task has expected."""


def each_was_classified(scene: Scene) -> str:
    """No nonsense was an error that nobody had foreseen, and none was taken for a list of nobody."""
    found = [name for name, text in scene.rig.texts().items() if UNFORESEEN in text]
    return f"unforeseen errors in {found}" if found else nobody_was_taken_for_deleted(scene)


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
    """Ten seconds later both workers are killed and started again; at last no webhook comes at all."""
    if scene.last:
        scene.rig.control("outreach", "webhooks", {"lose": 1.0, "seed": 1})
    time.sleep(10)
    scene.rig.kill("worker", "optout")
    scene.rig.start("worker", "optout")


def webhooks_come_again(scene: Scene) -> str:
    """Leave nothing behind: polls alone have brought the last wave."""
    scene.rig.control("outreach", "webhooks", {"lose": 0.0, "seed": 1})
    return ""


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
    time.sleep(scene.span(TOLD_APART_S, APART_S))
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
    Scenario(
        "F24",
        "429 with Retry-After in every form, at last an hour",
        throttled,
        in_short="an hour's wait; here it is seen to be kept for 20 s, then `outbook resume` ends it",
    ),
    Scenario(
        "F25",
        "half of all calls fail with 5xx, then all",
        storm,
        check=no_stampede,
        in_short="an outage of 30 min; here a minute",
    ),
    Scenario(
        "F26",
        "slow, dripping, reset, half-closed, never connected",
        slow,
        check=within_their_time,
        short_of="45 s for a task; here for a call, a task of several slow ones ends itself at 50 s",
    ),
    Scenario(
        "F26k",
        "half-closed and reset in mid-answer, then 1 B/s for 70 s",
        broken_off,
        check=_were_broken_off,
        short_of="not in the facts by itself",
    ),
    Scenario("F27", "every answer that is none, with 200", nonsense, check=each_was_classified),
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
        "a fifth of the webhooks lost, at last all; workers killed every 10 s",
        both_workers_killed,
        first=webhooks_lose,
        check=webhooks_come_again,
        short_of="a day of silence; that it is noticed and ended, tests/sync/test_subscriptions.py tells",
    ),
    Scenario("F51", "cut off from store, broker, vendors by turns", partitioned, in_short="2 min each; here 30 s"),
]
