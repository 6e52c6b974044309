"""What goes wrong with processes (facts, delivery D.3: F00 to F09)."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from tests.fault import edits
from tests.fault.edits import Wanted
from tests.fault.invariants import missing
from tests.fault.rig import OURS, ROOT, START_S, Rig, Unsettled
from tests.fault.scene import Scenario, Scene
from worker.store import alerts, backlog
from worker.store.outbox import CHANGE

STOP_S, OTHERS_S, DOOMED_S = 30.0, 120.0, 420.0
HELD_S, AWAY_S, EVERY_S, TAKEN_UP_S = 60.0, 60.0, 2.0, 90.0
SLOW = {"match": {"op": "write"}, "kind": "delay", "args": {"seconds": 4}}
PASSERS_BY = 9_200_000
"""Whoever comes in to be in hand when a worker ends counts from here on."""
POLLED = "/api/v2/prospects"
STREAMS = 8
"""More calls than what was under way can still make by itself."""
MOST, FEW = 1.25, 3
"""So many polls an interval, and so many more: an interval may be cut off at either end of the time looked at."""
POISONS = {9_000_001: "Poison kill", 9_000_002: "Poison memory"}
"""Of whom no plan knows."""


def all_quiet(_scene: Scene) -> None:
    """Nothing goes wrong."""
    time.sleep(1)


def child_killed(scene: Scene) -> None:
    """A worker's child is killed every two seconds, thirty times in all."""
    for _ in range(scene.often(30, quick=3)):
        time.sleep(EVERY_S if scene.whole else scene.chance.uniform(0.3, 1.5))
        killed = scene.rig.kill_child(scene.chance.choice(("worker", "optout")), scene.chance.randrange(4))
        scene.notes["killed"] = scene.notes.get("killed", 0) + killed


def were_killed(scene: Scene) -> str:
    """As many were killed as the facts ask for."""
    killed = scene.notes.get("killed", 0)
    return f"{killed} children were killed, not 30" if scene.whole and killed < 30 else ""


def parent_killed(scene: Scene) -> None:
    """A worker is killed with a write in hand, its children are not; a second later it is started again. Ten times in all.

    What it had in hand somebody takes up before a lease and a sweep are over, long before the broker sends anything again.
    """
    rig, held = scene.rig, dict[int, int]()
    for _ in range(scene.often(10)):
        if scene.whole:
            write_in_hand(scene)
            held = _intended(rig)
        else:
            time.sleep(scene.chance.uniform(0.5, 3))
        rig.kill_parent("worker", down_s=1)
        rig.start("worker")
    try:
        rig.wait_for(lambda: _taken_over(rig, held) == len(held), TAKEN_UP_S)
    except Unsettled:
        raise Unsettled(f"F02 what a dead worker had in hand lies for {TAKEN_UP_S:.0f} s: {rig.stuck()}") from None


def write_in_hand(scene: Scene) -> None:
    """Let somebody come in while writes take four seconds, and wait until a worker has one in hand."""
    prospect = PASSERS_BY + scene.rig.runs  # something is started each time, and that is counted
    scene.rig.fault(SLOW, vendors=("workbooks",))
    scene.rig.edit("outreach", edits.newcomer(prospect))
    scene.plan.wanted.append(Wanted(prospect, "crm", edits.LABEL, edits.RUNNING))
    scene.plan.changes += 1
    scene.rig.wait_for(lambda: bool(_intended(scene.rig)), HELD_S)
    scene.rig.fault(vendors=("workbooks",))


def sweeper_gone(scene: Scene) -> None:
    """Nobody sweeps for a minute; then three do at once."""
    if scene.wave == 0:
        scene.rig.kill("optout")
        scene.notes["since"] = time.monotonic()
    elif scene.last:
        time.sleep(max(0.0, AWAY_S - (time.monotonic() - scene.notes["since"])))
        scene.rig.start("optout", "optout2", "optout3")
    time.sleep(4)


