"""The words everything else is written in: which record of which system, and what it held when last seen."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_ENCODER = msgspec.json.Encoder(order="sorted")

Value = str | int | float | bool | list[str] | None
"""What a field may hold. A key that is not there is *absent* (unknown); ``None`` and ``""`` are two further values."""


class System(StrEnum):
    """The two sides."""

    OUTREACH = "outreach"
    CRM = "crm"


class Kind(StrEnum):
    """One kind of record; the value is also the name of its stream."""

    SEQUENCE = "sequences"
    STEP = "sequenceSteps"
    PROSPECT = "prospects"
    STATE = "sequenceStates"
    TASK = "tasks"
    PERSON = "people"
    CRM_TASK = "crmTasks"

    @property
    def system(self) -> System:
        """The side that holds records of this kind."""
        return System.CRM if self in {Kind.PERSON, Kind.CRM_TASK} else System.OUTREACH


class Feed(StrEnum):
    """What Outreach tells beside its records, if the token may read it: heeded, never mirrored."""

    EVENTS = "events"
    ADDRESSES = "emailAddresses"


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """One record of one side."""

    kind: Kind
    id: int

    def __str__(self) -> str:
        """Return ``kind:id``, the form used in logs."""
        return f"{self.kind.value}:{self.id}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One copy of a remote record.

    ``fields`` holds attributes under the vendor's own names; ``relations`` the ids of to-one relations (Outreach only),
    ``None`` for a relation that is empty, no key for one the answer did not tell. ``updated_at`` is aware UTC.
    ``version`` is the CRM's ``lock_version``; Outreach has none. ``deleted`` is a tombstone the vendor itself showed.
    ``moved_at`` holds, for attributes seen to change, when that was; only the mirror knows it.
    """

    ref: Ref
    fields: Mapping[str, Value]
    updated_at: datetime | None = None
    version: int | None = None
    deleted: bool = False
    relations: Mapping[str, int | None] = field(default_factory=dict)
    moved_at: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shadow:
    """What both sides held when they last agreed: two halves, each under the CRM's field names.

    The halves need not be equal, for the CRM trims, shortens and reformats on save. A field that is in neither half was
    never agreed upon.
    """

    outreach: Mapping[str, Value] = field(default_factory=dict)
    crm: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Link:
    """The pair of ids believed to be the same, with its shadow.

    ``written_version`` is the ``lock_version`` that our own last write made: a person seen with just that version holds
    what the CRM made of our values, and nobody's edit.
    """

    outreach_id: int
    crm_id: int
    shadow: Shadow = field(default_factory=Shadow)
    written_version: int | None = None
    gone: bool = False


def fingerprint(fields: Mapping[str, Value], relations: Mapping[str, int | None] | None = None) -> str:
    """Return a short hash of the values, the same whatever the order of the keys."""
    return hashlib.blake2b(_ENCODER.encode((fields, relations or {})), digest_size=16).hexdigest()
