"""What becomes of a value on its way into a record: read by data type, tidied, and refused in the vendor's words."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from worker.sim import workbooks_dates as dates

if TYPE_CHECKING:
    from worker.sim.workbooks_types import Field, Kind
    from worker.sim.workbooks_world import World

NO_VALUE = ":no_value:"
NULL_VALUE = ":null_value:"
Held = str | float | bool | None
"""What a field can hold inside (an ``int`` is a ``float`` to the type checker)."""
TRUTHS = frozenset({"true", "t", "on", "1", "yes", "y"})
_INTEGER_LIMIT = 2_147_483_647


def accepted(world: World, kind: Kind, field: Field, text: str) -> Held:
    """Return what a field will hold; ValueError with the vendor's words when the value is refused."""
    if text == NULL_VALUE:
        return False if field.datatype == "boolean" else None
    for rule in world.options.rules:
        if rule["type"] == kind.short and rule["field"] == field.name and re.search(rule["pattern"], text):
            raise ValueError(rule.get("message", "is invalid"))
    if field.datatype == "boolean":
        return text.strip().casefold() in TRUTHS
    if field.datatype in {"date", "datetime", "var_date_time"}:
        return _moment(world, field, text)
    if field.datatype in {"integer", "float"}:
        return _number(field, text)
    return _text(world, field, text)


def _moment(world: World, field: Field, text: str) -> Held:
    if not text.strip():
        return None
    try:
        moment = dates.read(text, world.zone)
    except (ValueError, OverflowError):
        raise ValueError("is not a valid date") from None
    if field.datatype == "date":
        return moment.day
    return moment.start if field.datatype == "datetime" else dates.var_text(moment)


def _number(field: Field, text: str) -> float | None:
    if not text.strip():
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("is not a number")
    if field.datatype == "float":
        return number
    if number != int(number):
        raise ValueError("must be an integer")
    if abs(number) > _INTEGER_LIMIT:
        raise ValueError(f"must be less than or equal to {_INTEGER_LIMIT}")
    return int(number)


def _text(world: World, field: Field, text: str) -> str:
    if world.options.normalise:
        text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if field.limit is not None and len(text) > field.limit:
        raise ValueError(f"is too long (maximum is {field.limit} characters)")
    if text and field.picklist is not None and not field.unrestricted and text not in world.labels(field.picklist):
        raise ValueError("is not included in the list")
    return text
