from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from worker.core import records
from worker.remote import workbooks
from worker.remote.workbooks_wire import Form, encoded, squared, unnested


def moment(*parts: int) -> datetime:
    """Return a moment of UTC from year, month, day, hour, minute, second, microsecond."""
    year, month, day, hour, minute, second, micro = (*parts, *(0,) * (7 - len(parts)))
    return datetime(year, month, day, hour, minute, second, micro, tzinfo=UTC)


def test_a_time_is_written_as_workbooks_does() -> None:
    """Times go out in UTC, in the C locale's words."""
    assert workbooks.api_time(datetime(2026, 11, 20, 15, 0, 0, tzinfo=UTC)) == "Fri Nov 20 15:00:00 UTC 2026"
    assert (
        workbooks.api_time(datetime(2026, 2, 1, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))))
        == "Sat Jan 31 23:02:03 UTC 2026"
    )


@pytest.mark.parametrize(
    "text, at",
    [
        ("Fri May 15 14:36:54 UTC 2009", (2009, 5, 15, 14, 36, 54)),
        ("Fri September  1 16:30:00 UTC 2023", (2023, 9, 1, 16, 30)),
        ("Mon Jul 12 16:12:28 GMT 2010", (2010, 7, 12, 16, 12, 28)),
        ("22 May 2009", (2009, 5, 22)),
        (" 2 May 2010", (2010, 5, 2)),
        ("1 September 2023", (2023, 9, 1)),
        ("2026-11-20T15:00:00Z", (2026, 11, 20, 15)),
        ("2026-11-20T15:00:00.123Z", (2026, 11, 20, 15, 0, 0, 123_000)),
        ("2026-11-20T16:00:00+01:00", (2026, 11, 20, 15)),
        ("2026-11-20 15:00", (2026, 11, 20, 15)),
        ("2026-11-20", (2026, 11, 20)),
        ("2023-09-01T16:30:00Z,1,Etc/UTC", (2023, 9, 1, 16, 30)),
        ("2023-09-01,0,Europe/London", (2023, 9, 1)),
        (1795186800, (2026, 11, 20, 15)),
        ("1795186800", (2026, 11, 20, 15)),
        (1795186800000, (2026, 11, 20, 15)),
        (1795186800.5, (2026, 11, 20, 15, 0, 0, 500_000)),
    ],
)
def test_every_form_of_a_time_is_read(text: object, at: tuple[int, ...]) -> None:
    """Each form that Workbooks writes becomes aware UTC; one without a zone is UTC."""
    assert workbooks.parse_time(text) == moment(*at)


@pytest.mark.parametrize(
    "text",
    [
        None,
        True,
        "",
        " ",
        "less than a minute ago",
        "Fri May 15 14:36:54 BST 2009",
        "Fri Foo 15 14:36:54 UTC 2009",
        "32 May 2009",
        "1" * 13 + "0" * 4,
        10**30,
        float("nan"),
        [],
        {},
    ],
)
def test_what_is_no_time_is_none(text: object) -> None:
    """Anything else is None, never an error and never a guess."""
    assert workbooks.parse_time(text) is None


@pytest.mark.parametrize(
    "value, text",
    [
        (None, ":null_value:"),
        ("", ""),
        (True, "1"),
        (False, "0"),
        (7, "7"),
        (1.5, "1.5"),
        (["a", "b"], "[a,b]"),
        ([], "[]"),
        ("Ann & Bo", "Ann & Bo"),
    ],
)
def test_values_on_the_wire(value: records.Value, text: str) -> None:
    """Null, blank and the booleans each have their own spelling."""
    assert encoded(value) == text


@pytest.mark.parametrize(
    "value", [":no_value:", ":null_value:", " :null_value: ", float("inf"), "\ud800", ["a,b"], ["[x"]]
)
def test_values_the_wire_cannot_carry(value: records.Value) -> None:
    """A text that would mean something else to the vendor is refused, not sent."""
    with pytest.raises(ValueError, match=r"\w+"):
        encoded(value)


@pytest.mark.parametrize(
    "name, sent",
    [
        ("name", "name"),
        ("main_location[email]", "main_location[email]"),
        ("org_lead_party[main_location[email]]", "org_lead_party[main_location][email]"),
    ],
)
def test_nested_names_are_unnested(name: str, sent: str) -> None:
    """Doubly nested names are sent flat, as the vendor's own client sends them."""
    assert unnested(name) == sent


def test_a_batch_is_square() -> None:
    """The body of a mixed batch, byte for byte: the filter, then every object with the same names."""
    form = Form()
    squared(
        form,
        [
            workbooks.Write(0, 0, {"main_location[email]": "ann@x.test", "name": "Ann Lee"}),
            workbooks.Write(52, 4, {"name": "Bo Ray", "no_email_soliciting": True, "lock_version": 9}),
        ],
    )
    assert form.body() == (
        b"_fm=or&_ff[]=id&_ft[]=eq&_fc[]=0&_ff[]=id&_ft[]=eq&_fc[]=52"
        b"&__method[]=POST&id[]=0&lock_version[]=0&main_location%5Bemail%5D[]=ann%40x.test&name[]=Ann+Lee"
        b"&no_email_soliciting[]=%3Ano_value%3A"
        b"&__method[]=PUT&id[]=52&lock_version[]=4&main_location%5Bemail%5D[]=%3Ano_value%3A&name[]=Bo+Ray"
        b"&no_email_soliciting[]=1"
    )


def test_a_list_of_values_escapes_its_commas() -> None:
    """A comma in a value is not taken for the next value."""
    assert workbooks.one_of([7, "a,b", "c"]) == r"7,a\,b,c"
