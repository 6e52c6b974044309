"""What waits for somebody's decision is told in the CRM in plain words, blank again once decided; an opt-out never waits."""

from __future__ import annotations

import pytest

from tests.sync.asking import settles
from tests.sync.scene import NAMES, Scene
from worker.core.records import Kind
from worker.store import links
from worker.sync import held, removals
from worker.sync.held import As

ERROR, TITLE, STATE, NO_EMAIL = (
    "cf_person_outreach_error",
    "person_job_title",
    "cf_person_sequence_state",
    "no_email_soliciting",
)
RUNNING = "Active – Running"
ASK = ("on_conflict: crm", "on_conflict: ask")
ASK_GONE = ("on_outreach_delete: unlink", "on_outreach_delete: ask")
GONE = "the prospect was deleted in Outreach: somebody has to decide"


def crm(scene: Scene, **fields: object) -> None:
    """Edit the person in the CRM by hand."""
    scene.edit_crm(op="set", type="person", id=scene.of(5)["id"], fields=fields)


def linked(scene: Scene, *edits: tuple[str, str]) -> Scene:
    """Put a mapping in force and make prospect 5 with its person."""
    scene.mapping = scene.mapped(*edits)
    scene.prospect(5, 1, title="Engineer")
    scene.sync()
    scene.later(60)
    return scene


def decide(scene: Scene, how: As) -> None:
    """Approve everything that waits."""
    held.approve(scene.store, held.entries(scene.store), scene.mapping, how=how, now=scene.now())
    scene.sync()


@pytest.mark.parametrize("how, title", [(As.CRM, "Director"), (As.OUTREACH, "Countess")])
def test_a_conflict_is_told_until_it_is_decided(on_both: Scene, how: As, title: str) -> None:
    """The fields that wait stand in the error field, two passes are quiet, and the decision blanks it."""
    scene = linked(on_both, ASK)
    crm(scene, person_job_title="Director", person_last_name="Borg")
    scene.edit_outreach(op="set", type="prospect", id=5, attributes={"title": "Countess", "lastName": "Berg"})
    scene.sync()
    words = "changed on both sides, waits for a decision: person_job_title, person_last_name"
    assert scene.of(5).get(ERROR) == words
    settles(scene)
    settles(scene)
    decide(scene, how)
    assert (scene.of(5)[TITLE], scene.of(5).get(ERROR)) == (title, None)
    assert scene.of_outreach("prospect", 5)["title"] == title
    settles(scene)


def test_a_conflict_that_settles_itself_is_no_longer_told(scene: Scene) -> None:
    """Somebody makes both sides alike by hand: entry and words are gone."""
    linked(scene, ASK)
    crm(scene, person_job_title="Director")
    scene.edit_outreach(op="set", type="prospect", id=5, attributes={"title": "Countess"})
    scene.sync()
    scene.later(60)
    crm(scene, person_job_title="Countess")
    scene.sync()
    assert (scene.of(5).get(ERROR), held.entries(scene.store)) == (None, [])
    settles(scene)


def gone(scene: Scene) -> None:
    """Delete the prospect in Outreach and let that be noticed."""
    scene.edit_outreach(op="delete", type="prospect", id=5)
    with scene.store.write() as db:
        removals.removed(db, Kind.PROSPECT, [5], mapping=scene.mapping, names=NAMES, now=scene.now())


def shown(scene: Scene) -> tuple[object, object, object]:
    """Return the person's label, No Email, and error."""
    person = scene.of(5)
    return person[STATE], bool(person.get(NO_EMAIL)), person.get(ERROR)


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_deleted_prospect_is_told_until_it_is_decided(scene: Scene, decision: str) -> None:
    """With `ask` the person keeps its state and says why; the decision brings Not Active, blanks it, and ends the link."""
    linked(scene, ASK_GONE)
    gone(scene)
    scene.sync()
    assert shown(scene) == (RUNNING, False, GONE)
    settles(scene)
    crm(scene, person_last_name="Borg")
    scene.sync()
    settles(scene)
    if decision == "approve":
        decide(scene, As.RECREATE)
        assert [one.kind for one in held.entries(scene.store)] == ["ask"], "nobody is made in Outreach again"
        decide(scene, As.UNLINK)
    else:
        held.reject(scene.store, held.entries(scene.store), now=scene.now())
        scene.sync()
    assert (shown(scene), held.entries(scene.store)) == (("Not Active", False, None), [])
    assert scene.sync().tally.overwritten == 0
    settles(scene)
    with scene.store.read() as db:
        assert links.load(db, Kind.PROSPECT, [5])[5].gone


def overtake(scene: Scene) -> None:
    """Save the person by hand, once."""
    scene.wire.before.clear()
    crm(scene, person_last_name="Borg")


@pytest.mark.parametrize("overtaken", [False, True])
def test_an_opt_out_does_not_wait_for_the_decision(scene: Scene, overtaken: bool) -> None:
    """Somebody who opted out right before being deleted gets No Email at once, and when a save overtakes that, a try later."""
    linked(scene, ASK_GONE)
    scene.edit_outreach(op="opt_out", prospect=5)
    scene.poll()
    gone(scene)
    if overtaken:
        scene.wire.before.append(lambda call: overtake(scene) if call.writes else None)
    scene.sync()
    assert shown(scene) == (RUNNING, True, GONE)
    assert [one.kind for one in held.entries(scene.store)] == ["ask"]
    settles(scene)


def test_no_email_in_the_crm_is_remembered_while_a_decision_waits(scene: Scene) -> None:
    """Ticked meanwhile, it stays ticked, is latched, and counts once that is decided."""
    linked(scene, ASK_GONE)
    gone(scene)
    scene.sync()
    scene.later(60)
    crm(scene, no_email_soliciting=True)
    scene.sync()
    settles(scene)
    assert shown(scene) == (RUNNING, True, GONE)
    with scene.store.read() as db:
        assert links.latched(db, NAMES.of(prospect=5, person=None, addresses=[]))
    decide(scene, As.UNLINK)
    assert shown(scene) == ("Opted Out", True, None)
