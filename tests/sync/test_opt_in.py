"""Somebody is opted in again: the only way to lift an opt-out, on both sides."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.points import some
from tests.sync.conftest import MakeScene
from tests.sync.lifting import FLAGS, NOT_ACTIVE, OUT, RUNNING, lift, opted_out, out, settled
from tests.sync.scene import LEASE_S, Killed, Life, Scene, fault
from worker.sim.outreach_options import Options
from worker.store import links
from worker.sync.opt_in import Someone


@pytest.mark.parametrize("how", ["outreach", "crm"])
def test_both_sides_allow_mail_again(on_both: Scene, how: str) -> None:
    """Wherever the opt-out came from: all flags go on both sides at once, and no later pass sets one again."""
    opted_out(on_both, how=how)
    told = lift(on_both, 5)
    assert (told.done, [one.who for one in told.outcomes]) == (True, [Someone(5, on_both.of(5)["id"])])
    there, no_email, label = out(on_both, 5)
    assert (there, no_email) == (False, False)
    assert label != OUT
    assert [on_both.of_outreach("prospect", 5)[name] for name in FLAGS] == [False, False, "opted_in"]
    settled(on_both)
    settled(on_both, full=True)
    assert out(on_both, 5)[:2] == (False, False)


def test_the_reason_is_in_the_history(scene: Scene) -> None:
    """Who reads the history finds when it was lifted and why, and both writes that followed."""
    opted_out(scene)
    lift(scene, 5)
    with scene.store.read() as db:
        rows = list(db.execute(sa.select(links.HISTORY).where(links.HISTORY.c.outreach_id == 5)))
    (decided,) = [row for row in rows if row.action == "opt in"]
    assert (decided.why, decided.at) == ("opted in again by hand: she asked for it", scene.now())
    assert [row.system for row in rows if row.id > decided.id] == ["crm", "outreach"]
    assert all("opted in again by hand" in row.why for row in rows if row.id > decided.id)


def test_an_old_state_no_longer_counts(make_scene: MakeScene) -> None:
    """A state opted_out from then is there still: it is one line of the summary, and opts nobody out again."""
    scene = make_scene(options=Options(opt_out_state="opted_out"))
    scene.prospect(5, 1, 2)
    scene.sync()
    scene.edit_outreach(op="opt_out", prospect=5, how="manual")
    scene.sync()
    assert lift(scene, 5).done
    assert [scene.of_outreach("sequenceState", one)["state"] for one in scene.states_of(5)] == ["opted_out"] * 2
    assert out(scene, 5) == (False, False, NOT_ACTIVE)
    assert scene.of(5)["cf_person_sequences"].count(": Opted Out") == 2
    settled(scene)
    settled(scene, full=True)
    scene.edit_outreach(op="enrol", prospect=5, sequence=3, state="active")
    scene.sync()
    assert out(scene, 5) == (False, False, RUNNING)


def test_a_state_that_says_so_anew_counts(make_scene: MakeScene) -> None:
    """The same state moves to opted_out another time, or a second one does: both sides are opted out for good."""
    for again in (True, False):
        scene = make_scene()
        scene.prospect(5, 1, 2)
        first, second = scene.states_of(5)
        scene.edit_outreach(op="set", type="sequenceState", id=first, attributes={"state": "opted_out"})
        scene.sync()
        assert out(scene, 5) == (True, True, OUT)
        lift(scene, 5)
        settled(scene)
        scene.later(60)
        moved = scene.now().isoformat()
        edited = {"state": "opted_out", "stateChangedAt": moved}
        scene.edit_outreach(op="set", type="sequenceState", id=first if again else second, attributes=edited)
        scene.sync()
        assert out(scene, 5) == (True, True, OUT)


@pytest.mark.parametrize("how", ["outreach", "crm"])
@pytest.mark.parametrize("then", ["outreach", "crm"])
def test_a_later_opt_out_counts(scene: Scene, how: str, then: str) -> None:
    """Opted out again afterwards, on whichever side: both sides are, and the latch holds against taking it back."""
    opted_out(scene, how=how)
    lift(scene, 5)
    settled(scene)
    person = scene.of(5)["id"]
    if then == "outreach":
        scene.edit_outreach(op="opt_out", prospect=5, how="manual")
    else:
        scene.edit_crm(op="set", type="person", id=person, fields={"no_email_soliciting": True})
    scene.sync()
    assert out(scene, 5) == (True, True, OUT)
    scene.edit_outreach(op="opt_in", prospect=5)
    scene.edit_crm(op="set", type="person", id=person, fields={"no_email_soliciting": False})
    scene.sync()
    assert out(scene, 5) == (True, True, OUT)


def test_undated_flags_are_lifted_and_count_anew(scene: Scene) -> None:
    """EmailsOptStatus alone, without any date: lifted once, and taken for a new opt-out when it appears again."""
    scene.prospect(5, 1)
    scene.edit_outreach(op="set", type="prospect", id=5, attributes={"emailsOptStatus": "opted_out"})
    scene.sync()
    assert out(scene, 5)[:2] == (True, True)
    assert lift(scene, 5).done
    assert out(scene, 5) == (False, False, RUNNING)
    settled(scene)
    scene.edit_outreach(op="set", type="prospect", id=5, attributes={"emailsOptStatus": "opted_out"})
    scene.sync()
    assert out(scene, 5)[:2] == (True, True)


@pytest.mark.parametrize("general", [True, False])
def test_a_granular_organisation(make_scene: MakeScene, general: bool) -> None:
    """Opted out of e-mail alone, calls are none of our business; the general flag is taken back only where it is set."""
    scene = make_scene(options=Options(granular_opt_out=True))
    scene.prospect(5, 1)
    scene.sync()
    at = {"optedOutAt": "2026-11-19T08:00:00.000Z", "emailsOptedAt": "2026-11-19T09:00:00.000Z"}
    flags = {"callOptedOut": True, "optedOut": general, "emailOptedOut": True, "emailsOptStatus": "opted_out"}
    scene.edit_outreach(op="set", type="prospect", id=5, attributes=flags | at)
    scene.sync()
    assert lift(scene, 5).done
    assert out(scene, 5)[:2] == (False, False)
    assert scene.of_outreach("prospect", 5)["callOptedOut"] is not general
    settled(scene)


@pytest.mark.timeout(900)
def test_it_may_die_anywhere(scene: Scene, request: pytest.FixtureRequest) -> None:
    """Dead at any point, the command run again or a pass that comes first leaves both sides alike, and none for ever out.

    At some points, or all: ``tests.points``.
    """
    whole = Life()
    lift(scene, opted_out(scene, 10), life=whole)
    assert len(whole.points) > 10
    for point in some(request, range(len(whole.points)), 8):
        prospect, where = opted_out(scene, 100 + point), whole.points[point]
        with pytest.raises(Killed):
            lift(scene, prospect, life=Life(point))
        scene.later(LEASE_S)
        report = scene.sync()
        assert report.converged, (where, report.as_json())
        there, no_email, label = out(scene, prospect)
        assert there == no_email == (label == OUT), (where, there, no_email, label)
        if point % 2:
            assert lift(scene, prospect).done, where
            assert out(scene, prospect)[:2] == (False, False)
        settled(scene)


def test_a_pass_finishes_what_the_vendor_refused(scene: Scene) -> None:
    """Outreach is down just then: the command says so, nothing is undone, and the next pass brings it there."""
    opted_out(scene)
    scene.outreach.faults.arm([fault("status", path="prospects", op="write", times=None, code=503)])
    told = lift(scene, 5)
    assert not told.done
    assert "the next pass goes on with it" in (told.outcomes[0].why or "")
    assert out(scene, 5)[:2] == (True, False)
    scene.outreach.faults.arm([])
    scene.later(1000)
    assert scene.sync().converged
    assert out(scene, 5)[:2] == (False, False)
    settled(scene)


def test_an_opt_out_that_overtakes_an_unfinished_one_stands(scene: Scene) -> None:
    """Lifted, not yet shown in Outreach, and unsubscribed there anew: opted out on both sides."""
    opted_out(scene)
    scene.outreach.faults.arm([fault("status", path="prospects", op="write", times=None, code=503)])
    lift(scene, 5)
    scene.outreach.faults.arm([])
    scene.later(60)
    scene.edit_outreach(op="opt_in", prospect=5)
    scene.later(60)
    scene.edit_outreach(op="opt_out", prospect=5, how="manual")
    scene.later(1000)
    assert scene.sync().converged
    assert out(scene, 5) == (True, True, OUT)
    settled(scene)


def test_an_edit_that_overtakes_the_write_is_no_obstacle(scene: Scene) -> None:
    """Somebody saves the person right before: the write is repeated with the new version, and their edit stays."""
    opted_out(scene)
    person = scene.of(5)["id"]
    edited: list[object] = []

    def edit(call: object) -> None:
        if getattr(call, "writes", False) and "people" in getattr(call, "path", "") and not edited:
            edited.append(call)
            scene.edit_crm(op="set", type="person", id=person, fields={"person_job_title": "Chair"})

    scene.wire.before.append(edit)
    assert lift(scene, 5).done
    assert out(scene, 5)[:2] == (False, False)
    scene.sync()
    assert (scene.of(5)["person_job_title"], scene.of_outreach("prospect", 5)["title"]) == ("Chair", "Chair")


def test_who_is_not_opted_out_stays_as_it_is(scene: Scene) -> None:
    """Nothing is written, nothing remembered, and the second time says so, too."""
    scene.prospect(5, 1)
    scene.sync()
    before = len(scene.writes(scene.crm)), len(scene.writes(scene.outreach))
    (told,) = lift(scene, 5).outcomes
    assert (told.unchanged, told.why) == (True, None)
    assert (len(scene.writes(scene.crm)), len(scene.writes(scene.outreach))) == before
    with scene.store.read() as db:
        assert db.execute(sa.text("SELECT count(*) FROM lifting")).scalar_one() == 0


def test_twice_is_once(scene: Scene) -> None:
    """The command run again finds nothing to do."""
    opted_out(scene)
    lift(scene, 5)
    (told,) = lift(scene, 5).outcomes
    assert told.unchanged


def test_what_is_not_yet_polled_is_seen(scene: Scene) -> None:
    """The opt-out happened after the last pass: it is read before it is lifted, and does not come back with the next."""
    scene.prospect(5, 1)
    scene.sync()
    scene.later(60)
    scene.edit_outreach(op="opt_out", prospect=5, how="manual")
    told = lift(scene, 5)
    assert (told.done, told.outcomes[0].unchanged) == (True, False)
    assert out(scene, 5)[0] is False
    scene.sync()
    assert out(scene, 5)[:2] == (False, False)
