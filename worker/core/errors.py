"""The tree of errors, by what to do next, and the one place where that is decided.

OutbookError
├── Transient           try again later: Throttled, RemoteDown, StaleVersion
├── RecordFault         this record, not its neighbours: InvalidField, UnmappedState, AmbiguousMatch, Unreadable
└── Halt                stop the stream or the side and say so: AuthRevoked (Forbidden), ContractBroken, UnsafePlan, BudgetSpent
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.core.records import Ref, System

RETRY_BASE_S = 2.0
RETRY_CAP_S = 900.0
GIVE_UP_AFTER = 8
"""Attempts at one record before an error of no known kind becomes a dead letter."""
STALE_AT_ONCE, STALE_CAP_S = 3, 60.0
"""Whoever saved in between is read at once; a CRM whose lists lag shows it later, by half a minute (facts, delivery F29)."""
TRANSIENT_FOR = timedelta(hours=72)
HOURLY, SOON = timedelta(hours=1), timedelta(minutes=5)
"""How soon an opt-out is tried again that would be a dead letter, and how soon any other at the latest."""
_OURS = __name__.partition(".")[0]
_CODE = re.compile(r"[0-9A-Z]{5}|SQLITE_[A-Z_]+")


class OutbookError(Exception):
    """Anything Outbook foresees. ``words`` are the vendor's own, never a person's data.

    ``status`` is that of the HTTP answer that told it, None if none did.
    """

    def __init__(
        self, words: str, *, system: System | None = None, ref: Ref | None = None, status: int | None = None
    ) -> None:
        """Keep what a handler needs as attributes."""
        super().__init__(words)
        self.words = words
        self.system = system
        self.ref = ref
        self.status = status


class Transient(OutbookError):
    """It may work later."""


class Throttled(Transient):
    """The vendor asks us to wait ``retry_after_s`` seconds."""

    def __init__(self, words: str, *, retry_after_s: float, system: System | None = None) -> None:
        """Keep the wait."""
        super().__init__(words, system=system)
        self.retry_after_s = retry_after_s


class Resting(Throttled):
    """Nobody was asked: most calls of this kind have failed just now, and one finds out now and then (``core.circuit``)."""


class RemoteDown(Transient):
    """No answer, or one that is no answer: refused, timed out, 5xx, HTML or broken JSON with status 200."""


class StaleVersion(Transient):
    """Somebody saved the CRM record since we read it."""


class RecordFault(OutbookError):
    """The record cannot be written as it stands."""


class InvalidField(RecordFault):
    """The vendor refused the value of ``field``."""

    def __init__(
        self,
        words: str,
        *,
        field: str,
        system: System | None = None,
        ref: Ref | None = None,
        status: int | None = None,
    ) -> None:
        """Keep the field's name."""
        super().__init__(words, system=system, ref=ref, status=status)
        self.field = field


class UnmappedState(RecordFault):
    """Outreach reports a state that the mapping does not know."""


class AmbiguousMatch(RecordFault):
    """More than one record could be the other half, or the only one belongs to somebody else."""


class Unreadable(RecordFault):
    """A linked record is neither visible nor deleted."""


class Halt(OutbookError):
    """Going on would do harm or is pointless."""


class AuthRevoked(Halt):
    """The vendor no longer accepts our credentials, or they lack a permission."""


class Forbidden(AuthRevoked):
    """The credentials are good, but lack the permission for this."""


class ContractBroken(Halt):
    """The vendor's answer contradicts what its protocol promises, such as a next link to another host."""


class UnsafePlan(Halt):
    """Too bold a plan: it waits for a person."""


class BudgetSpent(Halt):
    """The calls of this hour or year are used up."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Try again at ``at`` (aware UTC)."""

    at: datetime


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Do not try again until somebody asks for it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Halted:
    """Leave the change as it is and stop."""

    reason: str


def decide(
    error: Exception, *, attempt: int, first_tried: datetime, now: datetime, jitter: float, urgent: bool = False
) -> RetryAt | DeadLetter | Halted:
    """Return what to do with a change whose ``attempt``-th try (from 1) ended in ``error``.

    ``jitter`` is a random number of [0, 1): full jitter, ``uniform(0, min(cap, base * 2**attempt))``. A vendor's own
    wait goes before it. A transient error is retried for 72 hours, one that somebody saved in between at least once a
    minute; a record's fault never, anything unknown eight times. What is ``urgent``, an opt-out, waits five minutes at most,
    and where another would be given up an hour, for ever; only its own fault makes it a dead letter.
    """
    if isinstance(error, Halt):
        return Halted(error.words)
    if isinstance(error, RecordFault):
        return DeadLetter(error.words)
    if isinstance(error, StaleVersion) and attempt < STALE_AT_ONCE:
        return RetryAt(now)
    cap_s = STALE_CAP_S if isinstance(error, StaleVersion) else RETRY_CAP_S
    wait_s = jitter * min(cap_s, RETRY_BASE_S * 2.0 ** min(attempt, 20))
    if isinstance(error, Throttled):
        wait_s = error.retry_after_s + wait_s * 0.1
    exhausted = now - first_tried >= TRANSIENT_FOR if isinstance(error, Transient) else attempt >= GIVE_UP_AFTER
    if exhausted and urgent:
        return RetryAt(now + HOURLY)
    if exhausted:
        return DeadLetter(error.words if isinstance(error, OutbookError) and error.words else told(error))
    wait = timedelta(seconds=wait_s)
    return RetryAt(now + min(wait, SOON) if urgent else now + wait)


def is_ours(error: BaseException) -> bool:
    """Tell whether an exception's class is one of this program's, whose words are written with care."""
    return type(error).__module__.partition(".")[0] == _OURS


def told(error: BaseException) -> str:
    """Return what may be logged, kept and shown of an exception: its type, and what it says if it is one of ours.

    Whatever raised another may have quoted a name in it: ``KeyError('Jane')``, a row that the database refused. Of those only
    a code of the system's or the database's own is told besides.
    """
    kind = type(error)
    if is_ours(error):
        return f"{kind.__name__}: {error}" if str(error) else kind.__name__
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{name} ({code})" if (code := code_of(error)) else name


def code_of(error: BaseException) -> str | None:
    """Return such as ENOSPC, SQLITE_BUSY or an SQLSTATE; None if the exception bears none."""
    if isinstance(error, OSError):
        return errno.errorcode.get(error.errno) if isinstance(error.errno, int) else None
    driver = getattr(error, "orig", None) or error
    named = getattr(driver, "sqlite_errorname", None) or getattr(driver, "sqlstate", None)
    return named if isinstance(named, str) and _CODE.fullmatch(named) else None
