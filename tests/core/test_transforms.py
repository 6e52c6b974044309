"""Values: read, put, compared, and turned into the other side's form."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.makers import SOME, person, prospect
from worker.core import transforms
from worker.core.mapping import PERSON_ADDRESSES
from worker.core.transforms import ABSENT, Compare

# ---- phones

LONDON = ["020 7946 0000", "+44 20 7946 0000", "+44 (0)20 7946 0000", "0044 20 7946 0000", "0044 (0) 20-7946.0000"]
LONDON += ["(020) 79460000", "+442079460000", " +44 20 7946 0000\t", "(+44) 20 7946 0000", "02079460000"]


@pytest.mark.parametrize("left", LONDON)
@pytest.mark.parametrize("right", LONDON)
def test_one_number_written_in_many_ways(left: str, right: str) -> None:
    """Punctuation, trunk zero and country code do not make another number."""
    assert transforms.same(Compare.PHONE, left, right)


@pytest.mark.parametrize(
    "left, right",
    [
        ("020 7946 0000", "020 7946 0001"),
        ("+44 20 7946 0000", "+33 20 7946 0000"),  # both say their country
        ("+44 20 7946 0000", "0033 20 7946 0000"),
        ("212 555 0100", "555 0100"),  # the area code was added: neither has a country's
        ("020 7946 0000", "7946 0000"),
        ("+1 212 555 0100", "212 555 0101"),
        ("+44 20 7946 0000", "0000"),  # too short to be a number without its country
        ("+44 20 7946 0000", "946 000"),
        ("+9999 212 555 0100", "212 555 0100"),  # no country code has four digits
        ("020 7946 0000", ""),
        ("020 7946 0000", None),
        ("ask at the desk", "ask at the door"),
        ("ask at the desk", None),
        ("020 7946 0000 x12", "020 7946 0000"),
        ("020 7946 0000 x12", "020 7946 0000 ext. 13"),
    ],
)
def test_different_numbers_differ(left: str, right: str | None) -> None:
    """A number that reaches somebody else is another number, whichever side holds it."""
    assert not transforms.same(Compare.PHONE, left, right)
    assert not transforms.same(Compare.PHONE, right, left)


@pytest.mark.parametrize("left", ["+44 20 7946 0000 x12", "020 7946 0000 ext 12", "(020) 7946 0000, ext. 12"])
def test_extensions_are_compared_as_numbers_too(left: str) -> None:
    """However it is written, an extension is part of the number."""
    assert transforms.same(Compare.PHONE, left, "+44 20 7946 0000 extension 12")
    assert transforms.same(Compare.PHONE, left, "020 7946 0000 #12")


@pytest.mark.parametrize("left, right", [(None, ""), ("", "  "), (None, None), ("ask Ann", " ask Ann ")])
def test_phones_that_are_none(left: str | None, right: str | None) -> None:
    """Blank is blank, and a text without a digit equals itself."""
    assert transforms.same(Compare.PHONE, left, right)


@given(
    left=st.text("0123456789+() -xa", max_size=16),
    right=st.text("0123456789+() -xa", max_size=16),
)
@SOME
def test_an_edit_of_a_phone_is_noticed(left: str, right: str) -> None:
    """Two phones with one fingerprint are one phone: else an edit would never reach the other side."""
    if transforms.normal(Compare.PHONE, left) == transforms.normal(Compare.PHONE, right):
        assert transforms.same(Compare.PHONE, left, right)
    assert transforms.same(Compare.PHONE, left, right) == transforms.same(Compare.PHONE, right, left)


# ---- equal and blank


@pytest.mark.parametrize(
    "compare, left, right, same",
    [
        (Compare.EMAIL, "Ada@Example.COM", "ada@example.com", True),
        (Compare.EMAIL, "STRASSE@example.com", "straße@example.com", True),
        (Compare.EMAIL, " ada@example.com ", "ada@example.com", True),
        (Compare.EMAIL, "ada@example.com", "ada@example.org", False),
        (Compare.TEXT, "Analyst", "analyst", False),
        (Compare.TEXT, "Analyst ", " Analyst", True),
        (Compare.TEXT, "one\r\ntwo", "one\ntwo", True),
        (Compare.TEXT, "one\rtwo", "one\ntwo", True),
        (Compare.TEXT, "one\ntwo", "one two", False),
        (Compare.TEXT, "a\x00b\x07c\x9f", "abc", True),
        (Compare.TEXT, "a\tb", "ab", False),
        (Compare.TEXT, "👩\u200d🚀 Ada", "👩\u200d🚀 Ada", True),
        (Compare.TEXT, "👩 Ada", "👨 Ada", False),
        (Compare.TEXT, None, "", True),
        (Compare.TEXT, "\x00", None, True),
        (Compare.TEXT, [], None, True),
        (Compare.TEXT, "0", None, False),
        (Compare.TEXT, 0, "0", True),
        (Compare.TEXT, 5, "5", True),
        (Compare.TEXT, ["a ", "b"], ["a", "b"], True),
        (Compare.TEXT, ["a", "b"], ["b", "a"], False),
        (Compare.INTEGER, 3, "3", True),
        (Compare.INTEGER, "3.0", 3, True),
        (Compare.INTEGER, "-3", -3, True),
        (Compare.INTEGER, "three", "three", True),
        (Compare.INTEGER, 3, 4, False),
        (Compare.INTEGER, 0, None, False),
        (Compare.INTEGER, "9007199254740993", "9007199254740992", False),
        (Compare.INTEGER, "9" * 400, "9" * 400, True),
        (Compare.FLAG, "true", True, True),
        (Compare.FLAG, None, False, True),
        (Compare.FLAG, "false", True, False),
        (Compare.DATETIME, "2026-03-02T10:00:00.000Z", "Mon Mar 02 10:00:00 UTC 2026", True),
        (Compare.DATETIME, "2026-03-02T12:00:00+02:00", "2026-03-02T10:00:00Z", True),
        (Compare.DATETIME, "2026-03-02T10:00:01Z", "2026-03-02T10:00:00Z", False),
        (Compare.DATETIME, "soon", "soon", True),
        (Compare.DATETIME, "soon", "2026-03-02T10:00:00Z", False),
    ],
)
def test_when_values_count_as_the_same(compare: Compare, left: object, right: object, same: bool) -> None:
    """Values are compared as their kind asks; null and empty are both blank."""
    assert transforms.same(compare, left, right) is same  # type: ignore[arg-type]
    assert transforms.same(compare, right, left) is same  # type: ignore[arg-type]


@pytest.mark.parametrize("compare", list(Compare))
@pytest.mark.parametrize("value", [None, "", "x", [], False])
def test_absent_equals_only_absent(compare: Compare, value: str | None) -> None:
    """What was not told is not the same as anything that was, blank or not."""
    assert not transforms.same(compare, ABSENT, value)
    assert not transforms.same(compare, value, ABSENT)
    assert transforms.same(compare, ABSENT, ABSENT)


def test_absent_reads_as_such() -> None:
    """In an explanation, what was not told is called absent."""
    assert repr(ABSENT) == "absent"


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=12)


@given(compare=st.sampled_from(Compare), value=SCALARS | st.lists(st.text(max_size=4), max_size=3))
@SOME
def test_every_value_is_the_same_as_itself(compare: Compare, value: object) -> None:
    """Whatever the kind of comparison, a value equals itself, and its normal form is normal."""
    assert transforms.same(compare, value, value)  # type: ignore[arg-type]
    normal = transforms.normal(compare, value)  # type: ignore[arg-type]
    assert transforms.normal(compare, normal) == normal or compare is Compare.PHONE


@given(text=st.text())
@SOME
def test_clean_text_is_clean(text: str) -> None:
    """Cleaning twice is cleaning once; no control character but tab and newline is left."""
    cleaned = transforms.clean(text)
    assert transforms.clean(cleaned) == cleaned
    assert not {ord(letter) for letter in cleaned} & ({*range(32), *range(127, 160)} - {9, 10})


@pytest.mark.parametrize("value", [True, 1, "true", "T", " on ", "1", "yes", "Y", "TRUE"])
def test_true_as_the_crm_reads_it(value: object) -> None:
    """The CRM's six words for true, in any case, and one are true."""
    assert transforms.flag(value) is True  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [False, 0, 2, "false", "f", "off", "0", "no", "", "2", None, ABSENT, ["true"]])
