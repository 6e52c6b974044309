"""The outlook, drawn: one function for `outbook status`, the probes and the metrics. Its shape is that of ``core.outlook``."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from worker.core import lanes, plan, transforms
from worker.core.advice import advice
from worker.core.mapping import Computed, Share
from worker.core.outlook import (
    Budget,
    Credentials,
    Excluded,
    Fresh,
    Halted,
    Held,
    InForce,
    KeptBack,
    Lag,
    Nets,
    Open,
    OptOuts,
    Outlook,
    Pause,
    Resting,
    Safe,
    Spent,
    Stream,
    Stuck,
    Tick,
    Work,
)
from worker.core.records import Kind, System
from worker.store import circuits, cursors, links, mappings, meta, mirror, progress, respites, runs, sights, vitals
from worker.store import outlook as counts
from worker.store import pauses as pausing
from worker.store.budget import used_by
from worker.store.outbox import Lane, Standing
from worker.sync import brakes, in_force, subscriptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date, datetime

    import sqlalchemy as sa

    from worker.config import Settings
    from worker.core.yaml_tree import Problem
    from worker.store.database import Store

DAY, WEEK = timedelta(days=1), timedelta(days=7)
REFRESH_LASTS = timedelta(days=14)
"""How long an unused refresh token of Outreach lives (facts, outreach 1.1)."""
VENDORS = {"crm": "workbooks"}
TERMS_LAST = timedelta(seconds=60)
MANY = 10_000
"""From so many links on their number is counted once a minute only: it walks through a whole index, and a few tell nothing."""
OPT_OUT_PATIENCE = timedelta(minutes=15)
POLL_PATIENCE_S = 900.0
OPT_OUTS_AN_HOUR = Share(2.0, 20)
"""More opt-outs than this within an hour raise an alarm; they are delivered all the same (contract, section 5)."""

Standings = dict[tuple[Standing, bool, Lane], int]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the settings and the mapping say; ``no_email`` is the CRM field that shows an opt-out."""

    mapping: InForce

    hourly: int | None = None
    yearly: int | None = None
    poll_s: float = 60.0
    writes: bool = True
    pilot: bool = False
    key_expires: date | None = None
    no_email: str | None = None


def terms(settings: Settings, store: Store) -> Terms:
    """Return the terms under which this process works. Two mappings are read for it: do so once a minute, not more."""
    told = in_force.standing(store, settings.mapping)
    with store.read() as db:
        mapping = in_force.readable(mappings.in_force(db))
    flag = mapping.field_of(Computed.OPTED_OUT) if mapping else None
    return Terms(
        mapping=InForce(
            version=told.version,
            applied_at=told.applied_at,
            path=str(told.path),
            file=told.file_version,
            differs=told.differs and not told.problems,
            problem=_problem(told.problems),
            unread=tuple(sorted(told.unread)),
        ),
        hourly=settings.outreach.hourly_calls,
        yearly=settings.outreach.yearly_calls,
        poll_s=settings.poll_seconds,
        writes=settings.writes == "all",
        pilot=settings.only is not None,
        key_expires=settings.workbooks.api_key_expires,
        no_email=flag.crm if flag else None,
    )


class Lookout:
    """Draws the outlook for a process that does so again and again; the mappings, and what is many, once a minute."""

    def __init__(self, settings: Settings, store: Store, now: Callable[[], datetime]) -> None:
        """Look at nothing yet."""
        self._settings = settings
        self._store = store
        self._now = now
        self._terms: tuple[datetime, Terms] | None = None
        self._linked: tuple[datetime, int] | None = None

    def look(self) -> Outlook:
        """Return how everything stands."""
        now = self._now()
        if self._terms is None or not timedelta(0) <= now - self._terms[0] < TERMS_LAST:
            self._terms = now, terms(self._settings, self._store)
        if self._linked is not None and not timedelta(0) <= now - self._linked[0] < TERMS_LAST:
            self._linked = None
        drawn = look(self._store, self._terms[1], now, self._linked[1] if self._linked else None)
        if self._linked is None and drawn.stuck.linked >= MANY:
            self._linked = now, drawn.stuck.linked
        return drawn


def look(store: Store, told: Terms, now: datetime, counted: int | None = None) -> Outlook:
    """Return how everything stands: some thirty counting queries in one reading transaction, however much there is.

    ``counted`` is how many links there are, where that is known from a moment ago.
    """
    silence = subscriptions.silence(store, now)
    with store.read() as db:
        linked = links.count(db, Kind.PROSPECT) if counted is None else counted
        standings = counts.by_standing(db, now)
        drawn = Outlook(
            at=now,
            safe=_safe(db, told, standings, linked, now),
            fresh=_fresh(db, told, now),
            stuck=_stuck(db, standings, linked),
            budget=_budget(db, told, now),
            mapping=told.mapping,
            credentials=_credentials(db, told, now),
            nets=replace(_nets(db, now), silence=silence),
            next=(),
            work=_work(db, now),
        )
    return replace(drawn, next=advice(drawn))


