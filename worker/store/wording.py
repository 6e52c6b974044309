"""The words of SELECTION as a message says them: the names of the options, in JSON, turned into one Selection."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from worker.core import errors
from worker.store.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST = 2**63 - 1
"""What a 64-bit id can hold."""
HINT = "say which: --prospect, --person, --email, --sequence, --task, --since, --failed, --ids-from or --all"
_SPAN = re.compile(r"(\d{1,9})\s*([smhdw])", re.IGNORECASE)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SINCE = "--since: say how long ago, such as 30m, 2h or 3d, or a time such as 2026-11-20T09:00:00Z"
_IDS = {"prospect": "prospects", "person": "people", "sequence": "sequences", "task": "tasks"}
_FLAGS = {"failed": "failed", "all": "everyone"}


class Unclear(errors.OutbookError):
    """The words select nothing, or are no words of SELECTION."""


def moment_of(text: str, now: datetime) -> datetime:
    """Return the moment that ``--since`` names: so long before ``now``, or an ISO time (UTC unless it tells its zone)."""
    span = _SPAN.fullmatch(text.strip())
    try:
        if span:
            return now - timedelta(**{_UNITS[span[2].lower()]: int(span[1])})
        told = datetime.fromisoformat(text.strip())
        return told if told.tzinfo else told.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError(_SINCE) from None


def worded(words: Mapping[str, Any], now: datetime) -> Selection:
    """Return what ``{"prospect": [7, 8], "since": "2h", "failed": true, "all": false, "limit": 5}`` selects.

    What is named once need be no list. An address is no word here: a broker keeps messages. Raise Unclear with every
    problem; no value is repeated in it.
    """
    given = {key: value for key, value in words.items() if value is not None}
    told: dict[str, Any] = {}
    problems = [f"{key}: no word of a message" for key in given if key not in {*_IDS, *_FLAGS, "since", "limit"}]
    for key, name in _IDS.items():
        ids = _several(given.get(key))
        if not all(type(one) is int and 0 < one <= LARGEST for one in ids):
            problems.append(f"{key}: not an id")
        told[name] = tuple(dict.fromkeys(ids))
    for key, name in _FLAGS.items():
        told[name] = given.get(key, False)
        if not isinstance(told[name], bool):
            problems.append(f"{key}: neither true nor false")
    told["limit"] = given.get("limit")
    if told["limit"] is not None and not (type(told["limit"]) is int and told["limit"] > 0):
        problems.append("limit: not a number above 0")
    try:
        told["since"] = moment_of(str(given["since"]), now) if "since" in given else None
    except ValueError as error:
        problems.append(str(error))
    if problems:
        raise Unclear("; ".join(problems))
    selection = Selection(**told)
    if selection.empty:
        raise Unclear(HINT)
    return selection


def _several(value: object) -> tuple[Any, ...]:
    return () if value is None else tuple(value) if isinstance(value, list | tuple) else (value,)
