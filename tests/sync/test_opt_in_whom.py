"""Whom an opt-in means, and whom it leaves alone."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.points import some
from tests.sync.lifting import OUT, RUNNING, lift, opted_out, out, settled
from tests.sync.scene import LEASE_S, NAMES, Killed, Life, Scene, fault
from worker.core import errors
from worker.core.records import Kind
from worker.store import links, outbox
from worker.store.outbox import Lane
from worker.sync import opt_in
from worker.sync.case import Permit, Pilot
from worker.sync.opt_in import Refused, Someone


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


def alone(scene: Scene, number: int, **fields: object) -> int:
    """Make a person with No Email whom Outreach does not know, and let that be latched."""
    email = {"main_location[email]": f"alone{number}@x.example"}
    person = scene.person(person_last_name=f"Alone{number}", no_email_soliciting=True, **email, **fields)
    scene.sync()
    return person


def ticked(scene: Scene, person: int) -> bool:
    """Tell whether a person has No Email."""
    (told,) = [bool(one["no_email_soliciting"]) for one in scene.people() if one["id"] == person]
    return told


def test_a_person_alone_whose_opt_in_died_is_seen_to_by_the_next_pass(
    scene: Scene, request: pytest.FixtureRequest
) -> None:
    """Dead at any point from the decision on, the next pass takes No Email off, once, and ticked anew it counts."""
    whole = Life()
    lift(scene, people=(alone(scene, 0),), life=whole)
    decided = next(n for n, point in enumerate(whole.points) if point == "ask: write crm /crm/people.api") - 4
    for point in some(request, range(decided, len(whole.points)), 5):
        person, where = alone(scene, 1 + point), whole.points[point]
        with pytest.raises(Killed):
            lift(scene, people=(person,), life=Life(point))
        scene.later(LEASE_S)
        assert scene.sync().converged, where
        assert not ticked(scene, person), where
        settled(scene)
        scene.edit_crm(op="set", type="person", id=person, fields={"no_email_soliciting": True})
        scene.later(60)
        scene.sync()
        settled(scene)
        assert ticked(scene, person), where
    with scene.store.read() as db:
        assert db.execute(sa.text("SELECT count(*) FROM lifting WHERE open")).scalar_one() == 0


def test_a_person_alone_who_is_wanted_in_outreach_comes_there_opted_in(scene: Scene) -> None:
    """The opt-in died before No Email was off, then somebody ticks Sync to Outreach: the prospect is made opted in."""
    person = alone(scene, 1)
    scene.crm.faults.arm([fault("status", path="people", op="write", times=None, code=503)])
    told = lift(scene, people=(person,))
    assert "the next pass goes on with it" in (told.outcomes[0].why or "")
    scene.crm.faults.arm([])
    scene.edit_crm(op="set", type="person", id=person, fields={"cf_person_sync_to_outreach": True})
    scene.later(1000)
    assert scene.sync().converged
    (made,) = scene.outreach.world.dump()["prospect"].values()
    assert (ticked(scene, person), made["attributes"].get("emailOptedOut", False)) == (False, False)
    settled(scene)


def test_a_person_alone_who_may_not_be_written_waits(scene: Scene) -> None:
    """Held back by a switch, the receipt says so, and a pass without it finishes."""
    person = alone(scene, 1)
    told = lift(scene, people=(person,), permit=Permit(to_crm=False))
    assert (ticked(scene, person), (told.outcomes[0].why or "")[:12]) == (True, "held back by")
    scene.sync()
    assert not ticked(scene, person)
    settled(scene)


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
