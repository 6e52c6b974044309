"""Polling Outreach: every record is read, whatever happens to pages and links, and the watermark never runs ahead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from tests.sync.conftest import MakeScene
from tests.sync.scene import Call, Scene, at, fault, reads_of
from worker.core import errors
from worker.core.records import Kind
from worker.remote.base import Page
from worker.store import cursors, mirror, outbox
from worker.sync import poll


def small_pages(make_scene: MakeScene, people: int, *, size: int = 10) -> Scene:
    """Return a scene of so many prospects, each in one sequence, that shows ten a page."""
    scene = make_scene(page_size=size)
    for n in range(1, people + 1):
        scene.prospect(n, 1)
    return scene


def cursor(scene: Scene, stream: Kind = Kind.PROSPECT) -> sa.Row[Any]:
    """Return a stream's row."""
    with scene.store.read() as db:
        return db.execute(sa.select(cursors.CURSOR).where(cursors.CURSOR.c.stream == stream)).one()


def mirrored(scene: Scene, kind: Kind = Kind.PROSPECT) -> set[int]:
    """Return the ids that the mirror holds."""
    with scene.store.read() as db:
        return set(db.execute(sa.select(mirror.MIRROR.c.id).where(mirror.MIRROR.c.kind == kind)).scalars())


def queued(scene: Scene) -> set[int]:
    """Return the prospects with an open change."""
    with scene.store.read() as db:
        query = sa.select(outbox.CHANGE.c.record_id).where(outbox.CHANGE.c.kind == Kind.PROSPECT)
        return set(db.execute(query).scalars())


def on_page(scene: Scene, number: int, path: str, do: Callable[[], object]) -> None:
    """Do something after the page of that number, from 1, of a path was read."""
    met = 0

    def look(call: Call) -> None:
        nonlocal met
        if not call.writes and call.path.endswith(path):
            met += 1
            if met == number:
                do()

    scene.wire.after.append(look)


def test_a_stream_is_read_to_its_end(make_scene: MakeScene) -> None:
    """All pages in one run; the run's place is forgotten and the stream is primed."""
    scene = small_pages(make_scene, 35)
    (told,) = scene.poll(Kind.PROSPECT)
    assert (told.read, told.moved, told.queued, told.ended, told.busy) == (35, 35, 35, True, False)
    assert mirrored(scene) == set(range(1, 36))
    held = cursor(scene)
    assert (held.next_link, held.run_began, held.polls, held.lease_until) == (None, None, 1, None)
    assert held.primed_at == scene.now()


def test_a_second_poll_reads_the_overlap_and_finds_nothing_new(make_scene: MakeScene) -> None:
    """What was read before is read again at the edge, and opens nothing."""
    scene = small_pages(make_scene, 5)
    scene.poll()
    with scene.store.write() as db:
        db.execute(sa.delete(outbox.CHANGE))
    (told,) = scene.poll(Kind.PROSPECT)
    assert (told.read, told.moved, told.queued) == (5, 0, 0)
    scene.later(3600)
    scene.poll(Kind.PROSPECT)
    (told,) = scene.poll(Kind.PROSPECT)
    assert told.read == 5
    assert queued(scene) == set()


def test_the_watermark_stays_a_minute_behind_the_server(make_scene: MakeScene) -> None:
    """The newest record seen, but never past the server's own time less a minute, for it may still be dating records."""
    scene = small_pages(make_scene, 3)
    scene.poll(Kind.PROSPECT)
    assert cursor(scene).watermark == at("2026-11-20T08:59:00+00:00")
    scene.later(600)
    scene.poll(Kind.PROSPECT)
    assert cursor(scene).watermark == at("2026-11-20T09:00:00+00:00")