def test_false_is_anything_else(value: object) -> None:
    """Whatever is no word for true is false."""
    assert transforms.flag(value) is False  # type: ignore[arg-type]


# ---- paths and lists


@pytest.mark.parametrize(
    "path, fields, value",
    [
        ("title", {"title": "Analyst"}, "Analyst"),
        ("title", {"title": None}, None),
        ("title", {"title": ""}, ""),
        ("title", {}, ABSENT),
        ("emails[0]", {}, ABSENT),
        ("emails[0]", {"emails": None}, None),
        ("emails[0]", {"emails": []}, None),
        ("emails[0]", {"emails": ["a", "b"]}, "a"),
        ("emails[1]", {"emails": ["a", "b"]}, "b"),
        ("emails[2]", {"emails": ["a", "b"]}, None),
        ("emails[0]", {"emails": [""]}, ""),
        ("emails[0]", {"emails": "a"}, None),
    ],
)
def test_absent_null_and_empty_are_kept_apart(path: str, fields: dict[str, object], value: object) -> None:
    """A path tells what the record holds there; a list that is too short holds null, one that was not told is absent."""
    assert transforms.read(path, fields) == value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "held, path, value, written",
    [
        (["a", "b", "c"], "emails[0]", "x", ["x", "b", "c"]),
        (["a", "b", "c"], "emails[1]", "x", ["a", "x", "c"]),
        (["a", "b", "c"], "emails[0]", "c", ["c", "b"]),
        (["a", "b", "c"], "emails[0]", "C", ["C", "b"]),
        (["a", "b", "c"], "emails[0]", None, ["b", "c"]),
        (["a", "b", "c"], "emails[0]", "  ", ["b", "c"]),
        (["a"], "emails[0]", None, []),
        ([], "emails[0]", None, []),
        ([], "emails[0]", "x", ["x"]),
        (None, "emails[0]", "x", ["x"]),
        (["", "b"], "emails[0]", "x", ["x", "b"]),
        (["a", "", "c"], "emails[0]", "x", ["x", "c"]),
        (["", "b"], "emails[0]", None, ["b"]),
        (["a"], "emails[1]", "x", ["a", "x"]),
    ],
)
def test_putting_into_a_list(held: list[str] | None, path: str, value: str | None, written: list[str]) -> None:
    """A value takes its place, a blank leaves it; all the others stay, in their order."""
    assert transforms.put(path, {"emails": held}, value) == ("emails", written)


