"""Links, latches, exclusions, the brake on deletions, and the history."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.store.makers import NOW, keep, later, seen
from worker.core import plan
from worker.core.mapping import Share
from worker.core.records import Kind, Link, Shadow, System
from worker.store import database, links, tables
from worker.store.links import Name, Names, Written

NAMES = Names(b"a key of thirty-two bytes or more")


def save(store: database.Store, *pairs: Link, kind: Kind = Kind.PROSPECT) -> None:
    """Write links."""
    with store.write() as db:
        links.save(db, kind, pairs, NOW)


def load(store: database.Store, *ids: int, kind: Kind = Kind.PROSPECT) -> dict[int, Link]:
    """Return links by the Outreach record's id."""
    with store.read() as db:
        return links.load(db, kind, ids)


def test_a_link_comes_back_as_it_was(store: database.Store) -> None:
    """Both halves of the shadow, the written version and the tombstone survive; it is found from either side."""
    shadow = Shadow({"a": "x", "b": None, "c": ["y"]}, {"a": "x ", "b": "", "c": True})
    link = Link(5, 7001, shadow, written_version=3, gone=True)
    save(store, link, Link(6, 7002))
    assert load(store, 5, 99) == {5: link}
    with store.read() as db:
        assert links.of_crm(db, Kind.PROSPECT, [7001, 7002, 1]) == {7001: link, 7002: Link(6, 7002)}


def test_a_link_is_rewritten_in_place(store: database.Store) -> None:
    """One row a prospect: a new shadow or person replaces the old one, and the day of linking stays."""
    save(store, Link(5, 7001))
    with store.write() as db:
        links.save(db, Kind.PROSPECT, [Link(5, 7002, Shadow({"a": 1}, {"a": 1}))], later(60))
    assert load(store, 5) == {5: Link(5, 7002, Shadow({"a": 1}, {"a": 1}))}
    with store.read() as db:
        assert db.execute(sa.select(links.LINK.c.linked_at)).scalars().all() == [NOW]


def test_who_was_entered_anew_takes_the_person_over(store: database.Store) -> None:
    """In one batch with the one that is gone, after it, and before anybody has worked on its deletion."""
    gone, anew = Link(5, 7001, gone=True), Link(6, 7001)
    save(store, gone, anew)
    assert load(store, 5, 6) == {6: anew}
    save(store, gone)
    assert load(store, 5, 6) == {6: anew}
    save(store, Link(7, 7002), Link(9, 7003))
    keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 7, deleted=True))
    save(store, Link(8, 7002))
    assert load(store, 7, 8, 9) == {8: Link(8, 7002), 9: Link(9, 7003)}


def test_a_tombstone_makes_room_for_another(store: database.Store) -> None:
    """Two prospects of one person are gone, one after the other: the later tombstone is kept, neither is an error."""
    save(store, Link(5, 7001, gone=True))
    save(store, Link(6, 7001, gone=True))
    assert load(store, 5, 6) == {6: Link(6, 7001, gone=True)}


def test_no_person_has_two_prospects(store: database.Store) -> None:
    """A second living link to the same person is refused by the database itself, and the first one stays."""
    save(store, Link(5, 7001))
    with pytest.raises(sa.exc.IntegrityError):
        save(store, Link(6, 7001))
    assert load(store, 5, 6) == {5: Link(5, 7001)}


def test_a_tombstone_gives_its_person_up(store: database.Store) -> None:
    """A person whose former prospect is gone may be linked to another one."""
    save(store, Link(5, 7001, gone=True))
    save(store, Link(6, 7001))
    assert load(store, 5, 6) == {6: Link(6, 7001)}


def test_two_links_may_be_saved_again_together(store: database.Store) -> None:
    """A tombstone that is itself among those saved is not taken away."""
    save(store, Link(5, 7001, gone=True), Link(6, 7002))
    save(store, Link(5, 7001), Link(6, 7002, gone=True))
    assert load(store, 5, 6) == {5: Link(5, 7001), 6: Link(6, 7002, gone=True)}


def test_kinds_of_links_do_not_mix(store: database.Store) -> None:
    """Prospect 5 and task 5 have links of their own, even to equal ids."""
    save(store, Link(5, 7001))
    save(store, Link(5, 7001), kind=Kind.TASK)
    save(store, Link(6, 7002, gone=True))
    with store.read() as db:
        assert (links.count(db, Kind.PROSPECT), links.count(db, Kind.TASK)) == (1, 1)


def test_a_latch_is_kept_with_its_first_evidence(store: database.Store) -> None:
    """What is remembered stays as it is: a later opt-out changes neither the evidence nor the date."""
    names = NAMES.of(prospect=5, person=7001, addresses=["a@x.example"])
    with store.write() as db:
        links.latch(db, [(name, "prospect's optedOut") for name in names], NOW)
        links.latch(db, [(name, "something later") for name in names], later(60))
    with store.read() as db:
        kept = db.execute(sa.select(links.LATCH.c.evidence, links.LATCH.c.since)).all()
    assert [tuple(row) for row in kept] == [("prospect's optedOut", NOW)] * 3


def test_a_person_is_remembered_under_every_name(store: database.Store) -> None:
    """Either id or any one address is enough to find the opt-out again; somebody else's are not."""
    with store.write() as db:
        told = NAMES.of(prospect=5, person=7001, addresses=["a@x.example", "b@x.example"])
        links.latch(db, [(name, "why") for name in told], NOW)
    with store.read() as db:
        for name in told:
            assert links.latched(db, [name]) == {name}
        others = NAMES.of(prospect=7001, person=5, addresses=["c@x.example"])
        assert links.latched(db, others) == set()


