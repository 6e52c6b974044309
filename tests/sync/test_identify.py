"""Who is who: the link, else the reference, else an address; and what is not certain is held, with everybody named."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import sqlalchemy as sa

from tests.store.makers import keep, seen
from tests.sync.scene import NAMES, Scene, form, reads_of
from worker.core.records import Kind, Link, Ref, Snapshot
from worker.store import links, mirror
from worker.sync import identify
from worker.sync.identify import Match

REFERENCE = "cf_person_outreach_id"


def prospect(id: int, *emails: str) -> Snapshot:
    """Return a prospect with some addresses."""
    return Snapshot(Ref(Kind.PROSPECT, id), {"emails": list(emails)})


def people(scene: Scene, *told: tuple[int, Iterable[str], int | None]) -> None:
    """Put people into the mirror: id, addresses, reference."""
    for id_, addresses, reference in told:
        keep(scene.store, Kind.PERSON, seen(Kind.PERSON, id_, addresses=addresses, reference=reference, v=id_))


def match(scene: Scene, *prospects: Snapshot) -> dict[int, Match]:
    """Return who they are."""
    with scene.store.read() as db:
        return identify.match(db, prospects)


def link(scene: Scene, outreach_id: int, crm_id: int) -> None:
    """Link a pair."""
    with scene.store.write() as db:
        links.save(db, Kind.PROSPECT, [Link(outreach_id, crm_id)], scene.now())


def test_nobody_is_nobody(on_both: Scene) -> None:
    """Without reference and address nobody is found, and nothing is held."""
    people(on_both, (7001, ["a@x.example"], 9))
    assert match(on_both, prospect(1, "b@x.example"), prospect(2)) == {1: Match(), 2: Match()}


def test_the_reference_goes_before_the_address(on_both: Scene) -> None:
    """A person that carries our id is ours, whoever bears the address by now."""
    people(on_both, (7001, ["old@x.example"], 1), (7002, ["a@x.example"], None))
    assert match(on_both, prospect(1, "a@x.example"))[1].person_id == 7001


def test_any_address_finds_a_person(on_both: Scene) -> None:
    """Each of the prospect's addresses is looked for."""
    people(on_both, (7001, ["second@x.example"], None))
    assert match(on_both, prospect(1, "first@x.example", "second@x.example"))[1].person_id == 7001


def test_two_people_with_the_address_are_held(on_both: Scene) -> None:
    """More than one candidate: none is taken, all are named."""
    people(on_both, (7001, ["a@x.example"], None), (7002, ["a@x.example"], None))
    found = match(on_both, prospect(1, "a@x.example"))[1]
    assert (found.person_id, found.candidates) == (None, (7001, 7002))
    assert found.held == "prospect 1 could be any of person 7001, person 7002"


def test_two_people_with_the_reference_are_held(on_both: Scene) -> None:
    """A copied record carries the id a second time: which one is ours is not ours to guess."""
    people(on_both, (7001, [], 1), (7002, [], 1))
    assert match(on_both, prospect(1))[1].candidates == (7001, 7002)


@pytest.mark.parametrize("how", ["link", "reference"])
def test_a_person_of_another_prospect_is_held(on_both: Scene, how: str) -> None:
    """The only candidate belongs to somebody else, by our link or by its own reference."""
    people(on_both, (7001, ["a@x.example"], 2 if how == "reference" else None))
    if how == "link":
        link(on_both, 2, 7001)
    found = match(on_both, prospect(1, "a@x.example"))[1]
    assert (found.person_id, found.candidates, found.owner) == (None, (7001,), 2)
    assert found.held is not None
    assert "already linked to prospect 2" in found.held


def test_a_person_whose_prospect_is_gone_is_free(on_both: Scene) -> None:
    """Outreach's merge leaves the loser's person behind: it may be linked to the survivor."""
    people(on_both, (7001, ["a@x.example"], 2))
    link(on_both, 2, 7001)
    with on_both.store.write() as db:
        mirror.bury(db, Kind.PROSPECT, [2])
    assert match(on_both, prospect(1, "a@x.example"))[1].person_id == 7001


def test_two_prospects_do_not_get_the_same_person(on_both: Scene) -> None:
    """Of two new prospects with one address the first gets the person, the second is held."""
    people(on_both, (7001, ["a@x.example"], None))
    found = match(on_both, prospect(2, "a@x.example"), prospect(1, "a@x.example"))
    assert found[1].person_id == 7001
    assert found[2].held is not None
    assert found[2].owner == 1


