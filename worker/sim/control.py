"""What both simulators stand on: the WSGI application with its controls under ``/_sim/``, faults and journal.

A vendor's half is a function ``(Request, Fault | None) -> Reply``; :func:`control_app` makes a WSGI application of it,
which ``waitress`` serves (:func:`serve`, :func:`running`) and ``httpx.WSGITransport`` calls in-process.

Faults of both: ``status`` (args ``code``, ``body``, ``headers``), ``html200``, ``drop``, ``reset``, ``lost_reply``,
``truncate`` (``at``), ``delay`` (``seconds``, ``after``), ``slow_drip`` (``seconds``, ``pieces``: the answer comes in
pieces) and ``garbled`` (``how``: what was asked is done, and the answer is nonsense with 200, see :data:`GARBLED`).

Under ``/_sim/``: ``GET journal?since=N&path=REGEX`` → ``{"entries", "last"}`` · ``GET state`` · ``GET|POST faults`` (a
list, ``[]`` clears) · ``POST clock`` with ``{"shift": s}``, ``{"set": iso}`` or ``{"freeze": bool}`` · ``POST edit`` ·
``POST reset`` with ``{"seed", "records"}``. A simulator may add controls of its own (``more``: called with the document
and ``posted``).
"""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from dataclasses import dataclass, field
from email.utils import format_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl

from waitress.channel import ClientDisconnected  # type: ignore[import-untyped]

from worker.sim.instruments import Clock, Fault, Faults, Journal, Json
from worker.sim.server import running, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime
    from wsgiref.types import StartResponse, WSGIEnvironment

__all__ = [
    "Clock",
    "ControlApp",
    "Fault",
    "Faults",
    "Journal",
    "Json",
    "Reply",
    "Request",
    "World",
    "control_app",
    "json_reply",
    "operation",
    "running",
    "serve",
]

HTML = b"<!DOCTYPE html><html><head><title>One moment</title></head><body><p>Please try again.</p></body></html>"

