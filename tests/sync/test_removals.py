"""What is gone in Outreach: told once, it is a tombstone, and whoever it concerns is brought up to date in the CRM."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.sync.conftest import MakeScene
from tests.sync.scene import NAMES, Scene
from worker.core.records import Kind
from worker.store import links, mirror, outbox
from worker.sync import notice
from worker.sync.removals import removed

STATE, NO_EMAIL = "cf_person_sequence_state", "no_email_soliciting"


def tell(scene: Scene, kind: Kind, *ids: int) -> notice.Told:
    """Say that records are gone."""
    with scene.store.write() as db:
        return removed(db, kind, ids, mapping=scene.mapping, names=NAMES, now=scene.now())


def due(scene: Scene, kind: Kind) -> set[int]:
    """Return the records of a kind with an open change."""
    with scene.store.read() as db:
        return set(db.execute(sa.select(outbox.CHANGE.c.record_id).where(outbox.CHANGE.c.kind == kind)).scalars())


def gone_from_outreach(scene: Scene, type_: str, *ids: int) -> None:
    """Let somebody delete records in Outreach, which no poll will ever show."""
    for record_id in ids:
        scene.edit_outreach(op="delete", type=type_, id=record_id)


def test_a_removed_state_counts_as_if_it_had_never_been(scene: Scene) -> None:
    """The only one: Not Active and no sequence; one of two: what the other says."""
    scene.prospect(1, 1)
    scene.prospect(2, 1, 2)
    scene.sync()
    only, (first, second) = scene.states_of(1), scene.states_of(2)
    scene.edit_outreach(op="finish", state=second)
    scene.sync()
    gone_from_outreach(scene, "sequenceState", *only, first)
    told = tell(scene, Kind.STATE, *only, first)
    assert (told.moved, due(scene, Kind.PROSPECT)) == (2, {1, 2})
    scene.sync()
    assert (scene.of(1)[STATE], scene.of(1)["cf_person_sequences"] or None) == ("Not Active", None)
    assert scene.of(2)[STATE] == "Finished"


def test_told_twice_nothing_happens(on_both: Scene) -> None:
    """A removal that is known already opens nothing; one never seen leaves a tombstone and opens nothing."""
    scene = on_both
    scene.prospect(1, 1)
    scene.sync()
    (state,) = scene.states_of(1)
    gone_from_outreach(scene, "sequenceState", state)
    assert tell(scene, Kind.STATE, state) == notice.Told(1, 1)
    scene.sync()
    assert tell(scene, Kind.STATE, state) == notice.Told(0, 0)
    assert tell(scene, Kind.PROSPECT, 4711) == notice.Told(0, 0)
    assert due(scene, Kind.PROSPECT) == set()
    with scene.store.read() as db:
        assert mirror.load(db, Kind.PROSPECT, [4711])[4711].deleted


def test_a_record_that_shows_again_is_alive_again(scene: Scene) -> None:
    """A look-up may have been wrong: what a later answer holds counts again, in full."""
    scene.prospect(1, 1)
    scene.sync()
    tell(scene, Kind.STATE, *scene.states_of(1))
    scene.apply()
    assert scene.of(1)[STATE] == "Not Active"
    scene.sync()
    assert scene.of(1)[STATE] == "Active – Running"


def test_a_removed_prospect_leaves_its_person_unlinked(scene: Scene) -> None:
    """The person stays, Not Active; the link is a tombstone, and an old tick makes no new prospect."""
    scene.prospect(1, 1)
    scene.sync()
    gone_from_outreach(scene, "prospect", 1)
    tell(scene, Kind.PROSPECT, 1)
    scene.sync()
    assert scene.of(1)[STATE] == "Not Active"
    with scene.store.read() as db:
        assert links.load(db, Kind.PROSPECT, [1])[1].gone
    scene.edit_crm(op="set", type="person", id=scene.of(1)["id"], fields={"cf_person_sync_to_outreach": "1"})
    report = scene.sync()
    assert (report.tally.outreach_created, report.counts.dead) == (0, 0)
    assert "prospect" not in scene.outreach.world.dump() or "1" not in scene.outreach.world.dump()["prospect"]


def test_ask_holds_a_removed_prospects_person(make_scene: MakeScene) -> None:
    """With ``on_outreach_delete: ask`` somebody decides; nothing is written until then."""
    scene = make_scene()
    scene.mapping = scene.mapped(("on_outreach_delete: unlink", "on_outreach_delete: ask"))
    scene.prospect(1, 1)
    scene.sync()
    gone_from_outreach(scene, "prospect", 1)
    tell(scene, Kind.PROSPECT, 1)
    assert scene.sync().waiting == ["held: the prospect was deleted in Outreach"]
    assert scene.of(1)[STATE] == "Active – Running"


def test_an_opt_out_outlives_its_prospect(scene: Scene) -> None:
    """No Email stays, and so does the memory of every address: a new prospect with one of them is opted out at once."""
    scene.prospect(1, 1, emails=["one@people.example", "two@people.example"])
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"optedOut": True})
    scene.sync()
    gone_from_outreach(scene, "prospect", 1)
    tell(scene, Kind.PROSPECT, 1)
    scene.sync()
    assert (scene.of(1)[STATE], scene.of(1)[NO_EMAIL]) == ("Opted Out", True)
    scene.prospect(9, emails=["two@people.example"])
    scene.sync()
    assert scene.of_outreach("prospect", 9)["emailOptedOut"] is True


def test_an_opted_out_state_outlives_its_removal(scene: Scene) -> None:
    """The state that said so is gone before anybody could act on it: the opt-out stands, and under every address."""
    scene.prospect(1, 1, emails=["one@people.example"])
    scene.sync()
    (state,) = scene.states_of(1)
    scene.edit_outreach(op="set", type="sequenceState", id=state, attributes={"state": "opted_out"})
    scene.poll(Kind.STATE)
    tell(scene, Kind.STATE, state)
    tell(scene, Kind.PROSPECT, 1)
    with scene.store.read() as db:
        names = NAMES.of(prospect=None, person=None, addresses=["one@people.example"])
        assert links.latched(db, names) == set(names)


def skippable(scene: Scene) -> tuple[int, int]:
    """Return the state and the open task of a prospect that the CRM knows."""
    scene.prospect(1, 1)
    (state,) = scene.states_of(1)
    step = next(
        one["id"]
        for one in scene.outreach.world.dump()["sequenceStep"].values()
        if (one["relations"]["sequence"], one["attributes"]["order"]) == (1, 1)
    )
    related: dict[str, Any] = {"prospect": 1, "sequence": 1, "sequenceState": state, "sequenceStep": step}
    attributes = {"action": "call", "state": "incomplete"}
    (made,) = scene.edit_outreach(op="create", type="task", attributes=attributes, relations=related)["changed"]
    scene.sync()
    return state, made["id"]


@pytest.mark.parametrize("task_first", [True, False])
def test_a_task_gone_while_its_state_moved_on_was_skipped(scene: Scene, *, task_first: bool) -> None:
    """Whichever of the two is told first: one Cancelled task, exactly."""
    state, task = skippable(scene)
    scene.edit_outreach(op="skip_task", task=task, how="gone")
    if task_first:
        tell(scene, Kind.TASK, task)
        scene.apply()
        assert scene.tasks() == []
    else:
        scene.poll(Kind.STATE)
        tell(scene, Kind.TASK, task)
    scene.sync()
    assert [one["cf_task_outreach_id"] for one in scene.tasks()] == [str(task)]
    scene.edit_outreach(op="advance", state=state)
    scene.sync()
    assert len(scene.tasks()) == 1


def test_a_task_gone_with_its_state_was_not_skipped(scene: Scene) -> None:
    """The state was removed with its task, or the whole prospect: nothing in the CRM, nothing left to do."""
    state, task = skippable(scene)
    gone_from_outreach(scene, "sequenceState", state)
    tell(scene, Kind.STATE, state)
    assert due(scene, Kind.TASK) == {task}
    report = scene.sync()
    assert (scene.tasks(), report.converged, due(scene, Kind.TASK)) == ([], True, set())


def test_a_skipped_task_does_not_wait_for_a_prospect_that_is_gone(scene: Scene) -> None:
    """It waited for its person; now there will never be one."""
    scene.prospect(1, 1, emails=[])
    (state,) = scene.states_of(1)
    related = {"prospect": 1, "sequence": 1, "sequenceState": state}
    attributes = {"action": "call", "state": "skipped"}
    scene.edit_outreach(op="create", type="task", attributes=attributes, relations=related)
    scene.sync()
    assert len(due(scene, Kind.TASK)) == 1
    gone_from_outreach(scene, "prospect", 1)
    tell(scene, Kind.PROSPECT, 1)
    scene.sync()
    assert due(scene, Kind.TASK) == set()


def test_a_removed_sequence_has_everybody_in_it_looked_at(scene: Scene) -> None:
    """It is then called by its number, as one that may not be seen."""
    scene.prospect(1, 1)
    scene.prospect(2, 2)
    scene.sync()
    assert tell(scene, Kind.SEQUENCE, 1) == notice.Told(1, 1)
    assert due(scene, Kind.PROSPECT) == {1}
    scene.apply()
    assert scene.of(1)["cf_person_sequence_name"] == "Sequence 1"
