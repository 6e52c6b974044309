"""Events in their thousands: asked for by name where polls tell the rest, else in full, and no opt-out is missed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.sync.conftest import MakeScene
from tests.sync.scene import Scene, at, fault, reads_of
from tests.sync.test_feeds import hear, people, tell, urgent
from worker.core.records import Feed
from worker.remote import outreach_feeds
from worker.remote.outreach_feeds import Page

MANY = 25
"""Three pages of ten."""


@pytest.fixture
def crowd(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Return a scene of three people in which much happens that polls show; ten events come at a time."""
    monkeypatch.setattr(outreach_feeds, "SIZE", 10)
    scene = make_scene()
    people(scene, 1, 2, 3)
    hear(scene)
    much(scene)
    return scene


def much(scene: Scene) -> None:
    """Let much happen of which events tell nothing that counts."""
    scene.later(600)
    for _ in range(MANY):
        tell(scene, "mailing_opened", prospect=1)


def asked(scene: Scene) -> list[dict[str, list[str]]]:
    """Hear, and return what events were asked for."""
    scene.wire.calls.clear()
    hear(scene)
    return [parse_qs(call.query) for call in reads_of(scene.wire.calls, "/events$")]


def by_name(queries: list[dict[str, list[str]]]) -> list[bool]:
    """Tell which of them asked by name."""
    return ["filter[name]" in one for one in queries]


def test_what_polls_tell_is_not_read_through(crowd: Scene) -> None:
    """A page of all, a trial with a name that is there, then by name, an hour long; what counts is heard all the same."""
    tell(crowd, "opt_out", prospect=2)
    queries = asked(crowd)
    assert (by_name(queries), urgent(crowd)) == ([False, True, True], {2})
    names = "emails_opt_out,opt_out,prospect_destroyed,sequence_state_destroyed,task_destroyed"
    assert queries[2]["filter[name]"] == [names]
    assert queries[1]["filter[createdAt]"] == queries[2]["filter[createdAt]"]
    much(crowd)
    assert by_name(asked(crowd)) == [True]
    much(crowd)
    tell(crowd, "emails_opt_out", prospect=3)
    crowd.edit_outreach(op="delete", type="sequenceState", id=crowd.states_of(1)[0])
    told = hear(crowd)[Feed.EVENTS]
    assert (told.opted_out, told.removed, urgent(crowd)) == (1, 1, {2, 3})
    crowd.later(3600)
    much(crowd)
    assert by_name(asked(crowd)) == [*[False] * 3, True, True], "two pages of the overlap are no news"


def test_silence_is_not_read_again_and_again(crowd: Scene) -> None:
    """Nothing that was asked for has happened, and each look begins where the last one ended, less the overlap."""
    asked(crowd)
    back = []
    for _ in range(3):
        much(crowd)
        (query,) = asked(crowd)
        since = at(query["filter[createdAt]"][0].partition("..")[0])
        back.append(round((crowd.now() - since).total_seconds()))
    assert back == [600 + 60 + 90] * 3


def test_a_change_that_no_stamp_shows_has_everything_read(crowd: Scene) -> None:
    """Events tell what polls do not, and as long as they do all of them are read."""
    for _ in range(2):
        asked(crowd)
        crowd.later(600)
    crowd.later(3600)
    (state,) = crowd.states_of(1)
    for value in ("paused", "active", None):
        crowd.later(600)
        if value:
            crowd.edit_outreach(op="set", type="sequenceState", id=state, attributes={"state": value}, touch=False)
            tell(crowd, "sequence_state_paused", prospect=1)
        for _ in range(MANY):
            tell(crowd, "mailing_opened", prospect=1)
        assert any(by_name(asked(crowd))) is (value is None)


def test_few_events_are_always_read_in_full(scene: Scene) -> None:
    """What comes with one page costs nothing."""
    people(scene, 1)
    hear(scene)
    for _ in range(3):
        much(scene)
        assert by_name(asked(scene)) == [False]


@pytest.mark.parametrize("after", [1, 2])
def test_names_that_are_refused(crowd: Scene, after: int) -> None:
    """Everything is read, at once and for a day; then it is tried again."""
    tell(crowd, "opt_out", prospect=2)
    crowd.outreach.faults.arm([fault("status", path="events", times=1, after=after, code=422)])
    asking = by_name(asked(crowd))
    assert asking[: after + 2] == [False, *[True] * after, False]
    assert (sum(asking), urgent(crowd)) == (after, {2})
    much(crowd)
    assert not any(by_name(asked(crowd)))
    crowd.later(86_400)
    much(crowd)
    assert any(by_name(asked(crowd)))


def nothing(page: Page) -> Page:
    """Return a page without what was asked for."""
    return replace(page, entries=[], next=None)


@pytest.mark.parametrize("answer", [nothing, None])
def test_names_that_are_not_heeded(
    crowd: Scene, monkeypatch: pytest.MonkeyPatch, answer: Callable[[Page], Page] | None
) -> None:
    """The vendor answers with nothing, or with everything: all is read, and an opt-out at its end is heard."""
    honest = outreach_feeds.page

    def page(*args: Any, names: Any = (), **more: Any) -> Page:  # noqa: ANN401 - as the client's
        told = honest(*args, **more)
        return answer(told) if names and answer else told

    tell(crowd, "opt_out", prospect=3)
    monkeypatch.setattr(outreach_feeds, "page", page)
    hear(crowd)
    assert urgent(crowd) == {3}
    monkeypatch.setattr(outreach_feeds, "page", honest)
    assert not any(by_name(asked(crowd)))