def test_putting_a_plain_value() -> None:
    """A plain attribute is written as it is, null too."""
    assert transforms.put("title", {"title": "Analyst"}, None) == ("title", None)


ITEMS = st.lists(st.text("abcA ", max_size=3), max_size=5)


@given(held=ITEMS, value=st.text("abcA", min_size=1, max_size=3), index=st.integers(0, 2))
@SOME
def test_what_is_put_is_read_back(held: list[str], value: str, index: int) -> None:
    """After a put the path reads the value, and the other elements are all still there, in their order."""
    full = [item for item in held if item.strip()]
    others = [item for place, item in enumerate(held) if place != index and item.strip()]
    rest = [item for item in others if item.casefold() != value.casefold()]
    name, written = transforms.put(f"emails[{index}]", {"emails": held}, value)
    assert isinstance(written, list)
    if index == 0 or (full == held and len(rest) >= index):
        assert transforms.read(f"emails[{index}]", {name: written}) == value
    written.remove(value)
    assert written == rest


@given(held=ITEMS, index=st.integers(0, 2))
@SOME
def test_a_blank_takes_out_one_element_only(held: list[str], index: int) -> None:
    """Emptying a path takes that element, and nothing else that anybody could see."""
    _, written = transforms.put(f"emails[{index}]", {"emails": held}, "")
    assert written == [item for place, item in enumerate(held) if place != index and item.strip()]


def test_addresses_of_both_sides() -> None:
    """Every address of a prospect, and main and alternate address of a person, in lower case; what is none is left out."""
    found = transforms.addresses(prospect(emails=["Ada@Example.com ", "none", "", "b@example.org"]), ("emails",))
    assert found == {"ada@example.com", "b@example.org"}
    one = person({"main_location[email]": "ADA@example.com", "main_location[alternate_email]": None})
    assert transforms.addresses(one, PERSON_ADDRESSES) == {"ada@example.com"}
    assert transforms.addresses(prospect(emails=None), ("emails",)) == frozenset()


# ---- times


