"""How Workbooks writes things down: form bodies of square arrays, values with sentinels, times in three dialects."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from worker.remote import waits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from worker.core import records

NULL = ":null_value:"
UNTOUCHED = ":no_value:"
"""Both mean something to the vendor wherever they stand as a value (facts, section 4): no text may look like them."""

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UTC_NAMES = {"UTC", "GMT", "Z", "+0000", "+00:00"}
_LONG = re.compile(
    r"[A-Za-z]{3,9},? +(?P<month>[A-Za-z]{3,9}) +(?P<day>\d{1,2}) +(?P<h>\d{1,2}):(?P<m>\d\d):(?P<s>\d\d)"
    r" +(?P<zone>[A-Za-z]+|[+-]\d\d:?\d\d) +(?P<year>\d{4})"
)
_DATE = re.compile(r"(?P<day>\d{1,2}) +(?P<month>[A-Za-z]{3,9}) +(?P<year>\d{4})")
_MILLISECONDS_FROM = 1e11


@dataclass(frozen=True, slots=True)
class Write:
    """One object to save: ``id`` 0 creates. ``reference`` is how a create's reply will be known again.

    ``hide`` is what else is known of somebody and must not be quoted from the reply, beside the values that are sent.
    """

    id: int
    version: int
    fields: Mapping[str, records.Value]
    reference: str | None = None
    hide: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Applied:
    """Saved. ``fields`` holds only what the reply told, under the vendor's names."""

    id: int
    version: int | None
    fields: Mapping[str, records.Value]
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Surely not saved. ``errors``: field → the vendor's words; field "" when it names none. ``status`` is the answer's."""

    errors: Mapping[str, str]
    status: int = 200


@dataclass(frozen=True, slots=True)
class Stale:
    """Not saved, for somebody saved the record since we read it."""

    words: str


@dataclass(frozen=True, slots=True)
class Uncertain:
    """Nobody knows: look it up before anything else is done with it."""

    words: str


Outcome = Applied | Refused | Stale | Uncertain


@dataclass(frozen=True, slots=True)
class Form:
    """A form body under way: pairs in the order they are sent, ``name[]`` for arrays."""

    pairs: list[tuple[str, str]] = field(default_factory=list, repr=False)

    def add(self, name: str, value: object) -> None:
        """Put one more pair at the end."""
        self.pairs.append((name, str(value)))

    def body(self) -> bytes:
        """Return the body as the vendor's PHP client encodes it: only the last ``[]`` of a name stays bare."""
        return "&".join(f"{_quoted(name)}={quote_plus(value)}" for name, value in self.pairs).encode()


def _quoted(name: str) -> str:
    """Return a parameter's name percent-encoded."""
    return f"{quote_plus(name[:-2])}[]" if name.endswith("[]") else quote_plus(name)


def squared(form: Form, writes: Sequence[Write]) -> None:
    """Add the filter of the touched ids and the square arrays: every object carries the same names."""
    form.add("_fm", "or")
    for write in writes:
        form.add("_ff[]", "id")
        form.add("_ft[]", "eq")
        form.add("_fc[]", write.id)
    columns = sorted({name for write in writes for name in write.fields} - {"id", "lock_version"})
    for write in writes:
        form.add("__method[]", "PUT" if write.id else "POST")
        form.add("id[]", write.id)
        form.add("lock_version[]", write.version if write.id else 0)
        for name in columns:
            form.add(f"{unnested(name)}[]", encoded(write.fields[name]) if name in write.fields else UNTOUCHED)


def unnested(name: str) -> str:
    """Return ``a[b[c]]`` as ``a[b][c]``, the form in which nested names are sent; replies keep the other."""
    if not name.endswith("]]"):
        return name
    first, *others = [part for part in re.split(r"[\[\]]+", name) if part]
    return first + "".join(f"[{part}]" for part in others)


def encoded(value: records.Value) -> str:
    """Return a value as the form carries it; raises ValueError in one sentence for what it cannot carry."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, list):
        if any("," in item or "[" in item or "]" in item for item in value):
            raise ValueError("an element of a list may hold neither a comma nor a bracket")
        return f"[{','.join(value)}]"
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not a number")
    text = str(value)
    if text.strip() in {NULL, UNTOUCHED}:
        raise ValueError("this text has a meaning of its own to Workbooks and cannot be saved")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text is no valid Unicode") from None
    return text


def one_of(values: Iterable[str | int]) -> str:
    """Return the value of an ``eq`` filter that matches any of ``values``, their commas escaped (manual, Filtering)."""
    return ",".join(str(value).replace(",", "\\,") for value in values)


def api_time(at: datetime) -> str:
    """Return ``at`` in UTC as Workbooks writes it, ``Fri Nov 20 15:00:00 UTC 2026``, whatever the locale."""
    at = at.astimezone(UTC)
    return f"{_DAYS[at.weekday()]} {_MONTHS[at.month - 1]} {at.day:02d} {at:%H:%M:%S} UTC {at.year:04d}"


def parse_time(value: object) -> datetime | None:
    """Return a time in any form Workbooks writes as aware UTC, None for anything else.

    Forms: its own long one, ``22 May 2009``, ISO 8601, a var_date_time (its first part), epoch seconds or milliseconds
    as a number or in digits. One without a zone is UTC (manual, Dates and Times).
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _from_epoch(value)
    if not isinstance(value, str):
        return None
    text = value.partition(",0,")[0].partition(",1,")[0].strip()
    if re.fullmatch(r"-?\d{9,14}(\.\d+)?", text):
        return _from_epoch(float(text))
    for pattern in (_LONG, _DATE):
        found = pattern.fullmatch(text)
        if found:
            return _from_words(found.groupdict())
    return waits.iso_date(text) if "-" in text else None


def _from_epoch(number: float) -> datetime | None:
    """Return epoch seconds, or milliseconds when they are too many for seconds, as a time."""
    try:
        return datetime.fromtimestamp(number / 1000 if abs(number) >= _MILLISECONDS_FROM else number, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _from_words(parts: Mapping[str, str]) -> datetime | None:
    """Return a time written with the month's name, if it is a real one in UTC."""
    month = parts["month"][:3].title()
    if month not in _MONTHS or parts.get("zone", "UTC").upper() not in _UTC_NAMES:
        return None
    hour, minute, second = (int(parts.get(part, "0")) for part in ("h", "m", "s"))
    day, month_number = int(parts["day"]), _MONTHS.index(month) + 1
    try:
        return datetime(int(parts["year"]), month_number, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
