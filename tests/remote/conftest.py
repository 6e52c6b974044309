"""A vendor that answers what a test has written down, and clients that talk to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import httpx
import pytest

from worker.core import records
from worker.remote import base, outreach, workbooks

NOW = datetime(2026, 11, 20, 15, 0, 0, tzinfo=UTC)
HOST = "http://127.0.0.1:9"
DATE = "Fri, 20 Nov 2026 15:00:00 GMT"
KEY = "01234-56789-01234-key-of-the-tests"

Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response | Exception]


class Bearers:
    """Two invented tokens; counts how often one was refused."""

    def __init__(self) -> None:
        self.current = "bearer-token-one"
        self.refused: list[str] = []

    def bearer(self) -> str:
        return self.current

    def renew(self, refused: str) -> str:
        self.refused.append(refused)
        self.current = "bearer-token-two"
        return self.current


class Vendor:
    """Gives the written answers in their order, the last one for ever after, and keeps every request."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[httpx.Request] = []
        self.slept: list[float] = []
        self.counted = 0
        self.clock = 0.0
        self.tokens = Bearers()
        http = base.http_client(httpx.MockTransport(self._answer))
        self.client = self._client(records.System.OUTREACH, http)
        self.outreach = outreach.Outreach(self.client, self.tokens)
        self.workbooks = workbooks.Workbooks(self._client(records.System.CRM, http), KEY)

    def _client(self, system: records.System, http: httpx.Client) -> base.Client:
        return base.Client(
            system=system,
            base_url=HOST,
            http=http,
            before_call=self._count,
            sleep=self.slept.append,
            jitter=lambda: 0.5,
            now=lambda: NOW,
            tick=lambda: self.clock,
        )

    def _count(self) -> None:
        self.counted += 1

    def _answer(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer = answer(request) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        # A fresh response each time: one that was read once cannot be read again.
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def says(self, *answers: Answer) -> None:
        """Set the answers to come."""
        self.answers = list(answers)

    def form(self, number: int = -1) -> list[tuple[str, str]]:
        """Return the form of one request as decoded pairs, in order."""
        return parse_qsl(self.requests[number].content.decode(), keep_blank_values=True, strict_parsing=True)


@pytest.fixture
def vendor() -> Vendor:
    """A vendor without an answer yet."""
    return Vendor()


@pytest.fixture
def reply() -> Callable[..., httpx.Response]:
    """Writes one answer: a JSON document or raw text, its status and headers, and a Date unless that is None."""

    def write(
        document: object = None,
        status: int = 200,
        *,
        raw: str | bytes | None = None,
        date: str | None = DATE,
        **headers: str,
    ) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if date is not None:
            named["date"] = date
        body = raw if raw is not None else json.dumps(document)
        content = body.encode() if isinstance(body, str) else body
        named.setdefault("content-type", "text/html" if raw is not None else "application/json")
        return httpx.Response(status, headers=named, content=content)

    return write
