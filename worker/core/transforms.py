"""Values: how one is read from a record, put into the other side's form, and compared."""

from __future__ import annotations

import functools
import re
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

    from worker.core.records import Snapshot, Value


class Absent:
    """The answer did not tell this value. It is neither null nor empty, and decides nothing."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return the word used in explanations."""
        return "absent"


ABSENT: Final = Absent()


class Compare(StrEnum):
    """When two values count as the same."""

    TEXT = "text"
    EMAIL = "email"
    PHONE = "phone"
    INTEGER = "integer"
    DATETIME = "datetime"
    FLAG = "flag"


_ELEMENT = re.compile(r"^(?P<name>\w+)\[(?P<index>\d+)\]$")
# C0 and C1 control characters but tab, newline and carriage return: no form field takes them, and some break pages.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_TRUE = frozenset({"true", "t", "on", "1", "yes", "y"})
_EXTENSION = re.compile(r"(?i)\s*(?:#|x|ext(?:n|ension)?)[.:]?\s*(\d+)$")
_NO_DIGITS = re.compile(r"[^0-9]+")
FORMS = ("%a %b %d %H:%M:%S UTC %Y", "%a %b %d %H:%M:%S GMT %Y", "%a %b %d %H:%M:%S %z %Y")
_SHORTEST_NATIONAL = 7
_LONGEST_COUNTRY_CODE = 3


@functools.lru_cache(maxsize=512)
def split_path(path: str) -> tuple[str, int | None]:
    """Return the attribute and the array index of ``emails[0]``; the index is None for a plain attribute."""
    match = _ELEMENT.match(path)
    return (match["name"], int(match["index"])) if match else (path, None)


def read(path: str, fields: Mapping[str, Value]) -> Value | Absent:
    """Return what ``fields`` holds at ``path``; an array that is too short holds null there."""
    name, index = split_path(path)
    if name not in fields:
        return ABSENT
    value = fields[name]
    if index is None:
        return value
    if not isinstance(value, list):
        return None
    return value[index] if index < len(value) else None


def put(path: str, fields: Mapping[str, Value], value: Value) -> tuple[str, Value]:
    """Return the attribute to write, and its new value, so that ``path`` holds ``value``.

    The other elements of an array all stay, in their order. A value that stands further back moves to the front; a
    blank takes the element out.
    """
    name, index = split_path(path)
    if index is None:
        return name, value
    held = fields.get(name)
    items = held if isinstance(held, list) else []
    rest = [item for place, item in enumerate(items) if place != index and not is_blank(item)]
    if is_blank(value):
        return name, rest
    rest = [item for item in rest if item.casefold() != str(value).casefold()]
    return name, [*rest[:index], str(value), *rest[index:]]


def is_blank(value: Value | Absent) -> bool:
    """Tell whether a person would see an empty field."""
    return value is None or value == [] or (isinstance(value, str) and not clean(value))


def clean(text: str) -> str:
    """Return the text as both sides store it: trimmed, no control characters, one kind of line end."""
    if text.isprintable():  # nearly every one, and then there is nothing to be replaced
        return text.strip()
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def flag(value: Value | Absent) -> bool:
    """Return a flag as the CRM reads one: true, t, on, 1, yes, y are true, anything else false (manual, booleans)."""
    return value is True or value == 1 or (isinstance(value, str) and value.strip().lower() in _TRUE)


def same(compare: Compare, left: Value | Absent, right: Value | Absent) -> bool:
    """Tell whether two values count as the same. Null and empty are both blank here; absent equals only absent."""
    if isinstance(left, Absent) or isinstance(right, Absent):
        return left is right
    if type(left) is type(right) and left == right:
        return True
    if compare is Compare.PHONE:
        return _same_phone(str(left or ""), str(right or ""))
    return normal(compare, left) == normal(compare, right)


def normal(compare: Compare, value: Value) -> Value:
    """Return the form in which equal values are equal; fingerprints are made of these."""
    if compare is Compare.FLAG:
        return flag(value)
    if is_blank(value):
        return None
    if isinstance(value, list):
        return [clean(str(item)) for item in value]
    text = clean(str(value))
    if compare is Compare.EMAIL:
        return text.casefold()
    if compare is Compare.PHONE:
        digits, extension = _number(text)
        return f"{digits}x{extension}" if digits and extension else digits or text
    if compare is Compare.INTEGER:
        return int(text.split(".")[0]) if re.fullmatch(r"-?\d{1,18}(\.0+)?", text) else text
    if compare is Compare.DATETIME:
        at = parse_time(text)
        return at.isoformat() if at else text
    return text


