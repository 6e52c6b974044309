"""The mirror: only what differs is written, only what moved is told, and every record is found by what it bears."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from tests.store.makers import NOW, keep, later, seen
from worker.core.records import Kind, Ref, Snapshot, Value
from worker.store import database, mirror


def rows(store: database.Store) -> list[sa.Row[tuple[object, ...]]]:
    """Return the mirror's rows, by id."""
    with store.read() as db:
        return list(db.execute(sa.select(mirror.MIRROR).order_by(mirror.MIRROR.c.kind, mirror.MIRROR.c.id)))


def load(store: database.Store, kind: Kind, *ids: int) -> dict[int, Snapshot]:
    """Return snapshots from the mirror."""
    with store.read() as db:
        return mirror.load(db, kind, ids)


def writes(store: database.Store, kind: Kind, *ones: mirror.Seen) -> int:
    """Save, and return how many rows of the mirror that wrote."""
    counted = 0

    def count(*told: object) -> None:
        nonlocal counted
        statement, parameters, many = str(told[2]), told[3], told[5]
        if statement.startswith("INSERT INTO mirror"):
            assert isinstance(parameters, list | tuple | dict)
            counted += len(parameters) if many else 1

    sa.event.listen(store.engine, "before_cursor_execute", count)
    try:
        keep(store, kind, *ones)
    finally:
        sa.event.remove(store.engine, "before_cursor_execute", count)
    return counted


def test_what_is_kept_comes_back_as_it_was(store: database.Store) -> None:
    """Every part of a snapshot survives: values of all types, relations, time, version and tombstone."""
    fields: dict[str, Value] = {"a": "é – x", "b": 7, "c": None, "d": True, "e": ["x", "y"], "f": ""}
    relations: dict[str, int | None] = {"prospect": 5, "sequence": None}
    snapshot = Snapshot(Ref(Kind.STATE, 2**40), fields, later(0.25), 3, deleted=True, relations=relations)
    keep(store, Kind.STATE, mirror.Seen(snapshot, "f"))
    assert load(store, Kind.STATE, 2**40) == {2**40: snapshot}


def test_a_page_keeps_to_each_record_what_is_its_own(store: database.Store) -> None:
    """Of a page in any order each record has its own time, tombstone, version and relation, be they many's or none's."""
    told = [
        (30, later(2), False, None, 7),
        (10, None, True, 4, None),
        (20, later(2), False, 4, 8),
        (40, later(1), False, 4, 8),
    ]
    page = [
        Snapshot(Ref(Kind.STATE, number), {"n": number}, at, version, deleted=gone, relations={"prospect": whose})
        for number, at, gone, version, whose in told
    ]
    keep(store, Kind.STATE, *(mirror.Seen(one, f"f{one.ref.id}") for one in page))
    assert load(store, Kind.STATE, 10, 20, 30, 40) == {one.ref.id: one for one in page}
    assert [(row.id, row.fingerprint, row.prospect_id) for row in rows(store)] == [
        (10, "f10", None),
        (20, "f20", 8),
        (30, "f30", 7),
        (40, "f40", 8),
    ]


def test_only_what_differs_is_written(store: database.Store) -> None:
    """The same page a second time writes no row and tells of no move; one changed record is one row and one move."""
    page = [seen(Kind.PROSPECT, n, title="a") for n in range(1, 1202)]
    assert writes(store, Kind.PROSPECT, *page) == 1201
    assert writes(store, Kind.PROSPECT, *page) == 0
    page[7] = seen(Kind.PROSPECT, 8, title="b")
    assert writes(store, Kind.PROSPECT, *page) == 1
    assert keep(store, Kind.PROSPECT, *page) == []
    assert load(store, Kind.PROSPECT, 8)[8].fields == {"title": "b"}


def test_a_move_tells_before_and_after(store: database.Store) -> None:
    """A new record moves from nothing, a changed one from what the mirror held."""
    first, second = seen(Kind.PROSPECT, 1, title="a"), seen(Kind.PROSPECT, 1, title="b")
    assert keep(store, Kind.PROSPECT, first) == [mirror.Moved(None, first.snapshot)]
    assert keep(store, Kind.PROSPECT, second) == [mirror.Moved(first.snapshot, second.snapshot)]


