"""Somebody is opted in again: the only way to lift an opt-out, on both sides."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.sync.conftest import MakeScene
from tests.sync.scene import LEASE_S, NAMES, Killed, Life, Scene, fault
from worker.core import errors
from worker.core.records import Kind
from worker.sim.outreach_options import Options
from worker.store import links, outbox
from worker.store.outbox import Lane
from worker.sync import opt_in
from worker.sync.case import Permit, Pilot
from worker.sync.opt_in import Receipt, Refused, Someone

FLAGS = ("optedOut", "emailOptedOut", "emailsOptStatus")
RUNNING, OUT, NOT_ACTIVE = "Active – Running", "Opted Out", "Not Active"


def lift(
    scene: Scene,
    *prospects: int,
    people: tuple[int, ...] = (),
    addresses: tuple[str, ...] = (),
    life: Life | None = None,
    permit: Permit | None = None,
) -> Receipt:
    """Opt people in as the command does."""
    on = scene.applier(life, permit=permit)
    wanted = Pilot(frozenset(prospects), frozenset(people), frozenset(addresses))
    return opt_in.opt_in(on, opt_in.choose(on, wanted), reason="she asked for it", sleep=scene.later)


def out(scene: Scene, prospect: int) -> tuple[bool, bool, str]:
    """Return how both sides stand: out in Outreach, No Email in the CRM, and the label there."""
    told, person = scene.of_outreach("prospect", prospect), scene.of(prospect)
    there = bool(told.get("optedOut") or told.get("emailOptedOut")) or told.get("emailsOptStatus") == "opted_out"
    return there, bool(person.get("no_email_soliciting")), person["cf_person_sequence_state"]


def settled(scene: Scene, *, full: bool = False) -> None:
    """Make a pass, which must write nothing."""
    scene.later(120)
    before = len(scene.writes(scene.crm)), len(scene.writes(scene.outreach))
    report = scene.sync(full=full)
    assert report.converged, report.as_json()
    assert (len(scene.writes(scene.crm)), len(scene.writes(scene.outreach))) == before


def opted_out(scene: Scene, prospect: int = 5, how: str = "outreach") -> int:
    """Make a prospect with a person, both opted out by what happened on one side."""
    scene.prospect(prospect, 1)
    scene.sync()
    if how == "outreach":
        scene.edit_outreach(op="opt_out", prospect=prospect, how="manual")
    else:
        scene.edit_crm(op="set", type="person", id=scene.of(prospect)["id"], fields={"no_email_soliciting": True})
    scene.later(60)
    scene.sync()
    assert out(scene, prospect) == (True, True, OUT)
    return prospect


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


@pytest.mark.parametrize("part", range(3))
def test_it_may_die_anywhere(scene: Scene, part: int) -> None:
    """Dead at any point, the command run again or a pass that comes first leaves both sides alike, and none for ever out."""
    whole = Life()
    lift(scene, opted_out(scene, 10), life=whole)
    assert len(whole.points) > 10
    for point in range(part, len(whole.points), 3):
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


def test_by_address_everybody_is_meant(scene: Scene) -> None:
    """The address names the prospect, and its person with it, though she has another address in the CRM."""
    opted_out(scene)
    told = lift(scene, addresses=("p5@people.example",))
    assert [one.who for one in told.outcomes] == [Someone(5, scene.of(5)["id"])]
    assert out(scene, 5)[:2] == (False, False)


def test_an_address_without_a_record_is_forgotten(scene: Scene) -> None:
    """The person is gone, the address is remembered: lifted, a new prospect with it is not opted out."""
    person = scene.person(person_first_name="Ada", no_email_soliciting=True, **{"main_location[email]": "a@x.example"})
    scene.sync()
    scene.edit_crm(op="delete", type="person", id=person)
    scene.sync()
    told = lift(scene, addresses=("a@x.example",))
    assert (told.outcomes, told.addresses) == ([], 1)
    scene.prospect(5, 1, emails=["a@x.example"])
    scene.sync()
    assert out(scene, 5) == (False, False, RUNNING)


def test_all_addresses_are_lifted(scene: Scene) -> None:
    """Every known address of both sides: a new prospect with the second one is not opted out."""
    scene.prospect(5, 1, emails=["p5@people.example", "second@people.example"])
    scene.sync()
    scene.edit_outreach(op="opt_out", prospect=5, how="manual")
    scene.sync()
    lift(scene, 5)
    with scene.store.read() as db:
        names = NAMES.of(prospect=5, person=scene.of(5)["id"], addresses=["p5@people.example", "second@people.example"])
        assert links.latched(db, names) == set()


def test_company_that_is_opted_out_is_named(scene: Scene) -> None:
    """Another prospect with the same address is opted out itself: refused with both named, and both together work."""
    scene.prospect(5, 1, emails=["shared@people.example"])
    scene.sync()
    scene.edit_outreach(op="opt_out", prospect=5, how="manual")
    scene.sync()
    scene.prospect(6, emails=["shared@people.example", "own@people.example"], emailOptedOut=True)
    scene.sync()
    with pytest.raises(Refused, match=r"prospect 5 and person .*: prospect 6 bears an address of theirs"):
        lift(scene, 5)
    assert out(scene, 5)[:2] == (True, True)
    assert lift(scene, 5, 6).done
    assert out(scene, 5)[:2] == (False, False)
    assert scene.of_outreach("prospect", 6)["emailOptedOut"] is False


def test_a_person_whom_outreach_does_not_know(scene: Scene) -> None:
    """No Email goes, no pass brings it back, and ticked anew it counts."""
    email = {"main_location[email]": "a@x.example"}
    person = scene.person(person_first_name="Ada", no_email_soliciting=True, **email)
    scene.sync()
    assert lift(scene, people=(person,)).done
    settled(scene, full=True)
    assert scene.people()[0]["no_email_soliciting"] is False
    scene.prospect(5, 1, emails=["a@x.example"])
    scene.sync()
    assert out(scene, 5) == (False, False, RUNNING)
    scene.edit_crm(op="set", type="person", id=person, fields={"no_email_soliciting": True})
    scene.sync()
    assert out(scene, 5) == (True, True, OUT)


def test_a_prospect_without_a_person(scene: Scene) -> None:
    """In no sequence, so nobody in the CRM: opted in in Outreach; created later, the person has no No Email."""
    scene.prospect(5, emailOptedOut=True)
    scene.sync()
    assert lift(scene, 5).done
    assert scene.of_outreach("prospect", 5)["emailOptedOut"] is False
    scene.edit_outreach(op="enrol", prospect=5, sequence=1, state="active")
    scene.sync()
    assert out(scene, 5) == (False, False, RUNNING)


def test_created_again_without_no_email(scene: Scene) -> None:
    """Deleted in the CRM and opted in before anybody looked: created again once, without No Email."""
    opted_out(scene)
    scene.edit_crm(op="delete", type="person", id=scene.of(5)["id"])
    assert lift(scene, 5).done
    scene.sync()
    assert out(scene, 5)[:2] == (False, False)
    settled(scene)


def test_a_lease_is_waited_for(scene: Scene) -> None:
    """A worker has the prospect in hand and would latch it once more: its lease is waited for, but not for ever."""
    opted_out(scene)
    with scene.store.write() as db:
        outbox.open_changes(db, Kind.PROSPECT, [5], lane=Lane.EDIT, now=scene.now())
        (change,) = outbox.claim(db, Kind.PROSPECT, now=scene.now())
    before = scene.now()
    assert lift(scene, 5).done
    assert 14 < (scene.now() - before).total_seconds() < 20

    def held(_: float) -> None:
        scene.later(1)
        with scene.store.write() as db:
            outbox.renew(db, [change], scene.now())

    with scene.store.write() as db:
        outbox.open_changes(db, Kind.PROSPECT, [5], lane=Lane.EDIT, now=scene.now())
        (change,) = outbox.claim(db, Kind.PROSPECT, now=scene.now())
    on = scene.applier()
    chosen = opt_in.choose(on, Pilot(prospects=frozenset({5})))
    with pytest.raises(errors.StaleVersion, match="another process is working on prospect 5"):
        opt_in.opt_in(on, chosen, reason="x", sleep=held)


def test_a_pilot_list_holds_it_back(scene: Scene) -> None:
    """OUTBOOK_ONLY names others: nothing is written, the receipt says so, and a pass without it goes on."""
    opted_out(scene)
    told = lift(scene, 5, permit=Permit(only=Pilot(prospects=frozenset({9}))))
    assert "OUTBOOK_ONLY" in (told.outcomes[0].why or "")
    assert out(scene, 5)[:2] == (True, True)
    scene.sync()
    assert out(scene, 5)[:2] == (False, False)


def test_nobody_is_named(scene: Scene) -> None:
    """Every id that is not there is told, and nothing is done."""
    scene.sync()
    with pytest.raises(Refused) as refused:
        lift(scene, 70, people=(7070,), addresses=("nobody@x.example",))
    assert refused.value.problems == [
        "1 of the addresses: nobody bears it, and no opt-out is remembered under it",
        "person 7070 does not exist in the CRM",
        "prospect 70 does not exist in Outreach",
    ]
