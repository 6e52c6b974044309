"""One POST to a webhook's receiver, which is never called anywhere but on loopback."""

from __future__ import annotations

import http.client
import ipaddress
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping


class NotLoopbackError(OSError):
    """The URL leads off this machine, so nothing was looked up or called."""


def loopback(url: str) -> bool:
    """Return whether a URL's host is this machine by its text alone; no name but ``localhost`` is."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def post(url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float) -> int:
    """Send one POST and return the answer's status; redirects are not followed.

    Raises OSError or HTTPException where there was no answer within ``timeout_s``.
    """
    if not loopback(url):
        raise NotLoopbackError(url)
    parts = urlsplit(url)
    connection = _connection(parts.scheme, parts.hostname or "", parts.port, timeout_s)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body, dict(headers))
        return connection.getresponse().status
    finally:
        connection.close()


def _connection(scheme: str, host: str, port: int | None, timeout_s: float) -> http.client.HTTPConnection:
    if scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=timeout_s)
    unchecked = ssl._create_unverified_context()  # noqa: S323, SLF001 - a receiver on loopback signs its own certificate
    return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=unchecked)
