"""Calls are counted once each, by everybody together, and stop at the budget; opt-outs stop last."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from worker.core import errors
from worker.core.records import System
from worker.store import budget, database

START = datetime(2026, 11, 21, 9, 10, tzinfo=UTC)
NINE = datetime(2026, 11, 21, 9, tzinfo=UTC)
sqlite_is_enough = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what happens above the rows."""


@dataclass
class Clock:
    at: datetime = START

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    """A clock that stands at ten past nine."""
    return Clock()


@pytest.fixture
def open_budget(store: database.Store, clock: Clock) -> Callable[..., budget.Budget]:
    """Open a budget as a process that has just started would."""

    def opened(hourly: int | None = None, yearly: int | None = None, system: System = System.OUTREACH) -> budget.Budget:
        return budget.Budget(store, system=system, hourly=hourly, yearly=yearly, now=clock.now)

    return opened


def rows(store: database.Store) -> list[tuple[str, str, datetime, int]]:
    """Return what is written down."""
    with store.read() as db:
        found = db.execute(sa.select(budget.CALL).order_by("system", "lane", "hour"))
        return [(row.system, row.lane, row.hour, row.calls) for row in found]


def spend(calls: budget.Budget, lane: str, upto: int = 1000) -> int:
    """Spend until the budget refuses, and return how many calls that were."""
    for n in range(upto):
        try:
            calls.spend(lane)
        except errors.BudgetSpent:
            return n
    return upto


def test_flush_adds_to_what_others_wrote(store: database.Store, open_budget: Callable[..., budget.Budget]) -> None:
    """Two processes that count the same lane in the same hour make one row with the sum, systems apart."""
    one, other = open_budget(), open_budget()
    crm = open_budget(system=System.CRM)
    for calls, lane, times in ((one, "poll", 3), (one, "optout", 1), (other, "poll", 4), (crm, "poll", 2)):
        assert spend(calls, lane, times) == times
    one.flush()
    other.flush()
    other.flush()
    crm.flush()
    assert spend(one, "poll", 5) == 5
    one.flush()
    assert rows(store) == [
        ("crm", "poll", NINE, 2),
        ("outreach", "optout", NINE, 1),
        ("outreach", "poll", NINE, 12),
    ]


@sqlite_is_enough
def test_calls_count_in_the_hour_in_which_they_are_made(
    store: database.Store, open_budget: Callable[..., budget.Budget], clock: Clock
) -> None:
    """What was counted before the full hour and written after it stands in its own hour."""
    calls = open_budget()
    spend(calls, "poll", 2)
    clock.at = NINE + timedelta(minutes=60)
    spend(calls, "poll", 3)
    calls.flush()
    assert [(hour, n) for _, _, hour, n in rows(store)] == [(NINE, 2), (NINE + timedelta(hours=1), 3)]


@sqlite_is_enough
def test_spent_tells_this_process_since_it_began(open_budget: Callable[..., budget.Budget]) -> None:
    """The report counts by lane what this process did, flushed or not, refused calls not."""
    other = open_budget()
    spend(other, "poll", 7)
    other.flush()
    calls = open_budget(hourly=12)
    assert calls.spent() == {}
    spend(calls, "poll", 2)
    calls.flush()
    assert spend(calls, "apply") == 1
    assert spend(calls, "optout", 1) == 1
    assert calls.spent() == {"poll": 2, "apply": 1, "optout": 1}


@sqlite_is_enough
@pytest.mark.parametrize(
    "limit, ordinary, all_lanes", [(1, 1, 1), (2, 1, 2), (5, 4, 5), (10, 9, 10), (20, 18, 20), (101, 90, 101)]
)
def test_tenth_of_the_hour_is_kept_for_opt_outs(
    open_budget: Callable[..., budget.Budget], limit: int, ordinary: int, all_lanes: int
) -> None:
    """Other lanes stop at nine tenths of an hour's calls, opt-outs at the last one."""
    calls = open_budget(hourly=limit)
    assert spend(calls, "apply") == ordinary
    assert spend(calls, "poll") == 0
    assert spend(calls, "optout") == all_lanes - ordinary


@sqlite_is_enough
def test_next_hour_is_a_new_budget(open_budget: Callable[..., budget.Budget], clock: Clock) -> None:
    """The full hour frees the calls again, also of what is not written down yet."""
    calls = open_budget(hourly=10)
    assert spend(calls, "poll") == 9
    clock.at = NINE + timedelta(hours=1)
    assert spend(calls, "poll") == 9


def test_calls_of_others_count(open_budget: Callable[..., budget.Budget], clock: Clock) -> None:
    """What another process has written down is known after five seconds at most, and at once by one that starts."""
    one, other = open_budget(hourly=100), open_budget(hourly=100)
    spend(one, "poll", 1)
    assert spend(other, "poll", 60) == 60
    other.flush()
    assert spend(one, "poll", 5) == 5
    clock.at += timedelta(seconds=5)
    assert spend(one, "poll") == 24
    one.flush()
    assert spend(open_budget(hourly=100), "poll") == 0
    assert one.used() == budget.Used(hour=90, year=90)


