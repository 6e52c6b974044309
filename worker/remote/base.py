"""The shared HTTP client of both vendors: one host, bounded answers, patience, and errors told in words safe to log."""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import socket
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib import metadata
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode

import httpx
import msgspec

from worker import traces
from worker.core import errors, records
from worker.remote import deadline, quoting, waits

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

CONNECT_S = 5.0
READ_S = 30.0
EXCHANGE_S = 45.0
"""No answer takes longer than this from the first byte asked to the last one read."""
BODY_CAP = 64 * 1024 * 1024
RETRIES = 3
RETRY_WITHIN_S = 20.0
"""A read that has already taken this long is not tried again, so that a task keeps its own deadline."""
SLEPT_THROUGH_S = 5.0
_MOMENTARY = {408, 421, 425}
"""Request timeout, misdirected, too early: about the connection, not about what was asked."""
_NAT64, _UNICAST = ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("2000::/3")
"""Where an IPv4 address stands in the last 32 bits, and all that is handed out as public (RFC 6052, RFC 4291)."""

T = TypeVar("T")


class Unanswered(errors.RemoteDown):
    """No usable answer, though the request may have reached the vendor: nobody knows whether it was carried out."""


class NotSent(errors.RemoteDown):
    """The request surely never reached the vendor."""


class LinkRefused(errors.RemoteDown):
    """The vendor no longer takes this next link: read again from the watermark."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a stream. ``server_time`` is aware UTC from the Date header; ``next`` the link to follow, if any."""

    snapshots: list[records.Snapshot]
    next: str | None
    server_time: datetime


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What the vendor last told about its limit; ``remaining`` is the first number when it tells several."""

    limit: int | None
    remaining: int | None
    reset: datetime | None


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to make. It may hold a token or a key, so it has no readable form."""

    method: str
    url: httpx.URL
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    hide: tuple[str, ...] = field(default=(), repr=False)
    """What must not be quoted from the answer, beside the bearer token: a key, a person's data."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete answer, whatever its status."""

    status: int
    headers: httpx.Headers = field(repr=False)
    body: bytes = field(repr=False)
    server_time: datetime
    hidden: tuple[str, ...] = field(default=(), repr=False)
    """What may not be quoted from it."""

    def say(self, words: str) -> str:
        """Return words of this answer as they may be logged."""
        return quoting.say(words, self.hidden)

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Let the error that this answer turns out to be bear its status."""
        try:
            yield
        except errors.OutbookError as error:
            error.status = self.status
            raise


@cache
def user_agent() -> str:
    """Return ``outbook/<version>``: Workbooks wants one and marks our creations with its first word (manual, Login)."""
    try:
        return f"outbook/{metadata.version('outbook')}"
    except metadata.PackageNotFoundError:
        return "outbook/0"


@cache
def _authorities() -> ssl.SSLContext:
    """Return whose word TLS takes; made once a process, for each further one costs 0.8 MB and 20 ms."""
    return httpx.create_ssl_context()


def http_client(transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """Return the client both vendors are talked to with: bounded, no redirects, no cookies, no proxy to loopback."""
    # httpx logs every URL at INFO, and a look-up by e-mail has the address in it.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    nowhere_between = ("all://127.0.0.1", "all://localhost", "all://[::1]")
    client = httpx.Client(
        verify=_authorities(),
        transport=transport,
        mounts=dict.fromkeys(nowhere_between),
        timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
        limits=httpx.Limits(max_connections=40, max_keepalive_connections=20, keepalive_expiry=20.0),
        follow_redirects=False,
        # A session cookie beside the key would expire and turn every call into a redirect to the login page.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    )
    return deadline.bound(client)


def check_host(base_url: str, *, allow_insecure: bool) -> None:
    """Raise ValueError with one sentence unless ``base_url`` is https at a public host or ``allow_insecure`` is set.

    A name is resolved and every address looked at; one that does not resolve passes, for the connection will fail.
    A name that turns to a private address later fails at the certificate before anything secret is sent.
    """
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError):
        raise ValueError("the base URL is not a URL") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("the base URL needs a scheme (https) and a host")
    if url.userinfo or url.query or url.fragment:
        raise ValueError("the base URL may hold neither credentials nor a query")
    if allow_insecure:
        return
    if url.scheme != "https":
        raise ValueError(f"{url.host} must be reached by https")
    if not is_public_host(base_url):
        raise ValueError(f"{url.host} is a private, loopback or link-local address")


def is_public_host(base_url: str) -> bool:
    """Tell whether the host of a URL is one of the public internet, as far as its name resolves."""
    url = httpx.URL(base_url)
    return all(_is_public(address) for address in _addresses(url.host.rstrip("."), url.port or 443))


def _addresses(host: str, port: int) -> list[str]:
    """Return the addresses that ``host`` is or resolves to; none when it does not resolve."""
    if host == "localhost" or host.endswith(".localhost"):
        return ["127.0.0.1"]
    if ":" in host:
        return [host]  # an IPv6 address, which no resolver knows better; with a zone, none may know it at all
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        return []


def _is_public(text: str) -> bool:
    """Tell whether an address is one of the public internet; an IPv4 address inside an IPv6 one counts as itself."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        behind = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
        address = address.ipv4_mapped or address.sixtofour or behind or address
    if isinstance(address, ipaddress.IPv6Address) and address not in _UNICAST:
        return False  # such as ::127.0.0.1 and 64:ff9b:1::7f00:1, which ``is_global`` takes for public
    return address.is_global and not address.is_multicast


