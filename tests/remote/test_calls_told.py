from __future__ import annotations

import contextlib

import httpx
import pytest

from tests.remote.conftest import HOST, NOW, Answer
from worker.core import errors, records
from worker.remote import base
from worker.remote.workbooks_wire import Form

TOLD: list[tuple[str, str, bytes | None, Answer, tuple[str, str]]] = [
    ("GET", "/api/v2/prospects", None, httpx.Response(200), ("read", "ok")),
    ("PATCH", "/api/v2/prospects/1", b"{}", httpx.Response(422), ("write", "refused")),
    ("POST", "/oauth/token", b"", httpx.Response(401), ("authorise", "refused")),
    ("POST", "/login.api", b"_method=POST&", httpx.Response(200), ("authorise", "ok")),
    (
        "POST",
        "/crm/people.api",
        Form([("_method", "GET"), ("client", "api")]).body(),
        httpx.Response(302),
        ("read", "refused"),
    ),
    (
        "POST",
        "/crm/people.api",
        Form([("_method", "PUT"), ("client", "api")]).body(),
        httpx.Response(200),
        ("write", "ok"),
    ),
    ("GET", "/api/v2/tasks", None, httpx.Response(429), ("read", "throttled")),
    ("GET", "/api/v2/tasks", None, httpx.Response(503), ("read", "down")),
    ("GET", "/api/v2/tasks", None, httpx.ReadTimeout("late"), ("read", "unanswered")),
    ("GET", "/api/v2/tasks", None, httpx.ConnectError("nobody"), ("read", "unsent")),
]


@pytest.mark.parametrize("method, path, body, answer, wanted", TOLD)
def test_whoever_counts_is_told_of_every_call(
    method: str, path: str, body: bytes | None, answer: Answer, wanted: tuple[str, str]
) -> None:
    """What kind of request it was, how it ended and how long that took; the CRM's reads are told from its writes."""
    clock, told = [0.0], []

    def answered(_request: httpx.Request) -> httpx.Response:
        clock[0] += 0.25
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, httpx.Response)
        return answer

    client = base.Client(
        system=records.System.CRM,
        base_url=HOST,
        http=base.http_client(httpx.MockTransport(answered)),
        before_call=lambda: None,
        sleep=lambda _seconds: None,
        jitter=lambda: 0.5,
        now=lambda: NOW,
        tick=lambda: clock[0],
        after_call=lambda *told_of: told.append(told_of),
    )
    with contextlib.suppress(errors.RemoteDown):
        client.exchange(base.Ask(method, client.url(path), body=body))
    assert told == [(*wanted, 0.25)]
