"""A worker's slots are its own: no broker that is away takes one of them along."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import redis
from kombu.transport.redis import Channel
from redis.exceptions import OutOfMemoryError

from worker.app import Slots


class Away:
    """A channel to a broker that is away, or has no room."""

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


def test_a_message_is_taken_up_though_the_broker_has_no_room_to_note_it() -> None:
    """It counts as in hand, and nothing ends the worker; a broker that is away still does, and the worker connects anew."""
    message = SimpleNamespace(delivery_info={"exchange": "", "routing_key": "apply"}, _raw={})
    slots = Slots(Away(OutOfMemoryError()), 1)
    slots.append(message, "a")
    assert not slots.can_consume()
    with pytest.raises(redis.ConnectionError):
        Slots(Away(redis.ConnectionError()), 1).append(message, "a")


def test_workers_count_their_slots_so() -> None:
    """Every channel of ours counts in this way."""
    assert Channel.QoS is Slots
