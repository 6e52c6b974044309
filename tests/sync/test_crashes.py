"""The crash table: a process dies at a point, another one comes, and nothing is lost and nothing doubled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from tests.points import some
from tests.sync.conftest import MakeScene
from tests.sync.scene import LEASE_S, Killed, Life, Scene, fault, reads_of
from worker import bootstrap
from worker import tasks as celery_tasks
from worker.core.records import Kind, System
from worker.store import backlog, cursors, outbox
from worker.sync import apply

OF_THE_ROW = {"id", "updated_at", "lock_version", "updated_by", "updatedAt"}
WHEN = {"optedOutAt", "emailsOptedAt", "callsOptedAt", "cf_person_sequence_state_updated_at"}
"""Times at which Outreach was told of an opt-out: they differ from life to life."""


def dies(scene: Scene, where: str, *, nth: int = 0) -> Life:
    """Make a pass that dies at the nth point which reads like this, and return its life."""
    life = Life()
    met = 0

    def at(what: str) -> None:
        nonlocal met
        if not life.over and where in what:
            life.dies_at = len(life.points) if met == nth else None
            met += 1
        Life.at(life, what)

    life.at = at  # type: ignore[method-assign]
    with pytest.raises(Killed):
        scene.sync(life)
    return life


def mended(scene: Scene) -> None:
    """Let the dead one's leases run out and make a pass."""
    scene.later(LEASE_S)
    report = scene.sync()
    assert report.converged, report.as_json()


def recovered(scene: Scene) -> None:
    """Let the dead one's leases run out and make a pass; then another, which must find nothing to do."""
    mended(scene)
    scene.later(120)
    quiet = scene.sync().as_json()
    assert {**quiet["crm"], "unchanged": 0} == dict.fromkeys(quiet["crm"], 0)
    assert quiet["outreach"] == dict.fromkeys(quiet["outreach"], 0)


def ends(scene: Scene) -> dict[str, Any]:
    """Return what both sides hold in the end, without ids and versions, which differ from life to life."""
    people = {(str(one.get("cf_person_outreach_id")), one["is_deleted"]): plain(one) for one in scene.people()}
    tasks = {one["cf_task_outreach_id"]: plain(one, "primary_contact_id") for one in scene.tasks()}
    found = scene.outreach.world.dump()["prospect"]
    prospects = {number: plain(one["attributes"]) for number, one in found.items()}
    return {"people": people, "tasks": tasks, "prospects": prospects, "creates": Counter(scene.creates())}


def plain(held: dict[str, Any], *without: str) -> dict[str, Any]:
    """Return what a record holds; of some times only that there is one."""
    kept = {name: value for name, value in held.items() if name not in OF_THE_ROW.union(without)}
    return {name: bool(value) if name in WHEN else value for name, value in kept.items()}


def arrive(scene: Scene) -> None:
    """Five prospects are there: one new, one known in the CRM, one opted out, one with a skipped task, one bare."""
    for n in range(1, 5):
        scene.prospect(n, 1)
    scene.prospect(5)
    scene.person(person_first_name="Known", **{"main_location[email]": "P2@people.example"})
    scene.edit_outreach(op="opt_out", prospect=3, how="manual")
    scene.edit_outreach(op="create", type="task", id=40, **task_of(scene, 4))


def task_of(scene: Scene, prospect: int) -> dict[str, Any]:
    """Return a task of a prospect's sequence state that was skipped."""
    (state,) = scene.states_of(prospect)
    told = {"state": "skipped", "action": "call", "note": "Ring again", "dueAt": "2026-11-21T10:00:00.000Z"}
    around = {"prospect": prospect, "sequenceState": state, "sequence": 1, "sequenceStep": 2}
    return {"attributes": told, "relations": around}


def edit(scene: Scene) -> None:
    """Everything is edited at once: paused, opted out on either side, deleted, renamed on either side, a task skipped."""
    scene.later(300)
    (state,) = scene.states_of(1)
    scene.edit_outreach(op="pause", state=state)
    scene.edit_outreach(op="set", type="prospect", id=2, attributes={"title": "Head of Crashes"})
    scene.edit_crm(op="set", type="person", id=scene.of(4)["id"], fields={"no_email_soliciting": True})
    scene.edit_crm(op="delete", type="person", id=scene.of(3)["id"])
    scene.edit_crm(op="set", type="person", id=scene.of(2)["id"], fields={"main_location[mobile]": "+44 7700 900123"})
    scene.edit_outreach(op="create", type="task", id=41, **task_of(scene, 2))
    scene.prospect(6, 2)


