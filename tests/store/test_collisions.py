"""Two transactions that each wait for a row of the other's: the database ends one, and it is made again."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from tests.store.makers import NOW, counts
from worker.core.records import Kind
from worker.store import database, outbox
from worker.store.outbox import Lane


class _Opener:
    """Opens two changes in one transaction, the first time only once somebody else holds the second."""

    def __init__(self, store: database.Store, ids: tuple[int, int], met: threading.Barrier) -> None:
        self.store, self.ids, self.met, self.tries = store, ids, met, 0

    def __call__(self) -> None:
        self.tries += 1
        with self.store.write() as db:
            for one in self.ids:
                outbox.open_changes(db, Kind.PROSPECT, [one], lane=Lane.EDIT, now=NOW)
                self._meet(one)

    def _meet(self, one: int) -> None:
        if self.tries > 1 or one != self.ids[0]:
            return
        with contextlib.suppress(threading.BrokenBarrierError):
            self.met.wait(2)  # SQLite lets one writer in at a time: there they never meet


def test_two_that_collide_both_get_through(store: database.Store) -> None:
    """On Postgres one of them is ended and begins anew, three tries in all; SQLite lets them in one by one."""
    met = threading.Barrier(2)
    there, back = _Opener(store, (1, 2), met), _Opener(store, (2, 1), met)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(database.insist, one) for one in (there, back)]:
            done.result(30)
    assert counts(store).due == 2
    assert there.tries + back.tries == (2 if store.engine.dialect.name == "sqlite" else 3)


def test_what_never_gets_through_is_told(store: database.Store) -> None:
    """After five tries the collision itself is raised; what is no collision at the first."""
    tries = []

    def collide() -> None:
        tries.append(1)
        raise sa.exc.OperationalError("", {}, _Ended("40P01"))

    with pytest.raises(sa.exc.OperationalError):
        database.insist(collide)
    assert len(tries) == 5

    def broken() -> None:
        tries.append(1)
        raise sa.exc.IntegrityError("", {}, _Ended("23505"))

    with pytest.raises(sa.exc.IntegrityError):
        database.insist(broken)
    assert len(tries) == 6


class _Ended(Exception):
    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate
