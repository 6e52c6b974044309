"""When a stream is read next, by what the store knows."""

from __future__ import annotations

import pytest

from tests.sync.scene import Scene, fault
from worker.core import errors
from worker.core.records import Kind
from worker.store import cursors, webhooks
from worker.store.webhooks import Arrival
from worker.sync import timing

SHORTEST_S = 60.0


def due(scene: Scene, stream: Kind = Kind.PROSPECT) -> bool:
    """Tell whether a tick that comes now reads the stream."""
    return timing.is_due(scene.store, stream, SHORTEST_S, scene.now())


def arrive(scene: Scene, event: str, *, taken: bool = True) -> None:
    """Let a webhook come in, and be looked at."""
    with scene.store.write() as db:
        webhooks.keep(db, [Arrival(event, b"{}", scene.now())])
        if taken:
            webhooks.done(db, [one.id for one in webhooks.claim(db, scene.now(), 10)], scene.now())


def test_webhooks_that_tell_all_slow_the_polls_down(on_both: Scene) -> None:
    """Every minute without them, every five with them, at once every minute again when a poll finds what they did not tell."""
    scene = on_both
    scene.prospect(1, 1)
    assert due(scene)
    scene.poll()
    assert not due(scene)
    scene.later(60)
    assert due(scene)
    scene.later(3600)  # what the first load brought was late for webhooks, too: they are not relied upon before
    arrive(scene, "a")
    scene.poll()
    scene.later(60)
    assert [due(scene, stream) for stream in (Kind.PROSPECT, Kind.STATE)] == [False, False]
    scene.later(240)
    arrive(scene, "b")
    assert due(scene)
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Chief"}, touch=True)
    scene.later(21)
    scene.poll()
    scene.later(60)
    assert [due(scene, stream) for stream in (Kind.PROSPECT, Kind.STATE)] == [True, False]
    scene.later(15 * 60)
    assert due(scene, Kind.STATE)


def test_what_webhooks_cannot_tell_is_read_as_before(scene: Scene) -> None:
    """The CRM has none, and of steps Outreach tells nothing; while nobody looks at them they count for nothing."""
    scene.prospect(1, 1)
    scene.person(person_last_name="Ashby", **{"main_location[email]": "x@people.example"})
    scene.poll()
    scene.later(3601)
    scene.edit_crm(op="create", type="person", fields={"person_last_name": "Byron"})
    arrive(scene, "a")
    scene.poll()
    scene.later(60)
    assert [due(scene, stream) for stream in (Kind.PERSON, Kind.PROSPECT)] == [True, False]
    arrive(scene, "b", taken=False)
    scene.later(61)
    assert due(scene)


def test_what_was_left_in_the_middle_is_due(scene: Scene) -> None:
    """A run that failed, one that is to be read whole again, and one that goes on in another task, wait for nothing."""
    scene.prospect(1, 1)
    scene.poll()
    assert not due(scene)
    scene.outreach.faults.arm([fault("status", path="prospects", code=500, times=None)])
    with pytest.raises(errors.RemoteDown):
        scene.poll(Kind.PROSPECT)
    assert due(scene)
    scene.outreach.faults.arm([])
    scene.poll(Kind.PROSPECT)
    assert not due(scene)
    with scene.store.write() as db:
        cursors.rewind(db)
    assert due(scene)


def test_the_next_time_can_be_told(scene: Scene) -> None:
    """Whoever looks on reads when a stream is likely read next."""
    scene.prospect(1, 1)
    scene.poll()
    timing.plan_next(scene.store, Kind.PROSPECT, SHORTEST_S, scene.now())
    timing.plan_next(scene.store, Kind.STATE, 600.0, scene.now())
    with scene.store.read() as db:
        told = {row.stream: (row.next_at - row.polled_at).total_seconds() for row in cursors.all_of(db) if row.next_at}
    assert told == {"prospects": 60.0, "sequenceStates": 600.0}
