"""Somebody runs nothing but passes, from cron say: what is gone in Outreach still shows within about a day."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.sync.conftest import MakeScene
from tests.sync.scene import QUIET, Scene, fault, reads_of
from worker.store import rounds
from worker.sync import sweep

STATE = "cf_person_sequence_state"
HOUR, DAY = 3600.0, 86400.0


@pytest.fixture
def scene(make_scene: MakeScene) -> Scene:
    """Return two people in a sequence, in the CRM since the first pass; nothing tells of events."""
    made = make_scene(options=QUIET)
    for number in (1, 2):
        made.prospect(number, 1)
    made.sync()
    return made


def slices(scene: Scene) -> int:
    """Return how many slices were read since this was asked last."""
    found = [call for call in reads_of(scene.wire.calls, "api/v2") if "sort=id" in call.query]
    scene.wire.calls.clear()
    return len(found)


@pytest.mark.parametrize("every", [3 * HOUR, DAY])
def test_a_removal_shows_within_a_day_or_so(scene: Scene, every: float) -> None:
    """Whether a pass comes by every three hours or every day: by the second day the state that is gone is gone here, too."""
    scene.later(every)
    scene.sync()
    (state,) = scene.states_of(1)
    scene.edit_outreach(op="delete", type="sequenceState", id=state)
    passed, told = 0.0, scene.sync()
    while not told.swept.get("sequenceStates", {}).get("removed"):
        assert passed <= DAY + 2 * HOUR
        scene.later(every)
        passed += every
        told = scene.sync()
    assert (scene.of(1)[STATE], scene.of(2)[STATE]) == ("Not Active", "Active – Running")
    assert (told.converged, told.tally.updated, told.troubles) == (True, 1, [])


def test_a_pass_that_has_no_slice_to_take_asks_and_writes_nothing(scene: Scene) -> None:
    """Neither the first pass, which has just read everything, nor the one after it; an hour later each kind is due once."""
    assert slices(scene) == 0
    before = standings(scene)
    assert scene.sync().swept == {}
    assert (slices(scene), standings(scene)) == (0, before)
    scene.later(HOUR)
    assert scene.sync().swept == {kind: {"read": count, "missed": 0, "removed": 0} for kind, count in READ.items()}
    assert slices(scene) == 3
    assert (scene.sync().swept, slices(scene)) == ({}, 0)


READ = {"sequenceStates": 2, "prospects": 2, "tasks": 0}


def standings(scene: Scene) -> list[rounds.Standing]:
    """Return how every round stands."""
    with scene.store.read() as db:
        return rounds.standings(db)


def test_where_workers_are_at_it_a_pass_takes_none(scene: Scene) -> None:
    """They take a slice as soon as it is due, so none is ever late."""
    slices(scene)
    for _ in range(8):
        scene.later(4 * HOUR)
        list(sweep.roll(scene.applier(), scene.now() + timedelta(minutes=1)))
        taken = slices(scene)
        assert scene.sync().swept == {}
        assert slices(scene) == 0
    assert taken == 0
    assert all(one.last["slices"] == 1 for one in standings(scene))


def test_a_slice_that_fails_is_no_trouble_of_the_pass(scene: Scene) -> None:
    """Nobody asked for it: the round remembers what kept it, the others go on."""
    scene.later(HOUR)
    scene.outreach.faults.arm(
        [{**fault("status", code=500, times=None), "match": {"query": "sort=id", "path": "prospects"}}]
    )
    told = scene.sync()
    assert (told.converged, told.troubles) == (True, [])
    assert sorted(told.swept) == ["sequenceStates", "tasks"]
    with scene.store.read() as db:
        (prospects,) = [one for one in rounds.standings(db) if one.name == "sweep:prospects"]
    assert prospects.told["trouble"]
