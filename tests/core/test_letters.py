"""The words of dead letters, reduced to what they have in common."""

from __future__ import annotations

import pytest

from worker.core.letters import cause_of, grouped, hint_of


@pytest.mark.parametrize(
    "words, cause",
    [
        (None, "no reason was noted"),
        ("unmapped state 'on_holiday'", "unmapped state 'on_holiday'"),
        ("person 4711 is gone", "person # is gone"),
        ("'Ada' is not a valid title", "'…' is not a valid title"),
        ('person_job_title: "Head" is too long (255)', "person_job_title: '…' is too long (#)"),
        ("'Active - Running' is not in Sequence State", "'Active - Running' is not in Sequence State"),
        ("answered 422: ref 0f8fad5b-d9cb-469f-a165-70867728950e", "answered #: ref #"),
        ("at 10:15 on 2026-11-20", "at # on #-#-#"),
        ("at 2026-11-20T10:15:01.123Z it was locked", "at # it was locked"),
        ("request req_8fj3kd93 failed, see AB12CD34", "request # failed, see #"),
        ("prospect_1234 is locked", "# is locked"),
        ("it took 150ms", "it took #"),
        ("[hidden] [hidden] is odd", "[hidden] is odd"),
        ("field cf_person_2 refused", "field cf_person_2 refused"),
        (
            "unmapped state 'b'; title: 7 is odd; unmapped state 'c'",
            "unmapped state 'b'; title: # is odd; unmapped state 'c'",
        ),
    ],
)
def test_what_belongs_to_one_record_is_left_out(words: str | None, cause: str) -> None:
    """Ids, numbers and quoted values; a state or label that is itself the cause stays."""
    assert cause_of(words) == cause


def test_a_cause_reduced_again_is_itself() -> None:
    """What a list shows can be typed back."""
    for words in ("person 4711: 'x' is invalid", f"person 4711 {'is odd ' * 40}…", "req_8fj3kd93 at 2026-11-20T10:15Z"):
        once = cause_of(words)
        assert cause_of(once) == once


def test_where_words_were_cut_makes_no_difference() -> None:
    """Two records' words were cut at the same length, and so at different words."""
    short, long = (f"name: {number} {'is locked by nobody knows whom, ' * 9}"[:239] + "…" for number in (7, 1234567))
    assert cause_of(short) == cause_of(long)
    whole = f"name: {'is locked by nobody knows whom, ' * 9}"
    assert cause_of(whole) == whole


@pytest.mark.parametrize(
    "cause, part",
    [
        ("unmapped state 'b'", "states:"),
        ("email: has already been taken", "merge the two"),
        ("person_job_title: '…' is too long (#)", "shorten"),
        ("Outreach forbids it: scope", "outbook doctor"),
        ("something nobody foresaw", "outbook failures show"),
    ],
)
def test_each_cause_has_a_hint(cause: str, part: str) -> None:
    """A sentence that says what to do."""
    assert part in hint_of(cause)


def test_like_words_are_counted_together() -> None:
    """In a report one line a cause, not one a record; what is alone keeps its own words."""
    told = [("person 7 is locked", 1), ("'x' is odd", 3), ("person 9 is locked", 2)]
    assert grouped(told) == [("person # is locked", 3), ("'x' is odd", 3)]
