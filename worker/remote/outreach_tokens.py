"""Outreach's tokens: where they come from, how a refresh token becomes a new pair, whose organisation they are."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode

import msgspec

from worker.core import errors
from worker.remote import base, outreach_json, waits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LIFETIME_S = 7200
"""How long an access token lives when its reply does not say (facts, section 1.1)."""
MINT_WAIT_S = 60.0
"""One token a minute may be minted for a user and an application (facts, section 3)."""

_OK = {200, 201}
_REFUSED = {400, 401, 403}
_TOO_MANY = 429
_ANYTHING: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_OF_AN_ORGANISATION = re.compile(r"(?:^|[^a-zA-Z])(?:org|instance)|Org|Instance")
_RANKS = (
    re.compile(r"(?:gu|uu)id$", re.IGNORECASE),
    re.compile(r"(?:^|[._-])id$|Id$"),
    re.compile(r"name$", re.IGNORECASE),
)


class Tokens(Protocol):
    """Where bearer tokens come from."""

    def bearer(self) -> str:
        """Return a token good for at least two minutes; may block until one is minted."""

    def renew(self, refused: str) -> str:
        """Return another token, for the server refused this one."""


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a refresh gave. ``expires_at`` is aware UTC by the server's clock."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: datetime


def refresh(
    client: base.Client, *, client_id: str, client_secret: str, redirect_uri: str, refresh_token: str
) -> TokenPair:
    """Return a new pair for a refresh token, which may be worthless from then on: store the pair before using it.

    Raises AuthRevoked when the token or the application is refused, Throttled when one was minted within the minute,
    Unanswered when nobody knows whether a pair was minted.
    """
    form = {
        "client_id": client_id,
        "client_secret": client_secret,
        "redirect_uri": redirect_uri,
        "grant_type": "refresh_token",
        "refresh_token": refresh_token,
    }
    return _minted(client, form, "refresh token", refresh_token)


def redeem(client: base.Client, *, client_id: str, client_secret: str, redirect_uri: str, code: str) -> TokenPair:
    """Return the pair for the code that an authorisation gave; a code serves once (facts, outreach-api 1.1).

    Raises as ``refresh`` does, and AuthRevoked when the answer holds no refresh token: such a pair could not last.
    """
    form = {
        "client_id": client_id,
        "client_secret": client_secret,
        "redirect_uri": redirect_uri,
        "grant_type": "authorization_code",
        "code": code,
    }
    pair = _minted(client, form, "code", "")
    if not pair.refresh_token:
        raise errors.AuthRevoked("Outreach gave no refresh token for the code", system=client.system)
    return pair


def authorise_url(base_url: str, *, client_id: str, redirect_uri: str, scopes: Sequence[str], state: str) -> str:
    """Return where somebody permits us these scopes; ``state`` comes back with the code (facts, outreach-api 1.1).

    No PKCE: nothing published says that Outreach knows it.
    """
    asked = {
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "response_type": "code",
        "scope": " ".join(scopes),
        "state": state,
    }
    return f"{base_url}/oauth/authorize?{urlencode(asked, quote_via=quote)}"


def _minted(client: base.Client, form: Mapping[str, str], what: str, otherwise: str) -> TokenPair:
    """Return the pair that a form earns; a reply without a refresh token leaves the one ``otherwise`` in use."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    hide = tuple(form[name] for name in ("client_id", "client_secret", "refresh_token", "code") if name in form)
    ask = base.Ask("POST", client.url("/oauth/token"), headers, urlencode(form).encode(), hide)

    def once() -> TokenPair:
        reply = client.exchange(ask)
        with reply.blamed():
            return _earned(client, reply, what, otherwise)

    return client.patiently(once, repeatable=False)


def _earned(client: base.Client, reply: base.Reply, what: str, otherwise: str) -> TokenPair:
    """Return the pair that a reply holds; otherwise raise what its status means."""
    words = "" if reply.status in _OK else outreach_json.complaint(reply).words
    if reply.status == _TOO_MANY and waits.told(reply.headers, reply.server_time) is None:
        raise errors.Throttled(f"429: {words}", retry_after_s=MINT_WAIT_S, system=client.system)
    client.refuse_trouble(reply, words)
    if reply.status in _REFUSED:
        raise errors.AuthRevoked(f"Outreach refuses the {what}: {words}", system=client.system)
    if reply.status not in _OK:
        raise base.Unanswered(f"answered a refresh with {reply.status}", system=client.system)
    return _pair(reply, otherwise)


def _pair(reply: base.Reply, refresh_token: str) -> TokenPair:
    """Return the tokens in a reply; a reply that holds no new refresh token leaves the old one in use."""
    document = base.decoded(reply, _ANYTHING)
    told = document if isinstance(document, dict) else {}
    access = told.get("access_token")
    if not isinstance(access, str) or not access.strip() or not access.isascii() or not access.isprintable():
        raise base.Unanswered("a refresh was answered without an access token")
    following = told.get("refresh_token")
    lifetime = base.whole(told.get("expires_in"))
    created = base.whole(told.get("created_at"))
    try:
        begun = reply.server_time if created is None else datetime.fromtimestamp(created, UTC)
        expires_at = begun + timedelta(seconds=LIFETIME_S if lifetime is None else lifetime)
    except (OverflowError, ValueError, OSError):
        expires_at = reply.server_time + timedelta(seconds=LIFETIME_S)
    return TokenPair(access, following if isinstance(following, str) and following else refresh_token, expires_at)


def organisation(document: object) -> str | None:
    """Return the likeliest identity among all values whose path speaks of an organisation or instance, else None.

    The shape of the root's answer is published nowhere: a guid goes before an id, an id before a name.
    """
    found = [(_rank(path), path, value) for path, value in _scalars(document, "") if _OF_AN_ORGANISATION.search(path)]
    return min(found)[2] if found else None


def _rank(path: str) -> int:
    """Return how good an identity the value at ``path`` makes, 0 the best."""
    return next((rank for rank, pattern in enumerate(_RANKS) if pattern.search(path)), len(_RANKS))


def _scalars(document: object, path: str) -> Iterator[tuple[str, str]]:
    """Yield the texts and whole numbers of a document with their paths; an object's ``type`` is part of its path."""
    if isinstance(document, dict):
        kind = document.get("type")
        path = f"{path}.{kind}" if isinstance(kind, str) else path
        for key, value in document.items():
            if key not in {"type", "links"}:
                yield from _scalars(value, f"{path}.{key}")
    elif isinstance(document, list):
        for item in document:
            yield from _scalars(item, path)
    elif isinstance(document, str | int) and not isinstance(document, bool) and document != "":
        yield path, str(document)
