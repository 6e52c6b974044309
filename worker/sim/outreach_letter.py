"""A webhook delivery as it goes over the wire: body, headers and signature."""

from __future__ import annotations

import hmac
import json
import uuid
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import TYPE_CHECKING, Any

from worker.sim import outreach_webhooks as webhooks
from worker.sim.outreach_errors import JSON_API

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.sim.outreach_store import Record
    from worker.sim.outreach_webhooks import News
    from worker.sim.outreach_world import World


@dataclass(frozen=True, slots=True)
class Letter:
    """One POST: its raw body is what the signature is about."""

    url: str
    body: bytes
    headers: Mapping[str, str]

    @property
    def name(self) -> str:
        """Return the event's name."""
        return str(json.loads(self.body)["meta"]["eventName"])


def compose(world: World, hook: Record, n: int, news: News | None, forged: Mapping[str, Any]) -> Letter:
    """Return the ``n``-th delivery to a subscription; one event keeps its ids however often it is sent.

    ``forged`` may want a ``signature`` that is ``wrong`` (the default of a forgery) or ``none``, and more ``headers``.
    """
    if news is None:
        raise ValueError("a replay brings its own letter")
    at = world.clock.now()
    document = webhooks.body(
        news,
        version=hook.get("payloadVersion"),
        delivered_at=f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}+00:00",
        job=identifier(world.seed, "job", n),
    )
    body = json.dumps(document, separators=(",", ":")).encode()
    headers = {
        "Accept": "*/*",
        "User-Agent": "Ruby",
        "Content-Type": JSON_API,
        "outreach-org-id": identifier(world.organisation, "org", 0),
        "outreach-webhook-id": str(hook.id),
        "outreach-webhook-event-id": identifier(world.seed, "event", n),
        "outreach-webhook-cleanup-token": hook.get("cleanupToken") or "",
    }
    wanted = str(forged.get("signature", "wrong")) if forged else "right"
    if hook.get("secret") and wanted != "none":
        key = hook.get("secret") if wanted == "right" else f"not {hook.get('secret')}"
        headers["Outreach-Webhook-Signature"] = signature(key, body)
    return Letter(hook.get("url"), body, {**headers, **forged.get("headers", {})})


def signature(secret: str, body: bytes) -> str:
    """Return the lower-case hex HMAC-SHA256 of a raw body."""
    return hmac.new(secret.encode(), body, sha256).hexdigest()


def identifier(seed: str, kind: str, n: int) -> str:
    """Return a UUID that follows from the seed's name, a kind and a number."""
    return str(uuid.UUID(bytes=blake2b(f"{seed}\0{kind}\0{n}".encode(), digest_size=16).digest(), version=4))
