"""`year`: a year of an organisation with 250,000 calls a year, minute by minute, steered by what steers the workers.

Nothing is sent: what happens in the organisation is made up, what is asked of Outreach is decided by ``core.pacing`` and
``core.lanes`` and counted by ``store.budget``. Time is virtual.
"""

from __future__ import annotations

import statistics
import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.bench import organisation
from tests.bench.organisation import DAY_S, Life, Size
from tests.bench.report import Findings
from worker.app import EVENTS_S, HINTS_S
from worker.core import errors, lanes, pacing
from worker.core.records import System
from worker.remote.outreach import IDS_A_CALL
from worker.store import budget, database, upgrade
from worker.sync import reconcile, sweep

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
YEARLY, HOURLY = 250_000, 10_000
HELD_S = 600.0
"""What p95 may be in working hours."""
TICK = timedelta(minutes=1)
ASKED_EVERY = 60
"""Ticks between two looks at the rates: they move slowly."""
ASKED = (lanes.POLLS, lanes.SWEEP, lanes.RECONCILE)

ALONE = timedelta(hours=1)
"""Nobody else calls, so what others used is read once an hour."""
PAGE = 1000
APPLIED_S = 3.0
"""From what a poll brought to the write in the CRM."""


@dataclass(slots=True)
class Stream:
    """What a worker knows of a stream, and what of its life has come and has not been seen: told by webhooks, and not."""

    facts: pacing.Facts
    happened: list[float]
    hinted: frozenset[int]
    come: int = 0
    next_s: float = 0.0
    told: list[float] = field(default_factory=list)
    untold: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Seen:
    """How late each change was seen, in seconds, by month and stream; ``other``: what happened outside working hours."""

    working: dict[tuple[int, str], list[float]] = field(default_factory=dict)
    other: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Round:
    """A slow round through all records: when its next slice is due."""

    lane: str
    turn: timedelta
    slices: int
    calls: int
    began: datetime = BEGIN
    next_at: datetime = BEGIN
    done: int = 0
    rounds: int = 0

    def due(self, now: datetime, rate: float) -> int:
        """Return how many slices are due, and count them as taken."""
        taken = 0
        while rate > 0 and now >= self.next_at:
            taken, self.done = taken + 1, self.done + 1
            if self.done < self.slices:
                self.next_at = lanes.next_slice(
                    self.began, now, self.turn, done=self.done, slices=self.slices, rate=rate
                )
                continue
            self.next_at = max(now, self.began + self.turn)
            self.done, self.began, self.rounds = 0, self.next_at, self.rounds + 1
        return taken


@dataclass(slots=True)
class Year:
    """The run: the clock, the real budget, the streams."""

    calls: budget.Budget
    life: Life
    streams: dict[str, Stream]
    rounds: list[Round]
    now: datetime = BEGIN
    seen: Seen = field(default_factory=Seen)
    refused: Counter[str] = field(default_factory=Counter)
    heard_at: datetime | None = None
    edits: int = 0
    opt_outs: int = 0
    arrived_at: datetime | None = None
    by_day: Counter[datetime] = field(default_factory=Counter)

    def spend(self, lane: str, calls: int = 1) -> bool:
        """Make calls, or be refused."""
        for _ in range(calls):
            try:
                self.calls.spend(lane)
            except errors.BudgetSpent:
                self.refused[lane] += 1
                return False
            self.by_day[self.now.replace(hour=0, minute=0)] += 1
        return True


def run(scale: float) -> Findings:
    """Live through a year; from scale 1 on through two, that calls of a year ago fall away, and without webhooks too."""
    days = 365 if scale < 1 else 730
    found = Findings({"days": days, "calls a year": YEARLY})
    for webhooks in (True,) if scale < 1 else (True, False):
        _tell(found, live(days, webhooks=webhooks), "with webhooks" if webhooks else "no webhooks")
    found.notes.append(
        "webhooks come from day 120 to day 270 of a year, but for five days, and one in a hundred is lost"
    )
    return found


def live(days: int, *, webhooks: bool, size: Size = organisation.SIZE, yearly: int = YEARLY) -> Year:
    """Live through so many days and return what became of them."""
    with tempfile.TemporaryDirectory(prefix="outbook-bench-") as name:
        store = database.connect(f"sqlite:///{Path(name) / 'year.db'}")
        upgrade.upgrade(store)
        life = organisation.live(BEGIN, days, size, webhooks=webhooks)
        year = _begun(store, life, size, yearly)
        for tick in range(days * 24 * 60):
            year.now = BEGIN + tick * TICK
            if tick % ASKED_EVERY == 0:
                year.calls.flush()
                rates = {lane: year.calls.rate(lane) for lane in ASKED}
                _ask_again(year, rates[lanes.POLLS])
            _tick(year, rates, tick * 60.0)
        year.calls.flush()
        store.engine.dispose()
    return year