def test_a_new_version_of_equal_values_is_written_and_is_no_move(store: database.Store) -> None:
    """An edit of a field that is not mapped must be known by its lock_version, and concerns nobody."""
    keep(store, Kind.PERSON, seen(Kind.PERSON, 7, version=1, title="a"))
    assert keep(store, Kind.PERSON, seen(Kind.PERSON, 7, version=2, at=later(5), title="a")) == []
    assert load(store, Kind.PERSON, 7)[7].version == 2
    assert load(store, Kind.PERSON, 7)[7].updated_at == later(5)


def test_an_older_copy_is_ignored(store: database.Store) -> None:
    """A page read before our own write landed has the lower lock_version, and must not bring old values back."""
    keep(store, Kind.PERSON, seen(Kind.PERSON, 7, version=4, title="new"))
    assert keep(store, Kind.PERSON, seen(Kind.PERSON, 7, version=3, title="old")) == []
    assert load(store, Kind.PERSON, 7)[7].fields == {"title": "new"}


def test_an_older_copy_without_a_version_is_known_by_its_time(store: database.Store) -> None:
    """Outreach has no versions: a copy dated before the mirror's is history; one of the same second is not."""
    keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 1, title="new"), now=NOW)
    assert keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 1, at=later(-1), title="old"), now=later(1)) == []
    assert load(store, Kind.PROSPECT, 1)[1].fields == {"title": "new"}
    assert len(keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 1, title="same second"), now=later(1))) == 1


def test_an_older_date_is_believed_in_the_end(store: database.Store) -> None:
    """A quarter of an hour later no late page can tell it any more: the vendor's clock was set back."""
    keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 1, title="before"), now=NOW)
    edited = seen(Kind.PROSPECT, 1, at=later(-20), title="after")
    assert keep(store, Kind.PROSPECT, edited, now=later(899)) == []
    assert len(keep(store, Kind.PROSPECT, edited, now=later(901))) == 1
    assert load(store, Kind.PROSPECT, 1)[1].fields == {"title": "after"}


def test_a_date_in_the_future_does_not_blind_us(store: database.Store) -> None:
    """A record that was dated 2099 by mistake and is edited today is taken as it is today."""
    keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 1, at=later(10**9), title="odd"), now=NOW)
    assert len(keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 1, at=later(5), title="mended"), now=later(5))) == 1


def test_what_a_clock_that_was_set_back_shows_is_believed(store: database.Store) -> None:
    """What the mirror holds is dated ten minutes after the vendor's present: only an edit of today can be older."""
    keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 1, title="before"), now=NOW)
    edited = [seen(Kind.PROSPECT, 1, at=later(-600), title="after")]
    with store.write() as db:
        assert mirror.note(db, Kind.PROSPECT, edited, now=later(5), theirs=later(-100)).moved == []
        assert len(mirror.note(db, Kind.PROSPECT, edited, now=later(5), theirs=later(-595)).moved) == 1


def test_a_deletion_moves_although_nothing_else_differs(store: database.Store) -> None:
    """A tombstone has the same values and the same lock_version, and still moves; so does its return."""
    living = seen(Kind.PERSON, 7, version=4, title="a")
    dead = mirror.Seen(Snapshot(Ref(Kind.PERSON, 7), {"title": "a"}, NOW, 4, deleted=True), living.fingerprint)
    keep(store, Kind.PERSON, living)
    assert [one.after.deleted for one in keep(store, Kind.PERSON, dead)] == [True]
    assert [one.after.deleted for one in keep(store, Kind.PERSON, living)] == [False]


def test_the_last_of_two_copies_in_one_page_counts(store: database.Store) -> None:
    """A record that moved while it was paged over may come twice; the later copy is kept, and it moves once."""
    moved = keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 1, title="a"), seen(Kind.PROSPECT, 1, title="b"))
    assert [one.after.fields for one in moved] == [{"title": "b"}]


