"""The web served: waitress on one socket, until a signal. What is being answered by then is answered to its end."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import signal
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from waitress.server import create_server  # type: ignore[import-untyped]

from worker.config import SettingsInvalid
from worker.web.receiver import BODY_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from wsgiref.types import WSGIApplication

    from worker.config import Console

THREADS = 128
"""As many as wait for one commit of webhooks at two thousand a second, though the database takes 50 ms for it. With 32 and a
database that takes 30 ms a flood of 2,000 a second fell behind at 613 (measured)."""
CONNECTIONS = 900
"""Below the number of files that a process may usually have open."""
BACKLOG = 2048
IDLE_S = 75
DRAIN_S = 3.0


def lacking(values: Mapping[str, str]) -> list[str]:
    """Return what keeps the console from listening where the settings say: beyond loopback it needs a password."""
    host = values.get("OUTBOOK_CONSOLE__HOST", "127.0.0.1")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if loopback or values.get("OUTBOOK_CONSOLE__PASSWORD_HASH"):
        return []
    return ["OUTBOOK_CONSOLE__PASSWORD_HASH: missing, and required to listen beyond loopback (OUTBOOK_CONSOLE__HOST)"]


def bound(console: Console) -> socket.socket:
    """Return a socket at the console's address; SettingsInvalid if that cannot be had."""
    try:
        found = socket.getaddrinfo(console.host, console.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _name, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        words = f"{console.host}:{console.port} cannot be listened on: {error.strerror}"
        raise SettingsInvalid([f"OUTBOOK_CONSOLE__PORT: {words}"]) from None
    return listening


def url_of(listening: socket.socket) -> str:
    """Return the address of a bound socket as a URL."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server:
    """waitress over a bound socket."""

    def __init__(self, app: WSGIApplication, listening: socket.socket) -> None:
        """Listen, but answer nothing yet."""
        for name in (
            "waitress",
            "waitress.queue",
        ):  # a long queue is no news, and what goes wrong is logged by the pages
            logging.getLogger(name).setLevel(logging.ERROR)
        self._sockets: dict[int, Any] = {}
        self._server: Any = create_server(
            app,
            map=self._sockets,
            sockets=[listening],
            threads=THREADS,
            connection_limit=CONNECTIONS,
            backlog=BACKLOG,
            channel_timeout=IDLE_S,
            max_request_body_size=BODY_LIMIT + 1,  # waitress refuses what is as large
            ident=None,
            asyncore_use_poll=True,
            clear_untrusted_proxy_headers=True,
        )
        self._stop = threading.Event()

    def run(self) -> None:
        """Serve until ``stop`` is called, then answer to its end what has been asked."""
        try:
            while not self._stop.is_set():
                self._turn(1.0)
            self._server.accepting = False
            deadline = time.monotonic() + DRAIN_S
            while self._busy() and time.monotonic() < deadline:
                self._turn(0.05)
        finally:
            self._server.task_dispatcher.shutdown(timeout=1)
            self._server.asyncore.close_all(self._sockets)

    def stop(self) -> None:
        """Let ``run`` come to its end; may be called from anywhere, a signal's handler too."""
        self._stop.set()
        with contextlib.suppress(OSError):  # the loop may have seen it by itself, and be closed by now
            self._server.pull_trigger()

    def _turn(self, seconds: float) -> None:
        self._server.asyncore.loop(timeout=seconds, use_poll=True, map=self._sockets, count=1)

    def _busy(self) -> bool:
        return any(one.requests or one.total_outbufs_len for one in list(self._server.active_channels.values()))


@contextmanager
def running(app: WSGIApplication, console: Console) -> Iterator[str]:
    """Serve in a thread of this process while the block lasts; yields the URL."""
    listening = bound(console)
    server = Server(app, listening)
    thread = threading.Thread(target=server.run, name="web", daemon=True)
    thread.start()
    try:
        yield url_of(listening)
    finally:
        server.stop()
        thread.join(timeout=DRAIN_S + 5)


def serve(app: WSGIApplication, listening: socket.socket, ready: Callable[[], None]) -> int:
    """Serve in the main thread until SIGTERM or SIGINT, and return the exit code that belongs to it."""
    server = Server(app, listening)
    caught: list[int] = []

    def end(number: int, _frame: object) -> None:
        caught.append(number)
        server.stop()

    former = [(number, signal.signal(number, end)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        ready()
        server.run()
    finally:
        for number, handler in former:
            signal.signal(number, handler)
    return 128 + caught[0] if caught else 0
