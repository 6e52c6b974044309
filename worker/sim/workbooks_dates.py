"""Dates and times as Workbooks writes and reads them.

Written: date ``22 May 2009`` (day padded with a space), datetime ``Fri May 15 14:36:54 UTC 2009``, always UTC, whole
seconds (README "Dates and Times"). Read: those, epoch integers, ISO with or without zone (as the vendor's samples
send); a time without a zone is in the user's zone. Held inside as epoch seconds (datetime), ``YYYY-MM-DD`` (date) and
the canonical text ``2023-09-01T16:30:00Z,1,Etc/UTC`` or ``2023-09-01,0,Etc/UTC`` (var_date_time).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo

DATE_FORMAT = "%e %b %Y"
TIME_FORMAT = "%H:%M:%S"
DATETIME_FORMAT = "%a %b %d %H:%M:%S %Z %Y"
DAY_SECONDS = 86_400
_DUE_HOUR = 17  # "Preferred Due time" of the one user, as in README's example
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.\d+)?)?"
_ZONE = r"(?P<zone>Z|UTC|GMT|Etc/UTC|[+-]\d\d:?\d\d)"
_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:[a-z]{{3,9}},? )?(?P<word>[a-z]{{3,9}}) +(?P<day>\d{{1,2}}) {_CLOCK} {_ZONE} (?P<year>\d{{4}})",
        rf"(?P<year>\d{{4}})-(?P<month>\d\d)-(?P<day>\d\d)(?:[T ]{_CLOCK} ?{_ZONE}?)?",
        rf"(?P<day>\d{{1,2}}) (?P<word>[a-z]{{3,9}}) (?P<year>\d{{4}})(?: {_CLOCK} ?{_ZONE}?)?",
    )
)


@dataclass(frozen=True, slots=True)
class Moment:
    """What a text named: ``start`` in epoch seconds and whether it named a time or only a day."""

    start: int
    has_time: bool

    @property
    def end(self) -> int:
        """The last second that is meant: the same for a time, the end of the day for a day."""
        return self.start if self.has_time else self.start + DAY_SECONDS - 1

    @property
    def day(self) -> str:
        """The day in UTC as ``YYYY-MM-DD``."""
        return day_of(self.start)


def day_of(epoch: int) -> str:
    """Return the day, in UTC, of a moment as ``YYYY-MM-DD``."""
    return datetime.fromtimestamp(epoch, UTC).date().isoformat()


@lru_cache(maxsize=65_536)
def read(text: str, zone: tzinfo) -> Moment:
    """Return the moment that a text names.

    Raises ValueError when it is none of the accepted forms.
    """
    text = text.split(",", 1)[0].strip()
    if re.fullmatch(r"-?\d+", text):
        return Moment(int(text), has_time=True)
    for pattern in _PATTERNS:
        found = pattern.fullmatch(text)
        if found:
            return _moment(found.groupdict(), zone)
    raise ValueError(f"'{text[:40]}' is not a date or time")


def _moment(part: dict[str, str | None], zone: tzinfo) -> Moment:
    month = int(part["month"] or 0) if "month" in part else _month(part["word"] or "")
    day = date(int(part["year"] or 0), month, int(part["day"] or 0))
    if part["hour"] is None:
        return Moment(int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()), has_time=False)
    clock = (int(part["hour"]), int(part["minute"] or 0), int(part["second"] or 0))
    at = datetime(day.year, day.month, day.day, *clock, tzinfo=_zone(part["zone"], zone))
    return Moment(int(at.timestamp()), has_time=True)


def _month(word: str) -> int:
    if word[:3].lower() not in _MONTHS:
        raise ValueError(f"'{word}' is not a month")
    return _MONTHS.index(word[:3].lower()) + 1


def _zone(text: str | None, default: tzinfo) -> tzinfo:
    if not text:
        return default
    if text[0] not in "+-":
        return UTC
    digits = text[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


@lru_cache(maxsize=65_536)
def tell_datetime(epoch: int, form: str = DATETIME_FORMAT) -> str:
    """Return a moment as the vendor writes it, or in a format the caller asked for (``%s`` is the epoch)."""
    return _strftime(datetime.fromtimestamp(epoch, UTC), form)


@lru_cache(maxsize=8_192)
def tell_date(day: str, form: str = DATE_FORMAT) -> str:
    """Return a day (``YYYY-MM-DD``) as the vendor writes it, or in a format the caller asked for."""
    return _strftime(datetime.fromisoformat(day).replace(tzinfo=UTC), form)


def _strftime(at: datetime, form: str) -> str:
    return at.strftime(form.replace("%s", str(int(at.timestamp()))).replace("%e", f"{at.day:2d}"))


def var_text(moment: Moment) -> str:
    """Return the canonical text of a var_date_time."""
    if not moment.has_time:
        return f"{moment.day},0,Etc/UTC"
    return datetime.fromtimestamp(moment.start, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") + ",1,Etc/UTC"


def var_day(text: str | None) -> str | None:
    """Return the ``<field>_date`` twin of a var_date_time."""
    return text[:10] if text else None


def var_epoch(text: str | None) -> int | None:
    """Return the ``<field>_datetime`` twin; of a mere day it is the user's preferred due time."""
    if not text:
        return None
    moment = read(text, UTC)
    return moment.start if moment.has_time else moment.start + _DUE_HOUR * 3600