STORIES: dict[str, tuple[Callable[[Scene], object], ...]] = {"arrive": (arrive,), "edit": (arrive, edit)}


def staged(make_scene: MakeScene, story: str) -> Scene:
    """Return a scene just before the last act of a story, everything before it synced."""
    scene = make_scene()
    *before, last = STORIES[story]
    for act in before:
        act(scene)
        assert scene.sync().converged
    last(scene)
    return scene


def places_to_die(points: list[str]) -> list[int]:
    """Return the points at which dying makes a difference.

    Between two of them nothing happened but a lease taken, or, once the writes are done, a page with our own echo stored.
    """
    wrote = next(n for n, what in enumerate(points) if what.startswith("told: write"))

    def counts(n: int) -> bool:
        if points[n] != "commit":
            return points[n].startswith("told: write")
        only_a_lease = n + 1 < len(points) and points[n + 1].startswith("ask: read")
        only_an_echo = n > wrote and points[n - 2].startswith("told: read")
        return not (only_a_lease or only_an_echo)

    return [n for n in range(len(points)) if counts(n)]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("story", STORIES)
def test_a_pass_may_die_anywhere(make_scene: MakeScene, story: str, request: pytest.FixtureRequest) -> None:
    """Killed after any commit and any answered write, each pass ends as if nobody had died (some, all: ``tests.points``)."""
    whole = staged(make_scene, story)
    life = Life()
    assert whole.sync(life).converged
    recovered(whole)
    wanted = ends(whole)
    points = places_to_die(life.points)
    assert len(points) > 15
    for n in some(request, points, 7):
        scene = staged(make_scene, story)
        with pytest.raises(Killed):
            scene.sync(Life(n))
        mended(scene)
        assert ends(scene) == wanted, (n, life.points[n - 3 : n + 1])
        scene.close()


def test_between_a_page_and_its_commit(on_both: Scene) -> None:
    """The page is read again, by the same link, and what was known of it is dropped."""
    arrive(on_both)
    life = dies(on_both, "told: read outreach /api/v2/prospects")
    assert life.points[-1] == "told: read outreach /api/v2/prospects"
    with on_both.store.read() as db:
        assert Kind.PROSPECT in cursors.unprimed(db)
        assert db.scalar(sa.select(sa.func.count()).select_from(outbox.CHANGE)) == 0
    recovered(on_both)
    assert sorted(on_both.creates()) == ["person 1", "person 3", "person 4", "task 40"]


