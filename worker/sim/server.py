"""A simulator on loopback: ``waitress`` in the main thread until a signal, or in a thread while a block lasts."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from waitress.server import create_server  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


Server = Any
"""What ``waitress`` returns; it is untyped."""


def _listen(app: WSGIApplication, host: str, port: int, threads: int) -> Server:
    logging.getLogger("waitress").setLevel(logging.ERROR)
    return create_server(app, host=host, port=port, threads=threads, ident=None, asyncore_use_poll=True)


def _loop(server: Server, stop: threading.Event) -> None:
    """Serve until ``stop`` is set and the trigger pulled."""
    channels = server._map  # noqa: SLF001 - waitress tells it nowhere else
    while not stop.is_set():
        server.asyncore.loop(timeout=1.0, use_poll=True, map=channels, count=1)
    server.task_dispatcher.shutdown(timeout=1)
    server.asyncore.close_all(channels)


class Delayed(Protocol):
    """A WSGI application that waits ``latency_s`` before it answers."""

    latency_s: float

    def close(self) -> None:
        """End what runs in the background."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one call."""


@contextmanager
def running(app: WSGIApplication, *, port: int = 0, threads: int = 16) -> Iterator[str]:
    """Serve ``app`` on loopback in a thread of this process; yields its URL, ends the server on leaving."""
    server, stop = _listen(app, "127.0.0.1", port, threads), threading.Event()
    thread = threading.Thread(target=_loop, args=(server, stop), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        stop.set()
        with suppress(OSError):  # the loop may have woken by itself and be gone
            server.pull_trigger()
        thread.join(timeout=5)
        getattr(app, "close", int)()


def serve(app: Delayed, *, port: int, host: str = "127.0.0.1", latency_ms: float = 0, threads: int = 16) -> None:
    """Serve until SIGTERM or SIGINT; port 0 takes a free one. Says ``listening on http://HOST:PORT`` on stderr.

    ``latency_ms`` is waited before each call but those to ``/_sim/``. Must run in the main thread, for the signals.
    """
    if latency_ms:
        app.latency_s = latency_ms / 1000
    server, stop = _listen(app, host, port, threads), threading.Event()

    def end(_number: int, _frame: object) -> None:
        stop.set()
        server.pull_trigger()

    former = [(number, signal.signal(number, end)) for number in (signal.SIGTERM, signal.SIGINT)]
    gc.collect()
    gc.freeze()  # the seeded world is not garbage; walking it would stall calls
    sys.stderr.write(f"listening on http://{host}:{server.effective_port}\n")
    sys.stderr.flush()
    try:
        _loop(server, stop)
    finally:
        app.close()
        for number, handler in former:
            signal.signal(number, handler)
