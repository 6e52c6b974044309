"""Mappings in the store: each kept under its version, one of them in force, and the last plans under their hash."""

from __future__ import annotations

from tests.store.makers import NOW, later
from worker.core.records import Kind
from worker.store import database, mappings
from worker.store.mappings import Kept


def test_one_is_in_force_and_the_others_are_kept(store: database.Store) -> None:
    """Putting another one in force tells which was; going back makes the old one the newest again."""
    with store.write() as db:
        assert (mappings.version(db), mappings.in_force(db)) == (None, None)
        assert mappings.put(db, "v1", "one", NOW) is None
        assert mappings.put(db, "v2", "two", later(5)) == "v1"
        assert mappings.in_force(db) == Kept("v2", "two", later(5))
        assert mappings.put(db, "v1", "one", later(9)) == "v2"
        assert mappings.in_force(db) == Kept("v1", "one", later(9))


def test_another_text_of_the_same_version_keeps_its_time(store: database.Store) -> None:
    """A note that was edited is kept; since when the mapping is in force does not change for it."""
    with store.write() as db:
        mappings.put(db, "v1", "one", NOW)
        assert mappings.put(db, "v1", "one # a note", later(5)) == "v1"
        assert mappings.in_force(db) == Kept("v1", "one # a note", NOW)


def test_what_is_unread_is_kept_by_stream(store: database.Store) -> None:
    """Names are kept for each stream until they are taken away; a stream without names is none."""
    with store.write() as db:
        assert mappings.unread(db) == {}
        mappings.set_unread(db, {Kind.PERSON: frozenset({"b", "a"}), Kind.PROSPECT: frozenset()})
        assert mappings.unread(db) == {Kind.PERSON: {"a", "b"}}
        mappings.set_unread(db, {})
        assert mappings.unread(db) == {}


def test_the_last_twenty_plans_are_kept(store: database.Store) -> None:
    """The oldest goes; one that is made again is the newest."""
    with store.write() as db:
        for number in range(20):
            mappings.note_plan(db, f"plan:{number}", {"n": number})
        mappings.note_plan(db, "plan:0", {"n": 0})
        mappings.note_plan(db, "plan:20", {"n": 20})
        kept = mappings.plans(db)
    assert len(kept) == 20
    assert "plan:1" not in kept
    assert [kept["plan:0"]["n"], kept["plan:20"]["n"]] == [0, 20]


def test_writing_by_a_mapping_begins_once(store: database.Store) -> None:
    """Only looking by one is no beginning."""
    with store.write() as db:
        mappings.put(db, "v1", "one", NOW)
        assert mappings.begun(db) is False
        mappings.begin(db, NOW)
        mappings.begin(db, later(5))
        assert mappings.begun(db) is True
