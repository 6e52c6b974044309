"""A worker's slots are its own: no broker that is away takes one of them along."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from queue import Empty
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from kombu.transport.redis import Transport
from redis.exceptions import OutOfMemoryError, ResponseError

from worker.app import Line, Slots, app


class Away:
    """A channel to a broker that is away."""

    do_restore = False

    def __init__(self, error: redis.RedisError) -> None:
        self.error = error

    @contextlib.contextmanager
    def conn_or_acquire(self, client: object = None) -> Iterator[None]:
        raise self.error
        yield


@pytest.mark.parametrize("done", [Slots.ack, Slots.reject, lambda slots, tag: slots.reject(tag, requeue=True)])
def test_a_message_done_with_while_the_broker_is_away_leaves_its_slot(done: Callable[[Slots, str], None]) -> None:
    """The failure is told, and the worker may ask for the next message; without this it would ask for none any more."""
    slots = Slots(Away(redis.ConnectionError()), 1)
    slots._quick_append("a", object())  # type: ignore[attr-defined]
    assert not slots.can_consume()
    with pytest.raises(redis.ConnectionError):
        done(slots, "a")
    assert slots.can_consume()


def test_a_broker_that_refuses_ends_no_worker() -> None:
    """Full memory and a full disk are errors for which a worker connects anew, as it does for a broker that is away."""
    told = (OutOfMemoryError("its memory is full"), ResponseError("MISCONF its disk is full"))
    assert app.conf.broker_channel_error_retry
    assert [isinstance(error, Transport.channel_errors) for error in told] == [True, True]


def test_workers_count_their_slots_so() -> None:
    """Every channel of ours is of this kind."""
    assert Transport.Channel is Line
    assert Line.QoS is Slots


@pytest.mark.parametrize("text", [b"\xff\xfe", b"no JSON", b""])
def test_what_is_no_message_is_dropped(text: bytes) -> None:
    """It counts as nothing having come; whatever else goes wrong while reading is told."""
    line: Any = object.__new__(Line)
    line.client = SimpleNamespace(connection=None, parse_response=lambda *_: (b"apply", text))
    line._queue_cycle = SimpleNamespace(rotate=lambda _: None)
    line.connection_errors = (redis.ConnectionError,)
    line.connection = SimpleNamespace(_deliver=None)
    line._flush_brpop_reauth = lambda: None
    with pytest.raises(Empty):
        line._brpop_read()
    line.client = SimpleNamespace(connection=None, parse_response=lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        line._brpop_read()