def _begun(store: database.Store, life: Life, size: Size, yearly: int) -> Year:
    """Return the year at its first minute, with everything read once."""
    begun: list[Year] = []

    def now() -> datetime:
        return begun[0].now if begun else BEGIN

    calls = budget.Budget(store, system=System.OUTREACH, hourly=HOURLY, yearly=yearly, now=now, look_every=ALONE)
    first = pacing.Facts(shortest=TICK, polled_at=BEGIN, moved_at=BEGIN)
    streams = {name: Stream(first, times, life.hinted.get(name, frozenset())) for name, times in life.happened.items()}
    records = size.states + size.prospects + size.tasks
    rounds = [
        Round(lanes.SWEEP, sweep.TURN, records // sweep.SLICE + 3, 1),
        Round(lanes.RECONCILE, reconcile.TURN, size.linked // 100, 2),
    ]
    begun.append(Year(calls, life, streams, rounds))
    begun[0].spend(lanes.LOAD, records // PAGE + 5)
    return begun[0]


def _tick(year: Year, rates: dict[str, float], at: float) -> None:
    """Let one minute pass: what the workers do when beat rings."""
    rate = rates[lanes.POLLS]
    for one in year.streams.values():
        _come(year, one, at)
    since = min((one.told[0] for one in year.streams.values() if one.told), default=None)
    if since is not None and at - since >= max(HINTS_S, pacing.gathering(rate).total_seconds()):
        _take(year, at)
    for name, one in year.streams.items():
        if at >= one.next_s and pacing.is_due(one.facts, year.now):
            _poll(year, name, one, at)
    if at % EVENTS_S == 0:
        _listen(year, rate)
        for slow in year.rounds:
            year.spend(slow.lane, slow.calls * slow.due(year.now, rates[slow.lane]))
    while year.edits < len(year.life.crm_edits) and year.life.crm_edits[year.edits] <= at:
        year.edits += 1
        year.spend(lanes.CHANGES)
    while year.opt_outs < len(year.life.opt_outs) and year.life.opt_outs[year.opt_outs] <= at:
        year.opt_outs += 1
        year.spend(lanes.OPT_OUT)


def _ask_again(year: Year, rate: float) -> None:
    """Let every stream be asked whether it is due, at the rate that is now allowed."""
    for one in year.streams.values():
        arrived = year.arrived_at if one.hinted else None
        one.facts, one.next_s = replace(one.facts, rate=rate, arrived_at=arrived), 0.0


def _come(year: Year, one: Stream, at: float) -> None:
    while one.come < len(one.happened) and one.happened[one.come] <= at:
        if one.come in one.hinted:
            one.told.append(one.happened[one.come])
            year.arrived_at = year.now
        else:
            one.untold.append(one.happened[one.come])
        one.come += 1


def _take(year: Year, at: float) -> None:
    """Look at the webhooks that wait, two hundred records of a stream a call."""
    for name, one in year.streams.items():
        if one.told and year.spend(lanes.POLLS, -(-len(one.told) // IDS_A_CALL)):
            _note(year, name, one.told, at)
            one.told = []


def _poll(year: Year, name: str, one: Stream, at: float) -> None:
    """Read a stream; webhooks that wait are looked at before, so that what a poll still finds was told by none."""
    if one.told:
        _take(year, at)
    if not year.spend(lanes.POLLS, 1 + len(one.untold) // PAGE):
        return
    slack = pacing.slack(one.facts.slack, len(one.untold))
    one.facts = replace(one.facts, polled_at=year.now, slack=slack)
    if one.untold:
        late = year.now if one.hinted else None
        one.facts = replace(one.facts, moved_at=year.now, late_at=late)
    one.next_s = at + (pacing.interval(one.facts, year.now) - one.facts.shortest / 2).total_seconds()
    _note(year, name, one.untold, at)
    one.untold = []


def _note(year: Year, name: str, seen: list[float], at: float) -> None:
    """Write down how late each change was seen; the tasks that a moved state may have skipped are looked up."""
    for moment in seen:
        late = at - moment + APPLIED_S
        if year.life.at_work(moment):
            year.seen.working.setdefault((int(moment // DAY_S // 28), name), []).append(late)
        else:
            year.seen.other.append(late)
    if seen and name == "sequenceStates":
        year.spend(lanes.CHANGES, -(-len(seen) // PAGE))


def _listen(year: Year, rate: float) -> None:
    """Read both feeds when it is time."""
    slack = min(one.facts.slack for one in year.streams.values())
    facts = pacing.Facts(timedelta(seconds=EVENTS_S), year.heard_at, None, rate=rate, slack=slack)
    if pacing.feed_is_due(facts, year.now):
        year.heard_at = year.now
        year.spend(lanes.POLLS, 2)


def _tell(found: Findings, year: Year, what: str) -> None:
    made = year.calls.spent()
    working = [late for some in year.seen.working.values() for late in some]
    cuts = statistics.quantiles(working, n=100, method="inclusive")
    found.tell(f"{what}: most calls in any 365 days", _most(year), most=YEARLY)
    for lane in lanes.LANES:
        found.tell(f"{what}: calls, {lane.name}", made.get(lane.name, 0))
    found.tell(f"{what}: calls refused", sum(year.refused.values()), most=0)
    found.tell(f"{what}: seen in working hours, p50", cuts[49], "s")
    found.tell(f"{what}: seen in working hours, p95", cuts[94], "s", most=HELD_S)
    found.tell(f"{what}: seen in working hours, p99", cuts[98], "s")
    months = sorted({month for month, _ in year.seen.working})
    by_month = [
        [late for (of, _), some in year.seen.working.items() if of == month for late in some] for month in months
    ]
    found.tell(
        f"{what}: the worst four weeks' p95", max(statistics.quantiles(some, n=20)[-1] for some in by_month), "s"
    )
    found.tell(f"{what}: the rest, p95", statistics.quantiles(year.seen.other, n=20)[-1], "s")
    for one in year.rounds:
        found.tell(f"{what}: rounds of {one.lane}", one.rounds)


def _most(year: Year) -> int:
    """Return the most calls within 365 days, as the store has them day by day."""
    days = sorted(year.by_day.items())
    return max(sum(calls for day, calls in days if 0 <= (last - day).days < lanes.YEAR) for last, _ in days)
