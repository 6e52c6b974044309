"""Clocks that were wrong: no lease and no wait lasts longer than it can, and nobody alive loses what he has in hand."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from tests.store.makers import claimed, counts, ids, later, opened
from worker import bootstrap
from worker.core.records import Kind
from worker.store import backlog, clocks, cursors, database, outbox, rounds

HOURS = 7_200.0
LEASE_S = outbox.LEASE.total_seconds()


def test_a_lease_taken_by_a_clock_ahead_ends_in_time(store: database.Store) -> None:
    """It is dated anew by whoever wants the row, and free once that has run out: not two hours later."""
    opened(store, 5)
    assert ids(claimed(store, at=HOURS)) == [5]
    with store.read() as db:
        assert sum(backlog.claimable(db, later(0)).values()) == 1
    assert claimed(store, at=0) == []
    assert claimed(store, at=LEASE_S - 1) == []
    assert [(one.ref.id, one.attempts, one.alone) for one in claimed(store, at=LEASE_S + 1)] == [(5, 1, True)]


def test_a_clock_that_leaps_ahead_takes_nothing_from_the_living(store: database.Store) -> None:
    """All leases have run out at once, it seems; a holder who is alive renews his and keeps it."""
    opened(store, 5, 6)
    mine = claimed(store)
    assert claimed(store, at=HOURS) == []
    with store.write() as db:
        outbox.renew(db, mine[:1], later(HOURS + 5))
    assert ids(claimed(store, at=HOURS + LEASE_S + 1)) == [6]
    with store.read() as db:
        assert outbox.ours(db, mine) == {mine[0].id}


def test_odd_leases_do_not_hide_what_is_due(store: database.Store) -> None:
    """However many there are in front, what nobody has in hand is claimed at once."""
    opened(store, 1, 2, 3)
    assert len(claimed(store, at=HOURS)) == 3
    opened(store, 4, at=1)
    assert ids(claimed(store, at=2, limit=2)) == [4]


def test_what_was_opened_ahead_of_time_is_due(store: database.Store) -> None:
    """A change opened, a retry put off and a stream read in what is the future again wait for nothing; a real wait stays."""
    opened(store, 5, at=HOURS)
    opened(store, 6, 7)
    failed = {one.ref.id: one for one in claimed(store)}
    with store.write() as db:
        outbox.retry(db, failed[6], at=later(HOURS + 10), error="was away")
        outbox.retry(db, failed[7], at=later(900), error="asked to wait")
        reading = cursors.lease(db, Kind.PERSON, later(HOURS))
        assert reading is not None
        cursors.finish(db, reading, watermark=None, now=later(HOURS))
    assert clocks.set_right(store, later(1))
    assert not clocks.set_right(store, later(1))
    assert sorted(ids(claimed(store, at=1))) == [5, 6]
    assert counts(store, 1).deferred == 1
    with store.read() as db:
        assert cursors.row_of(db, Kind.PERSON).polled_at == later(1)


def test_streams_and_rounds_are_not_leased_for_hours(store: database.Store) -> None:
    """Whoever reads a stream or walks a round loses it by its fence, so a lease ahead of time simply does not count."""
    with store.write() as db:
        ahead = cursors.lease(db, Kind.PERSON, later(HOURS)), rounds.lease(db, "people", later(HOURS))
        right = cursors.lease(db, Kind.PERSON, later(0)), rounds.lease(db, "people", later(0))
        assert [one.fence for one in ahead if one] == [1, 1]
        assert [one.fence for one in right if one] == [2, 2]
        assert cursors.lease(db, Kind.PERSON, later(1)) is None
        assert rounds.lease(db, "people", later(1)) is None


def test_all_hosts_go_by_the_clock_of_the_server(store: database.Store) -> None:
    """A server is asked as a transaction begins, when that is wanted; a file is not."""
    told: list[datetime] = []
    wanted = [True]
    clocks.ask(store, lambda: wanted[0], told.append)
    with store.read() as db:
        asked = db.scalar(sa.text("SELECT clock_timestamp()")) if told else None
    if store.engine.dialect.name == "sqlite":
        assert told == []
        return
    assert asked is not None
    assert 0 <= (asked - told[0]).total_seconds() < 60
    wanted[0] = False
    with store.write():
        assert len(told) == 1


def test_between_two_answers_steady_time_goes_on() -> None:
    """What the server told counts from then on, whatever this host's clock says, and is asked for again soon."""
    clock = bootstrap._Clock()
    assert clock.wanted()
    clock.tell(later(HOURS))
    assert not clock.wanted()
    assert 0 <= (clock.now() - later(HOURS)).total_seconds() < 60
    clock.forget()
    assert clock.wanted()
    assert abs((clock.now() - datetime.now(UTC)).total_seconds()) < 60