def test_thousands_of_names_are_looked_up(store: database.Store) -> None:
    """Names are looked up in portions, with nothing lost between them."""
    told = [NAMES.of(prospect=n, person=None, addresses=())[0] for n in range(1300)]
    with store.write() as db:
        links.latch(db, [(name, "why") for name in told], NOW)
        assert links.latched(db, told) == set(told)


def test_names_of_different_keys_do_not_meet() -> None:
    """The hash of an address is keyed: without the store's key nobody can try addresses against it."""
    mine = NAMES.of(prospect=None, person=None, addresses=["a@x.example"])
    theirs = Names(b"another key of the same great length").of(prospect=None, person=None, addresses=["a@x.example"])
    assert mine[0].kind == theirs[0].kind == "address"
    assert mine[0].key != theirs[0].key
    assert len(mine[0].key) == 64
    assert "another key" not in repr(theirs)
    assert "thirty-two" not in repr(NAMES)


def test_no_address_is_in_the_file(tmp_path: Path) -> None:
    """An opt-out is remembered without its address: the database's bytes hold neither it nor its parts."""
    path = tmp_path / "latch.db"
    store = database.connect(f"sqlite:///{path}")
    tables.metadata.create_all(store.engine)
    with store.write() as db:
        told = NAMES.of(prospect=5, person=7001, addresses=["quietly.gone@somewhere.example"])
        links.latch(db, [(name, "prospect's optedOut") for name in told], NOW)
    store.engine.dispose()
    with sqlite3.connect(path) as plain:
        plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    plain.close()
    held = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"prospect's optedOut" in held
    assert b"quietly" not in held
    assert b"somewhere" not in held


def test_exclusions_follow_the_mapping(store: database.Store) -> None:
    """A record is left out for its latest reason, and forgotten once it is left out no more."""
    with store.write() as db:
        links.exclude(db, Kind.PROSPECT, {5: "no address", 6: "never in a sequence"}, [])
        links.exclude(db, Kind.PROSPECT, {5: "never in a sequence"}, [6, 7])
        assert links.excluded(db) == 1
        assert db.execute(sa.select(links.EXCLUSION.c.reason)).scalars().all() == ["never in a sequence"]
        links.exclude(db, Kind.TASK, {}, [5])
        assert links.excluded(db) == 1


def missing(store: database.Store, *crm_ids: int, at: float) -> None:
    """Count people as missing since so many hours after nine, by the vendor's time."""
    with store.write() as db:
        links.missing(db, {crm_id: (crm_id - 7000, NOW + timedelta(hours=at)) for crm_id in crm_ids})


def lately(store: database.Store) -> int:
    """Return how many count for the brake."""
    with store.read() as db:
        return links.missing_lately(db)


def test_the_brake_counts_a_day_of_the_vendors_time(store: database.Store) -> None:
    """The day ends at the newest deletion, whatever our clock says; what lies a day and more before it is over."""
    assert lately(store) == 0
    missing(store, 7001, 7002, at=-2400)
    assert lately(store) == 2
    missing(store, 7003, at=0)
    assert lately(store) == 1
    missing(store, 7004, at=-24)
    assert lately(store) == 2
    missing(store, 7005, at=-24.001)
    assert lately(store) == 2


def test_a_deletion_is_counted_once(store: database.Store) -> None:
    """Seen again later, the same missing person keeps its first time and stays one."""
    missing(store, 7001, at=-30)
    missing(store, 7001, 7002, at=0)
    assert lately(store) == 1


def test_restored_and_approved_ones_do_not_count(store: database.Store) -> None:
    """Who was brought back is forgotten, who was approved stays approved, and the next one counts again."""
    missing(store, 7001, 7002, 7003, at=0)
    with store.write() as db:
        links.restored(db, [7001, 9999])
    assert lately(store) == 2
    with store.write() as db:
        links.approve_missing(db)
    assert lately(store) == 0
    missing(store, 7002, 7004, at=1)
    assert lately(store) == 1


@pytest.mark.parametrize(
    "deleted, linked, trips",
    [(20, 100, False), (21, 100, True), (21, 1049, True), (21, 1050, False), (22, 1099, True), (0, 0, False)],
)
def test_the_brake_trips_above_both_limits(deleted: int, linked: int, trips: bool) -> None:
    """More than 2 % and more than 20: both must be passed."""
    assert plan.too_many_deleted(deleted, linked, Share(2.0, 20)) is trips
    assert plan.too_many_deleted(deleted, linked, None) is False


def test_the_history_keeps_what_was_written_and_why(store: database.Store) -> None:
    """Each write is a row with both values, the reason and the mapping's version; none is written for nothing."""
    one = Written(Kind.PROSPECT, 5, 7001, System.CRM, "update", {"a": "x"}, {"a": None}, "changed in Outreach")
    with store.write() as db:
        links.remember(db, [], now=NOW, mapping_version="sha256:1")
        links.remember(db, [one, one], now=NOW, mapping_version="sha256:1")
        held = db.execute(sa.select(links.HISTORY).order_by(links.HISTORY.c.id)).all()
    assert [row.id for row in held] == [1, 2]
    row = held[0]
    assert (row.at, row.kind, row.outreach_id, row.crm_id) == (NOW, "prospects", 5, 7001)
    assert (row.system, row.action, row.before, row.after) == ("crm", "update", '{"a":"x"}', '{"a":null}')
    assert (row.why, row.mapping_version) == ("changed in Outreach", "sha256:1")


def test_names_hold_only_what_is_known() -> None:
    """An id that is not known gives no name, and the same address twice gives one."""
    assert NAMES.of(prospect=None, person=None, addresses=()) == []
    assert NAMES.of(prospect=0, person=7, addresses=()) == [Name("prospect", "0"), Name("person", "7")]
    assert len(NAMES.of(prospect=None, person=None, addresses=["a@x.example", "a@x.example"])) == 1