def test_kinds_do_not_mix(store: database.Store) -> None:
    """Prospect 5 and person 5 are two records."""
    keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 5, title="of outreach"))
    keep(store, Kind.PERSON, seen(Kind.PERSON, 5, title="of the crm"))
    assert load(store, Kind.PROSPECT, 5)[5].fields == {"title": "of outreach"}
    assert load(store, Kind.PERSON, 5)[5].fields == {"title": "of the crm"}


def test_records_are_found_by_what_they_belong_to(store: database.Store) -> None:
    """All states of some prospects come in one go, grouped and by id; tombstones only when asked for."""
    for one in (
        seen(Kind.STATE, 3, relations={"prospect": 1, "sequence": 9}),
        seen(Kind.STATE, 2, relations={"prospect": 1, "sequence": 8}),
        seen(Kind.STATE, 4, deleted=True, relations={"prospect": 1, "sequence": 7}),
        seen(Kind.STATE, 5, relations={"prospect": 2, "sequence": 9}),
        seen(Kind.TASK, 6, relations={"prospect": 1}),
    ):
        keep(store, one.snapshot.ref.kind, one)
    with store.read() as db:
        found = mirror.related(db, Kind.STATE, "prospect", [1, 2, 99])
        with_tombstones = mirror.related(db, Kind.STATE, "prospect", [1], deleted=True)
        by_sequence = mirror.related(db, Kind.STATE, "sequence", [9])
    assert {owner: [one.ref.id for one in group] for owner, group in found.items()} == {1: [2, 3], 2: [5]}
    assert [one.ref.id for one in with_tombstones[1]] == [2, 3, 4]
    assert [one.ref.id for one in by_sequence[9]] == [3, 5]


def test_addresses_follow_their_record(store: database.Store) -> None:
    """A record is found by each address it bears now, by none that it has lost, and never once it is deleted."""
    keep(store, Kind.PERSON, seen(Kind.PERSON, 7, addresses=["a@x.example", "b@x.example"], v=1))
    keep(store, Kind.PERSON, seen(Kind.PERSON, 8, addresses=["b@x.example"], v=1))
    keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 1, addresses=["a@x.example"], v=1))

    def holders() -> dict[str, set[int]]:
        with store.read() as db:
            return mirror.holders(db, Kind.PERSON, ["a@x.example", "b@x.example", "c@x.example"])

    assert holders() == {"a@x.example": {7}, "b@x.example": {7, 8}}
    keep(store, Kind.PERSON, seen(Kind.PERSON, 7, addresses=["c@x.example"], v=2))
    assert holders() == {"b@x.example": {8}, "c@x.example": {7}}
    keep(store, Kind.PERSON, seen(Kind.PERSON, 8, addresses=["b@x.example"], v=2, deleted=True))
    assert holders() == {"c@x.example": {7}}


def test_references_follow_their_record(store: database.Store) -> None:
    """A person is found by the prospect id it carries now; two may carry the same; a deleted one is not found."""
    keep(store, Kind.PERSON, seen(Kind.PERSON, 7, reference=1, v=1), seen(Kind.PERSON, 8, reference=1, v=1))

    def referring() -> dict[int, set[int]]:
        with store.read() as db:
            return mirror.referring(db, Kind.PERSON, [1, 2])

    assert referring() == {1: {7, 8}}
    keep(store, Kind.PERSON, seen(Kind.PERSON, 7, reference=2, v=2))
    assert referring() == {1: {8}, 2: {7}}
    with store.read() as db:
        assert mirror.references(db, Kind.PERSON, [7, 8, 9]) == {7: 2, 8: 1}
    keep(store, Kind.PERSON, seen(Kind.PERSON, 8, reference=None, v=2), seen(Kind.PERSON, 7, reference=2, deleted=True))
    assert referring() == {}


@pytest.mark.parametrize("known", [True, False])
def test_a_buried_record_is_a_tombstone(store: database.Store, known: bool) -> None:
    """What a complete answer left out is remembered as gone, seen before or not, with what was last known of it."""
    if known:
        keep(store, Kind.TASK, seen(Kind.TASK, 3, relations={"prospect": 1}, state="incomplete"))
    with store.write() as db:
        mirror.bury(db, Kind.TASK, [3, 3])
    held = load(store, Kind.TASK, 3)[3]
    assert held.deleted
    assert held.fields == ({"state": "incomplete"} if known else {})
    assert held.relations == ({"prospect": 1} if known else {})


