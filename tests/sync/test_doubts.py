"""A new record that no reply confirmed: made once in a CRM whose lists lag, and made after all where it never arrived."""

from __future__ import annotations

import pytest

from tests.sync.conftest import MakeScene
from tests.sync.scene import LEASE_S, Call, Killed, Life, Scene, fault, form
from worker.core.records import System
from worker.sync import doubts

LAG = {"search_lag": 30.0}
DELETED_TASK = 31


def lagging(make_scene: MakeScene) -> Scene:
    """Return a scene whose CRM shows what was written only 30 seconds later."""
    scene = make_scene(crm_options=LAG)
    scene.prospect(5, 1)
    return scene


def break_write(scene: Scene, kind: str, path: str = "people", *, times: int = 1, **args: object) -> None:
    """Let the next write to the CRM go wrong."""
    scene.crm.faults.arm([fault(kind, path=path, op="write", times=times) | {"args": args}])


@pytest.mark.parametrize("kind", ["lost_reply", "truncate"])
def test_made_once_where_lists_lag(make_scene: MakeScene, kind: str) -> None:
    """The reply to a create is lost and the CRM shows the person half a minute later: found, linked, never made twice."""
    scene = lagging(make_scene)
    break_write(scene, kind)
    assert scene.sync(wait_s=60).converged
    assert scene.creates() == ["person 5"]
    assert 30 <= sum(scene.slept) < 40
    assert max(scene.slept) < 12, "it is looked for every ten seconds"


def test_an_ordinary_pass_does_not_wait_that_long(make_scene: MakeScene) -> None:
    """With a patience of 30 s it ends with the person put off, and the next pass links it."""
    scene = lagging(make_scene)
    break_write(scene, "lost_reply")
    report = scene.sync()
    assert (report.converged, report.counts.deferred, report.counts.dead) == (False, 1, 0)
    assert scene.creates() == ["person 5"]
    scene.later(15)
    assert scene.sync().converged
    assert scene.creates() == ["person 5"]


@pytest.mark.parametrize("kind", ["drop", "reset", "html200"])
@pytest.mark.parametrize("lag", [0.0, 30.0])
def test_made_after_all_where_it_never_arrived(make_scene: MakeScene, kind: str, lag: float) -> None:
    """Nobody can tell that the request was lost on the way: after 35 s without a sight of it the person is made."""
    scene = make_scene(crm_options={"search_lag": lag})
    scene.prospect(5, 1)
    break_write(scene, kind)
    assert scene.sync(wait_s=60).converged
    assert scene.creates() == ["person 5"]
    assert 34 < sum(scene.slept) < 45


def test_what_the_vendor_surely_did_not_do_is_done_at_once(scene: Scene) -> None:
    """Throttled, the batch was not carried out: the next try makes the person without waiting for a sight of it."""
    scene.prospect(5, 1)
    break_write(scene, "status", code=429, headers={"Retry-After": "3"}, times=4)
    assert scene.sync().converged
    assert sum(scene.slept) < 30
    assert scene.creates() == ["person 5"]


def test_killed_right_after_the_request_it_is_not_made_twice(make_scene: MakeScene) -> None:
    """Nobody lived to see the reply: whoever takes over waits until the lists must have shown it."""
    whole = Life()
    lagging(make_scene).sync(whole)
    told = whole.points.index("told: write crm /crm/people.api")
    for point in (told - 1, told):
        scene = lagging(make_scene)
        with pytest.raises(Killed):
            scene.sync(Life(point))
        scene.later(LEASE_S)
        assert scene.sync(wait_s=60).converged, whole.points[point]
        assert scene.creates() == ["person 5"], whole.points[point]


def test_an_edit_meanwhile_still_travels(make_scene: MakeScene) -> None:
    """Edited in Outreach while it was looked for: the person found is our own, so the edit goes there."""
    scene = lagging(make_scene)
    break_write(scene, "lost_reply")
    scene.sync(wait_s=12)
    scene.edit_outreach(op="set", type="prospect", id=5, attributes={"title": "Chair"})
    scene.later(10)
    scene.sync(wait_s=60)
    scene.later(40)
    scene.sync(wait_s=60)
    assert (scene.creates(), scene.of(5)["person_job_title"]) == (["person 5"], "Chair")


