from __future__ import annotations

import gzip
import socket
import ssl
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from worker.core import errors, records
from worker.remote import base, quoting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.remote.conftest import Vendor


def resolving_to(*addresses: str) -> Callable[..., list[Any]]:
    """Return a stand-in for the resolver."""
    return lambda host, port, **kw: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com",
        "https://127.0.0.1",
        "https://localhost:8443",
        "https://x.localhost",
        "https://10.1.2.3",
        "https://192.168.0.9",
        "https://169.254.169.254",
        "https://100.64.0.1",
        "https://0.0.0.0",
        "https://[::1]",
        "https://[fe80::1]",
        "https://[fd00::1]",
        "https://[::ffff:10.0.0.1]",
        "https://[64:ff9b::a9fe:a9fe]",
        "https://[2002:a00:1::]",
        "https://224.0.0.1",
        "https://2130706433",
        "https://0x7f000001",
        "https://127.1",
        "https://0",
        "https://127\u30020\u30020\u30021",
        "https://localhost.",
        "https://[::]",
        "https://[::127.0.0.1]",
        "https://[::ffff:0:127.0.0.1]",
        "https://[64:ff9b:1::7f00:1]",
        "https://[2001:0:7f00:1::]",
        "https://[fe80::1%25eth0]",
        "https://[fec0::1]",
        "https://user:word@api.example.com",
        "https://api.example.com?x=1",
        "ftp://api.example.com",
        "api.example.com",
        "https://",
        "",
    ],
)
def test_only_https_at_a_public_host_is_accepted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain http, private, loopback, link-local and metadata addresses are refused with a sentence."""
    real = socket.getaddrinfo

    def numeric_only(host: str, port: int, **_: object) -> object:
        return real(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)

    monkeypatch.setattr(socket, "getaddrinfo", numeric_only)
    with pytest.raises(ValueError, match=r"\w+ \w+ "):
        base.check_host(url, allow_insecure=False)


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("93.184.216.34", "10.0.0.1"), ("169.254.169.254",)])
def test_a_name_that_resolves_to_a_private_address_is_refused(
    addresses: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One private address among those of a name is enough to refuse it."""
    monkeypatch.setattr(socket, "getaddrinfo", resolving_to(*addresses))
    with pytest.raises(ValueError, match="private"):
        base.check_host("https://api.example.com", allow_insecure=False)


def test_public_and_unresolvable_names_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with public addresses passes, and so does one that nobody can resolve at the moment."""
    monkeypatch.setattr(socket, "getaddrinfo", resolving_to("93.184.216.34"))
    base.check_host("https://api.example.com", allow_insecure=False)

    def nowhere(*_: object, **__: object) -> object:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    base.check_host("https://api.example.com/base", allow_insecure=False)


def test_insecure_hosts_pass_when_allowed() -> None:
    """With the switch on, a loopback URL passes over http, though never with credentials in it."""
    base.check_host("http://127.0.0.1:8080", allow_insecure=True)
    with pytest.raises(ValueError, match="credentials"):
        base.check_host("http://a:b@127.0.0.1:8080", allow_insecure=True)


def ask(vendor: Vendor) -> Callable[[], base.Reply]:
    """Return a read that takes any status below 500 for an answer."""

    def once() -> base.Reply:
        answer = vendor.client.exchange(base.Ask("GET", vendor.client.url("/x")))
        vendor.client.refuse_trouble(answer)
        return answer

    return once


@pytest.mark.parametrize(
    "fault",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("cut"),
        httpx.DecodingError("bad gzip"),
    ],
)
def test_a_read_is_tried_four_times_in_all(fault: Exception, vendor: Vendor) -> None:
    """A read survives three network faults and is counted four times; a fourth fault is RemoteDown."""
    good = httpx.Response(200, content=b"{}")
    vendor.says(fault, fault, fault, good)
    assert vendor.client.patiently(ask(vendor), repeatable=True).status == 200
    assert (vendor.counted, vendor.slept) == (4, [0.125, 0.25, 0.5])
    vendor.says(fault)
    with pytest.raises(errors.RemoteDown) as caught:
        vendor.client.patiently(ask(vendor), repeatable=True)
    assert caught.value.system is records.System.OUTREACH
    assert isinstance(caught.value, base.NotSent) == isinstance(fault, (httpx.ConnectError, httpx.ConnectTimeout))
    assert caught.value.__context__ is None


def test_a_write_is_repeated_only_when_it_never_left(vendor: Vendor) -> None:
    """A refused connection is tried again, a lost answer is not."""
    vendor.says(httpx.ConnectError("refused"), httpx.Response(200, content=b"{}"))
    assert vendor.client.patiently(ask(vendor), repeatable=False).status == 200
    vendor.says(httpx.ReadTimeout("slow"), httpx.Response(200, content=b"{}"))
    with pytest.raises(base.Unanswered):
        vendor.client.patiently(ask(vendor), repeatable=False)
    assert len(vendor.requests) == 3


def test_a_slow_read_is_not_tried_again(vendor: Vendor) -> None:
    """A read that took longer than 20 s is left to the caller's own retry."""
    vendor.says(httpx.ReadTimeout("slow"))

    def once() -> base.Reply:
        vendor.clock += 30.0
        return ask(vendor)()

    with pytest.raises(errors.RemoteDown):
        vendor.client.patiently(once, repeatable=True)
    assert len(vendor.requests) == 2


