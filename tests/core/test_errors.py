"""What to do next after an error: the table of decide()."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.makers import at
from worker.core import errors
from worker.core.errors import DeadLetter, Halted, RetryAt
from worker.core.records import Kind, Ref, System

NOW = at(12)
JUST_NOW = at(11)


def decide(error: Exception, *, attempt: int = 1, first: datetime = JUST_NOW, jitter: float = 0.5) -> object:
    """Return what is to be done at noon."""
    return errors.decide(error, attempt=attempt, first_tried=first, now=NOW, jitter=jitter)


def after(seconds: float) -> RetryAt:
    """Return a retry so many seconds after noon."""
    return RetryAt(NOW + timedelta(seconds=seconds))


DOWN = errors.RemoteDown("no answer")
STALE = errors.StaleVersion("saved elsewhere")


@pytest.mark.parametrize(
    "error, attempt, jitter, fate",
    [
        # full jitter below 2 s doubled with every attempt, and below 15 minutes
        (DOWN, 1, 0.0, after(0)),
        (DOWN, 1, 0.5, after(2)),
        (DOWN, 2, 0.5, after(4)),
        (DOWN, 3, 0.5, after(8)),
        (DOWN, 4, 0.25, after(8)),
        (DOWN, 8, 0.5, after(256)),
        (DOWN, 9, 0.5, after(450)),
        (DOWN, 30, 0.5, after(450)),
        (DOWN, 10**6, 0.999, after(899.1)),
        # somebody saved the record: read again at once; a list that lags shows it within a minute
        (STALE, 1, 0.9, after(0)),
        (STALE, 2, 0.9, after(0)),
        (STALE, 3, 0.5, after(8)),
        (STALE, 5, 0.5, after(30)),
        (STALE, 99, 0.5, after(30)),
        # the vendor's own wait, and at most a tenth of ours on top
        (errors.Throttled("slow down", retry_after_s=30), 1, 0.0, after(30)),
        (errors.Throttled("slow down", retry_after_s=30), 1, 0.5, after(30.2)),
        (errors.Throttled("slow down", retry_after_s=3600), 30, 0.5, after(3645)),
        # of no known kind: eight times
        (ValueError("odd"), 1, 0.5, after(2)),
        (ValueError("odd"), 7, 0.5, after(128)),
        (ValueError("odd"), 8, 0.5, DeadLetter("ValueError")),
        (ValueError(), 8, 0.5, DeadLetter("ValueError")),
        # a record's own fault: never again
        (errors.InvalidField("too long", field="title"), 1, 0.5, DeadLetter("too long")),
        (errors.UnmappedState("unmapped state 'x'"), 1, 0.5, DeadLetter("unmapped state 'x'")),
        (errors.AmbiguousMatch("two"), 1, 0.5, DeadLetter("two")),
        (errors.Unreadable("gone"), 1, 0.5, DeadLetter("gone")),
        # the whole stream
        (errors.AuthRevoked("no"), 1, 0.5, Halted("no")),
        (errors.ContractBroken("foreign link"), 99, 0.5, Halted("foreign link")),
        (errors.UnsafePlan("too bold"), 1, 0.5, Halted("too bold")),
        (errors.BudgetSpent("spent"), 1, 0.5, Halted("spent")),
    ],
)
def test_what_to_do_next(error: Exception, attempt: int, jitter: float, fate: object) -> None:
    """The attempt and the kind of error decide when to try again, if at all."""
    assert decide(error, attempt=attempt, jitter=jitter) == fate


@pytest.mark.parametrize(
    "error, attempt, first, fate",
    [
        (DOWN, 2, JUST_NOW, after(4)),
        (DOWN, 30, JUST_NOW, after(300)),
        (errors.Throttled("slow down", retry_after_s=30), 1, JUST_NOW, after(30.2)),
        (errors.Throttled("slow down", retry_after_s=3600), 1, JUST_NOW, after(300)),
        (DOWN, 30, NOW - timedelta(hours=72), after(3600)),
        (ValueError("odd"), 7, JUST_NOW, after(128)),
        (ValueError("odd"), 8, JUST_NOW, after(3600)),
        (errors.InvalidField("too long", field="title"), 1, JUST_NOW, DeadLetter("too long")),
        (errors.AuthRevoked("no"), 1, JUST_NOW, Halted("no")),
    ],
)
def test_what_to_do_next_with_an_opt_out(error: Exception, attempt: int, first: datetime, fate: object) -> None:
    """It waits five minutes at most, an hour where another would be given up, and dies of its own fault alone."""
    told = errors.decide(error, attempt=attempt, first_tried=first, now=NOW, jitter=0.5, urgent=True)
    assert told == fate


@pytest.mark.parametrize(
    "error", [DOWN, STALE, errors.Throttled("wait", retry_after_s=5)], ids=["down", "stale", "throttled"]
)
def test_transient_errors_are_retried_for_72_hours(error: errors.Transient) -> None:
    """However many attempts, a transient error is given up only 72 hours after the first."""
    last = at(12, day=2) - timedelta(hours=72)
    assert isinstance(decide(error, attempt=500, first=last + timedelta(seconds=1)), RetryAt)
    assert decide(error, attempt=500, first=last) == DeadLetter(error.words)


def test_an_unknown_error_does_not_wait_for_72_hours() -> None:
    """An error of no known kind counts attempts, not hours."""
    assert isinstance(decide(KeyError("x"), attempt=7, first=at(1, day=1)), RetryAt)


@given(attempt=st.integers(1, 10**9), jitter=st.floats(0, 1, exclude_max=True))
def test_a_wait_is_never_longer_than_the_cap(attempt: int, jitter: float) -> None:
    """Waits lie between now and 15 minutes from now, whatever the attempt."""
    fate = decide(DOWN, attempt=attempt, jitter=jitter)
    assert isinstance(fate, RetryAt)
    assert NOW <= fate.at <= NOW + timedelta(minutes=15)


def test_errors_carry_what_a_handler_needs() -> None:
    """Each error keeps the vendor's words, the side and the record; some a wait or a field."""
    ref = Ref(Kind.PERSON, 5)
    refused = errors.InvalidField("too long", field="title", system=System.CRM, ref=ref)
    assert (refused.words, refused.field, refused.system, refused.ref, str(refused)) == (
        "too long",
        "title",
        System.CRM,
        ref,
        "too long",
    )
    assert errors.Throttled("wait", retry_after_s=7.5, system=System.OUTREACH).retry_after_s == 7.5


def test_the_tree_is_by_what_to_do_next() -> None:
    """Every error is of exactly one of the three kinds."""
    kinds = (errors.Transient, errors.RecordFault, errors.Halt)
    leaves = {leaf for kind in kinds for leaf in kind.__subclasses__() if leaf.__module__ == errors.__name__}
    assert {leaf.__name__ for leaf in leaves} == {
        *("Throttled", "RemoteDown", "StaleVersion"),
        *("InvalidField", "UnmappedState", "AmbiguousMatch", "Unreadable"),
        *("AuthRevoked", "ContractBroken", "UnsafePlan", "BudgetSpent"),
    }
    assert all(sum(issubclass(leaf, kind) for kind in kinds) == 1 for leaf in leaves)
