"""Calls that take so long together and no longer, however slowly their bytes come.

A read has a time-out of its own, which a vendor that sends a byte a second never meets: status and headers alone may then take
a quarter of an hour, in which nobody can look at the clock but whoever reads the socket.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import httpcore
import httpx

from worker.core import errors

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator

    from worker.core.records import System

LEAST_S = 5.0
"""A call with less time than that is not begun."""
_until: ContextVar[float | None] = ContextVar("until", default=None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let everything that is read in the block come within so many seconds together, or raise a read time-out.

    Within another block what ends first counts.
    """
    mine, others = time.monotonic() + seconds, _until.get()
    token = _until.set(mine if others is None else min(mine, others))
    try:
        yield
    finally:
        _until.reset(token)


def heed(system: System) -> None:
    """Raise Resting if a call that begins now could hardly be answered in time: a write would be in doubt for nothing."""
    until = _until.get()
    if until is not None and until - time.monotonic() < LEAST_S:
        words = "not called: the other end is slow, and this task's time is up"
        raise errors.Resting(words, retry_after_s=1.0, system=system)


def bound(client: httpx.Client) -> httpx.Client:
    """Let every connection of a client heed :func:`within` and return it; only a transport of httpx's own can."""
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001 - httpx hands no backend on
        if isinstance(transport, httpx.HTTPTransport):
            transport._pool._network_backend = _Backend()  # noqa: SLF001
    return client


class _Stream(httpcore.NetworkStream):
    """A stream that reads within what is left of the time."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        until = _until.get()
        if until is not None:
            left = until - time.monotonic()
            if left <= 0:
                raise httpcore.ReadTimeout("the answer takes too long")
            timeout = left if timeout is None else min(timeout, left)
        return self._inner.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's own signature
        return self._inner.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    """Opens such streams."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(host, port, timeout, local_address, socket_options))
