"""What is paused, and a store that has never been let write."""

from __future__ import annotations

from tests.store.makers import NOW, claimed, later, opened
from worker.core.records import Kind, Link
from worker.store import database, links, outbox, pauses
from worker.store.outbox import Standing


def scopes(store: database.Store) -> list[tuple[str, str]]:
    """What is paused, and the words."""
    with store.read() as db:
        return [(one.scope, one.words) for one in pauses.standing(db)]


def resume(store: database.Store, *which: str) -> list[str]:
    """Resume some scopes, or all."""
    with store.write() as db:
        return pauses.resume(db, which or None)


def test_a_new_store_begins_paused_until_somebody_resumes_it(store: database.Store) -> None:
    """However often it is opened before; and never again afterwards, though it has written nothing yet."""
    for _ in range(2):
        pauses.begin(store, NOW)
        assert scopes(store) == [("all", pauses.NOT_LIVE)]
    assert resume(store) == ["all"]
    pauses.begin(store, later(60))
    assert scopes(store) == []


def test_a_store_that_has_written_goes_on(store: database.Store) -> None:
    """One of an earlier version, with links: it is live, and stays so."""
    with store.write() as db:
        links.save(db, Kind.PROSPECT, [Link(1, 11)], NOW)
    pauses.begin(store, NOW)
    with store.write() as db:
        links.part(db, Kind.PROSPECT, [1])
    pauses.begin(store, NOW)
    assert scopes(store) == []


def test_somebodys_own_pause_is_not_taken_for_the_first_one(store: database.Store) -> None:
    """Paused before the first start: the words stay."""
    with store.write() as db:
        pauses.pause(db, "all", "audit", NOW)
    pauses.begin(store, later(60))
    assert scopes(store) == [("all", "audit")]


def test_what_is_claimed_when_somebody_resumes_is_due_afterwards(store: database.Store) -> None:
    """Its holder, who read the pause, gives it back as held back; it is due all the same."""
    opened(store, 1, 2)
    one, two = claimed(store)
    with store.write() as db:
        outbox.release(db, [one], standing=Standing.KEPT)
    resume(store)
    with store.write() as db:
        outbox.release(db, [two], standing=Standing.KEPT)
    assert [change.ref.id for change in claimed(store)] == [1, 2]
