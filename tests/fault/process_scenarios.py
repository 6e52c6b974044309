"""What goes wrong with processes (facts, delivery D.3: F00 to F09)."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from tests.fault import edits
from tests.fault.edits import Wanted
from tests.fault.invariants import missing
from tests.fault.rig import OURS, ROOT, Rig, Unsettled
from tests.fault.scene import Scenario, Scene
from worker.store import backlog
from worker.store.outbox import CHANGE

STOP_S, OTHERS_S, DOOMED_S = 30.0, 120.0, 420.0
HELD_S, FROZEN_S, AWAY_S = 30.0, 45.0, 60.0
POISONS = {9_000_001: "Poison kill", 9_000_002: "Poison memory"}
"""Of whom no plan knows."""


def all_quiet(_scene: Scene) -> None:
    """Nothing goes wrong."""
    time.sleep(1)


def child_killed(scene: Scene) -> None:
    """A worker's child is killed, thirty times in all."""
    for _ in range(scene.often(30, quick=3)):
        time.sleep(scene.chance.uniform(0.3, 1.5))
        scene.rig.kill_child(scene.chance.choice(("worker", "optout")), scene.chance.randrange(4))


def parent_killed(scene: Scene) -> None:
    """A worker is killed, its children are not; a second later it is started again. Ten times in all."""
    for _ in range(scene.often(10)):
        time.sleep(scene.chance.uniform(0.5, 3))
        scene.rig.kill_parent("worker", down_s=1)
        scene.rig.start("worker")


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
    """A worker stands still with writes in hand for longer than its lease; another takes them up, then it goes on."""
    if scene.wave:
        return
    rig = scene.rig
    rig.fault({"match": {"op": "write"}, "kind": "delay", "times": 4, "args": {"seconds": 3}}, vendors=("workbooks",))
    rig.wait_for(lambda: _stands_with_writes(rig), HELD_S)
    held = _intended(rig)
    rig.start("worker2")
    time.sleep(FROZEN_S)
    now = _intended(rig, everything=True)
    scene.notes["held"] = len(held)
    scene.notes["taken over"] = sum(now.get(change, fence + 1) > fence for change, fence in held.items())
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
    return dict(row.tuple() for row in rows)


def were_taken_over(scene: Scene) -> str:
    """What stood still had changes in hand, and somebody else closed or took them: its results came too late."""
    held, taken = scene.notes.get("held", 0), scene.notes.get("taken over", 0)
    return "" if taken else f"of {held} changes in hand of who stood still, nobody took one over"


def power_cut(scene: Scene) -> None:
    """Everything of ours is killed at once, the broker too, and started again."""
    time.sleep(scene.chance.uniform(0.5, 3))
    scene.rig.kill(*OURS)
    scene.rig.start(*OURS)


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
    Scenario("F01", "kill -9 of random children of the workers", child_killed),
    Scenario("F02", "kill -9 of a worker, started again after 1 s", parent_killed),
    Scenario("F03", "no sweeper, then three at once", sweeper_gone),
    Scenario("F04", "no beat, then two", beat_gone, short_of="10 min each; here until the last wave"),
    Scenario("F05", "SIGTERM to a worker with a write in hand", ended_in_order, short_of="20 times; here once a wave"),
    Scenario(
        "F06",
        "SIGSTOP of a worker past its lease",
        frozen_past_its_lease,
        check=were_taken_over,
        short_of="120 s; here 45 s, leases are 15 s",
    ),
    Scenario(
        "F07",
        "one record kills its worker, one eats all memory",
        poisoned,
        check=_were_cured,
        environ={"PYTHONPATH": f"{Path(__file__).with_name('poisoned')}:{ROOT}"},
        short_of="a dead letter after 5 tries; the product gives up after 8",
    ),
    Scenario(
        "F09", "all of ours killed at once, broker too", power_cut, short_of="the host itself and Postgres live on"
    ),
]
