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
        thread.join(60)
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


def called(store: database.Store, calls: dict[tuple[str, int], int]) -> None:
    """Write calls down: so many of a lane, so many days before now."""
    told = [
        {"system": System.OUTREACH, "lane": lane, "hour": NINE - timedelta(days=ago), "calls": n}
        for (lane, ago), n in calls.items()
    ]
    with store.write() as db:
        budget.add(db, told)


def test_what_everybody_used(store: database.Store, clock: Clock) -> None:
    """Each sum counts its own lanes and days: what can wait, what changes cost, never what happens once."""
    called(store, {("polls", 0): 5, ("polls", 1): 7, ("sweep", 3): 11, ("polls", 8): 13, ("backfill", 2): 100})
    called(store, {("changes", 0): 2, ("optout", 20): 3, ("changes", 40): 17, ("load", 0): 1000, ("polls", 366): 999})
    with store.read() as db:
        used = budget.used_by(db, clock.now())[System.OUTREACH]
    assert (used.hour, used.week, used.steered_day, used.steered_week, used.other_month) == (1007, 25, 5, 23, 5)
    assert used.year == 5 + 7 + 11 + 13 + 100 + 2 + 3 + 17 + 1000
    assert (used.days[-1], used.days[-2], used.days[-9], used.days[-41], len(used.days)) == (1007, 7, 13, 17, 365)
    assert used.age == timedelta(days=40, minutes=10)


def test_old_hours_are_kept_by_the_day(
    store: database.Store, open_budget: Callable[..., budget.Budget], clock: Clock
) -> None:
    """The first flush of a day adds up what is more than nine days old, lane by lane; no call is lost or counted twice."""
    with store.write() as db:
        hours = [NINE - timedelta(days=days, hours=more) for days in (8, 10, 11) for more in range(6)]
        told = [
            {"system": "outreach", "lane": lane, "hour": at, "calls": 2} for at in hours for lane in ("polls", "sweep")
        ]
        budget.add(db, [*told, {"system": "crm", "lane": "polls", "hour": NINE - timedelta(days=10), "calls": 5}])
    for _ in range(2):
        calls = open_budget()
        calls.spend("polls")
        calls.flush()
    days = [NINE.replace(hour=0) - timedelta(days=days) for days in (11, 10)]
    kept = [row for row in rows(store) if row[2] < NINE - timedelta(days=9)]
    folded = [("outreach", lane, day, 12) for lane in ("polls", "sweep") for day in days]
    assert kept == [("crm", "polls", NINE - timedelta(days=10), 5), *folded]
    assert sum(n for system, *_, n in rows(store) if system == "outreach") == 3 * 6 * 2 * 2 + 2


@sqlite_is_enough
def test_a_year_that_runs_short_slows_what_can_wait(
    store: database.Store, open_budget: Callable[..., budget.Budget], clock: Clock
) -> None:
    """A hundred a day may be called; at seventy a day nobody is slower, at a hundred and twenty history stands still."""
    yearly = 40_556
    called(store, {("load", 100): 1000, **{("polls", ago): 60 for ago in range(7)}})
    calm = open_budget(yearly=yearly)
    assert [calm.rate(lane) for lane in ("optout", "changes", "polls", "sweep", "reconcile")] == [1.0] * 5
    called(store, {("polls", ago): 50 for ago in range(7)})
    assert calm.rate("sweep") == 1.0, "a process goes by what it has worked out for half an hour"
    clock.at += timedelta(minutes=30)
    rates = [calm.rate(lane) for lane in ("optout", "changes", "polls", "sweep", "reconcile")]
    assert rates[:2] == [1.0, 1.0]
    assert 1 / 60 <= rates[2] < 1 / 8
    assert rates[3:] == [0.0, 0.0]
    assert open_budget().rate("sweep") == 1.0


@sqlite_is_enough
def test_an_hour_that_runs_short_stops_history_first(open_budget: Callable[..., budget.Budget], clock: Clock) -> None:
    """Each slow lane begins nothing more once its part of the hour is used, or the vendor says so; the next hour is free."""
    calls = open_budget(hourly=100)
    spend(calls, "changes", 65)
    assert [calls.rate(lane) for lane in ("backfill", "reconcile", "sweep", "polls")] == [0.0, 1.0, 1.0, 1.0]
    calls.corrected(15, START + timedelta(minutes=30))
    assert [calls.rate(lane) for lane in ("backfill", "reconcile", "sweep", "polls")] == [0.0, 0.0, 0.0, 1.0]
    clock.at += timedelta(hours=1)
    assert [calls.rate(lane) for lane in ("backfill", "reconcile", "sweep", "polls")] == [1.0] * 4