def beat_gone(scene: Scene) -> None:
    """Nobody rings for ten minutes, and somebody is alerted; then two beats do as long, and each stream is read as ever."""
    rig = scene.rig
    if scene.wave == 0:
        rig.kill("beat")
        scene.notes["since"] = time.monotonic()
    elif scene.last:
        time.sleep(max(0.0, scene.notes["since"] + scene.span(600, 0) - time.monotonic()))
        if scene.as_told and "OutbookBeatDown" not in _alerts(rig):
            raise Unsettled(f"F04 nobody is alerted though no beat rings: {_alerts(rig)}")
        rig.start("beat", "beat2")
        _polled_as_ever(scene, scene.span(600, 15))
    time.sleep(4)


def _alerts(rig: Rig) -> list[str]:
    with rig.store() as db:
        return [one.name for one in alerts.standing(db) if one.firing]


def _polled_as_ever(scene: Scene, within_s: float) -> None:
    """Look on for so long once a beat rings; Unsettled if a stream is read more than once an interval, or not at all."""
    asked = scene.rig.mark()["outreach"]
    scene.rig.wait_for(lambda: scene.rig.mark()["outreach"] > asked + STREAMS, START_S)
    since = scene.rig.mark()["outreach"]
    time.sleep(within_s)
    calls = scene.rig.control("outreach", f"journal?since={since}&path=^{POLLED}$")["entries"]
    asked_for = [unquote(call["query"]) for call in calls]
    # A poll's later pages are no polls: with 5,000 records edited within its overlap it has several.
    polls = sum("filter[updatedAt]" in query and "page[after]" not in query for query in asked_for)
    scene.notes["polls"] = polls
    intervals = within_s / int(scene.rig.environ["OUTBOOK_POLL_SECONDS"])
    if not 1 <= polls <= MOST * intervals + FEW:
        raise Unsettled(f"F04 with two beats a stream was read {polls} times in {intervals:.0f} intervals")


def ended_in_order(scene: Scene) -> None:
    """A worker is ended by SIGTERM with a write in hand, and another started, as in a rolling deployment. Twenty times."""
    for _ in range(scene.often(20)):
        write_in_hand(scene)
        taken_s = scene.rig.end("worker")
        scene.rig.start("worker")
        if taken_s > STOP_S:
            raise Unsettled(f"F05 a worker took {taken_s:.0f} s to end, above {STOP_S:.0f}")


def frozen_past_its_lease(scene: Scene) -> None:
    """A worker stands still with writes in hand for longer than its lease; another takes them up, then it goes on."""
    if scene.wave:
        return
    rig = scene.rig
    rig.fault({"match": {"op": "write"}, "kind": "delay", "times": 4, "args": {"seconds": 3}}, vendors=("workbooks",))
    rig.wait_for(lambda: _stands_with_writes(rig), HELD_S)
    held = _intended(rig)
    rig.start("worker2")
    time.sleep(scene.span(120, 45))
    scene.notes["held"], scene.notes["taken over"] = len(held), _taken_over(rig, held)
    rig.thaw("worker")


def _stands_with_writes(rig: Rig) -> bool:
    """Freeze the worker with writes in hand but no lock: with one it stops everybody (SQLite), or keeps its rows (Postgres)."""
    if not _intended(rig):
        return False
    rig.freeze("worker")
    if _intended(rig) and not _is_locked(rig):
        return True
    rig.thaw("worker")
    return False


def _is_locked(rig: Rig) -> bool:
    """Tell whether somebody holds a lock on a change that is in hand."""
    file = make_url(rig.database_url).get_backend_name() == "sqlite"
    patience: dict[str, Any] = {"timeout": 0.5} if file else {"options": "-c lock_timeout=500"}
    engine = sa.create_engine(rig.database_url, connect_args=patience)
    try:
        with engine.begin() as db:
            db.execute(sa.update(CHANGE).where(CHANGE.c.intent.is_not(None)).values(fence=CHANGE.c.fence))
    except sa.exc.OperationalError:
        return True
    finally:
        engine.dispose()
    return False


