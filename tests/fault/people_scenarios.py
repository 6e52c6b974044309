"""What people do on both sides at the wrong moment (facts, delivery D.3: F39 to F46).

Beside the ordinary traffic a third of the records are *steady*: there from the start, in one running sequence, and left to the
scenario. What must stand there in the end is written down by hand for each.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.fault import edits
from tests.fault.edits import LABEL, NO_EMAIL, OPTED_OUT, RUNNING, STATES, TITLE, Document, Plan, Wanted
from tests.fault.invariants import REFERENCE
from tests.fault.rig import ROOT, Unsettled
from tests.fault.scene import Scenario, Scene
from worker.store import backlog

FIRST, EMAIL = "person_first_name", "main_location[email]"
DEFAULT = ROOT / "mappings" / "outreach-workbooks.yaml"
BRAKED = {"OUTBOOK_MAPPING": str(DEFAULT)}
"""The default mapping with its brakes."""
PAIRS, THIRTY_PERCENT = 1_000, 0.3
AGAIN = 5_000_000
"""What is added to a prospect's id when it is entered anew."""


@dataclass(slots=True)
class Mixed(Plan):
    """Ordinary traffic beside those who are left to the scenario."""

    steady: range = range(0)


def drawn(seed: str, records: int, *, first: int, waves: int, least: int = 6) -> Mixed:
    """Return ordinary traffic, and before it half as many steady records, but at least so many."""
    count = max(least, records // 3)
    rest = edits.draw(seed, max(3, records - count), first=first + count, waves=waves)
    steady = range(first, first + count)
    return Mixed(range(first, rest.old.stop), rest.new, rest.waves, rest.wanted, rest.changes, steady)


def steady(plan: Plan) -> range:
    """Return the steady ones of a plan."""
    assert isinstance(plan, Mixed)
    return plan.steady


def wants(plan: Mixed, prospect: int, *told: tuple[str, str, object]) -> None:
    """Note what must stand about a prospect in the end, and that this was one change."""
    plan.wanted += [Wanted(prospect, *one) for one in told]
    plan.changes += 1


def set_prospect(prospect: int, **attributes: object) -> Document:
    """Return the edit that sets attributes of a prospect."""
    return {"op": "set", "type": "prospect", "id": prospect, "attributes": attributes}


def ours(scene: Scene, vendor: str) -> Iterator[Document]:
    """Return what our own calls did at a vendor since the scenario began."""
    for entry in scene.rig.control(vendor, f"journal?since={scene.since[vendor]}")["entries"]:
        if not entry["path"].startswith("/_sim/"):
            yield from entry["effect"]


def living(scene: Scene) -> list[Document]:
    """Return the people of the CRM that are not deleted."""
    return [one for one in scene.rig.seen().people if not one["is_deleted"]]


def pause(_scene: Scene) -> None:
    """Let things settle between two waves, not to their end."""
    time.sleep(2)


# ---- F39: the same and different fields edited on both sides at once


def edited_on_both(seed: str, records: int, *, first: int, waves: int) -> Plan:
    """Return a plan in which pairs are edited on both sides: of one field the CRM's edit stands, of two both."""
    plan = drawn(seed, records, first=first, waves=waves)
    for number, one in enumerate(plan.steady):
        wave = plan.waves[number % waves]
        if number % 2:
            wave.outreach.append(set_prospect(one, title=f"Theirs {one}"))
            wave.crm.append((one, {TITLE: f"Typed {one}"}))
            wants(plan, one, ("crm", TITLE, f"Typed {one}"), ("outreach", "title", f"Typed {one}"))
        else:
            wave.outreach.append(set_prospect(one, title=f"Theirs {one}"))
            wave.crm.append((one, {FIRST: f"Typed{one}"}))
            wants(plan, one, ("crm", TITLE, f"Theirs {one}"), ("outreach", "firstName", f"Typed{one}"))
    return plan


# ---- F40: somebody saves between our read and our write, again and again


def saved_meanwhile(seed: str, records: int, *, first: int, waves: int) -> Plan:
    """Return a plan in which the steady ones get a title in Outreach while somebody keeps saving them in the CRM."""
    plan = drawn(seed, records, first=first, waves=waves)
    for one in plan.steady:
        plan.waves[0].outreach.append(set_prospect(one, title=f"Theirs {one}"))
        wants(plan, one, ("crm", TITLE, f"Theirs {one}"), ("outreach", "firstName", f"Saved{one}x11"))
    return plan


def keeps_saving(scene: Scene) -> None:
    """Each write to the CRM takes a second, and within it somebody saves the record: its version is stale, again and again."""
    if scene.wave:
        time.sleep(2)
        return
    delay = {"match": {"op": "write", "path": "people"}, "kind": "delay", "args": {"seconds": 1}}
    scene.rig.fault(delay, vendors=("workbooks",))
    for turn in range(12):
        typed = [
            {"op": "set", "type": "person", "id": scene.people[one], "fields": {FIRST: f"Saved{one}x{turn}"}}
            for one in steady(scene.plan)
        ]
        scene.rig.edit("workbooks", typed)
        time.sleep(0.7)
    scene.rig.fault(vendors=("workbooks",))


# ---- F41: to and fro within one poll


def to_and_fro(seed: str, records: int, *, first: int, waves: int) -> Plan:
    """Return a plan in which the steady ones are changed and changed back, and at last changed for good, in one breath."""
    plan = drawn(seed, records, first=first, waves=waves)
    for one in plan.steady:
        for number, wave in enumerate(plan.waves):
            there = [set_prospect(one, title=f"Wave {number}"), set_prospect(one, title=None)]
            wave.outreach += there if number < waves - 1 else there[:1]
        wants(plan, one, ("crm", TITLE, f"Wave {waves - 1}"))
    return plan


def written_once(scene: Scene) -> str:
    """Whoever went to and fro was written once, for what stood in the end, and no breaker took it for a fight."""
    mine = {scene.people[one] for one in steady(scene.plan)}
    writes = Counter(one["id"] for one in ours(scene, "workbooks") if one["id"] in mine and one["type"] == "person")
    often = {person: times for person, times in writes.items() if times > 1}
    # An edit may fall between the two of a breath: then it was there, and is carried.
    return f"written more than once: {often}" if len(often) > len(mine) // 10 + 1 else ""


# ---- F42: deleted before, during and after a write; a third of all at once


def deleted_in_the_crm(seed: str, records: int, *, first: int, waves: int) -> Plan:
    """Return a plan in which the steady ones are edited in Outreach and deleted in the CRM around it."""
    plan = drawn(seed, records, first=first, waves=waves)
    for number, one in enumerate(plan.steady):
        plan.waves[number % waves].outreach.append(set_prospect(one, title=f"Kept {one}"))
        wants(plan, one, ("crm", TITLE, f"Kept {one}"), ("crm", LABEL, RUNNING))
    return plan


def delete_around(scene: Scene) -> None:
    """Those of this wave are deleted by hand: before the edit is read, while it is written, and after."""
    mine = steady(scene.plan)[scene.wave :: len(scene.plan.waves)]
    delay = {"match": {"op": "write", "path": "people"}, "kind": "delay", "args": {"seconds": 0.5}}
    scene.rig.fault(delay, vendors=("workbooks",))
    for one in mine:
        scene.rig.edit("workbooks", [{"op": "delete", "type": "person", "id": scene.people[one]}])
        time.sleep(scene.chance.uniform(0, 3 / len(mine)))
    scene.rig.fault(vendors=("workbooks",))
    time.sleep(2)


def enough_for_a_brake(seed: str, records: int, *, first: int, waves: int) -> Plan:
    """Return a plan with more steady ones than a brake lets pass however few records there are."""
    return drawn(seed, records, first=first, waves=waves, least=24)


def a_third_deleted(scene: Scene) -> None:
    """In the second wave all steady ones are deleted at once; none may come back before somebody says so."""
    if scene.wave == 1:
        _delete_a_third(scene)
        _approve(scene)
    time.sleep(3)
    if scene.last:  # whose deletion was read after the first approval waits for one of its own
        scene.rig.wait_for(scene.rig.is_quiet, 60)
        _approve(scene)


def _delete_a_third(scene: Scene) -> None:
    before = len(living(scene))
    gone = [{"op": "delete", "type": "person", "id": scene.people[one]} for one in steady(scene.plan)]
    if len(gone) < THIRTY_PERCENT * before:
        raise Unsettled(f"F42b only {len(gone)} of {before} to be deleted at once")
    scene.rig.edit("workbooks", gone)
    scene.rig.wait_for(lambda: "brake" in scene.rig.outbook("held", "list", "--json")[1], 60)
    time.sleep(4)
    made = [one for one in ours(scene, "workbooks") if one["op"] == "create" and one["type"] == "person"]
    again = {str(one) for one in steady(scene.plan)} & {str(one["changes"].get(REFERENCE, [0, 0])[1]) for one in made}
    if again:
        raise Unsettled(f"F42b {len(again)} of {before} came back though the brake had tripped")


def _approve(scene: Scene, *which: str) -> None:
    code, told = scene.rig.outbook("held", "approve", "--all", "--yes", "--json", *which)
    if code not in {0, 3}:
        raise Unsettled(f"held approve ended with {code}: {told[:300]}")


# ---- F43: two linked people are merged in the CRM, one of them opted out


def merged_in_the_crm(seed: str, records: int, *, first: int, waves: int) -> Plan:
    """Return a plan in which every second steady one opts out and is then merged into its neighbour."""
    plan = drawn(seed, records, first=first, waves=waves)
    for winner, loser in _pairs(plan.steady):
        plan.waves[0].outreach.append({"op": "opt_out", "prospect": loser})
        wants(plan, winner, ("crm", NO_EMAIL, True), ("outreach", "emailOptedOut", True))
    return plan


def _pairs(ids: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(ids[::2], ids[1::2], strict=False))


def merge_pairs(scene: Scene) -> None:
    """In the second wave the pairs are merged in the CRM, in the last their prospects: that is heard of a little later."""
    pairs = _pairs(steady(scene.plan))
    if scene.wave == 1:
        merged = [
            {"op": "merge", "winner": scene.people[winner], "loser": scene.people[loser]} for winner, loser in pairs
        ]
        scene.rig.edit("workbooks", merged)
    elif scene.last:
        scene.rig.wait_for(lambda: "ambiguous" in scene.rig.outbook("held", "list", "--json")[1], 60)
        scene.rig.edit("outreach", [{"op": "merge", "winner": winner, "loser": loser} for winner, loser in pairs])
        scene.rig.outbook("sync")  # its second net hears of the merge at once, the feed of its own every five minutes
    time.sleep(3)


def survivors_alone(scene: Scene) -> str:
    """The winner lives, linked to its own prospect, and nobody new was ever made for the loser's."""
    of = {one["id"]: str(one.get(REFERENCE)) for one in living(scene)}
    pairs = _pairs(steady(scene.plan))
    wrong = [winner for winner, _ in pairs if of.get(scene.people[winner]) != str(winner)]
    losers = [loser for _, loser in pairs if scene.people[loser] in of or str(loser) in of.values()]
    return f"not linked: {wrong[:3]}, still there or made anew: {losers[:3]}" if wrong or losers else ""


# ---- F44: deleted and entered anew, and addresses swapped


def entered_anew(seed: str, records: int, *, first: int, waves: int) -> Plan:
    """Return a plan in which steady ones are deleted in Outreach and entered anew, and others swap their addresses."""
    plan = drawn(seed, records, first=first, waves=waves)
    half = len(plan.steady) // 2
    for one in plan.steady[:half]:
        plan.waves[0].outreach.append({"op": "delete", "type": "prospect", "id": one})
        created, state = edits.newcomer(one + AGAIN)
        created["attributes"] = {**created["attributes"], "emails": _emails(one)}
        plan.waves[1].outreach += [created, state]
        wants(plan, one + AGAIN, ("crm", LABEL, RUNNING))
    for left, right in _pairs(plan.steady[half:]):
        swap = [set_prospect(left, emails=_emails(right)), set_prospect(right, emails=_emails(left))]
        plan.waves[1].outreach += swap
        wants(plan, left, ("crm", EMAIL, _emails(right)[0]))
        wants(plan, right, ("crm", EMAIL, _emails(left)[0]))
    return plan


def _emails(prospect: int) -> list[str]:
    return list(edits.newcomer(prospect)[0]["attributes"]["emails"])


def between(scene: Scene) -> None:
    """Leave time for the first wave to arrive before the second; states gone by hundreds trip a brake that is always on."""
    time.sleep(12 if scene.wave == 0 else 3)
    if scene.last:
        scene.rig.wait_for(scene.rig.is_quiet, 110)
        scene.rig.outbook("reconcile", "--json")
        _approve(scene, "--kind", "brake")


def nobody_crossed(scene: Scene) -> str:
    """The person of whoever was entered anew is the old one; who swapped addresses kept the person."""
    half = len(steady(scene.plan)) // 2
    of = {str(one.get(REFERENCE)): one["id"] for one in living(scene)}
    wrong = [one for one in steady(scene.plan)[:half] if of.get(str(one + AGAIN)) != scene.people[one]]
    crossed = [one for one in steady(scene.plan)[half:] if of.get(str(one)) != scene.people[one]]
    return f"not taken over: {wrong[:3]}, crossed: {crossed[:3]}" if wrong or crossed else ""


# ---- F45, F46: storms of opt-outs, and some who take theirs back


def opt_out_storm(seed: str, records: int, *, first: int, waves: int) -> Plan:
    """Return a plan in which the steady ones are opted in and fail, opt out on either side, and fail no more.

    A third as many again come in and opt out in one breath, before there is a person of theirs.
    """
    plan = drawn(seed, records, first=first, waves=waves)
    for number, one in enumerate(plan.steady):
        unknown = {"op": "set", "type": "sequenceState", "id": STATES + one, "attributes": {"state": "levitating"}}
        plan.waves[0].outreach += [unknown, {"op": "opt_in", "prospect": one}]
        if number % 3 == 0:
            plan.waves[1].outreach += [*edits.newcomer(one + AGAIN), {"op": "opt_out", "prospect": one + AGAIN}]
            wants(plan, one + AGAIN, ("crm", NO_EMAIL, True), ("crm", LABEL, OPTED_OUT))
        if number % 2:
            plan.waves[1].outreach.append({"op": "opt_out", "prospect": one})
        else:
            plan.waves[1].crm.append((one, {NO_EMAIL: True}))
        plan.waves[-1].outreach.append({**unknown, "attributes": {"state": "active"}})
        told = [("crm", NO_EMAIL, True), ("crm", LABEL, OPTED_OUT), ("outreach", "emailOptedOut", True)]
        wants(plan, one, *told)
        plan.changes += 2
    return plan


def replayed(scene: Scene) -> None:
    """Dead letters are tried again, twice over, while opt-outs are on their way; who comes in is a while in the making."""
    delay = {"match": {"op": "write", "path": "people"}, "kind": "delay", "args": {"seconds": 1}}
    scene.rig.fault(delay, vendors=("workbooks",))
    scene.rig.wait_for(lambda: scene.wave > 0 or _dead(scene) > 0, 60)
    time.sleep(2)
    scene.notes["dead"] = scene.notes.get("dead", 0) + _dead(scene)
    scene.rig.fault(vendors=("workbooks",))
    scene.rig.must("failures", "retry", "--all")
    scene.rig.must("resync", "--all")


def _dead(scene: Scene) -> int:
    with scene.rig.store() as db:
        return backlog.count(db, datetime.now(UTC)).dead


def were_dead(scene: Scene) -> str:
    """There were dead letters to be tried again."""
    return "" if scene.notes.get("dead") else "no dead letter was tried again"


def taken_back(seed: str, records: int, *, first: int, waves: int) -> Plan:
    """Return a plan in which the steady ones opt out, and later opt in again themselves or are opted in by a user."""
    plan = drawn(seed, records, first=first, waves=waves)
    for number, one in enumerate(plan.steady):
        plan.waves[0].outreach.append({"op": "opt_out", "prospect": one})
        if number % 2:
            plan.waves[-1].outreach.append({"op": "opt_in", "prospect": one})
        else:
            plan.waves[-1].crm.append((one, {NO_EMAIL: False}))
        told = [("crm", NO_EMAIL, True), ("crm", LABEL, OPTED_OUT), ("outreach", "emailOptedOut", True)]
        wants(plan, one, *told)
        plan.changes += 1
    return plan


def arrived_first(scene: Scene) -> None:
    """The opt-outs have arrived on both sides before anybody takes one back."""
    if scene.wave == 0:
        out = [Wanted(one, "crm", NO_EMAIL, True) for one in steady(scene.plan)]
        scene.rig.wait_for(lambda: not _missing(scene, out), 90)
    time.sleep(1)


def _missing(scene: Scene, wanted: list[Wanted]) -> bool:
    of = {str(one.get(REFERENCE)): one for one in living(scene)}
    return any(of.get(str(one.prospect), {}).get(one.field) != one.value for one in wanted)


SCENARIOS = [
    Scenario(
        "F39",
        "the same and other fields edited on both sides",
        pause,
        draw=edited_on_both,
        told=3 * PAIRS,
        in_short="1,000 pairs; here a third of the records",
    ),
    Scenario("F40", "somebody saves between our read and our write", keeps_saving, draw=saved_meanwhile),
    Scenario("F41", "to and fro within one poll", pause, draw=to_and_fro, check=written_once, calm=True),
    Scenario("F42", "deleted in the CRM around our write", delete_around, draw=deleted_in_the_crm),
    Scenario("F42b", "a third deleted at once, with brakes", a_third_deleted, draw=enough_for_a_brake, environ=BRAKED),
    Scenario(
        "F43",
        "linked people merged, one opted out",
        merge_pairs,
        draw=merged_in_the_crm,
        check=survivors_alone,
        alone=True,
    ),
    Scenario("F44", "entered anew, addresses swapped", between, draw=entered_anew, check=nobody_crossed, alone=True),
    Scenario("F45", "a storm of opt-outs and dead letters", replayed, draw=opt_out_storm, check=were_dead),
    Scenario(
        "F46",
        "opt-outs taken back by users",
        arrived_first,
        draw=taken_back,
        short_of="the command, which a test tells",
    ),
]