def test_a_date_in_the_far_future_blinds_no_stream(make_scene: MakeScene) -> None:
    """A record dated 2099 is read, and what is edited after it is read too."""
    scene = small_pages(make_scene, 3)
    scene.edit_outreach(
        op="set", type="prospect", id=2, attributes={"updatedAt": "2099-01-01T00:00:00.000Z"}, touch=False
    )
    scene.poll(Kind.PROSPECT)
    assert cursor(scene).watermark == at("2026-11-20T08:59:00+00:00")
    scene.later(600)
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Later"})
    (told,) = scene.poll(Kind.PROSPECT)
    assert told.moved == 1
    scene.edit_outreach(op="set", type="prospect", id=2, attributes={"title": "Dated today again"})
    (told,) = scene.poll(Kind.PROSPECT)
    assert told.moved == 1


def test_an_empty_stream_is_primed_and_keeps_no_watermark(scene: Scene) -> None:
    """Nothing there is an answer: the stream counts as read, and the next run reads everything once more."""
    (told,) = scene.poll(Kind.PROSPECT)
    assert (told.read, told.ended) == (0, True)
    assert cursor(scene).watermark is None
    scene.prospect(1, 1)
    (told,) = scene.poll(Kind.PROSPECT)
    assert told.read == 1


@pytest.mark.parametrize("late_s", [80, 590])
def test_what_shows_late_is_found_by_the_overlap(make_scene: MakeScene, late_s: int) -> None:
    """A record dated before the watermark that appears only now: within 90 s at the next poll, within 10 min at a tenth."""
    scene = small_pages(make_scene, 1)
    scene.later(3600)
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Edge"})
    scene.later(60)
    scene.poll(Kind.PROSPECT)
    edge = at("2026-11-20T10:00:00+00:00")
    assert cursor(scene).watermark == edge
    dated = at(edge.isoformat()).fromtimestamp(edge.timestamp() - late_s, edge.tzinfo)
    scene.prospect(2, updatedAt=f"{dated:%Y-%m-%dT%H:%M:%S}.000Z")
    found = []
    for _ in range(10):
        scene.poll(Kind.PROSPECT)
        found.append(2 in mirrored(scene))
    assert found[0] is (late_s == 80)
    assert found[-1]


def test_records_that_move_while_paging_are_not_missed(make_scene: MakeScene) -> None:
    """Whatever is edited between two pages, every record ends up in the mirror as it is now."""
    scene = small_pages(make_scene, 40)

    def move() -> None:
        scene.later(1)
        for n in range(5, 30, 3):
            scene.edit_outreach(op="set", type="prospect", id=n, attributes={"title": f"Moved {n}"})

    on_page(scene, 2, "/prospects", move)
    scene.poll(Kind.PROSPECT)
    scene.later(90)
    scene.poll(Kind.PROSPECT)
    with scene.store.read() as db:
        held = mirror.load(db, Kind.PROSPECT, range(1, 41))
    assert set(held) == set(range(1, 41))
    assert all(held[n].fields["title"] == f"Moved {n}" for n in range(5, 30, 3))


