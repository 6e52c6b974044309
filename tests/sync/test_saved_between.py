"""What somebody saves between our read and the receipt of our write travels, whatever we were about to write."""

from __future__ import annotations

from collections.abc import Callable

from tests.sync.conftest import MakeScene
from tests.sync.scene import LEASE_S, QUIET, UNSEEN_S, Call, Hook, Scene, fault
from tests.sync.test_crashes import dies
from worker.core.records import Kind, System

NAME, TITLE, LAST = "cf_person_sequence_name", "person_job_title", "person_last_name"
LONG_S = 3600.0


def once(nth: int, of: Callable[[Call], bool], deed: Callable[[], object]) -> Hook:
    """Return a hook that does something at the ``nth`` call of a kind, counted from 1, and never again."""
    left = [nth]

    def hook(call: Call) -> None:
        left[0] -= of(call)
        if left[0] == 0:
            left[0] -= 1
            deed()

    return hook


def is_write(call: Call) -> bool:
    """Tell whether people are written in the CRM."""
    return call.writes and call.system is System.CRM and "people" in call.path


def is_read(call: Call) -> bool:
    """Tell whether people are read in the CRM."""
    return not call.writes and call.system is System.CRM and "people" in call.path


def is_patch(call: Call) -> bool:
    """Tell whether a prospect is written in Outreach."""
    return call.writes and call.system is System.OUTREACH and "prospects" in call.path


def types(scene: Scene, **fields: object) -> None:
    """Let somebody save the person of the first prospect in the CRM."""
    scene.edit_crm(op="set", type="person", id=scene.of(1)["id"], fields=fields)


def titled(scene: Scene, title: str, prospect: int = 1) -> None:
    """Let somebody set a title in Outreach."""
    scene.edit_outreach(op="set", type="prospect", id=prospect, attributes={"title": title})


def linked(scene: Scene) -> Scene:
    """Return the scene with one prospect and its person, both settled long ago."""
    scene.prospect(1, 1, title="Clerk")
    scene.sync()
    scene.later(300)
    scene.sync()
    return scene


def last_names(scene: Scene) -> tuple[object, object]:
    """Return the last name on both sides."""
    return scene.of_outreach("prospect", 1)["lastName"], scene.of(1)[LAST]


def titles(scene: Scene) -> tuple[object, object]:
    """Return the title on both sides."""
    return scene.of_outreach("prospect", 1)["title"], scene.of(1)[TITLE]


def test_who_saves_while_a_vanished_field_is_looked_up_is_heard(scene: Scene) -> None:
    """The CRM refuses the one field that was due, for it has it no more; the record is saved before that is known."""
    scene.prospect(1, 1)
    scene.sync()
    scene.edit_crm(op="remove_field", field=NAME)
    scene.poll()
    asked = once(1, lambda call: "metadata" in call.path, lambda: types(scene, **{LAST: "Typed"}))
    scene.wire.before.append(asked)
    scene.apply()
    assert last_names(scene) == ("Last1", "Typed")
    scene.later(10)
    scene.sync()
    assert last_names(scene) == ("Typed", "Typed")
    scene.edit_crm(op="add_field", field=NAME)
    scene.later(10)
    assert scene.sync().converged


def test_what_is_left_of_a_refused_write_is_nothing_and_is_not_sent(scene: Scene) -> None:
    """The CRM refuses the one field that was due: one write, and the change is done with."""
    scene.prospect(1, 1)
    scene.sync()
    scene.edit_crm(op="remove_field", field=NAME)
    scene.poll()
    scene.wire.calls.clear()
    scene.apply()
    assert len([call for call in scene.wire.calls if is_write(call)]) == 1
    assert scene.sync().queued == 0


def test_who_types_the_same_as_we_and_more_is_heard(scene: Scene) -> None:
    """A title of Outreach is typed in the CRM by hand, and a new name with it, before ours is there: the name travels."""
    linked(scene)
    titled(scene, "Head")
    scene.poll(Kind.PROSPECT)
    types(scene, **{TITLE: "Head", LAST: "Typed"})
    scene.apply()
    scene.sync()
    assert (last_names(scene), titles(scene)) == (("Typed", "Typed"), ("Head", "Head"))


