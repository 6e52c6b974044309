"""Circuits: judged by the calls of all processes, kept over restarts, one probe for everybody."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from tests.store.token_doubles import Clock
from worker.core import errors
from worker.core.records import Kind, System
from worker.store import backlog, circuits, database, meta, outbox
from worker.store.circuits import Circuits
from worker.store.outbox import Lane

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    Opened = Callable[..., Circuits]


@pytest.fixture
def process(store: database.Store, clock: Clock) -> Opened:
    """Open the circuits as a process that has just started would."""

    def opened(system: System = System.CRM) -> Circuits:
        return Circuits(store, system, clock.now)

    return opened


def made(process: Circuits, outcome: str, times: int = 20, kind: str = "write") -> None:
    """Let calls end so."""
    for _ in range(times):
        process.heed(kind)
        process.note(kind, outcome, 0.0)


def goes(process: Circuits, kind: str = "write") -> bool:
    """Whether a call may go."""
    try:
        process.heed(kind)
    except errors.Resting as rests:
        return not 0 < rests.retry_after_s <= 15
    return True


def put_off(store: database.Store, now: datetime) -> None:
    """Let a change wait for a quarter of an hour."""
    with store.write() as db:
        outbox.open_changes(db, Kind.PROSPECT, [1], lane=Lane.EDIT, now=now)
        (change,) = outbox.claim(db, Kind.PROSPECT, now=now)
        outbox.retry(db, change, at=now + timedelta(minutes=15), error="503")


def due(store: database.Store, now: datetime) -> int:
    """How many changes are due."""
    with store.read() as db:
        return backlog.count(db, now).due


@pytest.mark.parametrize("outcome", ["down", "unanswered", "unsent"])
def test_failed_calls_open_it_for_every_process(process: Opened, outcome: str) -> None:
    """For that vendor and kind of call alone; one that starts afterwards knows it, too."""
    one, other = process(), process()
    made(one, outcome, 12)
    made(other, outcome, 7)
    assert goes(one)
    made(other, outcome, 1)
    assert [goes(each) for each in (other, process())] == [False, False]
    assert [goes(one, "read"), goes(process(System.OUTREACH))] == [True, True]


@pytest.mark.parametrize("outcome", ["ok", "refused", "throttled"])
def test_answers_open_nothing(process: Opened, outcome: str) -> None:
    """A refusal and a 429 come from a vendor that is well."""
    made(process(), outcome, 100)
    assert goes(process())


def test_what_is_well_elsewhere_counts(process: Opened, clock: Clock) -> None:
    """A process whose calls fail does not speak for one whose calls are answered."""
    well, ill = process(), process()
    made(well, "ok", 30)
    made(ill, "down", 10)
    clock.sleep(2)
    made(well, "ok", 1)
    made(ill, "down", 15)
    assert goes(process())
    made(ill, "down", 6)
    assert not goes(process())


def test_one_of_many_finds_out(process: Opened, clock: Clock) -> None:
    """Every fifteen seconds one call of all processes and threads together; its answer closes it for all."""
    ill = process()
    made(ill, "down")
    crowd = [process() for _ in range(8)]
    for _ in range(2):
        assert not any(goes(each) for each in crowd)
        clock.sleep(15)
        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(goes, crowd)) == [False] * 7 + [True]
        crowd[0].note("write", "down", 0.0)
    clock.sleep(15)
    assert goes(crowd[3])
    crowd[3].note("write", "ok", 0.0)
    assert all(goes(each) for each in crowd)


def test_what_was_put_off_falls_due_as_it_closes(process: Opened, store: database.Store, clock: Clock) -> None:
    """Not before: a probe that fails, and an answer where no circuit is open, leave it where it is."""
    ill = process()
    put_off(store, clock.now())
    made(ill, "down", 3)
    ill.note("write", "ok", 0.0)
    made(ill, "down", 16)
    clock.sleep(15)
    assert goes(ill)
    ill.note("write", "down", 0.0)
    clock.sleep(15)
    assert goes(ill)
    assert due(store, clock.now()) == 0
    ill.note("write", "ok", 0.0)
    assert due(store, clock.now()) == 1


def test_after_an_outage_of_few_calls_it_falls_due_too(process: Opened, store: database.Store, clock: Clock) -> None:
    """Another process's answer tells it, half an hour after the first of two calls failed; a minute later it tells nothing."""
    ill, well = process(), process()
    made(ill, "down", 1)
    clock.sleep(1790)
    made(ill, "down", 1)
    put_off(store, clock.now())
    clock.sleep(10)
    assert due(store, clock.now()) == 0
    made(well, "ok", 1)
    assert due(store, clock.now()) == 1
    put_off(store, clock.now())
    clock.sleep(60)
    made(well, "ok", 1)
    assert due(store, clock.now()) == 0


def test_what_was_on_its_way_does_not_close_it(process: Opened, clock: Clock) -> None:
    """An answer to a call that began before it opened comes too late to prove anything."""
    one = process()
    made(one, "down")
    clock.sleep(5)
    one.note("write", "ok", 8.0)
    assert not goes(process())


def test_an_opt_out_goes_through(process: Opened) -> None:
    """What is urgent is never held, and its answer counts."""
    one = process()
    made(one, "down")
    with circuits.urgently():
        assert goes(one)
        with ThreadPoolExecutor(1) as pool:  # another thread carries nothing urgent
            assert not pool.submit(goes, one).result()
        one.note("write", "ok", 0.0)
    assert goes(one)


def test_while_all_is_well_nothing_is_written(process: Opened, store: database.Store, clock: Clock) -> None:
    """A thousand answered calls leave no row; what others know is read once a second."""
    asked: list[str] = []
    sa.event.listen(store.engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    one = process()
    made(one, "ok", 500)
    clock.sleep(1)
    made(one, "ok", 500)
    assert len(asked) <= 6
    with store.read() as db:
        assert db.scalar(sa.select(sa.func.count()).where(meta.META.c.key.startswith(circuits.KEY))) == 0


def test_a_store_in_trouble_holds_no_call_up(process: Opened, store: database.Store, clock: Clock) -> None:
    """Nor does what nobody can read."""
    one = process()
    made(one, "down")
    with store.write() as db:
        meta.replace(db, "circuit:crm:write", "{")
    assert goes(one)
    store.engine.dispose()
    broken = Circuits(database.connect("sqlite:////nowhere/at/all.db"), System.CRM, clock.now)
    made(broken, "down", 30)
    assert goes(broken)


def test_it_is_forgotten_after_a_minute(process: Opened, clock: Clock) -> None:
    """Failures of long ago open nothing together with those of now."""
    one = process()
    made(one, "down", 19)
    clock.sleep(61)
    made(one, "down", 19)
    assert goes(one)
