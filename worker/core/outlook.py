"""The outlook as values: is it safe, is it fresh, is it stuck, how much budget is left, and what to do next.

``as_json`` is its documented shape: the fields of the classes below under their own names, moments as ISO 8601 in UTC, days as
ISO dates, spans in seconds, None where something is not known. Nothing in it is personal. Fields are added, never renamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.core.lanes import Slowed


@dataclass(frozen=True, slots=True)
class OptOuts:
    """Opt-outs on their way. ``failed`` are dead letters whose opt-out one side does not show; ``alarm``: too many at once."""

    undelivered: int
    oldest_at: datetime | None
    oldest_age_s: float | None
    failed: int
    last_hour: int
    alarm: bool


@dataclass(frozen=True, slots=True)
class KeptBack:
    """Records kept back on purpose, how many opt-outs among them, and what keeps them: paused, a setting, an option."""

    records: int
    opt_outs: int
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pause:
    """What somebody has paused."""

    scope: str
    since: datetime | None
    words: str


@dataclass(frozen=True, slots=True)
class Safe:
    """Whether it is safe: opt-outs on their way, and what is kept back."""

    ok: bool
    opt_outs: OptOuts
    kept_back: KeptBack
    pauses: tuple[Pause, ...]


@dataclass(frozen=True, slots=True)
class Lag:
    """From the change at the vendor to our write on the other side, over the last 24 hours; first loads do not count."""

    writes: int
    p50_s: float | None
    p95_s: float | None


@dataclass(frozen=True, slots=True)
class Stream:
    """How far a stream has been read. ``reading``: a run is under way; ``lag``: of what it brought, to the other side."""

    stream: str
    primed: bool
    reading: bool
    watermark: datetime | None
    polled_at: datetime | None
    polled_age_s: float | None
    trouble: str | None
    lag: Lag = Lag(0, None, None)


@dataclass(frozen=True, slots=True)
class Fresh:
    """Whether it is fresh: all streams read to their end and lately, none in trouble. ``patience_s``: what lately means."""

    ok: bool
    streams: tuple[Stream, ...]
    to_crm: Lag
    to_outreach: Lag
    last_pass_at: datetime | None
    patience_s: float = 900.0


@dataclass(frozen=True, slots=True)
class Open:
    """Open changes: ``due`` now or being worked on, ``deferred`` until their time, ``waiting`` for another record."""

    due: int
    deferred: int
    waiting: int
    held: int
    failed: int
    kept_back: int


@dataclass(frozen=True, slots=True)
class Excluded:
    """Records that the mapping leaves out."""

    reason: str
    records: int


@dataclass(frozen=True, slots=True)
class Held:
    """What waits for a person, by kind: entries, and the records that hang on them."""

    kind: str
    entries: int
    records: int


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason for which records are dead letters. ``newest`` is None where nobody noted when they died."""

    cause: str
    records: int
    newest: datetime | None


@dataclass(frozen=True, slots=True)
class Stuck:
    """Whether it is stuck: anything held or failed. ``linked`` pairs of people, and those of them with nothing left to do."""

    ok: bool
    linked: int
    in_sync: int
    open: Open
    excluded_records: int
    excluded: tuple[Excluded, ...]
    held: tuple[Held, ...]
    failed: tuple[Cause, ...]


@dataclass(frozen=True, slots=True)
class Spent:
    """Calls to one vendor. The pace is that of the last week, but for what happens once; None before there is a day of it."""

    hour_used: int
    hour_limit: int | None
    hour_left: int | None
    year_used: int
    year_limit: int | None
    year_left: int | None
    a_year_at_this_pace: int | None
    runs_out_on: date | None


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may still be called. ``slowed``: what goes slower for the calls to last, in the order in which it does."""

    ok: bool
    outreach: Spent
    workbooks: Spent
    slowed: tuple[Slowed, ...] = ()


@dataclass(frozen=True, slots=True)
class InForce:
    """The mapping that writes go by, and its file. ``problem``: why the file cannot be used; ``unread``: streams read first."""

    version: str | None
    applied_at: datetime | None
    path: str
    file: str | None
    differs: bool
    problem: str | None
    unread: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Credentials:
    """How long the keys last. Outreach's are renewed as long as anything runs."""

    workbooks_key_expires: date | None
    workbooks_key_days_left: int | None
    outreach_renewed_at: datetime | None
    outreach_days_left: float | None


@dataclass(frozen=True, slots=True)
class Round:
    """A slow round through all records; ``last`` is what the last one that ended has told.

    ``part`` is how much of the round under way is done, 0 to 1; ``oldest_at`` about when those were compared that have waited
    longest for their next turn. Both are None where that is not known.
    """

    name: str
    began_at: datetime | None
    ended_at: datetime | None
    next_at: datetime | None
    last: Mapping[str, Any]
    part: float | None = None
    oldest_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Webhooks:
    """When the last webhook came in, and how many have not been looked at."""

    last_at: datetime | None
    waiting: int


@dataclass(frozen=True, slots=True)
class Nets:
    """What catches what polling does not show. ``seen`` counts the last week's changes by the channel that saw them first.

    ``silence`` says in words that webhooks have stopped coming though polls found what they should have told.
    """

    rounds: tuple[Round, ...]
    webhooks: Webhooks
    seen: Mapping[str, int]
    caught_only_by_sweep: int
    silence: str | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """When beat, or whoever serves a queue, last got on with its work, to within a quarter of a minute."""

    who: str
    at: datetime
    age_s: float


@dataclass(frozen=True, slots=True)
class Halted:
    """A vendor that cannot be worked with, and why: ``authorisation``, ``budget``, ``contract`` or ``other``."""

    system: str
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Resting:
    """A kind of call, ``read``, ``write`` or ``authorise``, that is not made to one vendor for a while, and since when.

    ``because`` is ``asked`` where the vendor wants none before ``until``, ``failing`` where most failed and one now and then is
    tried.
    """

    system: str
    calls: str
    because: str
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """Whether work goes on. ``leased`` is in somebody's hands; ``troubles``: what is due while nobody takes up anything."""

    ok: bool = True
    oldest_due_at: datetime | None = None
    oldest_due_age_s: float | None = None
    leased: int = 0
    claimed_at: datetime | None = None
    troubles: tuple[str, ...] = ()
    ticks: tuple[Tick, ...] = ()
    halted: tuple[Halted, ...] = ()
    resting: tuple[Resting, ...] = ()


@dataclass(frozen=True, slots=True)
class Advice:
    """Something to do: why, and the command to type."""

    why: str
    command: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """How everything stands. ``next`` is what to do about it, the most pressing first."""

    at: datetime
    safe: Safe
    fresh: Fresh
    stuck: Stuck
    budget: Budget
    mapping: InForce
    credentials: Credentials
    nets: Nets
    next: tuple[Advice, ...]
    work: Work = Work()


def as_json(value: object) -> Any:  # noqa: ANN401 - JSON is whatever JSON is
    """Return a value of this room as JSON data."""
    if is_dataclass(value):
        return {one.name: as_json(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): as_json(inner) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return [as_json(inner) for inner in value]
    return value
