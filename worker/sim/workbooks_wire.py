"""The wire: what a request says, in all the spellings the vendor's clients use, and how answers are dressed."""

from __future__ import annotations

import gzip
import json
import re
from email import message_from_bytes
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from worker.sim.control import Reply, Request, json_reply
from worker.sim.workbooks_values import NULL_VALUE, TRUTHS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FORM = "application/x-www-form-urlencoded"
LOGIN_PAGE = (
    b"<!DOCTYPE html><html><head><title>Workbooks Login</title></head>"
    b'<body><form action="/login" method="post"><input name="username"><input name="password"></form></body></html>'
)
_METHOD = re.compile(rb'(?:(?:^|&)_method=|"_method"\s*:\s*"|name="_method"\r\n\r\n)([A-Za-z]+)')


class Stop(Exception):
    """Ends the handling of a request with a reply."""

    def __init__(self, reply: Reply) -> None:
        """Carry the reply."""
        super().__init__(reply.status)
        self.reply = reply


def refused(status: int, reason: str) -> Stop:
    """Return the end of a request whose caller is not let in (README "Login": ``failure_reason``)."""
    return Stop(json_reply(status, {"success": False, "failure_reason": reason}))


def unacceptable(words: str, status: int = 406) -> Stop:
    """Return the end of a request whose parameters make no sense (README: 406; also 404, 405, 501)."""
    return Stop(json_reply(status, {"success": False, "error": words}))


def redirected(location: str) -> Reply:
    """Return a 302 with an HTML body that nobody should parse."""
    body = b"<html><body>You are being redirected.</body></html>"
    return Reply(302, body, [("Location", location), ("Content-Type", "text/html; charset=utf-8")])


def login_page() -> Reply:
    """Return the HTML login page, with status 200."""
    return Reply(200, LOGIN_PAGE, [("Content-Type", "text/html; charset=utf-8")])


class Parameters:
    """Names and values of a request's query and body, in order; ``name[]`` and ``name`` are one name to :meth:`all`."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Group the pairs by name."""
        self.by_name: dict[str, list[str]] = {}
        for name, value in pairs:
            self.by_name.setdefault(name, []).append(value)

    def get(self, name: str) -> str | None:
        """Return the last value given for a name, or None."""
        values = self.all(name)
        return values[-1] if values else None

    def all(self, name: str) -> list[str]:
        """Return all values given for a name, with and without brackets."""
        return [*self.by_name.get(f"{name}[]", ()), *self.by_name.get(name, ())]

    def flag(self, name: str) -> bool:
        """Tell whether a name is given and true."""
        return (self.get(name) or "").strip().casefold() in TRUTHS

    def arrays(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the arrays: names without their brackets, and their values."""
        for name, values in self.by_name.items():
            if name.endswith("[]"):
                yield name[:-2], values


def parameters(request: Request) -> Parameters:
    """Return the parameters of a request; Stop with 406 for a body that cannot be read."""
    pairs = parse_qsl(request.query, keep_blank_values=True)
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if not request.body:
        return Parameters(pairs)
    if kind == "application/json":
        return Parameters([*pairs, *_json_pairs(request.body)])
    if kind == "multipart/form-data":
        return Parameters([*pairs, *_multipart_pairs(request)])
    if kind not in {"", FORM}:
        raise unacceptable(f"the content type {kind} is not understood")
    text = request.body.decode("utf-8", "replace")
    return Parameters([*pairs, *parse_qsl(text, keep_blank_values=True)])


def _json_pairs(body: bytes) -> Iterator[tuple[str, str]]:
    """Yield a JSON body's members as a form would hold them: an array is ``name[]`` repeated."""
    try:
        document = json.loads(body)
    except ValueError:
        raise unacceptable("the JSON body cannot be read") from None
    if not isinstance(document, dict):
        raise unacceptable("the JSON body is not an object")
    for name, value in document.items():
        if isinstance(value, list) and name != "_filter_json":
            yield from ((f"{name.removesuffix('[]')}[]", _text(one)) for one in value)
        else:
            yield name, _text(value)


def _text(value: object) -> str:
    if value is None:
        return NULL_VALUE
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def _multipart_pairs(request: Request) -> Iterator[tuple[str, str]]:
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    for part in message_from_bytes(head + request.body).walk():
        name = part.get_param("name", header="content-disposition")
        if isinstance(name, str):
            raw = part.get_payload(decode=True)
            yield name, raw.decode("utf-8", "replace") if isinstance(raw, bytes) else ""


def method(request: Request, asked: Parameters) -> str:
    """Return the method that counts: the parameter ``_method`` overrides HTTP's."""
    return (asked.get("_method") or request.method).upper()


def operation(request: Request) -> str:
    """Return ``write`` for what changes records, ``read`` for all else (logging in too)."""
    found = _METHOD.search(request.query.encode()) or _METHOD.search(request.body)
    said = found[1].decode() if found is not None else request.method
    return "write" if said.upper() == "PUT" else "read"


def dressed(reply: Reply, asked: Parameters, *, pretty: bool, agent: str, encodings: str) -> Reply:
    """Return a JSON reply as asked for: indented, wrapped as JSONP, compressed for a User-Agent that says ``gzip``."""
    told = dict(reply.headers)
    if "json" not in told.get("Content-Type", "") or not reply.body:
        return reply
    if pretty:
        reply.body = json.dumps(json.loads(reply.body), indent=2).encode()
    callback = asked.get("callback") or asked.get("jsonp")
    if callback and re.fullmatch(r"[\w.$]+", callback):
        reply.body = f"{callback}({reply.body.decode()})".encode()
        reply.headers = [("Content-Type", "text/javascript; charset=utf-8")]
    if "gzip" in agent and "gzip" in encodings:
        reply.body = gzip.compress(reply.body, compresslevel=1)
        reply.headers.append(("Content-Encoding", "gzip"))
    return reply
