"""Why a record is as it is, as values. ``core.outlook.as_json`` turns them into the shape that `explain --json` documents.

Sides are called ``outreach`` and ``workbooks``. A value that is not known has no key; one that is blank is null. Texts that may
be personal are hidden (``•••(7)``: seven letters) unless somebody asked for them. Fields are added, never renamed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from worker.core.records import Value

RULES = (
    (1, "opted out: the state says so, or the person is, and the sequence is not transactional", "Opted Out"),
    (2, "the state is finished, bounced or failed", "Finished, Bounced or Failed"),
    (3, "the state is disabled, or the sequence is off and was once active", "Disabled"),
    (4, "the state is pending, or the sequence is off", "Pending"),
    (5, "the state is paused or active", "Active – Paused or Active – Running"),
    (6, "any other word: not guessed, the fields stay as they are", "none"),
)
"""The rules for one prospect in one sequence, first that holds (contract, section 5); ``states.judge`` decides by them."""


@dataclass(frozen=True, slots=True)
class Who:
    """The pair, and how they were found to be one. ``candidates`` are the people it could be while that is not certain."""

    prospect: int
    person: int | None
    linked_since: datetime | None
    how: str
    candidates: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Gate:
    """One thing that is asked in order. ``decides``: here it is settled what happens."""

    rule: str
    outcome: str
    decides: bool = False


@dataclass(frozen=True, slots=True)
class Tried:
    """One of the six rules on one state: ``no``, ``decides``, or ``not looked at`` because an earlier one held."""

    number: int
    rule: str
    verdict: str


@dataclass(frozen=True, slots=True)
class InSequence:
    """A prospect in one sequence. ``decides``: of several sequences this is the one that the person shows."""

    sequence: int
    name: str
    state: int
    word: str
    label: str | None
    step: int | None
    changed_at: datetime | None
    decides: bool
    rules: tuple[Tried, ...]


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign of an opt-out that stands on one side. ``lifted`` is why somebody lifted it; one that was may count no more."""

    words: str
    at: datetime | None
    counts: bool
    lifted: str | None


@dataclass(frozen=True, slots=True)
class Remembered:
    """An opt-out remembered under one name: prospect, person or address."""

    under: str
    since: datetime
    evidence: str


@dataclass(frozen=True, slots=True)
class Consent:
    """Whether somebody is opted out of e-mail, and on what evidence."""

    opted_out: bool
    evidence: str | None
    signs: tuple[Sign, ...]
    remembered: tuple[Remembered, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the person shows over all sequences, and by which rule."""

    label: str | None
    rule: str
    at: datetime | None
    roll_up: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Planned:
    """What would be written now: field names by side. ``kept_back`` is what keeps it from being written."""

    action: str
    why: str
    workbooks: tuple[str, ...]
    outreach: tuple[str, ...]
    fault: str | None
    kept_back: str | None


@dataclass(frozen=True, slots=True)
class FieldTold:
    """One field: each side's value ``now`` and when they last ``agreed``, and what ``writes`` are to be sent."""

    field: str
    source: str
    direction: str
    now: Mapping[str, Value]
    agreed: Mapping[str, Value]
    writes: Mapping[str, Value]
    why: str


@dataclass(frozen=True, slots=True)
class Due:
    """The open change of a record."""

    standing: str
    lane: str
    opened_at: datetime | None
    next_at: datetime | None
    attempts: int
    error: str | None
    failed_at: datetime | None
    in_work_until: datetime | None


@dataclass(frozen=True, slots=True)
class Waits:
    """One entry of `outbook held list` that concerns the record."""

    kind: str
    key: str
    since: datetime | None
    words: str


@dataclass(frozen=True, slots=True)
class Wrote:
    """One write of ours."""

    at: datetime
    caused_at: datetime | None
    side: str
    action: str
    before: Mapping[str, Value]
    after: Mapping[str, Value]
    why: str
    mapping_version: str


@dataclass(frozen=True, slots=True)
class Exchanged:
    """The last request about the record to one side, and its reply, redacted."""

    side: str
    at: datetime | None
    request: str
    reply: str


@dataclass(frozen=True, slots=True)
class Person:
    """Everything about one prospect and its person."""

    who: Who
    gates: tuple[Gate, ...]
    standing: Standing
    consent: Consent
    sequences: tuple[InSequence, ...]
    plan: Planned
    fields: tuple[FieldTold, ...]
    due: Due | None
    held: tuple[Waits, ...]
    excluded: str | None
    history: tuple[Wrote, ...]
    exchanges: tuple[Exchanged, ...]


@dataclass(frozen=True, slots=True)
class Stranger:
    """A person of the CRM who belongs to no prospect."""

    person: int
    wanted: bool
    why: str
    opted_out: bool
    due: Due | None
    held: tuple[Waits, ...]
    excluded: str | None
    exchanges: tuple[Exchanged, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """An Outreach task, and what became of it in the CRM."""

    task: int
    prospect: int | None
    person: int | None
    crm_task: int | None
    state: str | None
    skipped_by: str | None
    why: str
    due: Due | None
    held: tuple[Waits, ...]
    history: tuple[Wrote, ...]
    exchanges: tuple[Exchanged, ...]


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something that was named and that nobody here has ever seen; ``forgotten_at``: it was erased on purpose."""

    named: str
    forgotten_at: datetime | None


@dataclass(frozen=True, slots=True)
class Explained:
    """What was asked about. ``left_out`` counts the chosen records beyond the limit."""

    people: tuple[Person, ...]
    strangers: tuple[Stranger, ...]
    tasks: tuple[Task, ...]
    unknown: tuple[Unknown, ...]
    left_out: int
