from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from worker.core.records import Kind
from worker.store import cursors, outbox, pauses, progress, webhooks
from worker.store.database import Store
from worker.store.outbox import Lane
from worker.store.webhooks import Arrival

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOON + timedelta(seconds=121)
CHANGES = ["changes are due since 2026-11-20T12:00:00Z, and nobody takes anything up"]
WEBHOOKS = ["webhooks are due since 2026-11-20T12:00:00Z, and nobody takes anything up"]


def primed(store: Store) -> None:
    """Let every stream have been read to its end."""
    with store.write() as db:
        for stream in cursors.STREAMS:
            reading = cursors.lease(db, stream, NOON)
            assert reading is not None
            cursors.finish(db, reading, watermark=NOON, now=NOON)


def opened(store: Store, lane: Lane = Lane.EDIT) -> None:
    """Let a change come in at noon."""
    with store.write() as db:
        outbox.open_changes(db, Kind.PROSPECT, [1], lane=lane, now=NOON)


def troubles(store: Store, now: datetime = LATER) -> list[str]:
    """Return what is wrong."""
    with store.read() as db:
        return progress.troubles(db, now)


def test_work_that_nobody_takes_up_is_told(store: Store) -> None:
    """A change is given two minutes, then it is told; a claim of anything puts that right, for two minutes."""
    primed(store)
    assert troubles(store) == []
    opened(store)
    assert troubles(store, NOON + timedelta(seconds=119)) == []
    assert troubles(store) == CHANGES
    with store.write() as db:
        webhooks.keep(db, [Arrival("a", b"", LATER)])
        webhooks.claim(db, LATER, 1)
    assert troubles(store) == []
    assert troubles(store, LATER + timedelta(seconds=130))[0] == CHANGES[0]


@pytest.mark.parametrize("lane, told", [(Lane.EDIT, []), (Lane.OPT_OUT, CHANGES)])
def test_until_everything_was_read_only_opt_outs_are_expected(store: Store, lane: Lane, told: list[str]) -> None:
    """A first load takes hours, and all the while nothing but opt-outs is taken up."""
    opened(store, lane)
    assert troubles(store) == told


def test_a_paused_store_expects_nothing_of_its_changes(store: Store) -> None:
    """Whoever paused everything knows that changes wait; webhooks are looked at all the same."""
    primed(store)
    opened(store)
    with store.write() as db:
        pauses.pause(db, "all", "", NOON)
    assert troubles(store) == []
    with store.write() as db:
        webhooks.keep(db, [Arrival("a", b"", NOON)])
    assert troubles(store) == WEBHOOKS


def test_what_is_put_off_or_in_hand_is_not_due(store: Store) -> None:
    """Neither a change whose time has not come nor one that somebody works on is a trouble."""
    primed(store)
    opened(store)
    with store.write() as db:
        (change,) = outbox.claim(db, Kind.PROSPECT, now=NOON)
        outbox.retry(db, change, at=LATER + timedelta(hours=1), error="later")
    assert troubles(store) == []
