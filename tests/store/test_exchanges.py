"""The last request and reply: one row a record and side, cut, and forgotten after three months."""

from __future__ import annotations

import pytest

from tests.store.makers import NOW, later
from worker.core.records import Kind, System
from worker.store import database, exchanges
from worker.store.exchanges import Exchange

DAY = 86_400


def test_the_last_one_stays_and_is_cut(store: database.Store) -> None:
    """The second overwrites the first on its side; 2,000 letters are kept."""
    with store.write() as db:
        exchanges.keep(db, [Exchange(Kind.PROSPECT, 1, System.CRM, "first", "no")], NOW)
        exchanges.keep(db, [Exchange(Kind.PROSPECT, 1, System.CRM, "x" * 5000, "yes")], later(9))
        (told,) = exchanges.load(db, Kind.PROSPECT, [1])[1]
    assert (len(told.request), told.request[-1], told.reply, told.at) == (2000, "…", "yes", later(9))


def test_old_ones_are_forgotten_once_a_day(store: database.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """In portions of two, of all kinds; what is younger than 90 days stays; a second call that day looks at nothing."""
    monkeypatch.setattr(exchanges, "PORTION", 2)
    with store.write() as db:
        for kind in (Kind.PERSON, Kind.PROSPECT, Kind.TASK):
            for number in (1, 2, 3):
                told = [Exchange(kind, number, side, "asked", "told") for side in System]
                exchanges.keep(db, told, later(-91 * DAY if number < 3 else -DAY))
    assert exchanges.prune(store, NOW) == 3 * 2 * 2
    with store.read() as db:
        left = {kind: set(exchanges.load(db, kind, [1, 2, 3])) for kind in (Kind.PERSON, Kind.PROSPECT, Kind.TASK)}
    assert left == {Kind.PERSON: {3}, Kind.PROSPECT: {3}, Kind.TASK: {3}}
    with store.write() as db:
        exchanges.keep(db, [Exchange(Kind.TASK, 9, System.CRM, "asked", "told")], later(-91 * DAY))
    assert exchanges.prune(store, later(600)) == 0
    assert exchanges.prune(store, later(DAY)) == 1
