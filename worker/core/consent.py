"""The signs by which somebody is opted out of e-mail, and which of them somebody has lifted on purpose (`outbook opt-in`).

A lifted sign no longer counts, though it may be there still: an old sequence state, a flag whose taking away is under way. It
is known again by its mark, the vendor's own date, and never by our clock: a sign of another date is a new opt-out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from worker.core import transforms

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from worker.core.records import Snapshot, Value
    from worker.core.states import StateView

Key = tuple[str, int]
"""What bears a sign: its source and the record's id."""


class Source(StrEnum):
    """Where a sign stands: two flags of the prospect, dated each by itself, a state, and No Email of the person."""

    EVERYTHING = "everything"
    EMAILS = "emails"
    STATE = "state"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Sign:
    """One sign of an opt-out. ``mark`` is the vendor's date of it, ISO; blank if there is none."""

    source: Source
    id: int
    words: str
    mark: str = ""

    @property
    def key(self) -> Key:
        """What bears it."""
        return self.source.value, self.id


@dataclass(frozen=True, slots=True)
class Lifted:
    """A sign that was lifted, as it then stood. ``open``: its side still has to show that; ``prospect``: whose it is."""

    mark: str
    open: bool
    prospect: int | None = None


def of_prospect(prospect: Snapshot) -> list[Sign]:
    """Return the signs that a prospect bears (facts, outreach-api 6.4)."""
    fields, found = prospect.fields, []
    if transforms.flag(fields.get("optedOut")):
        mark = _mark(fields.get("optedOutAt"))
        found.append(Sign(Source.EVERYTHING, prospect.ref.id, "prospect's optedOut", mark))
    named = "emailOptedOut" if transforms.flag(fields.get("emailOptedOut")) else "emailsOptStatus"
    if named == "emailOptedOut" or fields.get(named) == "opted_out":
        mark = _mark(fields.get("emailsOptedAt"))
        found.append(Sign(Source.EMAILS, prospect.ref.id, f"prospect's {named}", mark))
    return found


def of_state(state: StateView) -> Sign:
    """Return the sign that a state is whose word means opted out."""
    mark = state.changed_at.isoformat() if state.changed_at else ""
    return Sign(Source.STATE, state.id, f"sequence state {state.id} is {state.state}", mark)


def of_person(person: Snapshot, flag: str) -> list[Sign]:
    """Return the sign that a person's No Email is. Workbooks does not date it."""
    ticked = transforms.flag(person.fields.get(flag))
    return [Sign(Source.PERSON, person.ref.id, f"{flag} in the CRM")] if ticked else []


def _mark(value: Value) -> str:
    at = transforms.parse_time(value)
    return at.isoformat() if at else ""


def stands(sign: Sign, lifted: Mapping[Key, Lifted]) -> bool:
    """Tell whether a sign counts: it was never lifted, or is another one than was.

    One without a date cannot be told from a later one, so it is let off only until its side shows that it is gone.
    """
    known = lifted.get(sign.key)
    if known is None or known.mark != sign.mark:
        return True
    return not (sign.mark or known.open)


def news(signs: Iterable[Sign], before: Collection[Key] | None, lifted: Mapping[Key, Lifted]) -> list[Sign]:
    """Return those of the signs just seen that count.

    ``before`` are the bearers that showed one when they were last seen, None if they never were: an undated sign where
    there was none is a new one, whatever was lifted.
    """
    return [
        sign
        for sign in signs
        if stands(sign, lifted) or (not sign.mark and before is not None and sign.key not in before)
    ]


def retraction(prospect: Snapshot, lifted: Mapping[Key, Lifted]) -> dict[str, Value]:
    """Return the attributes that take the lifted signs off a prospect; nothing if none is to be taken off.

    The general flag is touched only where it is set: it is about calls as well.
    """
    shown = [sign for sign in of_prospect(prospect) if (known := lifted.get(sign.key)) and known.open]
    if not shown:
        return {}
    told: dict[str, Value] = {"emailOptedOut": False}
    if any(sign.source is Source.EVERYTHING for sign in shown):
        told["optedOut"] = False
    if prospect.fields.get("emailsOptStatus") == "opted_out":
        told["emailsOptStatus"] = "opted_in"
    return told