def skipped(scene: Scene) -> None:
    """Skip a task of the prospect."""
    (state,) = scene.states_of(5)
    told = {"state": "skipped", "action": "call", "taskType": "sequence_step_call"}
    relations = {"prospect": 5, "subject": 5, "sequenceState": state, "sequence": 1}
    scene.edit_outreach(op="create", type="task", id=DELETED_TASK, attributes=told, relations=relations)


@pytest.mark.parametrize("kind, waited", [("lost_reply", (28, 40)), ("drop", (34, 45))])
def test_a_cancelled_task_is_made_once_too(make_scene: MakeScene, kind: str, waited: tuple[int, int]) -> None:
    """The same for tasks, and for one that was deleted in the CRM and is made again."""
    scene = lagging(make_scene)
    scene.sync()
    scene.later(60)
    skipped(scene)
    for wanted in (1, 2):
        scene.slept.clear()
        break_write(scene, kind, "tasks")
        assert scene.sync(wait_s=60).converged
        assert scene.creates() == ["person 5"] + [f"task {DELETED_TASK}"] * wanted
        assert waited[0] < sum(scene.slept) < waited[1]
        scene.later(120)
        assert scene.sync().converged
        (living,) = [task["id"] for task in scene.tasks() if not task["is_deleted"]]
        scene.edit_crm(op="delete", type="task", id=living)
        scene.later(60)


def test_made_in_portions_where_one_spoils_the_others(make_scene: MakeScene) -> None:
    """A CRM that undoes a batch for one bad record and does not say which: a few at a time, then one by one, in one pass."""
    scene = make_scene(crm_options={"failure_shape": "failures"})
    for n in range(1, 26):
        scene.prospect(n, 1, title="x" * 300 if n == 7 else "Buyer")
    sent: list[int] = []

    def together(call: Call) -> None:
        if call.writes and call.system is System.CRM:
            told = form(call)
            sent.append(len([name for name, _ in told if name == "id[]"]))
            if sent[-1] > 1 and any("x" * 300 in value for _, value in told):
                scene.crm.faults.arm([fault("html200", op="write")])

    scene.wire.before.append(together)
    report = scene.sync(wait_s=120)
    assert sorted(scene.creates()) == sorted(f"person {n}" for n in range(1, 26))
    assert (report.counts.dead, report.counts.deferred) == (1, 0)
    assert sent[:4] == [25, 10, 10, 5]
    assert sent[4:14] == [1] * 10, "nobody is made with others once that was in vain twice"
    assert 70 < sum(scene.slept) < 90


def test_what_an_outage_left_unconfirmed_goes_few_at_a_time(make_scene: MakeScene) -> None:
    """A hundred lost on their way are a request for each ten of them, and nobody is made one by one or twice."""
    scene = make_scene()
    for n in range(1, 101):
        scene.prospect(n, 1)
    break_write(scene, "drop")
    sent: list[int] = []
    scene.wire.before.append(lambda call: _note_size(call, sent))
    assert scene.sync(wait_s=60).converged
    assert sorted(scene.creates()) == sorted(f"person {n}" for n in range(1, 101))
    assert sent == [100] + [10] * 10


def _note_size(call: Call, sent: list[int]) -> None:
    if call.writes and call.system is System.CRM:
        sent.append(len([name for name, _ in form(call) if name == "id[]"]))


def test_making_them_again_gives_the_rest_back_in_time(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request takes a while: after five seconds of it the rest is left for the next claim, which need not wait again."""
    monkeypatch.setattr(doubts, "FEW", 1)
    scene = make_scene()
    for n in range(1, 7):
        scene.prospect(n, 1)
    break_write(scene, "drop")
    slow = 2.0

    def take_time(call: Call) -> None:
        if call.writes and call.system is System.CRM and len(scene.slept) > 3:
            scene.later(slow)

    scene.wire.before.append(take_time)
    assert scene.sync(wait_s=60).converged
    assert sorted(scene.creates()) == [f"person {n}" for n in range(1, 7)]
    assert sum(scene.slept) < 60