def test_what_is_read_by_who_lost_the_lease_is_heard(scene: Scene) -> None:
    """A worker that stood still reads a saved person while another has long settled the change: the edit travels."""
    linked(scene)
    titled(scene, "Head")
    scene.poll(Kind.PROSPECT)

    def others_go_on() -> None:
        types(scene, **{LAST: "Typed"})
        scene.later(LEASE_S)
        titled(scene, "Clerk")
        scene.poll(Kind.PROSPECT)
        scene.apply()

    scene.wire.before.append(once(1, is_write, others_go_on))
    scene.apply()
    scene.later(10)
    scene.sync()
    assert last_names(scene) == ("Typed", "Typed")


def test_an_edit_that_only_a_reply_shows_travels_after_many_tries(scene: Scene) -> None:
    """Outreach is down for a while; just before our write at last succeeds somebody edits another field there."""
    linked(scene)
    types(scene, **{LAST: "Typed"})
    scene.poll(Kind.PERSON)
    scene.outreach.faults.arm([fault("status", path="prospects", op="write", code=503, times=5)])
    for _ in range(5):
        scene.apply()
        scene.later(LONG_S)
    scene.wire.before.append(once(1, is_patch, lambda: titled(scene, "Head")))
    scene.apply()
    assert last_names(scene) == ("Typed", "Typed")
    scene.sync()
    assert titles(scene) == ("Head", "Head")


def test_who_edits_a_person_that_nobody_knows_yet_is_heard(scene: Scene) -> None:
    """We created somebody and the reply was lost; the new person is edited in the CRM before it is found."""
    scene.prospect(1, 1)
    scene.poll()
    scene.crm.faults.arm([fault("lost_reply", path="people", op="write")])
    looked = once(2, is_read, lambda: types(scene, **{LAST: "Typed"}))
    scene.wire.before.append(looked)
    scene.apply()
    assert last_names(scene) == ("Last1", "Typed")
    scene.later(UNSEEN_S)
    scene.sync()
    assert last_names(scene) == ("Typed", "Typed")


def test_a_late_reply_takes_nothing_back(make_scene: MakeScene) -> None:
    """A worker stands still between Outreach's reply and its receipt; what was edited and settled since stays."""
    scene = linked(make_scene(options=QUIET))
    scene.prospect(2, 1)
    scene.sync()
    types(scene, **{LAST: "Typed"})
    scene.poll(Kind.PERSON)

    def others_go_on() -> None:
        scene.later(LEASE_S)
        titled(scene, "Head")
        scene.poll()
        scene.apply()
        for turn in ("Once", "Twice"):
            scene.later(LONG_S)
            titled(scene, turn, prospect=2)
            scene.poll()
            scene.apply()

    scene.wire.after.append(once(1, is_patch, others_go_on))
    scene.apply()
    assert titles(scene) == ("Head", "Head")
    scene.later(LONG_S)
    types(scene, person_first_name="Fay")
    scene.sync()
    assert titles(scene) == ("Head", "Head")


def test_what_is_typed_into_a_record_of_our_making_travels(scene: Scene) -> None:
    """We die before the reply to a create tells; somebody edits the person before it is found: theirs is the newer word."""
    scene.prospect(1, 1, title="Clerk")
    scene.poll()
    dies(scene, "told: write crm /crm/people.api")
    types(scene, **{LAST: "Typed"})
    scene.later(UNSEEN_S)
    scene.sync()
    assert last_names(scene) == ("Typed", "Typed")
    assert titles(scene) == ("Clerk", "Clerk")


def test_edits_of_both_sides_around_a_lost_reply_both_arrive(scene: Scene) -> None:
    """One field is typed in the CRM, another set in Outreach, between a create's lost reply and its being found."""
    scene.prospect(1, 1, title="Clerk")
    scene.poll()
    dies(scene, "told: write crm /crm/people.api")
    types(scene, **{LAST: "Typed"})
    titled(scene, "Head")
    scene.later(UNSEEN_S)
    scene.sync()
    assert (last_names(scene), titles(scene)) == (("Typed", "Typed"), ("Head", "Head"))
