"""WSGI in our words: a request, an answer, and an application that finds in a table who answers what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

log = structlog.get_logger("outbook.web")

PLAIN, JSON, HTML = "text/plain; charset=utf-8", "application/json", "text/html; charset=utf-8"
ALWAYS = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))


@dataclass(frozen=True, slots=True)
class Request:
    """One request: method in capitals, path without the query, and what the server handed over for the rest."""

    method: str
    path: str
    query: str
    environ: WSGIEnvironment

    def header(self, name: str) -> str:
        """Return a header, whatever the case it was written in; blank if there is none."""
        return str(self.environ.get("HTTP_" + name.upper().replace("-", "_"), ""))

    def length(self) -> int | None:
        """Return the length of the body; None if it is not told, or not a number."""
        text = str(self.environ.get("CONTENT_LENGTH") or "0")
        return int(text) if text.isdecimal() else None

    def body(self) -> bytes:
        """Return the raw body."""
        return bytes(self.environ["wsgi.input"].read(self.length() or 0))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered with; ``headers`` beside type and length."""

    status: int
    body: bytes = b""
    kind: str = PLAIN
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Answer]
Routes = dict[tuple[str, str], Handler]


class Application:
    """The WSGI application over a table of routes. A HEAD is a GET without its body."""

    def __init__(self, table: Routes) -> None:
        """Keep the table."""
        self._table = table

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request; what a handler did not foresee is logged and told nobody outside."""
        method = str(environ["REQUEST_METHOD"])
        wanted = "GET" if method == "HEAD" else method
        request = Request(wanted, str(environ.get("PATH_INFO") or "/"), str(environ.get("QUERY_STRING", "")), environ)
        try:
            answer = self._answer(request)
        except Exception:
            log.exception("unforeseen", method=method, path=request.path)
            answer = Answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"something went wrong; the log tells what\n")
        told = [*ALWAYS, *answer.headers, ("Content-Type", answer.kind), ("Content-Length", str(len(answer.body)))]
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", told)
        return [b"" if method == "HEAD" else answer.body]

    def _answer(self, request: Request) -> Answer:
        handler = self._table.get((request.method, request.path)) or self._below(request)
        if handler is not None:
            return handler(request)
        allowed = sorted({method for method, path in self._table if path == request.path})
        if allowed:
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"not this way\n", headers=(("Allow", ", ".join(allowed)),))
        return Answer(HTTPStatus.NOT_FOUND, b"nothing here\n")

    def _below(self, request: Request) -> Handler | None:
        """Return the handler of the longest ``/*`` that the path lies below."""
        found = [
            path
            for method, path in self._table
            if method == request.method and path.endswith("/*") and request.path.startswith(path[:-1])
        ]
        return self._table[request.method, max(found, key=len)] if found else None