def _intended(rig: Rig, *, everything: bool = False) -> dict[int, int]:
    """Return the fences of the changes whose carrying out somebody has begun, or of all that are open."""
    query = sa.select(CHANGE.c.id, CHANGE.c.fence)
    with rig.store() as db:
        rows = db.execute(query if everything else query.where(CHANGE.c.intent.is_not(None))).all()
    return {row.id: row.fence for row in rows}


def _taken_over(rig: Rig, held: dict[int, int]) -> int:
    """Return how many of these changes, with the fences of who had them, somebody has closed or taken since."""
    now = _intended(rig, everything=True)
    return sum(now.get(change, fence + 1) > fence for change, fence in held.items())


def were_taken_over(scene: Scene) -> str:
    """What stood still had changes in hand, and somebody else closed or took them: its results came too late."""
    held, taken = scene.notes.get("held", 0), scene.notes.get("taken over", 0)
    return "" if taken else f"of {held} changes in hand of who stood still, nobody took one over"


def power_cut(scene: Scene) -> None:
    """Everything of ours is killed at once, the broker and Postgres too, and started again."""
    everything = (*(["postgres"] if scene.rig.postgres else []), *OURS)
    time.sleep(scene.chance.uniform(0.5, 3))
    scene.rig.kill(*everything)
    scene.rig.start(*everything)


def poisoned(scene: Scene) -> None:
    """One record kills whoever plans it, one eats all memory; the others come through. The deadly one becomes a dead letter.

    Then both are mended, and what died is tried again.
    """
    rig = scene.rig
    if scene.wave == 0:
        for prospect, title in POISONS.items():
            rig.edit("outreach", [*edits.newcomer(prospect), _titled(prospect, title)])
    time.sleep(1)
    if not scene.last:
        return
    try:
        scene.notes["others"] = rig.wait_for(lambda: not missing(rig.seen(), scene.plan.wanted), OTHERS_S)
    except Unsettled:
        raise Unsettled("F07 the others did not come through beside the poison") from None
    try:
        rig.wait_for(lambda: _dead(rig) >= 1, DOOMED_S)  # who eats all memory may be given up first
    except Unsettled:
        raise Unsettled(f"F07 no dead letter of {DOOMED_S:.0f} s: {rig.stuck()}") from None
    rig.edit("outreach", [_titled(prospect, "Cured") for prospect in POISONS])
    rig.must("failures", "retry", "--all")


def _titled(prospect: int, title: str) -> edits.Document:
    return {"op": "set", "type": "prospect", "id": prospect, "attributes": {"title": title}}


def _dead(rig: Rig) -> int:
    with rig.store() as db:
        return backlog.count(db, datetime.now(UTC)).dead


def _were_cured(scene: Scene) -> str:
    lost = missing(scene.rig.seen(), [Wanted(prospect, "crm", edits.TITLE, "Cured") for prospect in POISONS])
    return f"{len(lost)} poisoned records are not there once cured" if lost else ""


SCENARIOS = [
    Scenario("F00", "nothing goes wrong", all_quiet, calm=True),
    Scenario("F01", "kill -9 of a child of the workers every 2 s", child_killed, check=were_killed),
    Scenario("F02", "kill -9 of a worker with a write in hand, ten times", parent_killed),
    Scenario("F03", "no sweeper, then three at once", sweeper_gone),
    Scenario("F04", "no beat, then two", beat_gone, in_short="10 min each and the alert; here some seconds"),
    Scenario("F05", "SIGTERM to a worker with a write in hand, 20 times", ended_in_order),
    Scenario(
        "F06",
        "SIGSTOP of a worker past its lease",
        frozen_past_its_lease,
        check=were_taken_over,
        in_short="120 s; here 45 s, leases are 15 s",
    ),
    Scenario(
        "F07",
        "one record kills its worker, one eats all memory",
        poisoned,
        check=_were_cured,
        environ={"PYTHONPATH": f"{Path(__file__).with_name('poisoned')}:{ROOT}"},
        short_of="a dead letter after 5 tries; the product gives up after 8",
    ),
    Scenario("F09", "everything killed at once, broker and Postgres too", power_cut),
]
