"""The comparison in the background: paced over a week, one slice at a time, under the sweep's brake, over both databases."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from tests.store.makers import keep, seen
from tests.sync.conftest import MakeScene
from tests.sync.scene import LEASE_S, Killed, Life, Scene
from worker.core import errors
from worker.core.records import Kind, Link
from worker.store import links, outbox, pairs, rounds
from worker.sync import identify, reconcile, repair

WEEK_S = 7 * 86_400.0


def in_step(scene: Scene) -> Scene:
    """Let a pass bring both sides into agreement."""
    assert scene.sync().converged
    return scene


def row(scene: Scene) -> rounds.Standing:
    """How the comparison stands."""
    found = reconcile.standing(scene.store)
    assert found is not None
    return found


def test_nothing_is_compared_before_the_first_pass(scene: Scene) -> None:
    """The background waits without a word until every stream has been read once."""
    assert reconcile.take_due(scene.applier()).busy
    assert scene.wire.calls == []


def test_a_round_is_spread_over_a_week(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """One slice a tick, the next not before its share of the week has passed; then the round rests until the week is over."""
    monkeypatch.setattr(identify, "CRM_PAGE", 5)
    scene = in_step(make_scene(records=20))
    began, taken = scene.now(), []
    for _ in range(24 * 8):
        told = reconcile.take_due(scene.applier())
        if not told.busy:
            taken.append((scene.now() - began) / timedelta(days=1))
        if told.ended:
            break
        assert reconcile.take_due(scene.applier()).busy
        scene.later(3600)
    assert 4 < len(taken) < 12
    assert max(later - earlier for earlier, later in itertools.pairwise(taken)) < 2
    assert 5 < taken[-1] < 7.1
    assert repair.compared(scene.store).coverage == 100.0
    scene.later(WEEK_S)
    assert not reconcile.take_due(scene.applier()).busy


def test_one_process_compares_at_a_time(make_scene: MakeScene) -> None:
    """While somebody takes a slice another leaves it alone."""
    scene = in_step(make_scene(records=5))
    others: list[bool] = []
    scene.wire.before.append(lambda _call: others.append(reconcile.take(scene.applier(), early=True).busy))
    assert not reconcile.take(scene.applier(), early=True).busy
    assert others
    assert all(others)


def test_a_killed_slice_is_taken_again(make_scene: MakeScene) -> None:
    """Whoever dies in a slice leaves a lease that runs out; nothing is counted twice, wherever it was."""
    scene = in_step(make_scene(records=5))
    points = Life()
    reconcile.begin_anew(scene.applier())
    reconcile.take(scene.applier(points), early=True)
    for dies_at in range(len(points.points)):
        reconcile.begin_anew(scene.applier())
        with pytest.raises(Killed):
            reconcile.take(scene.applier(Life(dies_at)), early=True)
        scene.later(LEASE_S)
        for _ in reconcile.walk(scene.applier(), sleep=scene.later):
            pass
        told = repair.compared(scene.store)
        assert (told.complete, told.coverage, told.differences) == (True, 100.0, 0), points.points[dies_at]
        assert told.told["compared"] == told.pairs


def test_a_fault_of_a_vendor_is_told_and_the_slice_tried_again(make_scene: MakeScene) -> None:
    """What a vendor refuses to answer puts the slice off for ten minutes, with its words in the round."""
    scene = in_step(make_scene(records=5))
    scene.outreach.faults.arm(
        [{"match": {"path": "prospects"}, "kind": "status", "times": None, "args": {"status": 503}}]
    )
    with pytest.raises(errors.Transient):
        reconcile.take_due(scene.applier())
    assert "trouble" in row(scene).told
    assert reconcile.take_due(scene.applier()).busy
    scene.outreach.faults.arm([])
    scene.later(601)
    assert not reconcile.take_due(scene.applier()).busy
    assert "trouble" not in row(scene).told


@pytest.mark.parametrize("asks", ["20", "590"])
def test_a_vendor_that_asks_for_a_while_is_waited_for(make_scene: MakeScene, asks: str) -> None:
    """A comparison that somebody sits before goes on by itself, and may be stopped before it waits."""
    scene = in_step(make_scene(records=5))
    throttle(scene, asks)
    reconcile.begin_anew(scene.applier())
    walk = reconcile.walk(scene.applier(), sleep=scene.later)
    began = scene.now()
    assert next(walk).busy
    assert scene.now() == began
    scene.outreach.faults.arm([])
    assert not any(one.busy for one in walk)
    assert (scene.now() - began).total_seconds() == pytest.approx(float(asks), abs=2)
    assert repair.compared(scene.store).coverage == 100.0


def test_a_vendor_that_asks_for_an_hour_is_not(make_scene: MakeScene) -> None:
    """Longer than ten minutes nobody sits there: the vendor's words, and the next call goes on."""
    scene = in_step(make_scene(records=5))
    throttle(scene, "3600")
    reconcile.begin_anew(scene.applier())
    with pytest.raises(errors.Throttled):
        list(reconcile.walk(scene.applier(), sleep=scene.later))


def throttle(scene: Scene, asks: str) -> None:
    """Let Outreach ask for a wait at every call."""
    told = {"code": 429, "body": "", "headers": {"Retry-After": asks}}
    scene.outreach.faults.arm([{"match": {"path": "prospects"}, "kind": "status", "times": None, "args": told}])


def test_many_gone_at_once_trip_the_brake(make_scene: MakeScene) -> None:
    """A token that sees nobody any more removes nobody: one entry waits for a person, as with the sweep."""
    scene = in_step(make_scene(records=60))
    for prospect in list(scene.outreach.world.dump()["prospect"])[:30]:
        scene.outreach.world.edit([{"op": "delete", "type": "prospect", "id": int(prospect)}])
    reconcile.begin_anew(scene.applier())
    for _ in reconcile.walk(scene.applier(), sleep=scene.later):
        pass
    with scene.store.read() as db:
        held = [row.key for row in outbox.holds(db, "brake")]
    assert held == ["brake:removals:prospects", "brake:removals:sequenceStates"]
    assert repair.compared(scene.store).found.get("prospect_gone") is None


def test_pairs_are_told_by_ranges(on_both: Scene) -> None:
    """Living links of a range of people, and the next prospects in a sequence without any link."""
    with on_both.store.write() as db:
        links.save(db, Kind.PROSPECT, [Link(1, 10), Link(2, 20), Link(3, 30, gone=True), Link(4, 40)], on_both.now())
    told = {1: 1, 2: 5, 3: 6, 4: 6, 5: 7, 6: 3, 7: None}
    states = [seen(Kind.STATE, n, relations={"prospect": pid}) for n, pid in told.items()]
    keep(on_both.store, Kind.STATE, *states, seen(Kind.STATE, 8, relations={"prospect": 8}, deleted=True))
    with on_both.store.read() as db:
        assert pairs.between(db, 10, 30) == {20: 2}
        assert pairs.between(db, 10, None) == {20: 2, 40: 4}
        assert pairs.without(db, 0, 2) == [5, 6]
        assert pairs.without(db, 6, 2) == [7]