def test_between_a_commit_and_its_ring(on_both: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was queued and never rung for is rung for by the sweep."""
    arrive(on_both)
    on_both.poll()
    rung: list[str] = []

    class Runtime:
        store, mapping = on_both.store, on_both.mapping

    monkeypatch.setattr(celery_tasks, "runtime", Runtime)
    monkeypatch.setattr(bootstrap, "now", on_both.now)
    monkeypatch.setattr(celery_tasks, "ring", lambda task, *_: rung.append(task))
    celery_tasks.sweep.run()
    assert rung == ["outbook.opt_outs", "outbook.apply"]
    recovered(on_both)
    rung.clear()
    celery_tasks.sweep.run()
    assert rung == []


def test_between_claim_and_intent(on_both: Scene) -> None:
    """The lease runs out, and each of the batch is done again, alone."""
    arrive(on_both)
    on_both.poll()
    life = Life()
    on = on_both.applier(life)
    life.dies_at = 1
    with pytest.raises(Killed):
        on_both.apply(on)
    assert on_both.creates() == []
    assert apply.apply_people(on_both.applier()).claimed == 0
    recovered(on_both)
    assert sorted(on_both.creates()) == ["person 1", "person 3", "person 4", "task 40"]


def test_between_intent_and_request(on_both: Scene) -> None:
    """The intent stands in the row; the next holder looks before it creates."""
    arrive(on_both)
    dies(on_both, "ask: write crm /crm/people.api")
    with on_both.store.read() as db:
        intents = db.execute(sa.select(outbox.CHANGE.c.intent).where(outbox.CHANGE.c.intent.is_not(None))).scalars()
        assert [intent for intent in intents if "create" in intent]
    on_both.wire.calls.clear()
    recovered(on_both)
    first_write = next(n for n, call in enumerate(on_both.wire.calls) if call.writes and "people" in call.path)
    looks = reads_of(on_both.wire.calls[:first_write], "people")
    assert any("cf_person_outreach_id" in call.body and "_fm=or" in call.body for call in looks)
    assert sorted(on_both.creates()) == ["person 1", "person 3", "person 4", "task 40"]


@pytest.mark.parametrize("path", ["/crm/people.api", "/activity/tasks.api"])
def test_the_process_dies_before_it_reads_the_reply(on_both: Scene, path: str) -> None:
    """What was created is found by its reference, linked, and not created twice."""
    arrive(on_both)
    dies(on_both, f"told: write crm {path}")
    recovered(on_both)
    assert sorted(on_both.creates()) == ["person 1", "person 3", "person 4", "task 40"]
    with on_both.store.read() as db:
        assert backlog.count(db, on_both.now()).open == 0


@pytest.mark.parametrize("path", ["/crm/people.api", "/activity/tasks.api"])
def test_the_reply_is_lost(on_both: Scene, path: str) -> None:
    """The same pass looks what was not confirmed up, believes what it finds, and needs no second pass."""
    arrive(on_both)
    on_both.crm.faults.arm([fault("lost_reply", path=path, op="write")])
    assert on_both.sync().converged
    assert sorted(on_both.creates()) == ["person 1", "person 3", "person 4", "task 40"]
    assert all(on_both.of(n)["cf_person_sequence_state"] for n in (1, 2, 3, 4))


@pytest.mark.parametrize("kind", ["drop", "reset", "truncate", "html200"])
def test_the_reply_says_nothing(make_scene: MakeScene, kind: str) -> None:
    """Broken off before or after it was carried out, nobody can tell: what is there is linked, what is not is created."""
    scene = make_scene()
    arrive(scene)
    scene.crm.faults.arm([fault(kind, op="write", times=2)])
    assert scene.sync(wait_s=60).converged
    assert sorted(scene.creates()) == ["person 1", "person 3", "person 4", "task 40"]


def test_the_reply_of_an_update_is_lost(on_both: Scene) -> None:
    """An update that was carried out unseen is recognised by what the record holds, and not sent again."""
    arrive(on_both)
    on_both.sync()
    on_both.later(300)
    on_both.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Once"})
    on_both.crm.faults.arm([fault("lost_reply", path="people", op="write")])
    on_both.crm.journal.clear()
    assert on_both.sync().converged
    assert on_both.of(1)["person_job_title"] == "Once"
    assert len(on_both.writes(on_both.crm)) == 1


def test_the_reply_of_outreach_is_lost(on_both: Scene) -> None:
    """A change that Outreach made and never confirmed is made again to the same end, which changes nothing."""
    arrive(on_both)
    on_both.sync()
    on_both.later(300)
    on_both.edit_crm(op="set", type="person", id=on_both.of(1)["id"], fields={"no_email_soliciting": True})
    on_both.outreach.faults.arm([fault("lost_reply", path="prospects/1$")])
    assert on_both.sync(wait_s=60).converged
    assert on_both.of_outreach("prospect", 1)["emailOptedOut"] is True
    opted = [one for one in on_both.writes(on_both.outreach) if "emailOptedOut" in one["changes"]]
    assert [one["changes"]["emailOptedOut"] for one in opted] == [[False, True]]


def test_between_the_receipts_and_the_ack(on_both: Scene) -> None:
    """The task runs again and finds nothing to do: not one more request to a vendor."""
    arrive(on_both)
    on_both.poll()
    while on_both.apply().claimed:
        pass
    on_both.wire.calls.clear()
    assert on_both.apply().claimed == 0
    assert on_both.wire.calls == []
    assert on_both.writes(on_both.crm)


def test_every_message_may_come_ten_times(make_scene: MakeScene) -> None:
    """Polling and applying over and over, in any order, doubles nothing."""
    scene = make_scene()
    arrive(scene)
    for stream in reversed(cursors.STREAMS):
        scene.poll(stream, stream)
        scene.apply()
        scene.apply()
    recovered(scene)
    assert sorted(scene.creates()) == ["person 1", "person 3", "person 4", "task 40"]


def test_all_of_a_batch_are_done_after_its_holder_died(make_scene: MakeScene) -> None:
    """A hundred orphans, each claimed alone, all get their person."""
    scene = make_scene()
    for n in range(1, 61):
        scene.prospect(n, 1)
    scene.poll()
    life = Life(1)
    with pytest.raises(Killed):
        scene.apply(scene.applier(life))
    scene.later(LEASE_S)
    claims = []
    while (told := scene.apply()).claimed:
        claims.append(told.claimed)
    assert claims == [1] * 60
    assert sorted(scene.creates()) == sorted(f"person {n}" for n in range(1, 61))
    assert {call.system for call in scene.wire.calls} == {System.OUTREACH, System.CRM}
