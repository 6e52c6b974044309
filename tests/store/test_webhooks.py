from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from worker.store import meta, webhooks
from worker.store.database import Store
from worker.store.webhooks import Arrival

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def arrived(store: Store, *events: str, at: datetime = NOON, urgent: bool = False) -> None:
    """Let webhooks of these names come in."""
    with store.write() as db:
        webhooks.keep(db, [Arrival(event, f"body of {event}".encode(), at, urgent) for event in events])


def bodies(store: Store, *, limit: int = 10, now: datetime = NOON) -> list[str]:
    """Take webhooks in hand and return what they say."""
    with store.write() as db:
        return [one.body.decode() for one in webhooks.claim(db, now, limit)]


def test_an_event_is_kept_once(store: Store) -> None:
    """The same event in one portion, in the next, and again when it is done with: one row, looked at once."""
    arrived(store, "a", "b", "a")
    arrived(store, "b", "c")
    with store.write() as db:
        taken = webhooks.claim(db, NOON, 10)
        webhooks.done(db, [one.id for one in taken], NOON)
    arrived(store, "a", "b", "c")
    assert len(taken) == 3
    assert bodies(store) == []


def test_the_oldest_are_taken_first_and_by_one_only(store: Store) -> None:
    """What is in hand is nobody else's until its lease runs out; what was put off waits for its time."""
    for event in "abc":
        arrived(store, event)
    assert bodies(store, limit=2) == ["body of a", "body of b"]
    assert bodies(store) == ["body of c"]
    assert bodies(store, now=NOON + 14 * SECOND) == []
    with store.read() as db:
        assert not webhooks.any_free(db, NOON + 14 * SECOND)
        assert webhooks.any_free(db, NOON + 16 * SECOND)
    with store.write() as db:
        taken = webhooks.claim(db, NOON + 16 * SECOND, 10)
        webhooks.put_off(db, [one.id for one in taken], NOON + 60 * SECOND)
    assert bodies(store, now=NOON + 59 * SECOND) == []
    assert bodies(store, now=NOON + 61 * SECOND) == ["body of a", "body of b", "body of c"]


def test_the_urgent_go_first_and_starve_nobody(store: Store) -> None:
    """Six ordinary ones wait, then six urgent ones: of four at once three are urgent while there are any, oldest first."""
    arrived(store, *"abcdef")
    arrived(store, *"UVWXYZ", urgent=True)
    told = [[body[-1] for body in bodies(store, limit=4)] for _ in range(3)]
    assert told == [["U", "V", "W", "a"], ["X", "Y", "Z", "b"], ["c", "d", "e", "f"]]
    arrived(store, "1", "2", "3", "4", urgent=True)
    assert [body[-1] for body in bodies(store, limit=4)] == ["1", "2", "3", "4"]  # nobody else waits
    assert bodies(store, now=NOON + 14 * SECOND) == []


def test_what_the_version_before_stored_is_ordinary(store: Store) -> None:
    """A row that does not tell whether it is urgent waits its turn."""
    arrived(store, "a", "b")
    with store.write() as db:
        db.execute(sa.update(webhooks.WEBHOOK).values(urgent=None))
    arrived(store, "c", urgent=True)
    assert bodies(store) == ["body of c", "body of a", "body of b"]


def test_a_body_goes_once_it_was_looked_at(store: Store) -> None:
    """Neither what was taken nor what was not intelligible leaves its body behind; the latter tells its fault."""
    arrived(store, "good", "bad")
    with store.write() as db:
        one, other = webhooks.claim(db, NOON, 10)
        webhooks.done(db, [one.id], NOON)
        webhooks.fail(db, {other.id: "no JSON"}, NOON)
    with store.read() as db:
        rows = db.execute(sa.select(webhooks.WEBHOOK).order_by(webhooks.WEBHOOK.c.id)).all()
    assert [(row.body, row.error, row.done_at) for row in rows] == [(b"", None, NOON), (b"", "no JSON", NOON)]


def test_the_pulse_tells_the_last_arrival_and_what_waits(store: Store) -> None:
    """Nothing yet; then the newest arrival, and how long the oldest one has been waiting."""
    with store.read() as db:
        assert webhooks.pulse(db) == webhooks.Pulse(None, 0, None)
    arrived(store, "a")
    arrived(store, "b", at=NOON + SECOND)
    with store.write() as db:
        assert webhooks.pulse(db) == webhooks.Pulse(NOON + SECOND, 2, NOON)
        webhooks.done(db, [one.id for one in webhooks.claim(db, NOON, 1)], NOON)
        assert webhooks.pulse(db) == webhooks.Pulse(NOON + SECOND, 1, NOON + SECOND)


def test_events_of_long_ago_are_forgotten_and_what_waits_too_long_is_given_up(store: Store) -> None:
    """After three days an event is dropped; what nobody looked at for two days is closed with a reason."""
    arrived(store, "done")
    with store.write() as db:
        webhooks.done(db, [one.id for one in webhooks.claim(db, NOON, 10)], NOON)
    arrived(store, "late", at=NOON + timedelta(days=1))
    with store.write() as db:
        assert not webhooks.clean(db, NOON + timedelta(days=3))
        assert webhooks.pulse(db).waiting == 1
        assert not webhooks.clean(db, NOON + timedelta(days=3, seconds=1))
    with store.read() as db:
        rows = db.execute(sa.select(webhooks.WEBHOOK)).all()
    assert [(row.event, row.error) for row in rows] == [("late", webhooks.TOO_OLD)]


def test_taking_webhooks_in_hand_counts_as_progress(store: Store) -> None:
    """The time of the last claim is known to ten seconds; looking in vain is no claim."""
    arrived(store, "a", "b", "c")
    for seconds, limit, told in ((0, 1, 0), (9, 1, 0), (10, 0, 0), (11, 1, 11)):
        bodies(store, limit=limit, now=NOON + seconds * SECOND)
        with store.read() as db:
            assert meta.last_claim(db) == NOON + told * SECOND
