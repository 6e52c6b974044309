"""Ticks, halts and counters: what processes leave behind for whoever looks on, on both databases."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.store.makers import NOW, later
from worker.core import errors
from worker.core.records import System
from worker.store import counters, database, meta, vitals
from worker.store.counters import Counters


def test_a_tick_is_written_seldom(store: database.Store) -> None:
    """Noted every second for a minute it is written every quarter of one; two processes each, and the newest counts."""
    ticks, written = vitals.Ticks(store), []
    sa.event.listen(store.engine, "commit", lambda _db: written.append(1))
    for second in range(60):
        ticks.note("poll", later(second))
    assert len(written) == 4
    vitals.Ticks(store).note("poll", later(100))
    with store.read() as db:
        assert vitals.ticks(db) == {"poll": later(100)}


HALTS = [
    (errors.AuthRevoked("no", system=System.CRM), "crm", "authorisation"),
    (errors.Forbidden("no", system=System.OUTREACH), "outreach", "authorisation"),
    (errors.BudgetSpent("no", system=System.OUTREACH), "outreach", "budget"),
    (errors.ContractBroken("no", system=System.OUTREACH), "outreach", "contract"),
    (errors.UnsafePlan("no"), "unknown", "other"),
]


@pytest.mark.parametrize("halt, system, reason", HALTS)
def test_a_halt_is_told_as_long_as_it_is_met(
    store: database.Store, halt: errors.Halt, system: str, reason: str
) -> None:
    """Met every minute it stands since the first time, five minutes after the last it is over, and met again it is new."""
    for second in (0, 5, 60, 120):
        vitals.note_halt(store, halt, later(second))
    with store.read() as db:
        (told,) = vitals.halts(db, later(120 + 299))
        assert (told.system, told.reason, told.since, told.at) == (system, reason, NOW, later(120))
        assert vitals.halts(db, later(120 + 300)) == []
    vitals.note_halt(store, halt, later(1000))
    with store.read() as db:
        assert [one.since for one in vitals.halts(db, later(1001))] == [later(1000)]


def test_counters_add_up_over_processes(store: database.Store) -> None:
    """Eight threads with counters of their own add up; what was written down is not written again."""
    mine = [Counters(store) for _ in range(8)]

    def work(own: Counters) -> None:
        for _ in range(5):
            own.add("writes", "workbooks", "update", by=2)
            own.called("outreach", "read", "ok", 0.3)
            own.flush()
        own.flush()

    threads = [threading.Thread(target=work, args=(own,)) for own in mine]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with store.read() as db:
        told = counters.told(db)
    assert told["writes", ("workbooks", "update")] == 80
    assert dict(counters.of(told, "call_seconds")) == {
        ("outreach", "read", "0.5"): 40,
        ("outreach", "read", "sum"): pytest.approx(12.0),
    }


def test_what_could_not_be_written_down_is_kept(store: database.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush that fails loses nothing; told the time, one within ten seconds of the last does nothing."""
    own = Counters(store)
    own.add("read", "people", by=3)

    def fails(*_: object) -> None:
        raise RuntimeError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(counters, "add", fails)
        with pytest.raises(RuntimeError):
            own.flush()
    own.add("read", "people", by=4)
    own.flush(NOW)
    own.add("read", "people", by=5)
    own.flush(NOW + timedelta(seconds=9))
    with store.read() as db:
        assert counters.told(db) == {("read", ("people",)): 7}
    own.flush(NOW + timedelta(seconds=10))
    with store.read() as db:
        assert counters.told(db) == {("read", ("people",)): 12}


def test_other_facts_are_no_ticks(store: database.Store) -> None:
    """What lies beside them in the store is passed over."""
    with store.write() as db:
        meta.replace(db, "tickle", "1")
        meta.note_claim(db, NOW)
        assert vitals.ticks(db) == {}
        assert vitals.halts(db, NOW) == []
