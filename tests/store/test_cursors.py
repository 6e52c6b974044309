"""Cursors: one reader a stream, progress stored with its page, and a watermark that moves at a run's end alone."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from tests.store.makers import NOW, later
from worker.core.records import Kind
from worker.store import cursors, database
from worker.store.cursors import Reading

STREAM = Kind.STATE


def lease(store: database.Store, at: float = 0, stream: Kind = STREAM) -> Reading[Kind] | None:
    """Take the stream's lease."""
    with store.write() as db:
        return cursors.lease(db, stream, later(at))


def leased(store: database.Store, at: float = 0) -> Reading[Kind]:
    """Take the stream's lease, which must be free."""
    reading = lease(store, at)
    assert reading is not None
    return reading


def row(store: database.Store) -> sa.Row[tuple[object, ...]]:
    """Return the stream's row."""
    with store.read() as db:
        return db.execute(sa.select(cursors.CURSOR).where(cursors.CURSOR.c.stream == STREAM)).one()


def test_a_stream_never_read_starts_from_nothing(store: database.Store) -> None:
    """The first lease makes the row: no watermark, not primed, no run under way."""
    assert leased(store) == Reading(STREAM, 1, 0, None, False, None, None, None, None, None)


def test_the_second_reader_is_told_that_it_is_busy(store: database.Store) -> None:
    """One reader a stream until the lease runs out; another stream is free."""
    leased(store)
    assert lease(store, at=14.9) is None
    assert lease(store, at=1, stream=Kind.TASK) is not None
    taken = leased(store, at=15.1)
    assert taken.fence == 2


def test_progress_goes_with_its_page(store: database.Store) -> None:
    """What a step stores is where the next reader goes on, and the lease is as long as new."""
    reading = leased(store)
    told = {"next_link": "/next", "place_at": NOW, "place_id": 9, "run_began": NOW, "run_newest": later(-5)}
    with store.write() as db:
        assert cursors.step(db, reading, later(10), **told)
    assert lease(store, at=24.9) is None
    again = leased(store, at=25.1)
    assert (again.next_link, again.place_at, again.place_id) == ("/next", NOW, 9)
    assert (again.run_began, again.run_newest, again.watermark) == (NOW, later(-5), None)


def test_a_reader_that_lost_its_lease_stores_nothing(store: database.Store) -> None:
    """With an old fence no step, renewal, end or farewell does anything."""
    stale = leased(store)
    owner = leased(store, at=16)
    before = row(store)
    with store.write() as db:
        assert not cursors.step(db, stale, later(17), next_link="/stale")
        assert not cursors.finish(db, stale, watermark=NOW, now=later(17))
        cursors.renew(db, stale, later(17))
        cursors.leave(db, stale, "stale", restart=True)
    assert row(store) == before
    with store.write() as db:
        assert cursors.finish(db, owner, watermark=NOW, now=later(18))


def test_a_run_that_ends_moves_the_watermark_and_frees_the_stream(store: database.Store) -> None:
    """The end clears the run, primes the stream, counts the poll; a second end keeps the day of priming."""
    first = leased(store)
    with store.write() as db:
        cursors.step(db, first, NOW, next_link="/next", run_began=NOW, run_newest=NOW)
        assert cursors.finish(db, first, watermark=later(-60), now=later(1))
    second = leased(store, at=1)
    assert second == Reading(STREAM, 2, 1, later(-60), True, None, None, None, None, None)
    with store.write() as db:
        cursors.finish(db, second, watermark=NOW, now=later(99))
    held = row(store)
    assert (held.primed_at, held.polled_at, held.polls, held.trouble) == (later(1), later(99), 2, None)


@pytest.mark.parametrize("restart", [False, True])
def test_a_fault_frees_the_stream_and_is_told(store: database.Store, restart: bool) -> None:
    """The next reader goes on from the last page, or from the watermark if that page's link is no good."""
    reading = leased(store)
    with store.write() as db:
        cursors.step(db, reading, NOW, next_link="/next", place_at=NOW, place_id=9, run_began=NOW, run_newest=NOW)
        cursors.leave(db, reading, "503", restart=restart)
    assert row(store).trouble == "503"
    again = leased(store, at=0)
    assert again.next_link == (None if restart else "/next")
    assert again.place_id == (None if restart else 9)
    assert again.run_began == (None if restart else NOW)


def test_renewing_keeps_a_live_readers_lease(store: database.Store) -> None:
    """A renewed lease runs from the renewal on; one that was given up stays given up."""
    reading = leased(store)
    with store.write() as db:
        cursors.renew(db, reading, later(14))
    assert lease(store, at=28.9) is None
    with store.write() as db:
        cursors.leave(db, reading, "done")
        cursors.renew(db, reading, later(15))
    assert row(store).lease_until is None


def test_rewinding_forgets_the_place_and_keeps_what_is_primed(store: database.Store) -> None:
    """After a rewind the next run reads everything, and nothing that was allowed before is forbidden."""
    reading = leased(store)
    with store.write() as db:
        cursors.finish(db, reading, watermark=NOW, now=NOW)
        cursors.rewind(db)
    again = leased(store)
    assert (again.watermark, again.primed, again.polls) == (None, True, 1)


def test_rewinding_forgets_what_a_run_had_seen(store: database.Store) -> None:
    """The newest time of a run that is thrown away says nothing about the next one."""
    reading = leased(store)
    with store.write() as db:
        cursors.step(db, reading, NOW, next_link="/next", run_began=NOW, run_newest=later(3600))
        cursors.leave(db, reading, "interrupted")
        cursors.rewind(db)
    again = leased(store)
    assert (again.next_link, again.run_began, again.run_newest) == (None, None, None)


def test_what_is_not_primed_is_told(store: database.Store) -> None:
    """A stream is primed once it was read to its end, and not before."""
    with store.write() as db:
        assert cursors.unprimed(db) == set(cursors.STREAMS) == set(Kind)
    for stream in cursors.STREAMS[1:]:
        reading = lease(store, stream=stream)
        assert reading is not None
        with store.write() as db:
            cursors.finish(db, reading, watermark=None, now=NOW)
    lease(store, stream=cursors.STREAMS[0])
    with store.read() as db:
        assert cursors.unprimed(db) == {cursors.STREAMS[0]}
        assert [one.stream for one in cursors.all_of(db)] == sorted(kind.value for kind in Kind)


def test_only_one_of_many_gets_the_lease(store: database.Store) -> None:
    """Eight readers that come at once: one reads, seven are told that it is busy."""
    told: list[Reading[Kind] | None] = []
    start = threading.Barrier(8)

    def read() -> None:
        start.wait(60)
        told.append(lease(store))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(told) == 8
    assert len([one for one in told if one is not None]) == 1


def test_rewinding_takes_the_lease_from_a_reader(store: database.Store) -> None:
    """A run that was under way may not end after the rewind, or it would bring the old watermark back."""
    reading = leased(store)
    with store.write() as db:
        cursors.rewind(db)
        assert not cursors.finish(db, reading, watermark=NOW, now=NOW)
    assert leased(store).watermark is None