def to_crm(compare: Compare, value: Value) -> Value:
    """Return a value of Outreach, or one worked out, as it is written to the CRM."""
    if compare is Compare.FLAG:
        return flag(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list):
        return ", ".join(clean(str(item)) for item in value)
    if compare is Compare.DATETIME:
        at = parse_time(value)
        return crm_time(at) if at else clean(value)
    return clean(value)


def to_outreach(compare: Compare, value: Value) -> Value:
    """Return a value of the CRM as it is written to Outreach; a blank becomes null."""
    if compare is Compare.FLAG:
        return flag(value)
    if is_blank(value):
        return None
    if compare is Compare.DATETIME:
        at = parse_time(value)
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else value
    if compare is Compare.INTEGER:
        return normal(compare, value)
    return clean(value) if isinstance(value, str) else value


def crm_time(at: datetime) -> str:
    """Return a moment as Workbooks prints and reads it, second and zone included (manual, date formats)."""
    return at.astimezone(UTC).strftime("%a %b %d %H:%M:%S UTC %Y")


def parse_time(text: Value) -> datetime | None:
    """Return the moment, aware UTC, from ISO 8601, the CRM's own format or epoch seconds; None if it is none."""
    if isinstance(text, bool) or text is None or isinstance(text, list):
        return None
    try:
        return _moment(text)  # one decision looks at the same moment several times
    except (ValueError, OverflowError, OSError):  # a year that no calendar here reaches
        return None


@functools.lru_cache(maxsize=4096)
def _moment(text: str | float) -> datetime:
    if isinstance(text, int | float) or re.fullmatch(r"\d{9,11}", text):
        return datetime.fromtimestamp(float(text), UTC)
    text = text.strip()
    for form in () if text[:1].isdecimal() else FORMS:
        try:
            at = datetime.strptime(text, form)  # noqa: DTZ007 - the format itself says UTC
        except ValueError:
            continue
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    at = datetime.fromisoformat(text)
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def local_date(text: Value, zone: ZoneInfo) -> date | None:
    """Return the day on which a moment falls in the mapping's time zone."""
    at = parse_time(text)
    return at.astimezone(zone).date() if at else None


def crm_date(day: date) -> str:
    """Return a day as Workbooks reads one (manual's samples: ``2023-06-26``)."""
    return day.isoformat()


def address(value: Value | Absent) -> str | None:
    """Return an e-mail address in the form in which two are compared, or None if it is none."""
    if not isinstance(value, str):
        return None
    text = clean(value).casefold()
    return text if "@" in text else None


def addresses(snapshot: Snapshot, names: tuple[str, ...]) -> frozenset[str]:
    """Return every e-mail address that ``snapshot`` holds under ``names``, each a field or an array of them."""
    found: set[str] = set()
    for name in names:
        value = snapshot.fields.get(name)
        for item in value if isinstance(value, list) else [value]:
            text = address(item)
            if text:
                found.add(text)
    return frozenset(found)


def _international(text: str) -> bool:
    return text.lstrip("( ").startswith(("+", "00"))


def _number(text: str) -> tuple[str, str]:
    """Return the digits of a phone number without what is dialled before it, and those of its extension."""
    # Looked for only where its sign is: a search from every digit on to the end is most of what a number costs.
    found = _EXTENSION.search(text) if "#" in text or "x" in text.lower() else None
    main = text[: found.start()] if found else text
    main = main.replace("(0)", "") if _international(main) else main
    return _NO_DIGITS.sub("", main).lstrip("0"), found[1] if found else ""


def _same_phone(left: str, right: str) -> bool:
    """020 7946 0000 is +44 20 7946 0000: a number without country code equals one that has one and ends in it."""
    short, long = sorted((clean(left), clean(right)), key=lambda text: len(_number(text)[0]))
    (one, one_extension), (two, two_extension) = _number(short), _number(long)
    if not one or one_extension != two_extension:
        return short == long
    return one == two or (
        _international(long)
        and not _international(short)
        and len(one) >= _SHORTEST_NATIONAL
        and len(two) - len(one) <= _LONGEST_COUNTRY_CODE
        and two.endswith(one)
    )
