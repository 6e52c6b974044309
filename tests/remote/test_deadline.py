"""An answer that comes by the byte is given up in time, in its status line and headers as in its body."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from worker.core import errors
from worker.core.records import System
from worker.remote import base, deadline

WELL = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
WHOLE_S = 0.4 * len(WELL)
"""So long the answer takes that is to be given up."""


@contextlib.contextmanager
def dripping(pause_s: float) -> Iterator[str]:
    """A server that sends its answer byte by byte; its URL."""
    listener, over = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as line:
            line.recv(65_536)
            for byte in WELL:
                line.sendall(bytes([byte]))
                if over.wait(pause_s):
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        listener.close()
        thread.join(60)


def client(url: str, http: httpx.Client) -> base.Client:
    """A client of that server."""
    return base.Client(
        system=System.CRM,
        base_url=url,
        http=http,
        before_call=lambda: None,
        sleep=time.sleep,
        jitter=lambda: 0.0,
        now=lambda: datetime(2026, 11, 21, tzinfo=UTC),
    )


def test_headers_by_the_byte_are_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes within the time-out of a read, all of them do not within the deadline: unanswered, not waited for."""
    monkeypatch.setattr(base, "EXCHANGE_S", 0.5)
    with dripping(0.4) as url, base.http_client() as http:
        asked = client(url, http)
        began = time.monotonic()
        with pytest.raises(base.Unanswered, match="ReadTimeout"):
            asked.exchange(base.Ask("GET", asked.url("/x")))
        assert time.monotonic() - began < WHOLE_S / 2


def test_a_slow_answer_within_the_deadline_is_whole() -> None:
    """The same bytes, quicker."""
    with dripping(0.001) as url, base.http_client() as http:
        asked = client(url, http)
        assert asked.exchange(base.Ask("GET", asked.url("/x"))).body == b"{}"


def test_what_ends_first_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exchange that might take long within a task that may not is given up with the task's time."""
    monkeypatch.setattr(base, "EXCHANGE_S", 60.0)
    with dripping(0.4) as url, base.http_client() as http:
        asked = client(url, http)
        began = time.monotonic()
        with deadline.within(0.5), deadline.within(60), pytest.raises(base.Unanswered, match="ReadTimeout"):
            asked.exchange(base.Ask("GET", asked.url("/x")))
        assert time.monotonic() - began < WHOLE_S / 2


def test_a_call_without_time_for_its_answer_is_not_begun() -> None:
    """With a second left nobody is called, with a minute or outside of any block everybody may be."""
    deadline.heed(System.CRM)
    with deadline.within(60):
        deadline.heed(System.CRM)
        with deadline.within(1), pytest.raises(errors.Resting, match="time is up") as refused:
            deadline.heed(System.CRM)
        deadline.heed(System.CRM)
    assert (refused.value.system, refused.value.retry_after_s) == (System.CRM, 1.0)
