"""What the simulated Outreach's webhooks may watch, and what a delivery says.

After fact sheet section 7 and payloads captured in 2019 and 2025. A change of a record is one ``created``, ``updated``
or ``destroyed``; where the vendor has a word for what happened (``finished``, ``advanced``, ``completed``) that follows
as a second delivery (whether ``updated`` is then left out is not established).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.sim import outreach_schema as schema
from worker.sim.outreach_errors import invalid
from worker.sim.outreach_post import loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.sim.outreach_store import Record, Target

USUAL = ("created", "updated", "destroyed")
ACTIONS: dict[str, tuple[str, ...]] = {
    "*": USUAL,
    "account": USUAL,
    "call": USUAL,
    "emailAddress": USUAL,
    "import": ("created", "finished"),
    "kaiaRecording": ("created",),
    "mailing": (*USUAL, "bounced", "delivered", "opened", "replied"),
    "opportunity": USUAL,
    "opportunityProspectRole": USUAL,
    "prospect": USUAL,
    "sequence": USUAL,
    "sequenceState": (*USUAL, "advanced", "finished"),
    "task": (*USUAL, "completed"),
    "user": ("created", "updated"),
}
"""Resource to the actions that can be subscribed to, ``*`` beside them."""
VERSIONS = (1, 2)


@dataclass(frozen=True, slots=True)
class News:
    """What happened to one record: the values that were set (all of them if destroyed), and the former ones."""

    type: str
    id: int
    action: str
    attributes: Mapping[str, Any]
    relations: Mapping[str, Target | None]
    before: Mapping[str, Any]
    before_relations: Mapping[str, Target | None]

    def named(self, action: str) -> News:
        """Return the same under another action."""
        return News(self.type, self.id, action, self.attributes, self.relations, self.before, self.before_relations)


def whole(record: Record, action: str) -> News:
    """Return that a record was ``created`` or ``destroyed``, with everything it holds."""
    told = {name: record.get(name) for name in schema.resource(record.type).attributes}
    if action == "created":  # what is at its default is left out, as captured
        told = {name: value for name, value in told.items() if value != schema.defaults(record.type)[name]}
    filled = {name: value for name, value in told.items() if value is not None}
    related = {name: target for name, target in record.relations.items() if target is not None}
    return News(record.type, record.id, action, filled, related, {}, {})


def nothing(record: Record) -> News:
    """Return an ``updated`` that tells nothing, as precedes a destruction."""
    return News(record.type, record.id, "updated", {}, {}, {}, {})


def wants(hook: Record, news: News) -> bool:
    """Return whether a subscription is about this."""
    if not hook.get("active") or news.action not in ACTIONS.get(news.type, ()):
        return False
    return hook.get("resource") in {"*", news.type} and hook.get("action") in {"*", news.action}


def check(attributes: Mapping[str, Any]) -> None:
    """Raise Refusal unless a webhook may hold these values together.

    ``http://`` is taken on loopback alone; the vendor takes ``https://`` alone.
    """
    resource, action = attributes.get("resource") or "*", attributes.get("action") or "*"
    if resource not in ACTIONS:
        raise invalid(f"Resource '{resource}' is not supported.", "/data/attributes/resource")
    if action != "*" and action not in ACTIONS[resource]:
        raise invalid(f"Action '{action}' is not supported for '{resource}'.", "/data/attributes/action")
    if attributes.get("payloadVersion", 1) not in VERSIONS:
        raise invalid("Payload version must be 1 or 2.", "/data/attributes/payloadVersion")
    url = str(attributes.get("url") or "")
    if not url.startswith("https://") and not (url.startswith("http://") and loopback(url)):
        raise invalid("Url must be a valid HTTPS URL.", "/data/attributes/url")


def body(news: News, *, version: int, delivered_at: str, job: str) -> dict[str, Any]:
    """Return a delivery's document; ``beforeUpdate`` in version 2 (its exact nesting is not established)."""
    document: dict[str, Any] = {
        "data": {
            "type": news.type,
            "id": news.id,
            "attributes": dict(news.attributes),
            "relationships": _related(news.relations),
        }
    }
    if version == VERSIONS[-1] and news.action == "updated":
        document["beforeUpdate"] = {
            "attributes": dict(news.before),
            "relationships": _related(news.before_relations),
        }
    name = f"{news.type}.{news.action}"
    document["meta"] = {"deliveredAt": delivered_at, "eventName": name, "jobId": job}
    return document


def _related(relations: Mapping[str, Target | None]) -> dict[str, Any]:
    """Return relations in the deliveries' odd shape: no ``data``, and the relation's name for a type."""
    return {name: None if target is None else {"type": name, "id": target[1]} for name, target in relations.items()}