def test_duplicate_and_empty_pages_do_no_harm(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that comes twice is counted once, an empty one ends nothing: only the missing next link is the end."""
    scene = small_pages(make_scene, 30)
    on = scene.applier()
    honest = on.remotes.outreach.page
    first = honest(Kind.PROSPECT, attributes=("title", "updatedAt"), relations=())
    pages = [first, replace(first, next="/again"), replace(first, snapshots=[], next=first.next)]
    followed: list[str | None] = []

    def page(kind: Kind, *, link: str | None, **more: Any) -> Page:  # noqa: ANN401 - as the client's
        followed.append(link)
        return pages.pop(0) if pages else honest(kind, link=link, **more)

    monkeypatch.setattr(on.remotes.outreach, "page", page)
    (told,) = scene.poll(Kind.PROSPECT, on=on)
    assert (told.read, told.moved, told.ended) == (40, 30, True)
    assert followed[:3] == [None, first.next, "/again"]
    assert mirrored(scene) == set(range(1, 31))


@pytest.mark.parametrize("kind", ["duplicate_page", "empty_middle_page"])
def test_a_page_that_leads_to_itself_is_read_again_by_the_next_run(make_scene: MakeScene, kind: str) -> None:
    """A link that does not move is dropped with its run; the next one begins at the watermark and misses nobody."""
    scene = small_pages(make_scene, 30)
    scene.outreach.faults.arm([fault(kind, path="prospects", after=1)])
    with pytest.raises(errors.ContractBroken, match="did not move"):
        scene.poll(Kind.PROSPECT)
    (told,) = scene.poll(Kind.PROSPECT)
    assert (told.read, told.ended) == (30, True)
    assert mirrored(scene) == set(range(1, 31))


def test_a_link_that_leads_nowhere_new_is_an_error_and_no_loop(make_scene: MakeScene) -> None:
    """A next link that never moves ends the run with words, in a few requests, and nothing claims to be read."""
    scene = small_pages(make_scene, 30)
    scene.outreach.faults.arm([fault("duplicate_page", path="prospects", times=None, after=1)])
    with pytest.raises(errors.ContractBroken, match="did not move"):
        scene.poll(Kind.PROSPECT)
    assert len(scene.wire.calls) < 6
    assert cursor(scene).primed_at is None
    scene.outreach.faults.arm([])
    (told,) = scene.poll(Kind.PROSPECT)
    assert told.ended


def test_a_refused_link_means_again_from_the_watermark(make_scene: MakeScene) -> None:
    """A stored next link that the vendor no longer takes is dropped; the next run reads from the watermark, all of it."""
    scene = small_pages(make_scene, 35)
    scene.outreach.faults.arm([fault("expired_cursor", path="prospects", after=1)])
    with pytest.raises(errors.RemoteDown, match="expired"):
        scene.poll(Kind.PROSPECT)
    held = cursor(scene)
    assert (held.next_link, held.watermark, held.primed_at) == (None, None, None)
    assert "expired" in held.trouble
    scene.wire.calls.clear()
    (told,) = scene.poll(Kind.PROSPECT)
    assert told.read == 35
    assert "page%5Bafter%5D" not in scene.wire.calls[0].query
    assert cursor(scene).trouble is None


def test_a_link_to_another_host_halts_and_is_never_followed(make_scene: MakeScene) -> None:
    """A foreign next link stops the stream in words; no request goes there, nor anywhere else after it."""
    scene = small_pages(make_scene, 30)
    scene.outreach.faults.arm([fault("wrong_next_host", path="prospects", after=1, host="http://elsewhere.test")])
    with pytest.raises(errors.ContractBroken, match="another place"):
        scene.poll(Kind.PROSPECT)
    assert len(scene.wire.calls) == 2
    held = cursor(scene)
    assert held.next_link is None
    assert "another place" in held.trouble
    assert held.lease_until is None


def test_a_fault_in_the_middle_goes_on_from_the_last_page(make_scene: MakeScene) -> None:
    """A vendor that goes away in mid-run costs nothing: the next run starts at the page after the last one stored."""
    scene = small_pages(make_scene, 35)
    scene.outreach.faults.arm([fault("status", path="prospects", times=4, after=2, code=503)])
    with pytest.raises(errors.RemoteDown):
        scene.poll(Kind.PROSPECT)
    assert len(mirrored(scene)) == 20
    assert cursor(scene).next_link is not None
    scene.wire.calls.clear()
    (told,) = scene.poll(Kind.PROSPECT)
    assert told.read == 15
    assert len(reads_of(scene.wire.calls, "prospects")) == 2
    assert mirrored(scene) == set(range(1, 36))


def test_a_long_load_goes_on_in_another_task(make_scene: MakeScene) -> None:
    """A poll that has lasted long enough ends after its page, and the next one goes on from there."""
    scene = small_pages(make_scene, 35)
    on = scene.applier()
    told = [
        poll.poll(
            Kind.PROSPECT,
            store=on.store,
            remotes=on.remotes,
            mapping=on.mapping,
            names=on.names,
            now=on.now,
            until=on.now(),
        )
        for _ in range(4)
    ]
    assert [(one.read, one.ended) for one in told] == [(10, False), (10, False), (10, False), (5, True)]


def test_progress_is_told_page_by_page(make_scene: MakeScene) -> None:
    """Whoever waits for a long load hears of each page, with the sums so far."""
    scene = small_pages(make_scene, 25)
    heard: list[int] = []
    on = scene.applier()
    poll.poll(
        Kind.PROSPECT,
        store=on.store,
        remotes=on.remotes,
        mapping=on.mapping,
        names=on.names,
        now=on.now,
        on_page=lambda told: heard.append(told.read),
    )
    assert heard == [10, 20, 25]


def test_a_state_without_its_prospect_is_asked_for_by_id(make_scene: MakeScene) -> None:
    """A relation without data is not taken for none: the record is fetched once more, and its prospect is found."""
    scene = small_pages(make_scene, 3)
    scene.outreach.faults.arm([fault("omit_relation_data", path="sequenceStates")])
    scene.poll(Kind.PROSPECT)
    with scene.store.write() as db:
        db.execute(sa.delete(outbox.CHANGE))
    scene.poll(Kind.STATE)
    assert queued(scene) == {1, 2, 3}


def test_sequences_are_read_whole(make_scene: MakeScene) -> None:
    """Whether switching a sequence moves its date is unproven, so all of them are read each time."""
    scene = small_pages(make_scene, 1)
    scene.poll()
    scene.later(86_400)
    (told,) = scene.poll(Kind.SEQUENCE)
    assert told.read == 6


def test_a_sequence_that_moved_queues_everyone_in_it(make_scene: MakeScene) -> None:
    """No API call is made for that: the mirror knows who is in it."""
    scene = small_pages(make_scene, 3)
    scene.prospect(4, 2)
    scene.sync()
    scene.edit_outreach(op="disable_sequence", sequence=1)
    scene.wire.calls.clear()
    (told,) = scene.poll(Kind.SEQUENCE)
    assert (told.moved, told.queued) == (1, 3)
    assert len(scene.wire.calls) == 1
    assert queued(scene) == {1, 2, 3}


def test_an_opt_out_goes_into_the_fast_lane_and_is_latched(make_scene: MakeScene) -> None:
    """Seen first at the poll, an opt-out is remembered in the same transaction that queues it."""
    scene = small_pages(make_scene, 2)
    scene.sync()
    scene.later(120)
    scene.edit_outreach(op="opt_out", prospect=2, how="manual")
    scene.poll(Kind.PROSPECT)
    with scene.store.read() as db:
        (row,) = db.execute(sa.select(outbox.CHANGE)).all()
    assert (row.record_id, row.lane) == (2, outbox.Lane.OPT_OUT)


def test_a_page_that_cannot_be_read_is_never_nothing(make_scene: MakeScene) -> None:
    """HTML with status 200 and JSON cut in half raise; the stream is not primed and its watermark stays."""
    scene = small_pages(make_scene, 3)
    for kind in ("html200", "truncate"):
        scene.outreach.faults.arm([fault(kind, path="prospects", times=4)])
        with pytest.raises(errors.RemoteDown):
            scene.poll(Kind.PROSPECT)
        assert mirrored(scene) == set()
        assert cursor(scene).primed_at is None


def test_an_older_copy_of_a_prospect_does_not_undo_our_write(make_scene: MakeScene) -> None:
    """A page read before our write and stored after it holds history: the mirror keeps what Outreach answered us."""
    scene = small_pages(make_scene, 1)
    scene.sync()
    scene.later(300)
    scene.edit_crm(op="set", type="person", id=scene.of(1)["id"], fields={"person_job_title": "Newer"})
    scene.poll(Kind.PERSON)

    def write_meanwhile() -> None:
        scene.wire.after.clear()
        scene.later(1)
        assert scene.apply().outreach_updated == 1

    scene.wire.after.append(lambda call: write_meanwhile() if call.path.endswith("/prospects") else None)
    scene.poll(Kind.PROSPECT)
    with scene.store.read() as db:
        assert mirror.load(db, Kind.PROSPECT, [1])[1].fields["title"] == "Newer"
    assert scene.sync().converged
    assert scene.of(1)["person_job_title"] == "Newer"
    assert scene.of_outreach("prospect", 1)["title"] == "Newer"
