"""The overlap of a stream so busy that it takes a page of its own: read in full every second time, and nothing is lost."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.sync.conftest import MakeScene
from tests.sync.scene import Scene
from tests.sync.test_poll import mirrored
from worker.core.records import Kind
from worker.store import mirror

FULL, SHORT = 2, 1
"""Pages of ten: a poll a minute, with a change each twelve seconds, reads back 150 s in full, or 45 s."""


@pytest.fixture
def busy(make_scene: MakeScene) -> Scene:
    """Return a scene of sixty prospects and one, ten a page, of whom one has changed each twelve seconds for a long while."""
    scene = make_scene(page_size=10)
    for n in range(1, 62):
        scene.prospect(n, 1)
    scene.later(900)
    scene.poll(Kind.PROSPECT)
    for _ in range(6):
        minute(scene)
    return scene


def minute(scene: Scene, *, times: int = 1) -> int:
    """Let a minute pass in which five prospects change, poll, and return how many pages were asked for."""
    for _ in range(5 * times):
        number = int(scene.now().timestamp()) // 12 % 60 + 1
        scene.later(12)
        title = {"title": f"Chair at {scene.now():%H:%M:%S}"}
        scene.edit_outreach(op="set", type="prospect", id=number, attributes=title, touch=True)
    scene.wire.calls.clear()
    scene.poll(Kind.PROSPECT)
    return len(scene.wire.calls)


def known(scene: Scene) -> bool:
    """Tell whether every prospect is in the mirror as Outreach has it."""
    with scene.store.read() as db:
        held = mirror.load(db, Kind.PROSPECT, mirrored(scene))
    there = {one["id"]: one["attributes"].get("title") for one in scene.outreach.world.dump()["prospect"].values()}
    return {n: one.fields.get("title") for n, one in held.items()} == there


def late(scene: Scene, late_s: int, title: str) -> None:
    """Let a change of a prospect that else nobody edits show only now, dated so long ago."""
    dated = f"{scene.now() - timedelta(seconds=late_s):%Y-%m-%dT%H:%M:%S}.000Z"
    told = {"title": title, "updatedAt": dated}
    scene.edit_outreach(op="set", type="prospect", id=61, attributes=told, touch=False)


def test_every_second_poll_of_a_crowded_stream_is_a_page(busy: Scene) -> None:
    """In full, short, in full, short; each tenth looks back ten minutes, and once ahead."""
    asked = []
    for _ in range(13):
        asked.append(minute(busy))
        assert known(busy)
    assert asked == [2, 1, 5 + 1, *(1, 2) * 4, 1, 6 + 1]


@pytest.mark.parametrize("late_s, polls", [(40, 1), (85, 2)])
@pytest.mark.parametrize("minutes", [1, 15])
def test_what_shows_late_is_found_by_two_polls(busy: Scene, late_s: int, polls: int, minutes: int) -> None:
    """By a short run what came half a minute late, by the next what came up to 90 s late, however far apart they are."""
    assert minute(busy) == FULL
    late(busy, late_s, "Late")
    found = []
    for _ in range(2):
        minute(busy, times=minutes)
        found.append(known(busy))
    assert found == [polls == 1, True]


def test_an_overlap_that_brings_news_is_read_in_full_again(busy: Scene) -> None:
    """No more short runs after a full one found what had shown late, until the next that finds nothing."""
    assert [minute(busy) for _ in range(3)] == [FULL, SHORT, 5 + 1]
    assert minute(busy) == SHORT
    late(busy, 110, "Late")
    assert [minute(busy) for _ in range(5)] == [FULL, FULL, FULL, SHORT, FULL]
    assert known(busy)
