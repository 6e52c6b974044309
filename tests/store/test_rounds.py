"""Rounds: one walker at a time, each step kept or none of it, and a dead walker's round goes on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from worker.store import rounds
from worker.store.database import Store
from worker.store.rounds import Round

NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
DAY = timedelta(days=1)


def taken(store: Store, now: datetime = NOW, *, early: bool = False) -> Round:
    """Take the lease, which must be free."""
    with store.write() as db:
        found = rounds.lease(db, "walk", now, early=early)
    assert found is not None
    return found


def test_a_round_goes_on_from_its_last_step(store: Store) -> None:
    """Place, beginning and counts are those of the step; the next one waits for its time unless somebody is in a hurry."""
    first = taken(store)
    assert (first.place, first.began_at, first.told) == (0, None, {})
    with store.write() as db:
        assert rounds.step(db, replace(first, place=1000, told={"read": 1000}), NOW, next_at=NOW + timedelta(hours=1))
        assert rounds.lease(db, "walk", NOW + timedelta(minutes=59)) is None
    hurried = taken(store, NOW + timedelta(minutes=1), early=True)
    assert (hurried.place, hurried.began_at, hurried.told) == (1000, NOW, {"read": 1000})


def test_only_one_walks_and_a_dead_one_is_replaced(store: Store) -> None:
    """The lease keeps others away until it runs out; who lost it stores nothing, not even its end."""
    dead = taken(store)
    with store.write() as db:
        assert rounds.lease(db, "walk", NOW + timedelta(seconds=14)) is None
        rounds.renew(db, dead, NOW + timedelta(seconds=10))
        assert rounds.lease(db, "walk", NOW + timedelta(seconds=24)) is None
    taken(store, NOW + timedelta(seconds=26))
    with store.write() as db:
        assert not rounds.step(db, replace(dead, place=7), NOW, next_at=NOW)
        assert not rounds.finish(db, dead, NOW, next_at=NOW)
    with store.read() as db:
        assert rounds.standings(db)[0].place == 0


def test_what_a_whole_round_counted_is_remembered(store: Store) -> None:
    """The end stores the counts as the last ones, and the next round begins at the beginning."""
    with store.write() as db:
        mine = rounds.lease(db, "walk", NOW)
        assert mine is not None
        assert rounds.step(db, replace(mine, place=5, told={"read": 5}), NOW, next_at=NOW)
        again = rounds.lease(db, "walk", NOW + DAY)
        assert again is not None
        assert rounds.finish(db, replace(again, told={"read": 9}), NOW + DAY, next_at=NOW + 2 * DAY)
    with store.read() as db:
        (told,) = rounds.standings(db)
    assert (told.place, told.began_at, told.ended_at, told.next_at) == (0, None, NOW + DAY, NOW + 2 * DAY)
    assert told.last == {"began_at": NOW.isoformat(), "read": 9}


@pytest.mark.parametrize("how", ["leave", "restart"])
def test_a_round_that_was_left_or_begun_anew(store: Store, how: str) -> None:
    """Left after a fault it goes on where it was, with the reason; begun anew, whoever was walking has lost it."""
    mine = replace(taken(store), place=3)
    with store.write() as db:
        rounds.step(db, mine, NOW, next_at=NOW)
    mine = taken(store)
    with store.write() as db:
        if how == "leave":
            rounds.leave(db, mine, next_at=NOW + DAY, trouble="no answer")
        else:
            rounds.restart(db, "walk")
            assert not rounds.step(db, mine, NOW, next_at=NOW)
    after = taken(store, NOW + DAY)
    assert (after.place, after.told) == ((3, {"trouble": "no answer"}) if how == "leave" else (0, {}))
