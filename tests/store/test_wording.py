"""The words of SELECTION in JSON, at nine o'clock."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.store.makers import NOW, later
from worker.store.selection import Selection
from worker.store.wording import Unclear, moment_of, worded


@pytest.mark.parametrize(
    "words, selection",
    [
        ({"prospect": 7}, Selection(prospects=(7,))),
        ({"prospect": [8, 7, 8], "task": [1]}, Selection(prospects=(8, 7), tasks=(1,))),
        ({"person": 3, "sequence": 4}, Selection(people=(3,), sequences=(4,))),
        ({"task": 5, "limit": 5}, Selection(tasks=(5,), limit=5)),
        ({"since": "2h", "failed": True}, Selection(since=later(-7200), failed=True)),
        ({"all": True, "prospect": None}, Selection(everyone=True)),
    ],
)
def test_words_select(words: dict[str, object], selection: Selection) -> None:
    """As the options of the same names do, but for addresses: a broker keeps messages; one thing needs no list."""
    assert worded(words, NOW) == selection


@pytest.mark.parametrize(
    "words, told",
    [
        ({}, "say which"),
        ({"limit": 5}, "say which"),
        ({"all": False}, "say which"),
        ({"all": "yes"}, "all: neither true nor false"),
        ({"prospects": [1]}, "prospects: no word of a message"),
        ({"prospect": "7"}, "prospect: not an id"),
        ({"task": [0]}, "task: not an id"),
        ({"person": True}, "person: not an id"),
        ({"person": 2**63}, "person: not an id"),
        ({"email": "secret@example.com"}, "email: no word of a message"),
        ({"failed": True, "limit": 0}, "limit: not a number above 0"),
        ({"since": "soon"}, "--since: say how long ago"),
    ],
)
def test_words_that_select_nothing_are_refused(words: dict[str, object], told: str) -> None:
    """With what is wrong, and without the value."""
    with pytest.raises(Unclear) as refused:
        worded(words, NOW)
    assert told in refused.value.words
    assert "secret" not in refused.value.words


@pytest.mark.parametrize(
    "text, moment",
    [
        ("30m", later(-1800)),
        ("2H", later(-7200)),
        (" 3 d ", later(-3 * 86400)),
        ("2026-11-20T08:00:00Z", later(-3600)),
        ("2026-11-20T08:00:00", later(-3600)),
        ("2026-11-20T08:00:00+01:00", later(-7200)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
    ],
)
def test_a_moment_is_told_by_its_distance_or_its_date(text: str, moment: datetime) -> None:
    """Minutes, hours, days back, or an ISO time, which is UTC unless it tells its zone."""
    assert moment_of(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "2", "h", "2y", "-2h", "999999999d", "20-11-2026"])
def test_what_tells_no_moment_is_refused(text: str) -> None:
    """With the two forms that do."""
    with pytest.raises(ValueError, match="such as 30m, 2h or 3d"):
        moment_of(text, NOW)