def test_short_waits_are_slept_through_and_long_ones_raised(
    vendor: Vendor, reply: Callable[..., httpx.Response]
) -> None:
    """A wait of up to 5 s is slept, three times at most; a longer one is the caller's."""
    vendor.says(reply({}, 429, retry_after="5"), reply({}))
    assert vendor.client.patiently(ask(vendor), repeatable=False).status == 200
    assert vendor.slept == [5.0]
    vendor.says(reply({}, 429, retry_after="2"))
    with pytest.raises(errors.Throttled):
        vendor.client.patiently(ask(vendor), repeatable=True)
    assert vendor.slept == [5.0, 2.0, 2.0, 2.0]
    vendor.says(reply({}, 429, retry_after="6"))
    with pytest.raises(errors.Throttled) as caught:
        vendor.client.patiently(ask(vendor), repeatable=True)
    assert caught.value.retry_after_s == 6.0
    assert vendor.slept == [5.0, 2.0, 2.0, 2.0]


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 408, 425])
def test_a_failing_server_is_down(status: int, vendor: Vendor, reply: Callable[..., httpx.Response]) -> None:
    """5xx and what is about the connection is nobody's answer."""
    vendor.says(reply({"data": []}, status))
    with pytest.raises(base.Unanswered, match=str(status)):
        vendor.client.patiently(ask(vendor), repeatable=True)


def test_maintenance_with_a_time_is_a_wait(vendor: Vendor, reply: Callable[..., httpx.Response]) -> None:
    """503 with an ISO time in Retry-After says how long the maintenance takes."""
    vendor.says(reply({}, 503, retry_after="2026-11-20T15:30:00Z"))
    with pytest.raises(errors.Throttled) as caught:
        vendor.client.patiently(ask(vendor), repeatable=True)
    assert caught.value.retry_after_s == 1800.0


