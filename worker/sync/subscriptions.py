"""Subscriptions: Outreach told what to tell us, looked after, and missed when silent. Only those to our address are ours."""

from __future__ import annotations

import hashlib
import hmac
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from worker import config
from worker.core import errors
from worker.remote import outreach_webhooks as remote
from worker.remote.outreach_webhooks import EVERYTHING, VERSION, Subscription
from worker.store import cursors, meta, webhooks
from worker.sync.timing import BY_WEBHOOK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import sqlalchemy as sa

    from worker.config import Settings
    from worker.remote.outreach import Outreach
    from worker.store.database import Store

WANTED = ("emailAddress", "prospect", "sequence", "sequenceState", "task")
"""What decisions are made from, as far as Outreach has webhooks for it (facts, outreach-api 7.1)."""
FACT = "webhooks"
WATCH = timedelta(hours=20)
"""At least once a day: Outreach gives a subscription up for good after seven bad days."""
HURRY = timedelta(minutes=50)
SILENT = timedelta(hours=1)


class Known(msgspec.Struct):
    """What is remembered of the subscriptions: where they deliver, a keyed hash of their secret, when they were looked at."""

    url: str
    secret: str
    made_at: datetime
    watched_at: datetime


@dataclass(frozen=True, slots=True)
class Secret:
    """The secret that subscriptions are made with, and the keyed hash by which a new one is told from it."""

    text: str = field(repr=False)
    print: str

    @classmethod
    def of(cls, text: str, key: str) -> Secret:
        """Return the secret with its hash under the store's key."""
        return cls(text, hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()[:16])


def secret_of(settings: Settings) -> Secret | None:
    """Return the secret that subscriptions are made with, the first of the settings; None if there is none."""
    secrets = settings.outreach.webhook_secrets
    return Secret.of(secrets[0].get_secret_value(), config.secret_key(settings)) if secrets else None


@dataclass(frozen=True, slots=True)
class Needs:
    """What has to be done: kinds to subscribe to, subscriptions to switch on again, and those to end."""

    create: tuple[str, ...] = ()
    renew: tuple[Subscription, ...] = ()
    end: tuple[Subscription, ...] = ()


@dataclass(slots=True)
class Done:
    """What was done, by kind of record; ``refused`` holds Outreach's words for what it would not do."""

    created: list[str] = field(default_factory=list)
    renewed: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def noting(self, where: list[str], resource: str) -> Iterator[None]:
        """Note one step as done, or why it was refused."""
        try:
            yield
        except errors.InvalidField as refused:
            self.refused[resource] = refused.words
        else:
            where.append(resource)


@dataclass(frozen=True, slots=True)
class Standing:
    """How the subscriptions stand."""

    known: Known | None
    ours: tuple[Subscription, ...]
    missing: tuple[str, ...]
    pulse: webhooks.Pulse
    silence: str | None

    @property
    def troubles(self) -> list[str]:
        """Return in words what is wrong; nothing if webhooks were never set up."""
        told = [f"no subscription to {resource}; `outbook webhooks setup` makes it" for resource in self.missing]
        for one in self.ours:
            if not one.delivers:
                why = one.disabled_reason or "no reason told"
                told.append(
                    f"Outreach delivers nothing of {one.resource} any more ({why}); `outbook webhooks setup` renews it"
                )
        return [*told, *([self.silence] if self.silence else [])]


def needs(listed: Sequence[Subscription], url: str, *, before: str | None = None, fresh_secret: bool = False) -> Needs:
    """Return what has to be done so that each wanted kind is delivered to ``url``, once; ``before`` is our former address."""
    good: dict[str, Subscription] = {}
    end: list[Subscription] = []
    for one in listed:
        if one.url not in {url, before}:
            continue
        wanted = one.url == url and one.resource in WANTED and one.action == EVERYTHING
        if wanted and one.resource not in good:
            good[one.resource] = one
        else:
            end.append(one)
    renew = [one for one in good.values() if fresh_secret or not one.delivers or one.version != VERSION]
    return Needs(tuple(name for name in WANTED if name not in good), tuple(renew), tuple(end))


