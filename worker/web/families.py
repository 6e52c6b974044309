"""What `/metrics` tells, family by family: names, labels, and what they mean. Base units, and a bounded set of labels each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from worker.core import lanes
from worker.core.records import Kind
from worker.store import counters, pauses, vitals
from worker.store.cursors import STREAMS
from worker.store.sights import Channel
from worker.sync.outlook import VENDORS

if TYPE_CHECKING:
    from datetime import datetime

    from prometheus_client.core import Metric

    from worker.core.outlook import Outlook, Spent
    from worker.store.counters import Key

DAY_S = 86_400.0
SYSTEMS = ("outreach", "workbooks")
HELD = ("ambiguous", "ask", "brake", "breaker", "conflict", "denied", "field", "label", "unreadable")
"""The kinds of what waits for a person; told even at nought, so that an alert sees it go."""
WRITTEN = (Kind.PROSPECT, Kind.PERSON, Kind.CRM_TASK)
"""What Outbook writes, and therefore sees again."""
Rows = Iterable[tuple[tuple[str, ...], float | None]]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the metrics are made of. ``calls`` and ``seen`` by system and lane, by stream and channel."""

    outlook: Outlook
    counted: Mapping[Key, float]
    calls: Mapping[tuple[str, str], int]
    seen: Mapping[tuple[str, str], int]


def of(facts: Facts) -> Iterator[Metric]:
    """Yield every family."""
    outlook = facts.outlook
    yield from _safe(outlook)
    yield from _work(outlook)
    yield from _streams(facts)
    yield from _stuck(outlook)
    yield from _budget(facts)
    yield from _calls(facts)
    yield from _writes(facts)
    yield from _keys(outlook)
    yield from _nets(facts)