def _problem(problems: Sequence[Problem]) -> str | None:
    if not problems:
        return None
    first, more = problems[0], len(problems) - 1
    return f"{first.line}:{first.column}: {first.words}" + (f", and {more} more" if more else "")


def _count(standings: Standings, *wanted: Standing, lane: Lane | None = None) -> int:
    return sum(n for (standing, _, its), n in standings.items() if standing in wanted and lane in {None, its})


def _safe(db: sa.Connection, told: Terms, standings: Standings, linked: int, now: datetime) -> Safe:
    paused = tuple(Pause(row.scope, row.since, row.words) for row in pausing.standing(db))
    opt_outs = _opt_outs(db, told, standings, linked, now)
    kept = _count(standings, Standing.KEPT)
    because = [
        *(f"paused: {one.scope}" for one in paused),
        *(["OUTBOOK_WRITES"] if not told.writes else []),
        *(["OUTBOOK_ONLY"] if told.pilot else []),
    ]
    kept_back = KeptBack(
        kept, _count(standings, Standing.KEPT, lane=Lane.OPT_OUT), tuple((because or ["--direction"]) if kept else [])
    )
    late = opt_outs.oldest_at is not None and now - opt_outs.oldest_at > OPT_OUT_PATIENCE
    return Safe(not (late or opt_outs.failed or opt_outs.alarm), opt_outs, kept_back, paused)


def _opt_outs(db: sa.Connection, told: Terms, standings: Standings, linked: int, now: datetime) -> OptOuts:
    oldest = counts.oldest_opt_out(db)
    since = now - timedelta(hours=1)
    through = transforms.parse_time(meta.get(db, brakes.THROUGH))
    # Those that the first load finds are old ones, all seen at once.
    lately = counts.opted_out_since(db, max(since, through)) if through else 0
    return OptOuts(
        undelivered=_count(standings, Standing.DUE, Standing.KEPT, lane=Lane.OPT_OUT),
        oldest_at=oldest,
        oldest_age_s=_age(oldest, now),
        failed=_undelivered(db, counts.failed_opt_outs(db), told.no_email),
        last_hour=lately,
        alarm=not OPT_OUTS_AN_HOUR.allows(lately, linked),
    )


def _undelivered(db: sa.Connection, prospect_ids: list[int], no_email: str | None) -> int:
    """Return of how many dead letters one side does not show the opt-out; others failed for another field's sake."""
    if not prospect_ids:
        return 0
    prospects, known = mirror.load(db, Kind.PROSPECT, prospect_ids), links.load(db, Kind.PROSPECT, prospect_ids)
    people = mirror.load(db, Kind.PERSON, [link.crm_id for link in known.values() if not link.gone])
    lacking = 0
    for pid in prospect_ids:
        prospect, link = prospects.get(pid), known.get(pid)
        person = people.get(link.crm_id) if link else None
        shown = [plan.prospect_opted_out(prospect.fields) is not None] if prospect and not prospect.deleted else []
        if person and not person.deleted and no_email:
            shown.append(transforms.flag(person.fields.get(no_email)))
        lacking += not all(shown)
    return lacking


def _fresh(db: sa.Connection, told: Terms, now: datetime) -> Fresh:
    known = {row.stream: row for row in cursors.all_of(db)}
    to_crm, to_outreach = (counts.lags(db, system, now - DAY) for system in (System.CRM, System.OUTREACH))
    by_stream: dict[str | None, list[float]] = {}
    for seconds, stream in (*to_crm, *to_outreach):
        by_stream.setdefault(stream, []).append(seconds)
    streams = tuple(
        replace(_stream(kind.value, known.get(kind.value), now), lag=_lag(sorted(by_stream.get(kind.value, ()))))
        for kind in cursors.STREAMS
    )
    patience = max(POLL_PATIENCE_S, 10.0 * told.poll_s)
    # Streams slow down by themselves, so what counts is that anything at all is being read.
    ages = [one.polled_age_s for one in streams if one.polled_age_s is not None]
    moving = any(one.reading for one in streams) or (bool(ages) and min(ages) <= patience)
    return Fresh(
        ok=moving and all(one.primed and not one.trouble for one in streams),
        streams=streams,
        to_crm=_lag([seconds for seconds, _ in to_crm]),
        to_outreach=_lag([seconds for seconds, _ in to_outreach]),
        last_pass_at=runs.newest(db),
        patience_s=patience,
    )


def _stream(name: str, row: sa.Row[tuple[object, ...]] | None, now: datetime) -> Stream:
    if row is None:
        return Stream(
            name, primed=False, reading=False, watermark=None, polled_at=None, polled_age_s=None, trouble=None
        )
    return Stream(
        stream=name,
        primed=row.primed_at is not None,
        reading=row.run_began is not None,
        watermark=row.watermark,
        polled_at=row.polled_at,
        polled_age_s=_age(row.polled_at, now),
        trouble=row.trouble,
    )