def setup(store: Store, outreach: Outreach, url: str, secret: Secret, now: datetime) -> Done:
    """Subscribe to what is wanted, renew what was switched off, end what is ours and not wanted; return what was done.

    One that Outreach refuses does not keep the others from being made. Dying in between leaves some to the next call.
    """
    with store.read() as db:
        known = _known(db)
    fresh = known is None or known.secret != secret.print
    todo = needs(remote.listed(outreach), url, before=known.url if known else None, fresh_secret=fresh)
    done = Done()
    for one in todo.renew:
        with done.noting(done.renewed, one.resource):
            remote.renew(outreach, one.id, secret.text)
    for resource in todo.create:
        with done.noting(done.created, resource):
            remote.create(outreach, resource, url, secret.text)
    for one in todo.end:  # last, so that nothing is missed in between
        with done.noting(done.ended, one.resource):
            remote.delete(outreach, one.id)
    made_at = known.made_at if known and known.url == url else now
    with store.write() as db:
        _remember(db, Known(url, secret.print if not done.refused else "", made_at, now))
    return done


def watch(store: Store, outreach: Outreach, secret: Secret, now: datetime) -> Done | None:
    """Look after the subscriptions if it is time to, or if they have fallen silent; return what was done, None if nothing."""
    with store.read() as db:
        known = _known(db)
        silent = _silence(db, known, now) is not None
    if known is None or now - known.watched_at < (HURRY if silent else WATCH):
        return None
    return setup(store, outreach, known.url, secret, now)


def remove(store: Store, outreach: Outreach, url: str | None = None) -> list[Subscription]:
    """End our subscriptions, known by their address, and forget them; return those that were there."""
    with store.read() as db:
        known = _known(db)
    mine = {address for address in (url, known.url if known else None) if address}
    ours = [one for one in remote.listed(outreach) if one.url in mine]
    for one in ours:
        remote.delete(outreach, one.id)
    with store.write() as db:
        meta.replace(db, FACT, "")
    return ours


def standing(store: Store, outreach: Outreach, now: datetime) -> Standing:
    """Return how the subscriptions stand, here and there."""
    with store.read() as db:
        known, pulse = _known(db), webhooks.pulse(db)
        silence = _silence(db, known, now)
    ours = [one for one in remote.listed(outreach) if known is not None and one.url == known.url]
    missing = needs(ours, known.url).create if known else ()
    return Standing(known, tuple(ours), missing, pulse, silence)


def silence(store: Store, now: datetime) -> str | None:
    """Return in words that webhooks have fallen silent though polls found what they should have told; None if not."""
    with store.read() as db:
        return _silence(db, _known(db), now)


def _silence(db: sa.Connection, known: Known | None, now: datetime) -> str | None:
    if known is None:
        return None
    arrived = webhooks.pulse(db).arrived_at
    last = max(arrived, known.made_at) if arrived else known.made_at
    late = [row.late_at for row in cursors.all_of(db) if row.stream in BY_WEBHOOK and row.late_at is not None]
    if now - last < SILENT or not any(one > last for one in late):
        return None
    return (
        f"no webhook has come since {last:%Y-%m-%dT%H:%M:%SZ}, though polls found changes; "
        "is the receiver reachable from the internet? `outbook webhooks status` tells what Outreach says"
    )


def _known(db: sa.Connection) -> Known | None:
    text = meta.get(db, FACT)
    return msgspec.json.decode(text, type=Known) if text else None


def _remember(db: sa.Connection, known: Known) -> None:
    meta.replace(db, FACT, msgspec.json.encode(known).decode())


def as_json(one: Subscription) -> dict[str, Any]:
    """Return a subscription under Outreach's own names."""
    return {
        "id": one.id,
        "resource": one.resource,
        "action": one.action,
        "url": one.url,
        "active": one.active,
        "payloadVersion": one.version,
        "disabledReason": one.disabled_reason,
        "disabledSince": one.disabled_since,
        "disabledUntil": one.disabled_until,
    }