def test_a_deleted_person_is_no_candidate(on_both: Scene) -> None:
    """A tombstone is found neither by reference nor by address."""
    keep(
        on_both.store,
        Kind.PERSON,
        seen(Kind.PERSON, 7001, deleted=True, addresses=["a@x.example"], reference=1),
    )
    assert match(on_both, prospect(1, "a@x.example")) == {1: Match()}


def test_many_are_matched_by_a_few_queries(on_both: Scene) -> None:
    """A hundred prospects cost no more queries than one."""
    people(on_both, *((7000 + n, [f"p{n}@x.example"], None) for n in range(1, 101)))
    asked: list[str] = []
    sa.event.listen(on_both.store.engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    found = match(on_both, *(prospect(n, f"p{n}@x.example") for n in range(1, 101)))
    assert {pid: one.person_id for pid, one in found.items()} == {n: 7000 + n for n in range(1, 101)}
    assert len([text for text in asked if text.startswith("SELECT")]) <= 6


def look_up(scene: Scene, *prospects: Snapshot) -> None:
    """Ask the CRM itself."""
    identify.look_up(
        prospects,
        store=scene.store,
        crm=scene.remotes().crm,
        mapping=scene.mapping,
        names=NAMES,
        lacking=(),
        now=scene.now(),
    )


def test_the_crm_is_asked_by_reference_and_by_every_address(scene: Scene) -> None:
    """One request for all of them: reference or main address or alternate address, in both spellings."""
    mine = scene.person(person_last_name="Ours", **{REFERENCE: "1"})
    main = scene.person(person_last_name="Main", **{"main_location[email]": "second@x.example"})
    other = scene.person(person_last_name="Other", **{"main_location[alternate_email]": "THIRD@x.example"})
    scene.person(person_last_name="Stranger", **{"main_location[email]": "stranger@x.example"})
    look_up(scene, prospect(1), prospect(2, "Second@X.example"), prospect(3, "third@x.example"))
    (call,) = reads_of(scene.wire.calls, "people")
    told = form(call)
    assert [value for name, value in told if name == "_ff[]"] == [
        REFERENCE,
        "main_location[email]",
        "main_location[alternate_email]",
    ]
    assert ("_fm", "or") in told
    asked = [value for name, value in told if name == "_fc[]"]
    assert asked[0] == "1,2,3"
    assert set(asked[1].split(",")) == {"Second@X.example", "second@x.example", "third@x.example"}
    with scene.store.read() as db:
        assert set(mirror.load(db, Kind.PERSON, [mine, main, other])) == {mine, main, other}
        assert mirror.referring(db, Kind.PERSON, [1]) == {1: {mine}}


def test_a_look_up_is_paged_to_its_end(scene: Scene) -> None:
    """More candidates than a page are all found, or the right one might lie on the second."""
    made = [scene.person(person_last_name=f"P{n}", **{"main_location[email]": "a@x.example"}) for n in range(130)]
    look_up(scene, prospect(1, "a@x.example"))
    found = match(scene, prospect(1, "a@x.example"))[1]
    assert set(found.candidates) == set(made)


def test_nothing_to_ask_is_not_asked(scene: Scene) -> None:
    """Nobody to look for costs no request."""
    look_up(scene)
    assert scene.wire.calls == []


def test_an_address_with_a_comma_is_one_address(scene: Scene) -> None:
    """A comma separates values on the wire: within one it is escaped, and finds its owner alone."""
    mine = scene.person(person_last_name="Odd", **{"main_location[email]": "a,b@x.example"})
    scene.person(person_last_name="Not me", **{"main_location[email]": "b@x.example"})
    look_up(scene, prospect(1, "a,b@x.example"))
    assert match(scene, prospect(1, "a,b@x.example"))[1].person_id == mine
    with scene.store.read() as db:
        assert mirror.holders(db, Kind.PERSON, ["b@x.example"]) == {}


def test_records_are_read_back_with_their_tombstones(scene: Scene) -> None:
    """By id the living and the deleted come; who may not be seen is left out, and that is told apart."""
    living, dead, hidden = (scene.person(person_last_name=f"P{n}") for n in range(3))
    scene.edit_crm(op="delete", type="person", id=dead)
    scene.edit_crm(op="hide", type="person", id=hidden)
    found = identify.read_by_id(scene.remotes().crm, Kind.PERSON, [living, dead, hidden], ("id",))
    assert {id_: one.deleted for id_, one in found.items()} == {living: False, dead: True}
    assert identify.read_by_id(scene.remotes().crm, Kind.PERSON, [], ("id",)) == {}
