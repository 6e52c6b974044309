"""A store with work of every kind in it, so that a scrape of it shows every metric there is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from worker.core import errors
from worker.core.records import Kind, Link, Shadow, System
from worker.store import counters, cursors, database, links, meta, outbox, rounds, sights, tables, vitals, webhooks
from worker.store.counters import Counters
from worker.store.links import Written
from worker.store.outbox import Lane
from worker.store.sights import Channel
from worker.store.webhooks import Arrival

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def before(seconds: float) -> datetime:
    """Return the moment so many seconds ago."""
    return NOW - timedelta(seconds=seconds)


def fill(store: database.Store) -> None:
    """Put work of every kind into a store, as of noon."""
    with store.write() as db:
        for stream in cursors.STREAMS:
            reading = cursors.lease(db, stream, before(90))
            assert reading is not None
            cursors.finish(db, reading, watermark=before(120), now=before(60))
        links.save(db, Kind.PROSPECT, [Link(one, one + 1000, Shadow()) for one in (1, 2, 3)], before(600))
        sights.count(db, Kind.PROSPECT, Channel.SWEEP, 4, NOW)
        webhooks.keep(db, [Arrival("e1", b"{}", before(30))])
        _changes(db)
        _history(db)
        _calls(db)
        db.execute(sa.insert(tables.PauseRow.__table__).values(scope="to-crm", since=before(5)))  # type: ignore[attr-defined]
        token = {"vendor": "outreach", "sealed": "x", "seeds": "[]", "fence": 0, "minted_at": before(86_400)}
        db.execute(sa.insert(tables.TokenRow.__table__).values(**token))  # type: ignore[attr-defined]
        meta.note_claim(db, before(20))
        this = rounds.lease(db, "sweep:prospects", before(3600))
        assert this is not None
        rounds.finish(db, this, before(3600), next_at=NOW)
    _vitals(store)


def _changes(db: sa.Connection) -> None:
    outbox.open_changes(db, Kind.PROSPECT, [1, 2, 3], lane=Lane.EDIT, now=before(300))
    outbox.open_changes(db, Kind.PROSPECT, [4], lane=Lane.OPT_OUT, now=before(1000))
    outbox.post_hold(db, key="brake:new_people", kind="brake", words="too many", now=before(50))
    stands: dict[int, dict[str, object]] = {
        1: {"lease_until": NOW + timedelta(seconds=9)},
        2: {"state": "held", "hold_key": "brake:new_people"},
        3: {"state": "dead", "error": "title: is too long", "failed_at": before(30)},
    }
    for record, told in stands.items():
        db.execute(sa.update(outbox.CHANGE).where(outbox.CHANGE.c.record_id == record).values(**told))


def _history(db: sa.Connection) -> None:
    for system in System:
        for seconds in (2.0, 4.0, 10.0):
            wrote = Written(Kind.PROSPECT, 1, 1001, system, "update", {}, {}, "", caused_at=before(60 + seconds))
            links.remember(db, [wrote], now=before(60), mapping_version="sha256:aa")


def _calls(db: sa.Connection) -> None:
    for system, lane, hours, calls in (
        ("outreach", "changes", 0, 70),
        ("outreach", "optout", 0, 5),
        ("outreach", "changes", 72, 100),
        ("crm", "changes", 72, 40),
    ):
        row = {"system": system, "lane": lane, "hour": NOW - timedelta(hours=hours), "calls": calls}
        db.execute(sa.insert(tables.CallRow.__table__).values(**row))  # type: ignore[attr-defined]


def _vitals(store: database.Store) -> None:
    ticks = vitals.Ticks(store)
    for who, seconds in (("beat", 3.0), ("optout", 4.0), ("poll", 40.0), ("slow", 301.0), ("apply", 900.0)):
        ticks.note(who, before(seconds))
    vitals.note_halt(store, errors.AuthRevoked("no longer accepted", system=System.OUTREACH), before(30))
    counted = Counters(store)
    counted.called("workbooks", "write", "ok", 0.2)
    counted.called("workbooks", "write", "down", 40.0)
    counted.called("outreach", "read", "ok", 0.05)
    counted.add(counters.WRITES, "workbooks", "recreate", by=2)
    counted.add(counters.READ, "prospects", by=90)
    counted.add(counters.MOVED, "prospects", by=7)
    counted.add(counters.ECHOES, "people", by=5)
    counted.add(counters.DEAD, by=1)
    counted.add(counters.WEBHOOKS, "stored", by=3)
    counted.flush()
