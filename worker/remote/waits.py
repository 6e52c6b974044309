"""How long a vendor asks us to wait, and what time it is there, read from headers in every form that was seen."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SHORTEST_S = 1.0
LONGEST_S = 7200.0
"""Asked again at least this often, so that a senseless time (the year 2099) cannot stall a stream for ever."""
_EPOCH_FROM = 1e9
_MILLISECONDS_FROM = 1e11


def told(headers: Mapping[str, str], server_time: datetime) -> float | None:
    """Return the seconds to wait: Retry-After, else X-RateLimit-Reset; None when neither tells a sensible time.

    Outreach describes Retry-After as an alias of its reset (epoch seconds); 503 carries an ISO time; proxies send plain
    seconds or an HTTP date. Compared with the server's own clock. A time just past means a wait of one second.
    """
    for name in ("retry-after", "x-ratelimit-reset"):
        at = moment(headers.get(name), server_time)
        if at is not None:
            return min(max((at - server_time).total_seconds(), SHORTEST_S), LONGEST_S)
    return None


def asked(status: int, headers: Mapping[str, str], server_time: datetime) -> float | None:
    """Return for how many seconds an answer of this status asks to be left alone; None if it does not."""
    return told(headers, server_time) if status in {429, 503} else None


def moment(text: str | None, server_time: datetime) -> datetime | None:
    """Return the moment a header names: epoch seconds, seconds from now, an HTTP date or an ISO date; else None."""
    text = (text or "").strip()
    if not text:
        return None
    number = _number(text)
    if number is None:
        return http_date(text) or (iso_date(text) if "-" in text else None)
    if number < 0:
        return None
    if number >= _MILLISECONDS_FROM:
        number /= 1000.0
    try:
        if number >= _EPOCH_FROM:
            return datetime.fromtimestamp(number, UTC)
        return server_time + timedelta(seconds=number)
    except (OverflowError, ValueError, OSError):
        return None


def first_number(text: str | None) -> int | None:
    """Return the first whole number of a header that may hold several, comma separated; else None."""
    found = re.match(r"\s*(-?\d{1,15})(?:\s|,|;|$)", text or "")
    return int(found[1]) if found else None


def http_date(text: str) -> datetime | None:
    """Return an HTTP date (RFC 9110, 5.6.7) as aware UTC, or None."""
    if ":" not in text:
        return None
    try:
        return _utc(parsedate_to_datetime(_unleapt(text)))
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def iso_date(text: str) -> datetime | None:
    """Return an ISO 8601 date or time as aware UTC (UTC where it names no zone), or None."""
    try:
        return _utc(datetime.fromisoformat(_unleapt(text)))
    except (ValueError, OverflowError):
        return None


def _unleapt(text: str) -> str:
    """Return a time with the second before a leap second in its place, which nobody here can count (RFC 3339, appendix D)."""
    if ":60" not in text:  # every page asks this a thousand times
        return text
    return re.sub(r"(?<=:[0-5]\d):60(?!\d)", ":59", text)


def _number(text: str) -> float | None:
    """Return the finite number that ``text`` begins with, alone or before a comma."""
    if not re.fullmatch(r"[+-]?\d{1,20}(\.\d{1,9})?", head := text.partition(",")[0].strip()):
        return None
    number = float(head)
    return number if math.isfinite(number) else None


def _utc(at: datetime) -> datetime:
    """Return ``at`` as aware UTC."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