def _lag(seconds: Sequence[float]) -> Lag:
    """Return the percentiles by nearest rank."""
    if not seconds:
        return Lag(0, None, None)
    p50, p95 = (round(seconds[math.ceil(len(seconds) * share) - 1], 1) for share in (0.5, 0.95))
    return Lag(len(seconds), p50, p95)


def _stuck(db: sa.Connection, standings: Standings, linked: int) -> Stuck:
    excluded = counts.excluded_by_reason(db)
    held = tuple(Held(*row) for row in counts.held_by_kind(db))
    due = sum(n for (standing, come, _), n in standings.items() if standing is Standing.DUE and come)
    tally = Open(
        due=due,
        deferred=_count(standings, Standing.DUE) - due,
        waiting=_count(standings, Standing.WAITING),
        held=_count(standings, Standing.HELD),
        failed=_count(standings, Standing.DEAD),
        kept_back=_count(standings, Standing.KEPT),
    )
    return Stuck(
        ok=not (held or tally.failed),
        linked=linked,
        in_sync=max(0, linked - counts.unsettled_pairs(db)),
        open=tally,
        excluded_records=sum(records for _, records in excluded),
        excluded=tuple(Excluded(*row) for row in excluded[: counts.REASONS]),
        held=held,
        failed=tuple(counts.failed_by_cause(db)),
    )


def _budget(db: sa.Connection, told: Terms, now: datetime) -> Budget:
    made = used_by(db, now)
    mine = made.get(System.OUTREACH, lanes.Used())
    outreach = _spent(mine, told.hourly, told.yearly, now)
    workbooks = _spent(made.get(System.CRM, lanes.Used()), None, None, now)
    slowed = lanes.slowed(lanes.pressure(mine, told.yearly), mine.hour / told.hourly if told.hourly else 0.0)
    return Budget(outreach.runs_out_on is None and outreach.hour_left != 0, outreach, workbooks, slowed)


def _spent(made: lanes.Used, hourly: int | None, yearly: int | None, now: datetime) -> Spent:
    """Return what is left, and how long it lasts. The year is any 365 days; what of them falls away is counted on."""
    a_day = made.week / (min(made.age, WEEK) / DAY) if made.age >= DAY else None
    lasts = lanes.lasts(made, yearly, a_day) if yearly is not None and a_day is not None else None
    return Spent(
        hour_used=made.hour,
        hour_limit=hourly,
        hour_left=max(0, hourly - made.hour) if hourly is not None else None,
        year_used=made.year,
        year_limit=yearly,
        year_left=max(0, yearly - made.year) if yearly is not None else None,
        a_year_at_this_pace=round(a_day * lanes.YEAR) if a_day is not None else None,
        runs_out_on=(now + lasts).date() if lasts is not None else None,
    )


def _credentials(db: sa.Connection, told: Terms, now: datetime) -> Credentials:
    token = counts.renewed_at(db, System.OUTREACH)
    days = (token + REFRESH_LASTS - now) / DAY if token else None
    return Credentials(
        workbooks_key_expires=told.key_expires,
        workbooks_key_days_left=(told.key_expires - now.date()).days if told.key_expires else None,
        outreach_renewed_at=token,
        outreach_days_left=round(days, 1) if days is not None else None,
    )


def _nets(db: sa.Connection, now: datetime) -> Nets:
    seen: dict[str, int] = {}
    for (_, channel), records in sights.told(db, now - WEEK).items():
        seen[channel] = seen.get(channel, 0) + records
    return Nets(
        rounds=tuple(counts.rounds(db)),
        webhooks=counts.webhooks(db),
        seen=seen,
        caught_only_by_sweep=seen.get(sights.Channel.SWEEP, 0),
    )


def _work(db: sa.Connection, now: datetime) -> Work:
    due, troubles, halts = counts.oldest_due(db, now), tuple(progress.troubles(db, now)), vitals.halts(db, now)
    return Work(
        ok=not (troubles or halts),
        oldest_due_at=due,
        oldest_due_age_s=_age(due, now),
        leased=counts.leased(db, now),
        claimed_at=meta.last_claim(db),
        troubles=troubles,
        ticks=tuple(Tick(who, at, _age(at, now) or 0.0) for who, at in vitals.ticks(db).items()),
        halted=tuple(Halted(VENDORS.get(one.system, one.system), one.reason, one.since) for one in halts),
        resting=tuple(_resting(db, now)),
    )


def _resting(db: sa.Connection, now: datetime) -> Iterator[Resting]:
    for (system, calls), (since, until) in respites.standing(db, now).items():
        yield Resting(VENDORS.get(system, system), calls, "asked", since, until)
    for (system, calls), since in circuits.standing(db).items():
        yield Resting(VENDORS.get(system, system), calls, "failing", since)


def _age(at: datetime | None, now: datetime) -> float | None:
    return round(max(0.0, (now - at).total_seconds()), 1) if at is not None else None
