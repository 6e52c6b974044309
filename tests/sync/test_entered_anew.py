"""A prospect is deleted and entered anew with the same address: the person stays the same, whatever is heard of first."""

from __future__ import annotations

import pytest

from tests.sync.scene import Scene
from worker.core.records import Kind
from worker.store import outbox

REFERENCE = "cf_person_outreach_id"


@pytest.fixture
def linked(scene: Scene) -> Scene:
    """Two prospects and their people, settled some minutes ago."""
    scene.prospect(1, 1)
    scene.prospect(3, 1)
    scene.sync()
    scene.later(300)
    scene.sync()
    return scene


def references(scene: Scene) -> dict[int, str]:
    """Return whose reference each person in the CRM carries."""
    return {one["id"]: one[REFERENCE] for one in scene.people() if not one["is_deleted"]}


def held(scene: Scene) -> list[str]:
    """Return what waits for somebody."""
    with scene.store.read() as db:
        return [row.words for row in outbox.holds(db)]


def enter_anew(scene: Scene) -> None:
    """Let prospect 2 come with the address of the first, and be looked at before anything else is heard."""
    scene.prospect(2, 1, emails=["p1@people.example"])
    scene.poll(Kind.PROSPECT, Kind.STATE)
    scene.apply()


def test_heard_of_before_the_deletion_it_waits_no_longer_than_that(linked: Scene) -> None:
    """Two seem to be one person, so somebody is asked; once the first is gone nobody has to say anything."""
    mine = linked.of(1)["id"]
    enter_anew(linked)
    assert held(linked) == [f"prospect 2 looks like person {mine}, who is already linked to prospect 1"]
    linked.edit_outreach(op="delete", type="prospect", id=1)
    linked.later(400)
    linked.sync()
    assert held(linked) == []
    assert references(linked) == {mine: "2", linked.of(3)["id"]: "3"}


def test_somebody_elses_question_stays(linked: Scene) -> None:
    """Who waits for a decision about another person is not looked at again."""
    mine = linked.of(1)["id"]
    enter_anew(linked)
    linked.edit_outreach(op="delete", type="prospect", id=3)
    linked.later(400)
    linked.sync()
    assert held(linked) == [f"prospect 2 looks like person {mine}, who is already linked to prospect 1"]


def test_heard_of_after_the_deletion_it_is_the_person(linked: Scene) -> None:
    """The usual case: the person changes hands at once."""
    mine = linked.of(1)["id"]
    linked.edit_outreach(op="delete", type="prospect", id=1)
    enter_anew(linked)
    assert (held(linked), linked.of(2)["id"]) == ([], mine)
