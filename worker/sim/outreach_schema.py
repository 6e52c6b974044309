"""Outreach's resources as data: every attribute and relation with what may be written, filtered and sorted.

Taken from the vendor's hyper-schema (``/api/v2/schema.json``, its booleans ``readOnly``, ``filterable``, ``sortable``;
an array's stand under ``items``) and, for lengths and relation filters, its OpenAPI document of 2026-08. ``custom*5``
stands for ``custom1`` to ``custom5``. A few attributes that only live payloads carry are added as read-only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from worker.sim.outreach_tables import TABLES

API = "/api/v2"


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute. ``kind`` is dt, date, int, num, bool, str, array or obj; ``longest`` the length of a str."""

    name: str
    kind: str
    longest: int | None
    read_only: bool
    filterable: bool
    sortable: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation. ``many`` None: links only. ``filters``: the other side's attributes, ``*`` all filterable there."""

    name: str
    many: bool | None
    types: tuple[str, ...]
    read_only: bool
    filters: frozenset[str]


@dataclass(frozen=True, slots=True)
class Resource:
    """One type of the API."""

    type: str
    attributes: dict[str, Attribute]
    relations: dict[str, Relation]


PLURALS = {
    "account": "accounts",
    "emailAddress": "emailAddresses",
    "event": "events",
    "mailbox": "mailboxes",
    "mailing": "mailings",
    "prospect": "prospects",
    "sequence": "sequences",
    "sequenceState": "sequenceStates",
    "sequenceStep": "sequenceSteps",
    "stage": "stages",
    "task": "tasks",
    "user": "users",
    "webhook": "webhooks",
}
TYPES = {plural: type_ for type_, plural in PLURALS.items()}
"""Path segment to type, for the resources that are simulated."""

EMPTY = frozenset(
    {
        "auditLogs",
        "batches",
        "batchItems",
        "callDispositions",
        "callPurposes",
        "calls",
        "contentCategories",
        "duties",
        "favorites",
        "opportunities",
        "opportunityProspectRoles",
        "opportunityStages",
        "personas",
        "phoneNumbers",
        "profiles",
        "recipients",
        "roles",
        "rulesets",
        "sequenceTemplates",
        "snippets",
        "taskDispositions",
        "taskPriorities",
        "taskPurposes",
        "teams",
        "templates",
    }
)
"""Collections that exist and hold nothing here, so that a client which reads everything gets through."""

METHODS: dict[str, tuple[str, str]] = {
    "account": ("GET POST", "GET PATCH DELETE"),
    "emailAddress": ("GET POST", "GET PATCH DELETE"),
    "event": ("GET", "GET"),
    "mailbox": ("GET", "GET"),
    "mailing": ("GET", "GET"),
    "prospect": ("GET POST", "GET PATCH DELETE"),
    "sequence": ("GET POST", "GET PATCH DELETE"),
    "sequenceState": ("GET POST", "GET DELETE"),
    "sequenceStep": ("GET POST", "GET PATCH"),
    "stage": ("GET", "GET"),
    "task": ("GET POST", "GET PATCH DELETE"),
    "user": ("GET", "GET PATCH"),
    "webhook": ("GET POST", "GET PATCH DELETE"),
}
"""Methods of the collection and of one record."""

