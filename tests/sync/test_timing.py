"""When a stream is read next, by what the store knows."""

from __future__ import annotations

import pytest

from tests.sync.scene import Scene, fault
from worker.core import errors
from worker.core.records import Kind
from worker.store import cursors, webhooks
from worker.store.webhooks import Arrival
from worker.sync import feeds, timing

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


def test_where_calls_are_short_a_quiet_stream_pays(scene: Scene) -> None:
    """At a fifth of the rate the lively are read every five minutes, one whose polls find nothing less; the CRM as ever."""
    scene.prospect(1, 1)
    scene.poll()
    for stream, moved in ((Kind.PROSPECT, 3), (Kind.STATE, 0), (Kind.STATE, 0)):
        timing.plan_next(scene.store, stream, SHORTEST_S, scene.now(), rate=0.2, moved=moved)

    def due_now() -> list[bool]:
        streams = (Kind.PERSON, Kind.PROSPECT, Kind.STATE)
        return [timing.is_due(scene.store, one, SHORTEST_S, scene.now(), 0.2) for one in streams]

    told = []
    for _ in range(4):
        told.append(due_now())
        scene.later(271 if len(told) == 1 else 200)
    assert told == [[False] * 3, [True, True, False], [True, True, False], [True, True, True]]
    with scene.store.read() as db:
        next_at = {
            row.stream: (row.next_at - row.polled_at).total_seconds() for row in cursors.all_of(db) if row.next_at
        }
    assert next_at == {"prospects": 300.0, "sequenceStates": 675.0}


def test_a_stream_read_whole_is_no_poll(scene: Scene) -> None:
    """What is read for the first time, or again from the beginning, is counted apart."""
    assert timing.lane_of(scene.store, Kind.PROSPECT) == "load"
    scene.prospect(1, 1)
    scene.poll()
    assert timing.lane_of(scene.store, Kind.PROSPECT) == "polls"
    with scene.store.write() as db:
        cursors.rewind(db)
    assert timing.lane_of(scene.store, Kind.PROSPECT) == "load"


def test_webhooks_wait_for_each_other_but_opt_outs_for_nobody(scene: Scene) -> None:
    """At half the rate two minutes, unless one may tell of an opt-out; at the full rate they are always looked for."""
    ready = [timing.hints_are_due(scene.store, scene.now(), rate) for rate in (1.0, 0.5)]
    arrive(scene, "a", taken=False)
    ready.append(timing.hints_are_due(scene.store, scene.now(), 0.5))
    scene.later(121)
    ready.append(timing.hints_are_due(scene.store, scene.now(), 0.5))
    assert ready == [True, False, False, True]
    arrive(scene, "a")
    with scene.store.write() as db:
        webhooks.keep(db, [Arrival("b", b"{}", scene.now(), urgent=True)])
    assert timing.hints_are_due(scene.store, scene.now(), 0.5)


def test_feeds_are_read_at_each_tick_unless_calls_are_short(scene: Scene) -> None:
    """At a tenth of the rate a feed waits half an hour while something moves."""
    scene.prospect(1, 1)
    scene.poll()
    assert timing.feeds_are_due(scene.store, 300.0, scene.now(), 0.1)
    feeds.listen(scene.applier())
    told = []
    for seconds in (300, 1200, 300):
        scene.later(seconds)
        told.append([timing.feeds_are_due(scene.store, 300.0, scene.now(), rate) for rate in (1.0, 0.1)])
    assert told == [[True, False], [True, False], [True, True]]
