"""A worker's slots are its own: no broker that is away takes one of them along."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
import redis
from kombu.transport.redis import Channel

from worker.app import Slots


class Away:
    """A channel to a broker that is away."""

    do_restore = False

    @contextlib.contextmanager
    def conn_or_acquire(self, client: object = None) -> Iterator[None]:
        raise redis.ConnectionError
        yield


@pytest.mark.parametrize("done", [Slots.ack, Slots.reject, lambda slots, tag: slots.reject(tag, requeue=True)])
def test_a_message_done_with_while_the_broker_is_away_leaves_its_slot(done: Callable[[Slots, str], None]) -> None:
    """The failure is told, and the worker may ask for the next message; without this it would ask for none any more."""
    slots = Slots(Away(), 1)
    slots._quick_append("a", object())  # type: ignore[attr-defined]
    assert not slots.can_consume()
    with pytest.raises(redis.ConnectionError):
        done(slots, "a")
    assert slots.can_consume()


def test_workers_count_their_slots_so() -> None:
    """Every channel of ours counts in this way."""
    assert Channel.QoS is Slots