def test_year_is_any_365_days(store: database.Store, open_budget: Callable[..., budget.Budget], clock: Clock) -> None:
    """Every call of the last 365 days counts against the year, older ones no more, and the reserve holds there too."""
    for days in (366, 300, 1):
        clock.at = START - timedelta(days=days)
        calls = open_budget()
        spend(calls, "poll", 40)
        calls.flush()
    clock.at = START
    calls = open_budget(hourly=1000, yearly=200)
    assert spend(calls, "poll") == 100
    calls.flush()
    assert spend(calls, "poll") == 0
    assert spend(calls, "optout") == 20
    assert calls.used() == budget.Used(hour=120, year=200)


@sqlite_is_enough
def test_words_of_a_refusal(open_budget: Callable[..., budget.Budget]) -> None:
    """Whoever is stopped learns by what, until when, and what the rest is for."""
    calls = open_budget(hourly=10)
    spend(calls, "poll")
    with pytest.raises(errors.BudgetSpent) as caught:
        calls.spend("poll")
    assert caught.value.words == "9 of 10 calls an hour are used until 10:00 UTC; what is left is kept for opt-outs"
    assert caught.value.system is System.OUTREACH
    yearly = open_budget(yearly=1)
    yearly.spend("optout")
    with pytest.raises(errors.BudgetSpent, match=r"^1 of 1 calls a year are used$"):
        yearly.spend("optout")


@sqlite_is_enough
def test_vendor_corrects_downward_only(open_budget: Callable[..., budget.Budget], clock: Clock) -> None:
    """The vendor's lower count is believed until it starts anew; a higher one is an older reply."""
    calls = open_budget(hourly=100)
    reset = START + timedelta(minutes=30)
    calls.corrected(14, reset)
    calls.corrected(99, reset)
    assert spend(calls, "poll") == 4
    with pytest.raises(errors.BudgetSpent, match=r"^the vendor leaves 10 calls until 09:40 UTC; what is left"):
        calls.spend("poll")
    assert spend(calls, "optout") == 10
    clock.at = reset
    assert spend(calls, "poll") == 76


@sqlite_is_enough
def test_correction_never_raises_the_budget(open_budget: Callable[..., budget.Budget], clock: Clock) -> None:
    """A vendor that leaves more than the budget changes nothing, and none can close it for longer than an hour."""
    calls = open_budget(hourly=10)
    calls.corrected(9_999, START + timedelta(minutes=30))
    assert spend(calls, "poll") == 9
    calls.corrected(0, START + timedelta(days=20_000))
    assert spend(calls, "optout") == 0
    clock.at += timedelta(hours=1)
    assert spend(calls, "optout") == 10


@sqlite_is_enough
def test_failed_flush_loses_nothing(store: database.Store, open_budget: Callable[..., budget.Budget]) -> None:
    """Calls that could not be written down still count and are written the next time, once."""
    calls = open_budget(hourly=10)
    spend(calls, "poll", 5)

    def full(_db: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT"):
            raise sa.exc.OperationalError(statement, None, Exception("disk is full"))

    sa.event.listen(store.engine, "before_cursor_execute", full)
    with pytest.raises(sa.exc.OperationalError):
        calls.flush()
    sa.event.remove(store.engine, "before_cursor_execute", full)
    assert spend(calls, "poll") == 4
    calls.flush()
    assert [n for *_, n in rows(store)] == [9]


def test_threads_lose_no_call(store: database.Store, open_budget: Callable[..., budget.Budget]) -> None:
    """Threads that spend while others flush end with every call counted once, and never pass the limit."""
    calls = open_budget(hourly=1000)
    counts: list[int] = []

    def work() -> None:
        done = 0
        for _ in range(12):
            done += spend(calls, "poll", 25)
            calls.flush()
        counts.append(done)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(counts) == 900
    assert rows(store) == [("outreach", "poll", NINE, 900)]


@sqlite_is_enough
def test_spending_hardly_ever_reads(
    store: database.Store, open_budget: Callable[..., budget.Budget], clock: Clock
) -> None:
    """A thousand calls within five seconds read the store once; without a limit it is not read at all."""
    statements: list[str] = []

    def count(_db: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    limited, unlimited = open_budget(hourly=100_000, yearly=100_000), open_budget()
    sa.event.listen(store.engine, "before_cursor_execute", count)
    assert spend(limited, "poll") == 1000
    assert len([statement for statement in statements if "SELECT" in statement]) == 1
    statements.clear()
    assert spend(unlimited, "poll") == 1000
    assert statements == []
    unlimited.flush()
    statements.clear()
    unlimited.flush()
    assert statements == []