REVERSE: dict[tuple[str, str], tuple[str, str]] = {
    ("account", "prospects"): ("prospect", "account"),
    ("account", "tasks"): ("task", "account"),
    ("prospect", "activeSequenceStates"): ("sequenceState", "prospect"),
    ("prospect", "emailAddresses"): ("emailAddress", "prospect"),
    ("prospect", "sequenceStates"): ("sequenceState", "prospect"),
    ("prospect", "tasks"): ("task", "prospect"),
    ("sequence", "sequenceStates"): ("sequenceState", "sequence"),
    ("sequence", "sequenceSteps"): ("sequenceStep", "sequence"),
    ("sequence", "tasks"): ("task", "sequence"),
    ("sequenceState", "activeStepTasks"): ("task", "sequenceState"),
    ("sequenceState", "tasks"): ("task", "sequenceState"),
    ("sequenceStep", "tasks"): ("task", "sequenceStep"),
    ("stage", "prospects"): ("prospect", "stage"),
    ("task", "sequenceSequenceSteps"): ("sequenceStep", "sequence"),
    ("user", "mailbox"): ("mailbox", "user"),
    ("user", "mailboxes"): ("mailbox", "user"),
}
"""Relations that are not stored but seen from the other side: which type points here, and by which of its relations."""

DEFAULTS: dict[str, dict[str, object]] = {
    "prospect": {"optedOut": False, "emailOptedOut": False, "callOptedOut": False, "smsOptedOut": False}
    | dict.fromkeys(("emails", "homePhones", "mobilePhones", "otherPhones", "tags", "voipPhones", "workPhones"), ())
    | {"openCount": 0, "clickCount": 0, "replyCount": 0, "engagedScore": 0},
    "sequence": {
        "automationPercentage": 0.5,
        "enabled": False,
        "finishOnReply": True,
        "locked": False,
        "maxActivations": 150,
        "primaryReplyAction": "finish",
        "primaryReplyPauseDuration": 172800,
        "scheduleIntervalType": "calendar",
        "secondaryReplyAction": "finish",
        "secondaryReplyPauseDuration": 172800,
        "sequenceType": "interval",
        "shareType": "shared",
        "tags": (),
        "throttleMaxAddsPerDay": 50,
        "throttlePaused": False,
        "transactional": False,
    },
    "task": {"completed": False, "state": "incomplete", "taskType": "manual", "action": "action_item"},
    "user": {"locked": False},
    "mailbox": {"sendDisabled": False, "syncDisabled": False, "editable": True},
    "webhook": {"action": "*", "resource": "*", "active": True, "payloadVersion": 1},
}
"""What an attribute is when nothing was stored for it; every ``…Count`` is 0, everything else None."""


@cache
def resource(type_: str) -> Resource:
    """Return what is known of a type. Raises KeyError."""
    attributes, relations = TABLES[type_]
    read = {attribute.name: attribute for item in _items(attributes) for attribute in _attributes(item)}
    related = {relation.name: relation for relation in map(_relation, _items(relations))}
    return Resource(type_, read, related)


@cache
def defaults(type_: str) -> dict[str, object]:
    """Return what each attribute of a type is when nothing was stored for it."""
    told = DEFAULTS.get(type_, {})
    counted = {name: 0 for name, attribute in resource(type_).attributes.items() if _counts(attribute)}
    return {name: told.get(name, counted.get(name)) for name in resource(type_).attributes}


def _counts(attribute: Attribute) -> bool:
    return attribute.read_only and attribute.kind == "int" and attribute.name.endswith("Count")


def _items(table: str) -> list[list[str]]:
    return [item.split() for item in table.split(";")]


def _attributes(item: list[str]) -> list[Attribute]:
    name, kind, flags = (*item, "")[:3]
    length = re.search(r"\d+$", kind)
    plain = re.sub(r"\d+$|\[.*", "", kind)
    longest = int(length[0]) if length else None
    stem, _, numbered = name.partition("*")
    names = [f"{stem}{n + 1}" for n in range(int(numbered))] if numbered else [name]
    return [Attribute(name, plain, longest, "R" in flags, "F" in flags, "S" in flags) for name in names]


def _relation(item: list[str]) -> Relation:
    name, what, access, filters = item
    shape, _, types = what.partition(":")
    many = {"links": None, "one": False, "many": True}[shape]
    allowed = frozenset() if filters == "-" else frozenset(filters.split(","))
    return Relation(name, many, tuple(filter(None, types.split("/"))), access == "R", allowed)
