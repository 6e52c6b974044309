"""How long a vendor has asked to be left alone, every process heeds, for that kind of call; opt-outs go all the same."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.store.token_doubles import Clock
from worker.core import errors
from worker.core.records import System
from worker.store import circuits, respites
from worker.store.database import Store
from worker.store.respites import Respites


@pytest.fixture
def mine(store: Store, clock: Clock) -> Respites:
    """Those that this process knows."""
    return Respites(store, System.CRM, clock.now)


@pytest.fixture
def others(store: Store, clock: Clock) -> Respites:
    """Those that another process knows."""
    return Respites(store, System.CRM, clock.now)


def may(one: Respites, operation: str = "read") -> bool:
    """Tell whether a call may go."""
    try:
        one.heed(operation)
    except errors.Resting:
        return False
    return True


def test_an_hour_binds_everybody(mine: Respites, others: Respites, store: Store, clock: Clock) -> None:
    """No read of anybody, told for how long; writes and opt-outs go; over, reads do too."""
    assert may(others)
    mine.asked("read", 3_600)
    clock.sleep(1)
    with pytest.raises(errors.Resting, match="asked to wait until") as refused:
        others.heed("read")
    assert refused.value.retry_after_s == 3_599
    assert [may(mine), may(others, "write"), may(mine, "authorise")] == [False, True, True]
    with circuits.urgently():
        assert may(others)
    with store.read() as db:
        assert list(respites.standing(db, clock.now())) == [("crm", "read")]
    clock.sleep(3_599)
    assert [may(mine), may(others)] == [True, True]
    with store.read() as db:
        assert respites.standing(db, clock.now()) == {}


def test_somebody_may_end_it(mine: Respites, others: Respites, store: Store) -> None:
    """Ended, everybody calls again at once: whoever were still put off for ten minutes would not be woken again."""
    mine.asked("write", 600)
    assert not may(others, "write")
    with store.write() as db:
        respites.end(db)
    assert [may(mine, "write"), may(others, "write")] == [True, True]


def test_one_that_is_over_costs_no_call_a_query(mine: Respites, store: Store, clock: Clock) -> None:
    """What all know is read once a second again, though the wait is still written down."""
    mine.asked("read", 600)
    clock.sleep(601)
    asked: list[str] = []
    sa.event.listen(store.engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    assert all(may(mine) for _ in range(100))
    assert len([words for words in asked if "meta" in words]) == 1


@pytest.mark.parametrize("operation, wait_s", [("read", 5), ("authorise", 600)])
def test_what_binds_nobody_else(mine: Respites, others: Respites, operation: str, wait_s: float) -> None:
    """A wait that is slept through, and how long no token is to be had."""
    mine.asked(operation, wait_s)
    assert [may(mine, operation), may(others, operation)] == [True, True]


def test_a_clock_set_back_ends_it(mine: Respites, others: Respites, clock: Clock) -> None:
    """What was told at a moment that is yet to come binds nobody."""
    mine.asked("read", 3_600)
    clock.sleep(-7_200)
    assert [may(mine), may(others)] == [True, True]


def test_a_store_in_trouble_holds_nothing_up(mine: Respites, store: Store) -> None:
    """Neither what was told nor whether one may go can be written or read: calls go, and nothing is raised."""
    with store.write() as db:
        db.exec_driver_sql("DROP TABLE meta")
    mine.asked("read", 3_600)
    other = Respites(store, System.CRM, mine._now)
    assert may(other)
