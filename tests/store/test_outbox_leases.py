"""Leases and fences: a dead holder's work goes on alone, a stale one changes nothing, and nothing is claimed twice."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from tests.store.makers import NOW, claimed, ids, later, opened
from worker.core.records import Kind
from worker.store import database, outbox
from worker.store.outbox import Change, Standing


def everything(store: database.Store) -> list[tuple[object, ...]]:
    """Return all rows of the outbox and all entries that wait for a person."""
    with store.read() as db:
        changes = db.execute(sa.select(outbox.CHANGE).order_by(outbox.CHANGE.c.id))
        return [tuple(row) for row in (*changes, *db.execute(sa.select(outbox.HOLD)))]


def test_a_leased_row_is_nobody_elses(store: database.Store) -> None:
    """Until the lease runs out nobody else gets the row."""
    opened(store, 5)
    assert ids(claimed(store)) == [5]
    assert claimed(store, at=14.9) == []


def test_a_lease_that_ran_out_is_claimed_alone(store: database.Store) -> None:
    """Nothing rides with a row whose holder vanished, and only then does its attempt count rise."""
    opened(store, 1, 2, 3)
    assert [(one.attempts, one.alone) for one in claimed(store)] == [(0, False)] * 3
    opened(store, 4, at=1)
    found = [claimed(store, at=16) for _ in range(5)]
    assert [ids(group) for group in found] == [[1], [2], [3], [4], []]
    assert [(group[0].attempts, group[0].alone) for group in found[:4]] == [(1, True)] * 3 + [(0, False)]
    assert [group[0].fence for group in found[:4]] == [2, 2, 2, 1]


def test_a_healthy_batch_does_not_take_an_orphan_along(store: database.Store) -> None:
    """An orphan further back in the queue waits for a claim of its own."""
    opened(store, 9, at=-5)
    claimed(store, at=-5)
    opened(store, 1, 2, at=-9)
    assert ids(claimed(store, at=11)) == [1, 2]
    assert ids(claimed(store, at=11)) == [9]


def test_a_poison_record_costs_one_attempt_a_life(store: database.Store) -> None:
    """Each vanished holder is one more attempt, and the neighbours are long gone."""
    opened(store, 1, 2)
    claimed(store)
    attempts = []
    for life in range(1, 4):
        (poison,) = claimed(store, at=life * 16)
        attempts.append((poison.ref.id, poison.attempts))
        if poison.ref.id == 1 and life == 1:
            (other,) = claimed(store, at=life * 16)
            with store.write() as db:
                outbox.settle(db, [other])
    assert attempts == [(1, 1), (1, 2), (1, 3)]


def test_renewing_keeps_a_live_holders_lease(store: database.Store) -> None:
    """A renewed lease runs from the renewal on; what was settled or given back meanwhile stays so."""
    opened(store, 1, 2, 3)
    changes = claimed(store)
    with store.write() as db:
        outbox.settle(db, changes[:1])
        outbox.release(db, changes[1:2])
        outbox.renew(db, changes, later(14))
    assert ids(claimed(store, at=28.9)) == [2]
    assert ids(claimed(store, at=29.1)) == [3]


def test_intending_renews_and_tells_what_is_still_ours(store: database.Store) -> None:
    """The intent is on the row for the next holder, the lease is as long as new, and lost rows are left out."""
    opened(store, 1, 2)
    one, two = claimed(store)
    with store.write() as db:
        mine = outbox.intend(db, [(one, {"crm": "create"}), (two, {"crm": None})], later(14))
    assert mine == [one, two]
    assert claimed(store, at=28.9) == []
    (orphan,) = claimed(store, at=29.1, limit=1)
    assert orphan.intent == {"crm": "create"}
    with store.write() as db:
        assert ids(outbox.intend(db, [(one, {"stale": True}), (two, {"crm": None})], later(30))) == [2]
        assert outbox.intend(db, [], later(30)) == []
    (again,) = claimed(store, at=60, limit=1)
    assert (again.ref.id, again.intent) == (1, {"crm": "create"})


STALE: dict[str, Callable[[sa.Connection, Change], object]] = {
    "intend": lambda db, change: outbox.intend(db, [(change, {"crm": "create"})], later(20)),
    "renew": lambda db, change: outbox.renew(db, [change], later(20)),
    "settle": lambda db, change: outbox.settle(db, [change]),
    "retry": lambda db, change: outbox.retry(db, change, at=later(99), error="stale"),
    "release": lambda db, change: outbox.release(db, [change]),
    "set aside": lambda db, change: outbox.release(db, [change], standing=Standing.WAITING),
    "bury": lambda db, change: outbox.bury(db, change, "stale", NOW),
    "hold": lambda db, change: outbox.hold(db, change, key="ask:x", kind="ask", words="stale", now=NOW),
}


@pytest.mark.parametrize("deed", STALE)
def test_a_stale_holder_changes_nothing(store: database.Store, deed: str) -> None:
    """Who comes back after its lease ran out and the row was claimed anew leaves no trace."""
    opened(store, 5)
    (stale,) = claimed(store)
    (owner,) = claimed(store, at=16)
    before = everything(store)
    with store.write() as db:
        told = STALE[deed](db, stale)
    assert not told
    assert everything(store) == before
    with store.write() as db:
        outbox.settle(db, [owner])
    assert everything(store) == []


def test_a_stale_settle_does_not_touch_a_row_opened_anew(store: database.Store) -> None:
    """A settled row is gone; one that is opened for the same record afterwards has an id of its own."""
    opened(store, 5)
    (stale,) = claimed(store)
    (owner,) = claimed(store, at=16)
    with store.write() as db:
        outbox.settle(db, [owner])
    opened(store, 5, at=17)
    with store.write() as db:
        outbox.settle(db, [stale, owner])
    assert ids(claimed(store, at=17)) == [5]


def test_a_whole_batch_is_settled(store: database.Store) -> None:
    """A hundred rows, a few of them reached by edits and a few lost, in one go."""
    opened(store, *range(1, 101))
    changes = claimed(store)
    opened(store, 7, 8)
    with store.write() as db:
        outbox.settle(db, [])
        outbox.settle(db, changes)
    assert ids(claimed(store)) == [7, 8]


def test_nothing_is_claimed_twice(store: database.Store) -> None:
    """Eight claimers at once: every row is claimed by just one of them, none is left."""
    opened(store, *range(1, 401))
    got: list[list[Change]] = []
    faults: list[Exception] = []
    start = threading.Barrier(8)

    def take() -> list[Change]:
        taken = claimed(store, limit=13)
        with store.write() as db:
            outbox.intend(db, [(change, {}) for change in taken], NOW)
        return taken

    def work() -> None:
        start.wait(60)
        try:
            while taken := take() or take():
                got.append(taken)
        except Exception as fault:  # noqa: BLE001 - told to the test's own thread
            faults.append(fault)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert faults == []
    assert sorted(change.ref.id for group in got for change in group) == list(range(1, 401))


def test_orphans_are_claimed_once_each(store: database.Store) -> None:
    """Several who find the same orphans at once share them one by one."""
    opened(store, *range(1, 13))
    claimed(store)
    got: list[Change] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait(60)
        for _ in range(30):
            got.extend(claimed(store, at=16))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert sorted(ids(got)) == list(range(1, 13))
    assert {(change.alone, change.fence, change.attempts) for change in got} == {(True, 2, 1)}


def test_opening_and_settling_at_once_loses_nothing(store: database.Store) -> None:
    """While one worker claims and settles, another opens: the last opening is never swallowed by a settle."""
    rounds = 60
    seen_generations: dict[int, int] = {}
    done = threading.Event()

    def work() -> None:
        while True:
            last = done.is_set()
            taken = claimed(store)
            with store.write() as db:
                outbox.settle(db, taken)
            seen_generations.update({change.ref.id: change.generation for change in taken})
            if last and not taken:
                return

    worker = threading.Thread(target=work)
    worker.start()
    for _ in range(rounds):
        opened(store, 1, 2, 3, kind=Kind.PROSPECT)
    done.set()
    worker.join(50)
    assert not worker.is_alive()
    assert everything(store) == []
    assert set(seen_generations) == {1, 2, 3}
