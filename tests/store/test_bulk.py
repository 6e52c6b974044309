"""Many records at once, over both databases: how they stand, what is not known, and new ones poured in."""

from __future__ import annotations

from tests.store.makers import NOW, claimed, ids, keep, later, seen
from worker.core.records import Kind
from worker.store import bulk, mirror
from worker.store.bulk import Known
from worker.store.database import Store
from worker.store.outbox import Lane


def of(prospect: int | None, *, sequence: int = 1, step: int | None = 1) -> dict[str, int | None]:
    """Whose a state is."""
    return {"prospect": prospect, "sequence": sequence, "sequenceStep": step}


def test_what_is_poured_in_is_as_if_it_had_been_saved(store: Store) -> None:
    """A new state poured in and one saved the ordinary way differ in nothing but their id."""
    saved, poured = (seen(Kind.STATE, n, relations=of(11, step=None), state="active", activeAt=None) for n in (1, 2))
    keep(store, Kind.STATE, saved)
    with store.write() as db:
        bulk.ease(db)
        bulk.add_states(db, [poured])
        rows = [row._asdict() for row in db.execute(mirror.MIRROR.select().order_by(mirror.MIRROR.c.id))]
    assert [row.pop("id") for row in rows] == [1, 2]
    assert rows[0] == rows[1]


def test_what_is_held_already_stays_as_it_is(store: Store) -> None:
    """Somebody else was quicker: nothing is written over."""
    keep(store, Kind.STATE, seen(Kind.STATE, 1, relations=of(11), state="active"))
    with store.write() as db:
        bulk.add_states(db, [seen(Kind.STATE, 1, relations=of(12), state="paused")])
        found = mirror.load(db, Kind.STATE, [1])[1]
    assert (found.fields["state"], found.relations["prospect"]) == ("active", 11)


def test_whatever_a_text_holds_arrives_as_it_is(store: Store) -> None:
    """Backslashes, tabs, line breaks, quotes, the word that means nothing, and letters of other scripts."""
    words = ["a\\b", "\\N", "\\.", "tab\there", "line\nbreak\r", 'a "quote"', "Zoë – 東京", "\u2028", ""]
    with store.write() as db:
        bulk.add_states(db, [seen(Kind.STATE, n, relations=of(n), state=text) for n, text in enumerate(words, 1)])
        bulk.add_states(db, [seen(Kind.STATE, 90, relations=of(9), state="another page of the same transaction")])
        found = mirror.load(db, Kind.STATE, range(1, 100))
    assert [found[n].fields["state"] for n in range(1, len(words) + 1)] == words
    assert found[90].relations["prospect"] == 9


def test_how_many_records_stand_is_told_at_once(store: Store) -> None:
    """Each that is there with its time and whether it is a tombstone; of another kind nothing."""
    old = later(-60)
    keep(
        store, Kind.STATE, seen(Kind.STATE, 1), seen(Kind.STATE, 2, at=old, deleted=True), seen(Kind.STATE, 3, at=None)
    )
    keep(store, Kind.TASK, seen(Kind.TASK, 4))
    with store.read() as db:
        found = bulk.known(db, Kind.STATE, list(range(1, 3000)))
    assert found == {1: Known(NOW, deleted=False), 2: Known(old, deleted=True), 3: Known(None, deleted=False)}


def test_what_states_name_and_nobody_saw_is_unknown(store: Store) -> None:
    """Each once and in order; a tombstone is known, and no relation names nobody."""
    states = [
        seen(Kind.STATE, n, relations=of(pid, sequence=n % 2 + 1)) for n, pid in enumerate((13, 12, 12, 11, None))
    ]
    keep(store, Kind.STATE, *states)
    keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 11, deleted=True))
    keep(store, Kind.SEQUENCE, seen(Kind.SEQUENCE, 1))
    with store.read() as db:
        found = {kind: list(bulk.unknown(db, kind)) for kind in (Kind.PROSPECT, Kind.SEQUENCE, Kind.STEP)}
    assert found == {Kind.PROSPECT: [12, 13], Kind.SEQUENCE: [2], Kind.STEP: [1]}


def test_every_owner_is_opened_once_behind_single_edits(store: Store) -> None:
    """Two states of one prospect make one change; a removed state and one of nobody make none."""
    told = {1: 11, 2: 11, 3: 12, 4: None}
    keep(store, Kind.STATE, *(seen(Kind.STATE, n, relations=of(pid)) for n, pid in told.items()))
    keep(store, Kind.STATE, seen(Kind.STATE, 5, relations=of(13), deleted=True), seen(Kind.STATE, 6, relations=of(14)))
    with store.write() as db:
        assert bulk.open_owners(db, [1, 2, 3, 4, 5], now=NOW) == 2
    found = claimed(store)
    assert (ids(found), {one.lane for one in found}) == ([11, 12], {Lane.BULK})