@pytest.mark.parametrize(
    "text, moment",
    [
        ("2026-03-02T10:00:00.000Z", datetime(2026, 3, 2, 10, tzinfo=UTC)),
        ("2026-03-02T10:00:00.250Z", datetime(2026, 3, 2, 10, 0, 0, 250_000, tzinfo=UTC)),
        ("2026-03-02T10:00:00+13:00", datetime(2026, 3, 1, 21, tzinfo=UTC)),
        ("2026-03-02 10:00:00", datetime(2026, 3, 2, 10, tzinfo=UTC)),
        ("2026-03-02", datetime(2026, 3, 2, tzinfo=UTC)),
        ("Mon Mar 02 10:00:00 UTC 2026", datetime(2026, 3, 2, 10, tzinfo=UTC)),
        ("Mon Mar  2 10:00:00 GMT 2026", datetime(2026, 3, 2, 10, tzinfo=UTC)),
        ("Mon Mar 02 10:00:00 +0100 2026", datetime(2026, 3, 2, 9, tzinfo=UTC)),
        ("1772445600", datetime(2026, 3, 2, 10, tzinfo=UTC)),
        (1772445600, datetime(2026, 3, 2, 10, tzinfo=UTC)),
        (1772445600.5, datetime(2026, 3, 2, 10, 0, 0, 500_000, tzinfo=UTC)),
        (" 2026-03-02T10:00:00Z ", datetime(2026, 3, 2, 10, tzinfo=UTC)),
        ("", None),
        ("soon", None),
        ("2026-02-30", None),
        (None, None),
        (True, None),
        (["2026-03-02"], None),
        (10**20, None),
        (float("inf"), None),
        (float("nan"), None),
        ("0001-01-01T00:00:00+10:00", None),
    ],
)
def test_reading_a_moment(text: object, moment: datetime | None) -> None:
    """ISO 8601, the CRM's own format and epoch seconds are read as aware UTC, anything else as no time."""
    assert transforms.parse_time(text) == moment  # type: ignore[arg-type]


def test_the_crms_format() -> None:
    """A moment is printed with its second and zone, as the CRM's manual has it."""
    zone = timezone(timedelta(hours=2))
    assert transforms.crm_time(datetime(2026, 11, 20, 17, 0, 5, tzinfo=zone)) == "Fri Nov 20 15:00:05 UTC 2026"
    assert transforms.crm_date(date(2026, 6, 7)) == "2026-06-07"


MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds it


@given(moment=MOMENTS)
@SOME
def test_a_moment_comes_back_from_either_side(moment: datetime) -> None:
    """A moment printed for the CRM or for Outreach is read back as it was, to the second or to the millisecond."""
    assert transforms.parse_time(transforms.crm_time(moment)) == moment.replace(microsecond=0)
    written = transforms.to_outreach(Compare.DATETIME, transforms.crm_time(moment))
    assert transforms.parse_time(written) == moment.replace(microsecond=0)


@pytest.mark.parametrize(
    "text, zone, day",
    [
        ("2026-03-02T10:00:00Z", "UTC", date(2026, 3, 2)),
        ("2026-03-02T11:30:00Z", "Pacific/Auckland", date(2026, 3, 3)),
        ("2026-03-02T03:00:00Z", "America/New_York", date(2026, 3, 1)),
        (None, "UTC", None),
        ("soon", "UTC", None),
    ],
)
def test_the_day_in_the_mappings_zone(text: str | None, zone: str, day: date | None) -> None:
    """A moment falls on the day that people of the mapping's time zone call it."""
    assert transforms.local_date(text, ZoneInfo(zone)) == day


# ---- the other side's form


@pytest.mark.parametrize(
    "compare, value, written",
    [
        (Compare.TEXT, " Analyst\r\n", "Analyst"),
        (Compare.TEXT, None, None),
        (Compare.TEXT, "", ""),
        (Compare.TEXT, ["a ", "b"], "a, b"),
        (Compare.TEXT, 5, 5),
        (Compare.INTEGER, 3, 3),
        (Compare.FLAG, "yes", True),
        (Compare.FLAG, None, False),
        (Compare.DATETIME, "2026-03-02T10:00:00.123Z", "Mon Mar 02 10:00:00 UTC 2026"),
        (Compare.DATETIME, "soon ", "soon"),
        (Compare.PHONE, "+44 20 7946 0000 ", "+44 20 7946 0000"),
    ],
)
def test_values_for_the_crm(compare: Compare, value: object, written: object) -> None:
    """A value of Outreach is written to the CRM clean and in the CRM's own form; null and empty stay what they are."""
    assert transforms.to_crm(compare, value) == written  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "compare, value, written",
    [
        (Compare.TEXT, " Analyst\r\n", "Analyst"),
        (Compare.TEXT, "", None),
        (Compare.TEXT, "\t", None),
        (Compare.TEXT, None, None),
        (Compare.TEXT, 5, 5),
        (Compare.INTEGER, "3", 3),
        (Compare.INTEGER, "", None),
        (Compare.FLAG, "yes", True),
        (Compare.FLAG, "", False),
        (Compare.DATETIME, "Mon Mar 02 10:00:00 UTC 2026", "2026-03-02T10:00:00.000Z"),
        (Compare.DATETIME, "", None),
        (Compare.DATETIME, "soon", "soon"),
    ],
)
def test_values_for_outreach(compare: Compare, value: object, written: object) -> None:
    """A value of the CRM is written to Outreach clean and in Outreach's own form; a blank is null."""
    assert transforms.to_outreach(compare, value) == written  # type: ignore[arg-type]
