"""Outreach's webhook subscriptions: listed, made, renewed, deleted (facts, outreach-api 7.1). Their secret never comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.remote import base, quoting

if TYPE_CHECKING:
    from worker.remote.outreach import Outreach

EVERYTHING = "*"
VERSION = 2
"""The payload version: an integer, 1 or 2."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription as Outreach shows it. ``disabled_*`` tell that, why and since when it delivers nothing any more."""

    id: int
    resource: str
    action: str
    url: str
    active: bool
    version: int | None
    disabled_reason: str | None = None
    disabled_since: str | None = None
    disabled_until: str | None = None

    @property
    def delivers(self) -> bool:
        """Tell whether it is on, and not switched off by Outreach."""
        return self.active and not (self.disabled_reason or self.disabled_since or self.disabled_until)


def listed(outreach: Outreach) -> list[Subscription]:
    """Return every subscription that the token may see, lowest id first."""
    rows = outreach.rows("webhooks", [("page[size]", "1000")])
    return sorted((one for row in rows if (one := _read(row)) is not None), key=lambda one: one.id)


def create(outreach: Outreach, resource: str, url: str, secret: str) -> None:
    """Subscribe to everything that happens to a kind of record; raises InvalidField in Outreach's words."""
    told = {"resource": resource, "action": EVERYTHING, "url": url, **_on(secret)}
    outreach.command("POST", "webhooks", {"type": "webhook", "attributes": told}, hide=(secret,))


def renew(outreach: Outreach, subscription_id: int, secret: str) -> None:
    """Switch a subscription on again, with this secret: any change takes away what had switched it off."""
    data = {"type": "webhook", "id": subscription_id, "attributes": _on(secret)}
    outreach.command("PATCH", f"webhooks/{subscription_id}", data, hide=(secret,))


def delete(outreach: Outreach, subscription_id: int) -> None:
    """End a subscription."""
    outreach.command("DELETE", f"webhooks/{subscription_id}")


def _on(secret: str) -> dict[str, Any]:
    return {"secret": secret, "payloadVersion": VERSION, "active": True}


def _read(row: dict[str, Any]) -> Subscription | None:
    """Return one subscription, None if it has no usable id."""
    number, told = base.whole(row.get("id")), row.get("attributes")
    if number is None or not isinstance(told, dict):
        return None

    def text(name: str) -> str | None:
        value = told.get(name)
        return quoting.say(value) if isinstance(value, str) and value else None

    return Subscription(
        id=number,
        resource=str(told.get("resource") or EVERYTHING),
        action=str(told.get("action") or EVERYTHING),
        url=str(told.get("url") or ""),
        active=told.get("active") is not False,
        version=base.whole(told.get("payloadVersion")),
        disabled_reason=text("disabledReason"),
        disabled_since=text("disabledSince"),
        disabled_until=text("disabledUntil"),
    )