def test_a_body_has_a_limit(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that outgrows the cap, zipped or not, is dropped."""
    monkeypatch.setattr(base, "BODY_CAP", 1000)
    bomb = gzip.compress(b" " * 100_000)
    sizes = iter(
        [
            httpx.Response(200, content=b" " * 1001),
            httpx.Response(200, headers={"content-encoding": "gzip"}, content=bomb),
        ]
    )
    http = base.http_client(httpx.MockTransport(lambda _: next(sizes)))
    vendor.client._http = http
    for _ in range(2):
        with pytest.raises(base.Unanswered, match="larger"):
            vendor.client.exchange(base.Ask("GET", vendor.client.url("/x")))


def test_an_answer_that_trickles_is_given_up(vendor: Vendor) -> None:
    """A body of one byte at a time does not hold the task beyond its deadline."""

    def trickle() -> Iterator[bytes]:
        for _ in range(100):
            vendor.clock += 1.0
            yield b"x"

    vendor.client._http = base.http_client(httpx.MockTransport(lambda _: httpx.Response(200, content=trickle())))
    with pytest.raises(base.Unanswered, match="longer"):
        vendor.client.exchange(base.Ask("GET", vendor.client.url("/x")))
    assert vendor.clock == 46.0


def test_the_budget_is_asked_before_a_request_leaves(vendor: Vendor) -> None:
    """A spent budget lets nothing out."""

    def spent() -> None:
        raise errors.BudgetSpent("no calls left")

    vendor.client._before_call = spent
    with pytest.raises(errors.BudgetSpent):
        vendor.client.patiently(ask(vendor), repeatable=True)
    assert vendor.requests == []


def test_the_client_keeps_no_cookie_and_follows_nothing(vendor: Vendor, reply: Callable[..., httpx.Response]) -> None:
    """A session cookie is not sent back, a redirect is an answer, and the agent's name asks for no gzip."""
    vendor.says(reply({}, 302, location="/elsewhere", set_cookie="Workbooks-Session=abc; path=/;"))
    for _ in range(2):
        assert vendor.client.exchange(base.Ask("GET", vendor.client.url("/x"))).status == 302
    assert [request.url.path for request in vendor.requests] == ["/x", "/x"]
    assert all("cookie" not in request.headers for request in vendor.requests)
    agent = vendor.requests[0].headers["user-agent"]
    assert agent.startswith("outbook/")
    assert "gzip" not in agent


def test_the_clients_timeouts() -> None:
    """Connecting takes 5 s at most and a silence 30 s."""
    with base.http_client() as http:
        assert (http.timeout.connect, http.timeout.read) == (5.0, 30.0)
        assert not http.follow_redirects


def test_the_authorities_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A further client trusts by what the first has read, and still looks at certificate and name."""
    base.http_client().close()
    read: list[object] = []
    monkeypatch.setattr(ssl, "create_default_context", lambda **how: read.append(how))
    base.http_client().close()
    assert read == []
    trust = base._authorities()
    assert (trust.verify_mode, trust.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize(
    "link",
    [
        "https://127.0.0.1:9/x",
        "http://127.0.0.1:10/x",
        "http://127.0.0.1/x",
        "http://evil.example:9/x",
        "http://127.0.0.1:9@evil.example/x",
        "http://user@127.0.0.1:9/x",
        "//evil.example/x",
        "file:///etc/passwd",
        "javascript:1",
        "http://127.0.0.1:9\x00.evil.example/",
        "http://[",
    ],
)
def test_a_link_stays_where_we_are(link: str, vendor: Vendor) -> None:
    """Another scheme, host, port or credentials in a link break the contract."""
    with pytest.raises(errors.ContractBroken):
        vendor.client.same_host(link)


def test_a_link_to_our_own_place_is_taken(vendor: Vendor) -> None:
    """An absolute link to the same place passes as it is, a relative one is completed."""
    assert str(vendor.client.same_host("http://127.0.0.1:9/a?b=%5Bc%5D")) == "http://127.0.0.1:9/a?b=%5Bc%5D"
    assert str(vendor.client.same_host("/a?b=1")) == "http://127.0.0.1:9/a?b=1"


@pytest.mark.parametrize(
    "words, safe",
    [
        ("ann.lee@sales.example is taken", "[address] is taken"),
        ("call +44 1632 960 123 or 01632960123", "call [number] or [number]"),
        ("Bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhYmMifQ.c2lnbmF0dXJlMDEyMw", "Bearer [hidden]"),
        ("Name Ann Lee is bad, Cannot be", "Name [hidden] is bad, Cannot be"),
        ("two\nlines\t\x1b[31m", "two lines [31m"),
        ("Could not find 'prospect' with ID '123456789'.", "Could not find 'prospect' with ID '123456789'."),
        ("reset at 2026-11-20 15:00:00 UTC", "reset at 2026-11-20 15:00:00 UTC"),
        (
            "cf_person_outreach_sequence_state_updated_at unknown",
            "cf_person_outreach_sequence_state_updated_at unknown",
        ),
    ],
)
def test_words_are_safe_to_log(words: str, safe: str) -> None:
    """Addresses, phone numbers, tokens and the values we sent are hidden; ids, times and field names stay."""
    assert quoting.say(words, ["Ann Lee", "ab"]) == safe


def test_words_are_cut() -> None:
    """A vendor's essay is cut short."""
    assert len(quoting.say("a word " * 100)) == 240


@pytest.mark.parametrize(
    "value, number",
    [
        (7, 7),
        ("7", 7),
        (" 7 ", 7),
        (True, None),
        (7.0, None),
        ("7.5", None),
        (None, None),
        ("", None),
        ([], None),
        ("٧", None),
    ],
)
def test_whole_numbers(value: object, number: int | None) -> None:
    """An id may be a number or its digits, and nothing else."""
    assert base.whole(value) == number


@pytest.mark.parametrize(
    "headers, expected",
    [
        (
            {"x_ratelimit_limit": "10000", "x_ratelimit_remaining": "9999, 19988", "x_ratelimit_reset": "1795186860"},
            (10000, 9999, 60.0),
        ),
        ({"x_ratelimit_remaining": "12"}, (None, 12, None)),
        ({"x_ratelimit_remaining": "plenty"}, None),
        ({}, None),
    ],
)
def test_the_rate_limit_last_seen(
    headers: dict[str, str], expected: object, vendor: Vendor, reply: Callable[..., httpx.Response]
) -> None:
    """What the vendor tells of its limit is kept in whatever form, the first of two numbers."""
    vendor.says(reply({}, **headers))
    answer = vendor.client.exchange(base.Ask("GET", vendor.client.url("/x")))
    limit = vendor.outreach.rate_limit
    told = limit and (limit.limit, limit.remaining, limit.reset and (limit.reset - answer.server_time).total_seconds())
    assert told == expected