def test_a_buried_record_that_shows_again_moves(store: database.Store) -> None:
    """A record that the token may see again comes back to life, equal values or not."""
    one = seen(Kind.PROSPECT, 3, title="a")
    keep(store, Kind.PROSPECT, one)
    with store.write() as db:
        mirror.bury(db, Kind.PROSPECT, [3])
    moved = keep(store, Kind.PROSPECT, one)
    assert [(m.before is not None and m.before.deleted, m.after.deleted) for m in moved] == [(True, False)]


def test_a_time_without_a_zone_is_refused(store: database.Store) -> None:
    """No naive time gets into the store, and nothing of the page that held it either."""
    naive = seen(Kind.PROSPECT, 1, at=NOW.replace(tzinfo=None))
    with pytest.raises(Exception, match="a time without a zone"):
        keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 2), naive)
    assert rows(store) == []


def test_a_time_of_any_zone_is_kept_as_utc(store: database.Store) -> None:
    """Moments told in three zones are what they are, by themselves and among others."""
    zones = (UTC, timezone(timedelta(hours=5, minutes=30)), ZoneInfo("America/New_York"))
    told = {n: later(n).astimezone(zone) for n, zone in enumerate(zones, 1)}
    keep(store, Kind.PROSPECT, *(seen(Kind.PROSPECT, n, at=at) for n, at in told.items()))
    keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 4, at=told[3]))
    found = load(store, Kind.PROSPECT, 1, 2, 3, 4)
    assert [found[n].updated_at for n in (1, 2, 3, 4)] == [later(1), later(2), later(3), later(3)]


def test_more_ids_than_a_statement_binds(store: database.Store) -> None:
    """Thousands of ids and addresses are looked up in portions, with nothing lost between them."""
    page = [seen(Kind.PERSON, n, addresses=[f"p{n}@x.example"], reference=n) for n in range(1, 2502)]
    keep(store, Kind.PERSON, *page)
    wanted = range(1, 2502)
    with store.read() as db:
        assert len(mirror.load(db, Kind.PERSON, wanted)) == 2501
        assert len(mirror.holders(db, Kind.PERSON, [f"p{n}@x.example" for n in wanted])) == 2501
        assert len(mirror.referring(db, Kind.PERSON, wanted)) == 2501
        assert len(mirror.references(db, Kind.PERSON, wanted)) == 2501


def test_two_writers_of_one_page_do_not_meet_badly(store: database.Store) -> None:
    """The second of two overlapping saves, begun after the first committed, sees its rows and writes none."""
    one = seen(Kind.PROSPECT, 1, title="a")
    keep(store, Kind.PROSPECT, one)
    assert keep(store, Kind.PROSPECT, one, seen(Kind.PROSPECT, 2, at=NOW + timedelta(1))) != []
    assert [row.id for row in rows(store)] == [1, 2]


def test_an_echo_is_our_own_write_read_back_once(store: database.Store) -> None:
    """The first read that shows just what we wrote is an echo; the overlap's is none, nor what was edited meanwhile."""

    def told(*ones: mirror.Seen, ours: bool = False) -> tuple[int, int]:
        with store.write() as db:
            noted = mirror.note(db, Kind.PERSON, ones, now=None if ours else NOW, ours=ours)
        return noted.echoes, len(noted.moved)

    read, wrote = ([seen(Kind.PERSON, n, version=v, title=t) for n in (1, 2, 3)] for v, t in ((4, "old"), (5, "new")))
    assert told(*read) == (0, 3)
    assert told(*wrote[:2], ours=True) == (0, 2)
    edited = seen(Kind.PERSON, 2, version=6, title="by hand")
    assert told(wrote[0], edited, read[2]) == (1, 1)
    assert told(wrote[0], edited, read[2]) == (0, 0)
    assert told(wrote[1]) == (0, 0)
