"""Who may call the simulated Outreach: OAuth tokens, scopes and the hourly limit."""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from email.utils import format_datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, urlencode

from worker.sim.control import Reply, Request, json_reply
from worker.sim.outreach_errors import Refusal, gateway_401, oauth_error, refusal
from worker.sim.outreach_schema import EMPTY, PLURALS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from worker.sim.control import Clock
    from worker.sim.outreach_options import Options

HOUR_S = 3_600
MINT_S = 60
CODE_S = 600
EVERYTHING = frozenset(f"{plural}.all" for plural in (*PLURALS.values(), *EMPTY))
VERBS = {"GET": "read", "DELETE": "delete", "POST": "write", "PATCH": "write"}


class Gate:
    """Mints tokens and checks them, counts calls.

    A minted token carries its expiry and a signature, so that it outlives a restart of the simulator; what is revoked
    is forgotten then.
    """

    def __init__(self, options: Options, clock: Clock) -> None:
        """Start with the fixed tokens of ``options`` alone; the fixed refresh token lives 14 days from now."""
        self.options, self._clock = options, clock
        self._lock = threading.Lock()
        self._scopes: dict[str, frozenset[str]] = dict(options.token_scopes)
        self._codes: dict[str, tuple[float, str, frozenset[str]]] = {}
        self._revoked: set[str] = set()
        self._born = self._now()
        self._minted_at = float("-inf")
        self._window, self._calls = 0, 0

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def authorize(self, request: Request) -> Reply:
        """Answer ``GET /oauth/authorize`` as if a user had consented at once: 302 back with ``code`` and ``state``."""
        asked = dict(parse_qsl(request.query))
        back = asked.get("redirect_uri", "")
        if asked.get("client_id") != self.options.client_id:
            raise oauth_error("invalid_client", "Client authentication failed due to unknown client.", 401)
        if asked.get("response_type") != "code" or not back:
            raise oauth_error("invalid_request", "The request is missing a required parameter.")
        code = secrets.token_urlsafe(12)
        scopes = frozenset(asked.get("scope", "").split()) or self._granted()
        with self._lock:
            self._codes[code] = (self._now() + CODE_S, back, scopes)
        told = {"code": code} | ({"state": asked["state"]} if "state" in asked else {})
        return Reply(302, b"", [("Location", f"{back}{'&' if '?' in back else '?'}{urlencode(told)}")])

    def token(self, request: Request) -> Reply:
        """Answer ``POST /oauth/token``, form or JSON, grants ``authorization_code`` and ``refresh_token``."""
        asked = _body(request)
        secret = asked.get("client_secret", "")
        if asked.get("client_id") != self.options.client_id or secret != self.options.client_secret:
            raise oauth_error("invalid_client", "Client authentication failed due to unknown client.", 401)
        grant = asked.get("grant_type")
        if grant not in {"refresh_token", "authorization_code"}:
            raise oauth_error("unsupported_grant_type", "The authorization grant type is not supported.")
        with self._lock:
            if self.options.mint_throttle and self._now() - self._minted_at < MINT_S:
                raise refusal(429, "rateLimitExceeded", "Only one token may be minted per minute.")
            scopes = self._refreshed(asked) if grant == "refresh_token" else self._redeemed(asked)
            self._minted_at = self._now()
        return self._pair(scopes)

    def check(self, request: Request) -> str:
        """Return the bearer token of a request. Raises Refusal (401) if there is none or it is not good."""
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not bearer:
            raise gateway_401("Unauthorized.", "The request carries no access token.")
        if bearer in self.options.access_tokens:
            return bearer
        expires = self._expiry("access", bearer)
        if expires is None:
            raise gateway_401()
        if expires <= self._now():
            raise gateway_401("Expired JWT token.", "The JWT token has expired.")
        return bearer

    def allow(self, bearer: str, method: str, plural: str) -> None:
        """Raise Refusal (403) unless the token may do this."""
        scopes = self._scopes.get(bearer, self._granted())
        needed = f"{plural}.{VERBS.get(method, 'read')}"
        if needed not in scopes and f"{plural}.all" not in scopes:
            raise refusal(403, "unauthorizedOauthScope", f"Your token is missing the required scope: {needed}.")

    def count(self) -> list[tuple[str, str]]:
        """Count one call against the hour and return the limit's headers. Raises Refusal (429) once it is used up."""
        limit = self.options.hourly_calls
        if limit is None:
            return []
        with self._lock:
            window = int(self._now() // HOUR_S)
            self._calls = self._calls + 1 if window == self._window else 1
            self._window = window
            left = limit - self._calls
        reset = (window + 1) * HOUR_S
        remaining = f"{max(left, 0)}, {2 * limit - self._calls}" if self.options.second_quota else str(max(left, 0))
        headers = [
            ("X-RateLimit-Limit", str(limit)),
            ("X-RateLimit-Remaining", remaining),
            ("X-RateLimit-Reset", str(reset)),
        ]
        if left < 0:
            raise throttled(self._clock.now(), reset - self._now(), self.options.retry_after, headers, limit=limit)
        return headers

    def _granted(self) -> frozenset[str]:
        return EVERYTHING if self.options.scopes is None else self.options.scopes

    def _refreshed(self, asked: Mapping[str, str]) -> frozenset[str]:
        held = asked.get("refresh_token", "")
        fixed = held == self.options.refresh_token
        expires = self._born + self.options.refresh_s if fixed else self._expiry("refresh", held)
        if expires is None or expires <= self._now() or held in self._revoked:
            raise oauth_error("invalid_grant", "The provided authorization grant is invalid, expired or revoked.")
        if self.options.strict_refresh:
            self._revoked.add(held)
        return self._scopes.get(held, self._granted())

    def _redeemed(self, asked: Mapping[str, str]) -> frozenset[str]:
        expires, back, scopes = self._codes.pop(asked.get("code", ""), (0.0, "", frozenset[str]()))
        if expires <= self._now() or asked.get("redirect_uri", back) != back:
            raise oauth_error("invalid_grant", "The provided authorization grant is invalid, expired or revoked.")
        return scopes

    def _pair(self, scopes: frozenset[str]) -> Reply:
        now = int(self._now())
        access = self._sign("access", now + self.options.access_s)
        refresh = self._sign("refresh", now + self.options.refresh_s)
        if scopes != self._granted():
            self._scopes.update({access: scopes, refresh: scopes})
        document = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": self.options.access_s,
            "refresh_token": refresh,
            "scope": " ".join(sorted(scopes)),
            "created_at": now,
        }
        return json_reply(200, document)

    def _sign(self, kind: str, expires: int, serial: str = "") -> str:
        serial = serial or secrets.token_hex(6)
        text = f"{kind}.{expires}.{serial}"
        signature = hmac.new(self.options.client_secret.encode(), text.encode(), sha256).hexdigest()[:24]
        return f"{text}.{signature}"

    def _expiry(self, kind: str, token: str) -> float | None:
        """Return when a token that this program signed expires, None for any other."""
        parts = token.split(".")
        if len(parts) != len(("kind", "expires", "serial", "signature")) or not parts[1].isdecimal():
            return None
        good = parts[0] == kind and hmac.compare_digest(token, self._sign(kind, int(parts[1]), parts[2]))
        return float(parts[1]) if good else None


def throttled(
    now: datetime,
    wait_s: float,
    form: str,
    headers: list[tuple[str, str]],
    *,
    limit: int = 10_000,
) -> Refusal:
    """Return the 429 that asks for ``wait_s``, with ``Retry-After`` in ``form``, or that literally if it names none."""
    at = now.timestamp() + wait_s
    moment = now.fromtimestamp(at, now.tzinfo)
    forms = {
        "epoch": str(round(at)),
        "seconds": str(round(wait_s)),
        "iso": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        "http_date": format_datetime(moment, usegmt=True),
    }
    words = f"You have exceeded the rate limit of {limit} requests per hour. Try again after {forms['iso']}."
    refused = refusal(429, "rateLimitExceeded", words)
    told = [] if form == "none" else [("Retry-After", forms.get(form, form))]
    refused.headers = [*headers, *told]
    return refused


def _body(request: Request) -> dict[str, Any]:
    try:
        if "json" in request.headers.get("content-type", ""):
            document = json.loads(request.body or b"{}")
            return document if isinstance(document, dict) else {}
        return {name: values[-1] for name, values in parse_qs(request.body.decode()).items()}
    except ValueError:
        raise oauth_error("invalid_request", "The request body could not be read.") from None
