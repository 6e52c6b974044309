"""Whom a selection means, as the store knows them at nine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.store.makers import NOW, keep, later, opened, seen
from worker.core.records import Kind, Link
from worker.store import database, links, outbox, selection
from worker.store.selection import Chosen, Selection

HOUR = 3600.0


@pytest.fixture
def world(store: database.Store) -> database.Store:
    """Three prospects: 1 paired with person 11, 2 in sequence 7 alone, 3 untouched for long; person 12 is a stranger."""
    keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 1, at=later(-9 * HOUR), addresses=["ada@example.com"]))
    keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 2, at=later(-9 * HOUR), addresses=["bo@example.com"]))
    keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 3, at=later(-9 * HOUR)))
    keep(store, Kind.PERSON, seen(Kind.PERSON, 11, at=later(-9 * HOUR), addresses=["ada@work.example"]))
    keep(store, Kind.PERSON, seen(Kind.PERSON, 12, at=later(-9 * HOUR), addresses=["cy@example.com"]))
    keep(store, Kind.SEQUENCE, seen(Kind.SEQUENCE, 7), seen(Kind.SEQUENCE, 8))
    state = seen(Kind.STATE, 70, at=later(-60), relations={"prospect": 2, "sequence": 7})
    keep(store, Kind.STATE, state)
    mine = seen(Kind.TASK, 90, at=later(-9 * HOUR), relations={"sequenceState": 70})
    keep(store, Kind.TASK, mine, seen(Kind.TASK, 91, at=later(-9 * HOUR), relations={"prospect": 2}))
    with store.write() as db:
        links.save(db, Kind.PROSPECT, [Link(1, 11)], NOW)
    return store


def resolved(store: database.Store, **words: object) -> Chosen:
    """Whom these words mean."""
    with store.read() as db:
        return selection.resolve(db, Selection(**words), NOW)  # type: ignore[arg-type]


def failed(store: database.Store, kind: Kind, *ids: int, at: float = 0) -> None:
    """Make dead letters of some records."""
    opened(store, *ids, kind=kind, at=at)
    with store.write() as db:
        for change in outbox.claim(db, kind, now=later(at)):
            outbox.bury(db, change, "refused", later(at))


@pytest.mark.parametrize(
    "words, chosen",
    [
        ({}, Chosen()),
        ({"limit": 5}, Chosen()),
        ({"prospects": (2, 1, 2)}, Chosen((1, 2))),
        ({"people": (11,)}, Chosen((1,))),
        ({"people": (12,)}, Chosen((), (12,))),
        ({"addresses": ("ADA@Work.example", "Bo@example.com")}, Chosen((1, 2))),
        ({"addresses": ("cy@example.com",)}, Chosen((), (12,))),
        ({"sequences": (7,)}, Chosen((2,))),
        ({"sequences": (8,)}, Chosen()),
        ({"tasks": (91, 90)}, Chosen((), (), (90, 91))),
        ({"everyone": True}, Chosen((1, 2, 3))),
        ({"everyone": True, "limit": 2}, Chosen((1, 2))),
        ({"prospects": (3,), "tasks": (90,), "people": (12,), "limit": 2}, Chosen((3,), (12,))),
        ({"prospects": (1, 5), "people": (99,)}, Chosen((1,), unknown=("prospect:5", "person:99"))),
        ({"addresses": ("No@example.com",)}, Chosen(unknown=("No@example.com",))),
        ({"sequences": (9,), "tasks": (5,)}, Chosen(unknown=("sequence:9", "task:5"))),
    ],
)
def test_naming_adds_up(world: database.Store, words: dict[str, object], chosen: Chosen) -> None:
    """Each in ascending order, people as their prospect where they have one, what nobody knows named."""
    assert resolved(world, **words) == chosen


def test_a_person_belongs_to_the_prospect_whose_reference_it_carries(world: database.Store) -> None:
    """Not linked yet, but the CRM's reference field names prospect 3; a reference to nobody counts for nothing."""
    keep(world, Kind.PERSON, seen(Kind.PERSON, 13, reference=3), seen(Kind.PERSON, 14, reference=444))
    assert resolved(world, people=(13, 14)) == Chosen((3,), (14,))


def test_a_pair_that_was_parted_is_two(world: database.Store) -> None:
    """The tombstone of a link brings nobody home."""
    with world.write() as db:
        links.save(db, Kind.PROSPECT, [Link(1, 11, gone=True)], NOW)
    assert resolved(world, people=(11,)) == Chosen((), (11,))


def test_failed_are_the_dead_letters(world: database.Store) -> None:
    """Of every kind; a change that is only due has not failed."""
    failed(world, Kind.PROSPECT, 3)
    failed(world, Kind.PERSON, 12)
    failed(world, Kind.TASK, 90)
    opened(world, 1)
    assert resolved(world, failed=True) == Chosen((3,), (12,), (90,))


def test_failed_narrows_who_is_named(world: database.Store) -> None:
    """Of the people of a sequence those that failed, with the failed tasks of the others too."""
    failed(world, Kind.PROSPECT, 3)
    failed(world, Kind.TASK, 90)
    assert resolved(world, sequences=(7,), failed=True) == Chosen((), (), (90,))
    assert resolved(world, prospects=(1, 3), failed=True) == Chosen((3,))
    assert resolved(world, everyone=True, failed=True) == Chosen((3,), (), (90,))


@pytest.mark.parametrize(
    "touch, chosen",
    [
        (lambda store: None, Chosen((2,))),
        (lambda store: keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 3, at=later(-60), a=1)), Chosen((2, 3))),
        (lambda store: keep(store, Kind.PERSON, seen(Kind.PERSON, 11, at=later(-60), a=1)), Chosen((1, 2))),
        (lambda store: opened(store, 3, at=-60), Chosen((2, 3))),
        (lambda store: opened(store, 3, at=-3 * HOUR), Chosen((2,))),
        (lambda store: opened(store, 12, kind=Kind.PERSON, at=-60), Chosen((2,), (12,))),
        (lambda store: keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 3, at=later(9 * HOUR), a=1)), Chosen((2,))),
    ],
)
def test_since_is_what_was_saved_or_opened_since(
    world: database.Store, touch: Callable[[database.Store], object], chosen: Chosen
) -> None:
    """A state of the prospect, the prospect, its person or its change within two hours; the future is no news."""
    touch(world)
    assert resolved(world, since=later(-2 * HOUR)) == chosen


def test_since_and_failed_narrow_together(world: database.Store) -> None:
    """Failed long ago and untouched since is not chosen."""
    failed(world, Kind.PROSPECT, 2, 3, at=-9 * HOUR)
    assert resolved(world, since=later(-2 * HOUR), failed=True) == Chosen((2,))


def test_the_tasks_of_people(world: database.Store) -> None:
    """Those of their sequences; one outside any sequence is nobody's business."""
    with world.read() as db:
        assert selection.tasks_of(db, [1, 2]) == {90}