def _gauge(name: str, words: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    """Return a family of gauges; what is not known is left out."""
    family = GaugeMetricFamily(f"outbook_{name}", words, labels=labels)
    for told, value in rows:
        if value is not None:
            family.add_metric(told, value)
    return family


def _one(name: str, words: str, value: float | None) -> Metric:
    return _gauge(name, words, (), [((), value)])


def _counter(name: str, words: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    family = CounterMetricFamily(f"outbook_{name}", words, labels=labels)
    for told, value in rows:
        family.add_metric(told, value or 0)
    return family


def _age(at: datetime | None, now: datetime) -> float | None:
    return max(0.0, (now - at).total_seconds()) if at is not None else None


def _safe(outlook: Outlook) -> Iterator[Metric]:
    told, kept = outlook.safe.opt_outs, outlook.safe.kept_back
    age = told.oldest_age_s or 0
    yield _one("opt_out_oldest_age_seconds", "How long the oldest opt-out has been on its way; 0 if none is.", age)
    yield _one("opt_outs_undelivered", "Opt-outs on their way.", told.undelivered)
    yield _one("opt_outs_failed", "Dead letters whose opt-out one side does not show.", told.failed)
    yield _one("opt_outs_last_hour", "People first seen opted out within the last hour.", told.last_hour)
    yield _one("opt_outs_unusual", "Whether so many opted out within an hour that it is alarming.", told.alarm)
    yield _one("kept_back_records", "Records kept back by a pause, a setting or an option.", kept.records)
    yield _one("kept_back_opt_outs", "Opt-outs among the records kept back.", kept.opt_outs)
    paused = {one.scope for one in outlook.safe.pauses}
    scopes = [((scope,), scope in paused) for scope in pauses.SCOPES]
    yield _gauge("paused", "Whether somebody has paused this scope.", ("scope",), scopes)


def _work(outlook: Outlook) -> Iterator[Metric]:
    work, now = outlook.work, outlook.at
    age = work.oldest_due_age_s or 0
    yield _one("due_oldest_age_seconds", "How long the oldest due change has been due; 0 if none is.", age)
    yield _one("changes_leased", "Changes in flight: somebody has them in hand.", work.leased)
    words = "Whether work has been due for minutes with nobody taking up anything."
    yield _one("no_progress", words, bool(work.troubles))
    yield _one("claim_age_seconds", "How long ago somebody last took up work.", _age(work.claimed_at, now))
    ticks = [((one.who,), one.age_s) for one in work.ticks]
    words = "How long ago beat, web, or whoever serves a queue, last got on with its work."
    yield _gauge("tick_age_seconds", words, ("who",), ticks)
    standing = {(one.system, one.reason) for one in work.halted}
    every = sorted(standing | {(system, reason) for system in SYSTEMS for reason in vitals.REASONS})
    rows = [(one, one in standing) for one in every]
    yield _gauge("halted", "Whether a side is halted, and why.", ("system", "reason"), rows)


def _streams(facts: Facts) -> Iterator[Metric]:
    fresh, now = facts.outlook.fresh, facts.outlook.at
    streams, label = fresh.streams, ("stream",)
    lags = [((one.stream,), _age(one.watermark, now)) for one in streams]
    yield _gauge("cursor_lag_seconds", "How far a stream's cursor is behind now.", label, lags)
    ages = [((one.stream,), one.polled_age_s) for one in streams]
    yield _gauge("poll_age_seconds", "How long ago a stream was last read to its end.", label, ages)
    yield _one("poll_patience_seconds", "How old the youngest poll may get.", fresh.patience_s)
    primed = [((one.stream,), one.primed) for one in streams]
    yield _gauge("stream_primed", "Whether a stream was ever read to its end.", label, primed)
    reading = [((one.stream,), one.reading) for one in streams]
    yield _gauge("stream_reading", "Whether a stream is just being read.", label, reading)
    troubles = [((one.stream,), one.trouble is not None) for one in streams]
    yield _gauge("stream_trouble", "Whether the last attempt to read a stream failed.", label, troubles)
    names = [kind.value for kind in STREAMS]
    for name, words in (
        (counters.READ, "read by polling"),
        (counters.MOVED, "read by polling that brought something new"),
    ):
        rows = [((stream,), facts.counted.get((name, (stream,)), 0)) for stream in names]
        yield _counter(f"records_{name}", f"Records {words}.", label, rows)
    rows = [((kind.value,), facts.counted.get((counters.ECHOES, (kind.value,)), 0)) for kind in WRITTEN]
    words = "Our own writes, seen again just so, each once; they open no change."
    yield _counter("echoes", words, label, rows)
    lag = {"to_crm": fresh.to_crm, "to_outreach": fresh.to_outreach}
    quantiles = [
        ((to, quantile), value)
        for to, one in lag.items()
        for quantile, value in (("0.5", one.p50_s), ("0.95", one.p95_s))
    ]
    words = "From an edit at one vendor to our write at the other, over 24 hours."
    yield _gauge("freshness_seconds", words, ("direction", "quantile"), quantiles)
    writes = [((to,), one.writes) for to, one in lag.items()]
    yield _gauge("freshness_writes", "Writes that the freshness is made of.", ("direction",), writes)


def _stuck(outlook: Outlook) -> Iterator[Metric]:
    stuck = outlook.stuck
    tally = stuck.open
    waiting = (("due", tally.due), ("deferred", tally.deferred), ("waiting", tally.waiting), ("held", tally.held))
    standing = (*waiting, ("dead", tally.failed), ("kept", tally.kept_back))
    rows = [((name,), records) for name, records in standing]
    yield _gauge("changes", "Open changes by where they stand; due ones include those in flight.", ("standing",), rows)
    yield _one("dead_letters", "Records that are not tried again until somebody wants it.", tally.failed)
    held = {one.kind: one for one in stuck.held}
    kinds = sorted({*HELD, *held})
    entries = [((kind,), held[kind].entries if kind in held else 0) for kind in kinds]
    yield _gauge("held_entries", "What waits for a person, by kind.", ("kind",), entries)
    records = [((kind,), held[kind].records if kind in held else 0) for kind in kinds]
    yield _gauge("held_records", "Records that hang on what waits for a person.", ("kind",), records)
    yield _one("linked_people", "Linked pairs of people.", stuck.linked)
    yield _one("in_sync_people", "Linked pairs of people with nothing left to do.", stuck.in_sync)
    yield _one("excluded_records", "Records that the mapping leaves out.", stuck.excluded_records)


def _budget(facts: Facts) -> Iterator[Metric]:
    told = facts.outlook.budget
    spans = [
        (vendor, span, *numbers)
        for vendor, spent in (("outreach", told.outreach), ("workbooks", told.workbooks))
        for span, numbers in _spans(spent).items()
    ]
    labels = ("system", "span")
    used = [((vendor, span), used) for vendor, span, used, _ in spans]
    yield _gauge("budget_used_calls", "Calls made in this clock hour, and within 365 days.", labels, used)
    limits = [((vendor, span), limit) for vendor, span, _, limit in spans]
    yield _gauge("budget_limit_calls", "Calls that may be made, where there is a limit.", labels, limits)
    left = [
        ((vendor, span, lane.name), lanes.left(limit, used, lane, by_hour=span == "hour"))
        for vendor, span, used, limit in spans
        if limit is not None
        for lane in lanes.LANES
    ]
    words = (
        "Calls left by lane: each leaves something to those that stop after it, and the last of an hour to opt-outs."
    )
    yield _gauge("budget_left_calls", words, (*labels, "lane"), left)
    rates = {one.lane: one.rate for one in told.slowed}
    words = "The share of its normal rate at which a lane goes on, for the year's calls to last; 0 is a stop."
    yield _gauge("lane_rate", words, ("lane",), [((lane.name,), rates.get(lane.name, 1.0)) for lane in lanes.LANES])
    paces = [(("outreach",), told.outreach.a_year_at_this_pace), (("workbooks",), told.workbooks.a_year_at_this_pace)]
    yield _gauge("budget_pace_calls", "Calls a year at the pace of the last week.", ("system",), paces)
    yield _one("budget_lasts", "Whether the calls last.", told.ok)


def _spans(spent: Spent) -> dict[str, tuple[int, int | None]]:
    return {"hour": (spent.hour_used, spent.hour_limit), "year": (spent.year_used, spent.year_limit)}


def _calls(facts: Facts) -> Iterator[Metric]:
    rows = [((VENDORS.get(system, system), lane), calls) for (system, lane), calls in sorted(facts.calls.items())]
    yield _counter("calls", "Calls made, by lane.", ("system", "lane"), rows)
    told = counters.of(facts.counted, counters.CALLS)
    labels = ("system", "operation")
    yield _counter("calls_answered", "Calls by how they ended.", (*labels, "outcome"), told)
    family = HistogramMetricFamily("outbook_call_seconds", "How long calls took, answered or not.", labels=labels)
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for labelled, count in counters.of(facts.counted, counters.SECONDS):
        found.setdefault(labelled[:-1], {})[labelled[-1]] = count
    for which, counted in found.items():
        family.add_metric(which, _cumulative(counted), counted.get(counters.SUM, 0.0))
    yield family


def _cumulative(counted: Mapping[str, float]) -> list[tuple[str, float]]:
    buckets, total = [], 0.0
    for bound in [*(f"{bound:g}" for bound in counters.BOUNDS), "+Inf"]:
        total += counted.get(bound, 0.0)
        buckets.append((bound, total))
    return buckets


def _writes(facts: Facts) -> Iterator[Metric]:
    told = counters.of(facts.counted, counters.WRITES)
    yield _counter("writes", "Records written; `recreate` is a re-creation.", ("system", "action"), told)
    dead, overwritten = (facts.counted.get((name, ()), 0) for name in (counters.DEAD, counters.OVERWRITTEN))
    yield _counter("records_failed", "Records that became dead letters.", (), [((), dead)])
    yield _counter("overwritten", "Hand edits of one-way fields that were put back.", (), [((), overwritten)])


def _keys(outlook: Outlook) -> Iterator[Metric]:
    keys, mapping = outlook.credentials, outlook.mapping
    token = keys.outreach_days_left * DAY_S if keys.outreach_days_left is not None else None
    yield _one("token_left_seconds", "How long the Outreach token lasts if nobody renews it.", token)
    key = keys.workbooks_key_days_left * DAY_S if keys.workbooks_key_days_left is not None else None
    yield _one("key_left_seconds", "How long the Workbooks key lasts, where the settings tell.", key)
    yield _one("mapping_differs", "Whether the mapping's file is not what is in force.", mapping.differs)
    yield _one("mapping_refused", "Whether the mapping's file cannot be used.", mapping.problem is not None)


def _nets(facts: Facts) -> Iterator[Metric]:
    nets, now = facts.outlook.nets, facts.outlook.at
    yield _one("webhooks_waiting", "Webhooks not looked at yet.", nets.webhooks.waiting)
    yield _one("webhook_age_seconds", "How long ago the last webhook came in.", _age(nets.webhooks.last_at, now))
    told = counters.of(facts.counted, counters.WEBHOOKS)
    yield _counter("webhooks", "Webhooks that came in, by what became of them.", ("outcome",), told)
    seen = [
        ((kind.value, channel.value), facts.seen.get((kind.value, channel.value), 0))
        for kind in STREAMS
        for channel in Channel
    ]
    words = "Changes of the last seven days by the channel that showed them first; `sweep` is what all others missed."
    yield _gauge("first_seen_records", words, ("stream", "channel"), seen)
    rounds = [((one.name,), _age(one.ended_at, now)) for one in nets.rounds]
    yield _gauge("round_age_seconds", "How long ago a slow round through all records ended.", ("round",), rounds)