MEGABYTES = 50
GARBLED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda body: body,
    "length": lambda body: body,
    "html": lambda _body: HTML,
    "json": lambda body: body[:-1] + b"]}",
    "nan": lambda _body: b'{"success": NaN, "total": NaN, "data": NaN, "affected_objects": NaN}',
    "deep": lambda _body: b"[" * 200_000 + b"]" * 200_000,
    "huge": lambda _body: b'{"padding": "' + b"x" * MEGABYTES * 2**20 + b'"}',
}
"""Nonsense made of an answer. ``gzip`` says of plain bytes that they are packed, ``length`` promises more than comes."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call at ``at``; ``headers`` have lower-case names, ``base_url`` is scheme and host as the caller saw them.

    ``remote`` is the caller's address.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    base_url: str
    at: datetime
    remote: str = ""


@dataclass(slots=True)
class Reply:
    """One answer, its body sent in ``pieces`` over ``drip_s`` seconds; ``promised`` bytes more than there are.

    ``effect`` lists what it changed: ``{"op", "type", "id", "changes": {"field": [before, after]}}``.
    """

    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    effect: list[dict[str, Any]] = field(default_factory=list)
    drip_s: float = 0.0
    pieces: int = 1
    promised: int = 0


class World(Protocol):
    """What a simulator keeps, as the controls see it. A ValueError, KeyError or TypeError is answered with 400."""

    def edit(self, document: Json) -> Json:
        """Change the world and return what changed; a key ``effect`` of the answer goes into the journal."""

    def dump(self) -> Json:
        """Return everything."""

    def reset(self, *, seed: str | None, records: int | None) -> None:
        """Start anew, with the former seed or number of records where they are None."""


def operation(request: Request) -> str:
    """Return ``read`` or ``write`` by the method."""
    return "read" if request.method in {"GET", "HEAD"} else "write"


def json_reply(status: int, document: Json) -> Reply:
    """Return a reply with a JSON body."""
    body = json.dumps(document, separators=(",", ":"), default=str).encode()
    return Reply(status, body, [("Content-Type", "application/json")])


class ControlApp:
    """The WSGI application of a simulator: ``/_sim/*`` itself, all else by the vendor's half, faulted and recorded."""

    def __init__(
        self,
        vendor: Callable[[Request, Fault | None], Reply],
        *,
        clock: Clock,
        journal: Journal,
        faults: Faults,
        world: World,
        operation_of: Callable[[Request], str] = operation,
    ) -> None:
        """Keep the parts; ``operation_of`` tells reads from writes where the method does not."""
        self.vendor, self.clock, self.journal, self.faults, self.world = vendor, clock, journal, faults, world
        self.operation_of = operation_of
        self.latency_s = 0.0
        self.more: dict[str, Callable[..., Json]] = {}
        self.at_close: list[Callable[[], None]] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one call."""
        request = _request(environ, self.clock.now())
        if request.path.startswith("/_sim/"):
            reply = _controlled(self, request)
        else:
            if self.latency_s:
                time.sleep(self.latency_s)
            reply = self._answer(request, environ)
        return _send(reply, self.clock.now(), start_response)

    def close(self) -> None:
        """End what runs in the background, as the server that served this ends."""
        for end in self.at_close:
            end()

    def _answer(self, request: Request, environ: WSGIEnvironment) -> Reply:
        operation = self.operation_of(request)
        fault = self.faults.take(request.method, request.path, operation, request.query)
        kind = fault.kind if fault is not None else None
        reply = _instead(fault) if fault is not None else None
        if reply is None:
            reply = self.vendor(request, fault)
        if fault is not None:
            reply = _afterwards(fault, reply)
        broken = kind in {"drop", "reset", "lost_reply"}
        entry = {"at": request.at.isoformat(), "method": request.method, "path": request.path, "query": request.query}
        told = {"op": operation, "status": 0 if broken else reply.status, "effect": reply.effect, "fault": kind}
        self.journal.record({**entry, **told})
        if broken:
            _break_off(environ, reset=kind == "reset")
        return reply


def control_app(
    vendor_app: Callable[[Request, Fault | None], Reply],
    *,
    clock: Clock,
    journal: Journal,
    faults: Faults,
    world: World,
    operation_of: Callable[[Request], str] = operation,
) -> ControlApp:
    """Return the WSGI application around a vendor's half."""
    return ControlApp(vendor_app, clock=clock, journal=journal, faults=faults, world=world, operation_of=operation_of)


def _request(environ: WSGIEnvironment, at: datetime) -> Request:
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    headers["content-type"] = environ.get("CONTENT_TYPE", "")
    length = environ.get("CONTENT_LENGTH")
    body = environ["wsgi.input"].read(int(length)) if length else b""
    if not length and "chunked" in headers.get("transfer-encoding", ""):
        body = environ["wsgi.input"].read()
    host = headers.get("host") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    base_url = f"{environ['wsgi.url_scheme']}://{host}"
    path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
    query, remote = environ.get("QUERY_STRING", ""), environ.get("REMOTE_ADDR", "")
    return Request(environ["REQUEST_METHOD"], path, query, headers, body, base_url, at, remote)


def _send(reply: Reply, at: datetime, start_response: StartResponse) -> Iterable[bytes]:
    told = {name.lower() for name, _ in reply.headers}
    headers = list(reply.headers)
    if "date" not in told:
        headers.append(("Date", format_datetime(at, usegmt=True)))
    if reply.status != HTTPStatus.NO_CONTENT:
        headers.append(("Content-Length", str(len(reply.body) + reply.promised)))
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "Unknown"
    start_response(f"{reply.status} {phrase}", headers)
    return _dripped(reply) if reply.drip_s else [reply.body]


def _dripped(reply: Reply) -> Iterator[bytes]:
    size = max(1, -(-len(reply.body) // reply.pieces))
    for at in range(0, len(reply.body), size):
        yield reply.body[at : at + size]
        time.sleep(reply.drip_s / reply.pieces)


def _instead(fault: Fault) -> Reply | None:
    """Return the reply of a fault that keeps the handler from running, or None."""
    if fault.kind == "status":
        body = fault.args.get("body", "")
        raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        headers = [(str(name), str(value)) for name, value in (fault.args.get("headers") or {}).items()]
        return Reply(int(fault.args.get("code", 500)), raw, headers)
    if fault.kind == "html200":
        return Reply(200, HTML, [("Content-Type", "text/html; charset=utf-8")])
    if fault.kind in {"drop", "reset"}:
        return Reply(502, HTML, [("Content-Type", "text/html; charset=utf-8")])
    if fault.kind == "delay" and not fault.args.get("after"):
        time.sleep(float(fault.args.get("seconds", 1.0)))
    return None


def _afterwards(fault: Fault, reply: Reply) -> Reply:
    """Return what is left of a reply whose handler has run."""
    if fault.kind == "truncate":
        reply.body = reply.body[: int(fault.args.get("at", len(reply.body) // 2))]
    elif fault.kind == "delay" and fault.args.get("after"):
        time.sleep(float(fault.args.get("seconds", 1.0)))
    elif fault.kind == "slow_drip":
        reply.drip_s, reply.pieces = float(fault.args.get("seconds", 5.0)), int(fault.args.get("pieces", 10))
    elif fault.kind == "garbled":
        return _garbled(str(fault.args["how"]), reply)
    elif fault.kind == "lost_reply":
        return Reply(502, HTML, [("Content-Type", "text/html; charset=utf-8")], reply.effect)
    return reply


def _garbled(how: str, reply: Reply) -> Reply:
    kind = "text/html; charset=utf-8" if how == "html" else "application/json"
    headers = [("Content-Type", kind), *([("Content-Encoding", "gzip")] if how == "gzip" else [])]
    return Reply(200, GARBLED[how](reply.body), headers, reply.effect, promised=100 if how == "length" else 0)


def _break_off(environ: WSGIEnvironment, *, reset: bool) -> None:
    """Close the connection without an answer under waitress; in-process, where there is none, the 502 goes out."""
    check = environ.get("waitress.client_disconnected")
    if check is None:
        return
    if reset:  # a linger of zero makes the kernel send RST instead of FIN
        check.__self__.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise ClientDisconnected


def _controlled(app: ControlApp, request: Request) -> Reply:
    """Answer a call under ``/_sim/``; 400 with the words of what is wrong with it."""
    try:
        document = json.loads(request.body) if request.body else {}
        return _control(app, request, document)
    except (ValueError, KeyError, TypeError, AttributeError, re.error) as error:
        return json_reply(400, {"error": f"{type(error).__name__}: {error}"})


def _control(app: ControlApp, request: Request, document: Json) -> Reply:
    name, posted = request.path.removeprefix("/_sim/"), request.method == "POST"
    if name == "journal" and not posted:
        return json_reply(200, _journal(app.journal, dict(parse_qsl(request.query))))
    if name == "state" and not posted:
        return json_reply(200, app.world.dump())
    if name == "faults":
        if posted:
            app.faults.arm(document)
        return json_reply(200, app.faults.documents())
    if name in app.more:
        return json_reply(200, app.more[name](document, posted=posted))
    if name == "clock":
        if posted:
            _turn(app.clock, document)
        return json_reply(200, {"now": app.clock.now().isoformat()})
    if name == "reset" and posted:
        app.clock.reset()
        app.faults.arm([])
        app.journal.clear()
        app.world.reset(seed=document.get("seed"), records=document.get("records"))
        return json_reply(200, {"reset": True})
    if name == "edit" and posted:
        answer = app.world.edit(document)
        effect = answer.get("effect", []) if isinstance(answer, dict) else []
        entry = {"at": request.at.isoformat(), "method": "POST", "path": request.path, "query": "", "status": 200}
        app.journal.record({**entry, "effect": effect, "fault": None})
        return json_reply(200, answer)
    return json_reply(404, {"error": f"no control {request.method} {request.path}"})


def _journal(journal: Journal, wanted: Mapping[str, str]) -> dict[str, Any]:
    entries = journal.entries(int(wanted.get("since", 0)))
    last = entries[-1]["n"] if entries else int(wanted.get("since", 0))
    if wanted.get("path"):
        path = re.compile(wanted["path"])
        entries = [entry for entry in entries if path.search(entry["path"])]
    return {"entries": entries, "last": last}


def _turn(clock: Clock, document: Mapping[str, Any]) -> None:
    if "set" in document:
        clock.set(document["set"])
    if "shift" in document:
        clock.shift(float(document["shift"]))
    if "freeze" in document:
        clock.freeze(on=bool(document["freeze"]))
