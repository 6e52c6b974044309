"""A backlog is worked on with two hands: each person once, one write at a time, and nothing lost however it ends."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace

import pytest

from tests.sync.conftest import MakeScene
from tests.sync.scene import Call, Scene
from worker.core import errors
from worker.core.records import Kind
from worker.store import backlog
from worker.sync import apply, hands, run

PEOPLE = 230
"""More than two batches."""


@pytest.fixture
def crowd(on_both: Scene) -> Scene:
    """Return linked people, each with a new title in Outreach that has been polled."""
    for number in range(1, PEOPLE + 1):
        on_both.prospect(number, 1, title="Chair")
    assert on_both.sync().converged
    for number in range(1, PEOPLE + 1):
        on_both.edit_outreach(op="set", type="prospect", id=number, attributes={"title": "Dean"})
    on_both.later(1)
    on_both.poll(Kind.PROSPECT)
    return on_both


def titles(scene: Scene) -> Counter[str]:
    """Count the titles in the CRM."""
    return Counter(one["person_job_title"] for one in scene.people())


def due(scene: Scene) -> int:
    """Count what could be claimed now."""
    with scene.store.read() as db:
        return sum(backlog.claimable(db, scene.now()).values())


def writes(scene: Scene) -> list[int]:
    """Count how often each person was saved, in one scene's whole life."""
    return sorted({one["lock_version"] for one in scene.people()})


def test_both_hands_work_and_each_person_is_written_once(crowd: Scene) -> None:
    """While one hand's write is on its way the other prepares; the CRM sees one write at a time, each person once."""
    before = writes(crowd)
    under_way, most, whose = 0, 0, set()
    both = threading.Barrier(2, timeout=60)
    met = threading.Event()
    begin = apply._desk

    def leave(call: Call) -> None:
        nonlocal under_way, most
        if call.writes:
            under_way += 1
            most = max(most, under_way)
            whose.add(threading.get_ident())

    def arrive(call: Call) -> None:
        nonlocal under_way
        under_way -= call.writes

    def meet(*told: object) -> object:
        if not met.is_set():  # each hand holds a planned batch now, and neither has written
            both.wait()
            met.set()
        return begin(*told)  # type: ignore[arg-type]

    crowd.wire.before.append(leave)
    crowd.wire.after.append(arrive)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apply, "_desk", meet)
        told = hands.apply_people(crowd.applier(), lambda: None)
    assert (told.claimed, told.updated, due(crowd)) == (PEOPLE, PEOPLE, 0)
    assert (most, len(whose)) == (1, 2)
    assert titles(crowd) == {"Dean": PEOPLE}
    assert writes(crowd) == [version + 1 for version in before]


def test_a_halt_ends_both_and_leaves_everything_to_be_done(crowd: Scene) -> None:
    """Once the key is refused no hand goes on; a later pass writes whatever is left, and nothing twice."""
    before, asked = writes(crowd), 0

    def refuse(call: Call) -> None:
        nonlocal asked
        asked += call.writes
        if call.writes and asked > 1:
            raise errors.AuthRevoked("no longer accepted")

    crowd.wire.before.append(refuse)
    with pytest.raises(errors.AuthRevoked):
        hands.apply_people(crowd.applier(), lambda: None)
    assert titles(crowd) == {"Dean": 100, "Chair": PEOPLE - 100}
    crowd.wire.before.remove(refuse)
    assert crowd.sync().converged
    assert titles(crowd) == {"Dean": PEOPLE}
    assert writes(crowd) == [version + 1 for version in before]


def test_whoever_wants_it_to_end_waits_for_the_present_batches_only(crowd: Scene) -> None:
    """Asked to stop after the first batches, both hands stop with them done and the rest due."""
    heeded = threading.Semaphore(2)

    def heed() -> None:
        if not heeded.acquire(blocking=False):
            raise run.Interrupted

    with pytest.raises(run.Interrupted):
        hands.apply_people(crowd.applier(), heed)
    assert titles(crowd) == {"Dean": 200, "Chair": PEOPLE - 200}
    assert due(crowd) == PEOPLE - 200


def test_two_with_one_address_become_one_person(make_scene: MakeScene) -> None:
    """In two batches at the same moment, they are looked up one after the other: the second is held, not created."""
    scene = make_scene()
    for number in range(1, 201):
        scene.prospect(number, 1, emails=[f"p{number % 100}@people.example"])
    scene.poll()
    both = threading.Barrier(2, timeout=60)
    gather = apply._Look.gather
    seen = Counter[int]()

    def together(look: apply._Look, ids: list[int]) -> object:
        found = gather(look, ids)
        seen[threading.get_ident()] += 1
        if seen[threading.get_ident()] == 1:
            both.wait()  # neither batch has made anybody yet
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apply._Look, "gather", together)
        hands.apply_people(replace(scene.applier()), lambda: None)
    assert len(scene.people()) == 100
    with scene.store.read() as db:
        assert len(backlog.unsettled_ids(db, Kind.PROSPECT)) == 100