def decoded(reply: Reply, decoder: msgspec.json.Decoder[T]) -> T:
    """Return the body as JSON of the decoder's type; anything else raises Unanswered, never looks like nothing."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return decoder.decode(reply.body)
    kind = reply.headers.get("content-type", "no content type").partition(";")[0][:40]
    raise Unanswered(f"answered {reply.status} with {len(reply.body)} bytes of {kind} that are not the JSON promised")


class Client:
    """Talks to one vendor's scheme, host and port, and to nothing else. May be shared by threads."""

    def __init__(
        self,
        *,
        system: records.System,
        base_url: str,
        http: httpx.Client,
        before_call: Callable[[], None],
        sleep: Callable[[float], None],
        jitter: Callable[[], float],
        now: Callable[[], datetime],
        tick: Callable[[], float] = time.monotonic,
        after_call: Callable[[str, str, float], None] = lambda _operation, _outcome, _seconds: None,
        heed: Callable[[str], None] = lambda _operation: None,
        asked: Callable[[str, float], None] = lambda _operation, _wait_s: None,
    ) -> None:
        """Keep the hooks: ``before_call`` runs before every request that leaves and may raise BudgetSpent.

        ``heed`` is told before that what kind of request it is and may raise Resting, ``after_call`` how it ended and
        how many seconds that took, ``asked`` for how many the vendor wants no more of that kind.
        """
        self.system = system
        self.rate_limit: RateLimit | None = None
        self.sleep = sleep
        self.jitter = jitter
        self.now = now
        self._base = httpx.URL(base_url.rstrip("/"))
        self._http = http
        self._before_call = before_call
        self._after_call = after_call
        self._heed = heed
        self._asked = asked
        self._tick = tick

    def url(self, path: str, params: Iterable[tuple[str, str]] = ()) -> httpx.URL:
        """Return the address of ``path`` (with its leading slash) under the base URL."""
        url = httpx.URL(str(self._base).rstrip("/") + path)
        query = urlencode(list(params))
        return url.copy_with(query=query.encode()) if query else url

    def same_host(self, link: str, *, seen_from: httpx.URL | None = None) -> httpx.URL:
        """Return ``link`` as a URL if it stays on our scheme, host and port; otherwise raise ContractBroken."""
        try:
            url = (seen_from or self._base).join(link)
            ours = (url.scheme, url.host, _port(url)) == (self._base.scheme, self._base.host, _port(self._base))
        except (httpx.InvalidURL, ValueError):
            raise errors.ContractBroken("the vendor gave a link that is no URL", system=self.system) from None
        if not ours or url.userinfo:
            host = quoting.say(url.host) or "no host"
            raise errors.ContractBroken(f"the vendor gave a link to another place ({host})", system=self.system)
        return url

    def exchange(self, ask: Ask) -> Reply:
        """Return the complete answer to one request; raises NotSent when it surely never left, else Unanswered."""
        operation, outcome = _operation(ask), "unanswered"
        self._heed(operation)
        self._before_call()
        started = self._tick()
        with traces.span("call", system=self.system, operation=operation) as span:
            try:
                reply = self._exchanged(ask, started)
                outcome = _outcome(reply.status)
            except NotSent:
                outcome = "unsent"
                raise
            finally:
                span.set(outcome=outcome)
                self._after_call(operation, outcome, self._tick() - started)
        if (wait_s := waits.asked(reply.status, reply.headers, reply.server_time)) is not None:
            self._asked(operation, wait_s)
        self._note_limit(reply)
        return reply

    def _exchanged(self, ask: Ask, started: float) -> Reply:
        fault: errors.RemoteDown
        try:
            headers = {"User-Agent": user_agent(), **ask.headers}
            request = self._http.build_request(ask.method, ask.url, content=ask.body, headers=headers)
            with deadline.within(EXCHANGE_S):
                response = self._http.send(request, stream=True, follow_redirects=False)
                try:
                    body = self._body(response, started)
                finally:
                    response.close()
            hidden = (ask.headers.get("Authorization", "").removeprefix("Bearer "), *ask.hide)
            return Reply(response.status_code, response.headers, body, self._server_time(response.headers), hidden)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
            fault = NotSent(f"could not connect ({type(error).__name__})", system=self.system)
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            fault = Unanswered(f"no complete answer ({type(error).__name__})", system=self.system)
        raise fault

    def patiently(self, once: Callable[[], T], *, repeatable: bool) -> T:
        """Return what ``once`` returns, trying up to three more times.

        A refused connection and a wait of up to 5 s are always tried again, for then nothing was done; any other
        failure only if ``repeatable`` (a read). Longer waits are raised as Throttled.
        """
        started = self._tick()
        for attempt in range(RETRIES + 1):
            last = attempt == RETRIES or self._tick() - started > RETRY_WITHIN_S
            try:
                return once()
            except (errors.Resting, LinkRefused):
                raise
            except errors.Throttled as error:
                error.system = self.system
                if last or error.retry_after_s > SLEPT_THROUGH_S:
                    raise
                wait_s = error.retry_after_s
            except errors.RemoteDown as error:
                error.system = self.system
                if last or not (repeatable or isinstance(error, NotSent)):
                    raise
                wait_s = self.jitter() * min(2.0, 0.25 * 2.0**attempt)
            self.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    def refuse_trouble(self, reply: Reply, words: str = "") -> None:
        """Raise Throttled for 429 and for a 503 that tells a time, Unanswered for other 5xx; otherwise do nothing."""
        told = f"{reply.status}: {words}" if words else f"answered {reply.status}"
        wait_s = waits.told(reply.headers, reply.server_time)
        if reply.status == httpx.codes.TOO_MANY_REQUESTS or (
            reply.status == httpx.codes.SERVICE_UNAVAILABLE and wait_s is not None
        ):
            # Without a told time: short enough to be slept through here, then the caller's own backoff.
            wait_s = 2.0 + self.jitter() * 3.0 if wait_s is None else wait_s
            raise errors.Throttled(told, retry_after_s=wait_s, system=self.system)
        if reply.status in _MOMENTARY or reply.status >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise Unanswered(told, system=self.system)

    def _body(self, response: httpx.Response, started: float) -> bytes:
        """Return the whole body, unless it outgrows the cap or outlasts the deadline."""
        chunks, size = list[bytes](), 0
        for chunk in response.iter_bytes():
            chunks.append(chunk)
            if (size := size + len(chunk)) > BODY_CAP:
                raise Unanswered(f"the answer is larger than {BODY_CAP} bytes", system=self.system)
            if self._tick() - started > EXCHANGE_S:
                raise Unanswered(f"the answer took longer than {EXCHANGE_S:.0f} s", system=self.system)
        return b"".join(chunks)

    def _server_time(self, headers: httpx.Headers) -> datetime:
        """Return the server's own time, or ours when it does not tell it."""
        return waits.http_date(headers.get("date", "")) or self.now()

    def _note_limit(self, reply: Reply) -> None:
        """Keep what the reply tells about the rate limit."""
        remaining = waits.first_number(reply.headers.get("x-ratelimit-remaining"))
        limit = waits.first_number(reply.headers.get("x-ratelimit-limit"))
        reset = waits.moment(reply.headers.get("x-ratelimit-reset"), reply.server_time)
        if remaining is not None or limit is not None:
            self.rate_limit = RateLimit(limit, remaining, reset)


def _operation(ask: Ask) -> str:
    """Return what kind of request it is: authorise, read, or write. The CRM is read by POST, too (trace, section E)."""
    if ask.url.path.endswith(("/oauth/token", "/login.api")):
        return "authorise"
    return "read" if ask.method == "GET" or (ask.body or b"").startswith(b"_method=GET&") else "write"


def _outcome(status: int) -> str:
    """Return how an answer of this status counts."""
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return "throttled"
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return "down"
    return "refused" if status >= httpx.codes.MULTIPLE_CHOICES else "ok"


def _port(url: httpx.URL) -> int | None:
    """Return the port, the scheme's own when none is written."""
    return url.port or {"http": 80, "https": 443}.get(url.scheme)


def as_json(document: object) -> bytes:
    """Return ``document`` as JSON; raises ValueError for what JSON cannot hold (NaN, infinity, a lone surrogate)."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def whole(value: object) -> int | None:
    """Return ``value`` as an integer when it is one or spells one, else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,18}\s*", value):
        return int(value)
    return None
