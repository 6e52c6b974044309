"""A door on loopback that waits for one browser to come back from Outreach with a code."""

from __future__ import annotations

import queue
import secrets
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTS = ("localhost", "127.0.0.1")
SLOWEST_S = 10.0
"""A browser may open a connection long before it asks anything."""
DONE = b"<!doctype html><title>Outbook</title><p>Outbook has what it needs. You can close this page."
STRANGE = (
    b"<!doctype html><title>Outbook</title><p>This is not the answer Outbook waits for: start again from the terminal."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the browser brought: a code, or Outreach's word for why there is none."""

    code: str = field(default="", repr=False)
    refusal: str = ""


def is_here(redirect_uri: str) -> bool:
    """Tell whether the browser would be sent to a port of this machine that a program may listen on."""
    try:
        parts = urlsplit(redirect_uri)
        return parts.scheme == "http" and parts.hostname in HOSTS and bool(parts.port)
    except ValueError:
        return False


def read(query: str, state: str) -> Answer | None:
    """Return what the query of a redirected address says; None if it is not the answer to what we asked."""
    told = {name: values[-1] for name, values in parse_qs(query).items()}
    if not secrets.compare_digest(told.get("state", "").encode(), state.encode()):
        return None
    if told.get("code"):
        return Answer(code=told["code"])
    return Answer(refusal=told.get("error", "no code")[:100])


@contextmanager
def listening(redirect_uri: str, state: str) -> Iterator[queue.Queue[Answer]]:
    """Listen where the browser will be sent; yields a queue into which the first right answer comes.

    An answer with another state is told so and not heeded. Raises OSError if somebody else listens there.
    """
    parts = urlsplit(redirect_uri)
    came: queue.Queue[Answer] = queue.Queue()

    class Door(BaseHTTPRequestHandler):
        timeout = SLOWEST_S

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            answer = read(asked.query, state) if asked.path == (parts.path or "/") else None
            body = STRANGE if answer is None else DONE
            self.send_response(200 if answer else 400)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            self.wfile.write(body)
            if answer is not None:
                came.put(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing: the query holds the code."""

    server = ThreadingHTTPServer(("127.0.0.1", parts.port or 0), Door)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield came
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
