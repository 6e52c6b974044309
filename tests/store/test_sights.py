from __future__ import annotations

from datetime import UTC, datetime, timedelta

from worker.core.records import Kind
from worker.store import sights
from worker.store.database import Store
from worker.store.sights import Channel

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_what_a_channel_saw_first_adds_up_by_stream_and_day(store: Store) -> None:
    """Counts of one day are one row; each stream and channel has its own; nought leaves none."""
    with store.write() as db:
        sights.count(db, Kind.PROSPECT, Channel.WEBHOOK, 2, NOON)
        sights.count(db, Kind.PROSPECT, Channel.WEBHOOK, 3, NOON + timedelta(hours=11))
        sights.count(db, Kind.PROSPECT, Channel.WEBHOOK, 7, NOON - timedelta(days=1))
        sights.count(db, Kind.PROSPECT, Channel.SWEEP, 1, NOON)
        sights.count(db, Kind.TASK, Channel.POLL, 0, NOON)
    with store.read() as db:
        assert sights.told(db, NOON) == {("prospects", "webhook"): 5, ("prospects", "sweep"): 1}
        assert sights.told(db, NOON - timedelta(days=1)) == {("prospects", "webhook"): 12, ("prospects", "sweep"): 1}


def test_what_only_the_second_net_caught_is_one_number(store: Store) -> None:
    """The sweep's and the comparison's, of all streams; what a webhook, a poll or an event showed first is no miss."""
    with store.write() as db:
        for number, channel in enumerate(Channel):
            sights.count(db, Kind.PROSPECT, channel, 10**number, NOON)
        sights.count(db, Kind.PERSON, Channel.RECONCILE, 20_000, NOON)
        sights.count(db, Kind.TASK, Channel.SWEEP, 3_000, NOON)
    with store.read() as db:
        assert sights.missed(sights.told(db, NOON)) == 34_000
        assert sights.missed(sights.told(db, NOON + timedelta(days=1))) == 0


def test_counts_of_long_ago_go(store: Store) -> None:
    """After four hundred days a count is dropped, and no other."""
    with store.write() as db:
        sights.count(db, Kind.TASK, Channel.POLL, 1, NOON - timedelta(days=402))
        sights.count(db, Kind.TASK, Channel.POLL, 1, NOON - timedelta(days=399))
        sights.clean(db, NOON)
    with store.read() as db:
        assert sights.told(db, NOON - timedelta(days=500)) == {("tasks", "poll"): 1}
