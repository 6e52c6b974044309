from __future__ import annotations

from datetime import UTC, datetime

import pytest

from worker.remote import waits

NOW = datetime(2026, 11, 20, 15, 0, 0, tzinfo=UTC)
EPOCH = 1795186800  # the same moment


@pytest.mark.parametrize(
    "headers, seconds",
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 2.5 "}, 2.5),
        ({"retry-after": "0"}, 1.0),
        ({"retry-after": str(EPOCH + 40)}, 40.0),
        ({"retry-after": str((EPOCH + 40) * 1000)}, 40.0),
        ({"retry-after": str(EPOCH - 40)}, 1.0),
        ({"retry-after": "Fri, 20 Nov 2026 15:01:30 GMT"}, 90.0),
        ({"retry-after": "2026-11-20T15:02:00Z"}, 120.0),
        ({"retry-after": "2026-11-20T16:02:00.000+01:00"}, 120.0),
        ({"retry-after": "3600"}, 3600.0),
        ({"retry-after": "4070908800"}, 7200.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "-5", "x-ratelimit-reset": str(EPOCH + 9)}, 9.0),
        ({"retry-after": "soon", "x-ratelimit-reset": str(EPOCH + 9)}, 9.0),
        ({"x-ratelimit-reset": f"{EPOCH + 9}, {EPOCH + 99}"}, 9.0),
        ({"retry-after": "NaN"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1" * 40}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_every_form_of_a_wait_is_understood(headers: dict[str, str], seconds: float | None) -> None:
    """A wait in any form that was seen is told in seconds of the server's clock; a senseless one is no wait."""
    assert waits.told(headers, NOW) == seconds


@pytest.mark.parametrize("text, number", [("9999, 19988", 9999), ("12", 12), ("", None), (None, None), ("many", None)])
def test_the_first_of_several_numbers_counts(text: str | None, number: int | None) -> None:
    """x-ratelimit-remaining may hold two numbers, or none at all."""
    assert waits.first_number(text) == number


@pytest.mark.parametrize("text", ["", "yesterday", "Fri, 99 Nov 2026 15:00:00 GMT", "0"])
def test_no_date_is_made_of_nonsense(text: str) -> None:
    """What is no HTTP date is None, never an error."""
    assert waits.http_date(text) is None


@pytest.mark.parametrize("text", ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60.000Z", "2017-01-01T00:59:60+01:00"])
def test_a_leap_second_is_the_second_before_it(text: str) -> None:
    """A record that was saved in a leap second has a time all the same; so has an answer sent in one."""
    before = datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert waits.iso_date(text) == before
    assert waits.http_date("Sat, 31 Dec 2016 23:59:60 GMT") == before
    assert waits.iso_date("2016-12-31T23:60:00Z") is None
