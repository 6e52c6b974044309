"""Leases while they are held: a second one is told busy, a live holder keeps its own, a dead or broken one loses it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from tests.sync.conftest import MakeScene
from tests.sync.scene import LEASE_S, UNSEEN_S, Call, Killed, Life, Scene
from worker.core import errors
from worker.core.records import Kind
from worker.store import backlog, cursors, links, outbox
from worker.store.outbox import Lane, Standing
from worker.sync import case, gather, poison, skips
from worker.sync.case import Applier


def row_of(scene: Scene, record: int) -> sa.Row[Any] | None:
    """Return a prospect's open change."""
    with scene.store.read() as db:
        query = sa.select(outbox.CHANGE).where(outbox.CHANGE.c.kind == Kind.PROSPECT)
        return db.execute(query.where(outbox.CHANGE.c.record_id == record)).one_or_none()


def during(scene: Scene, words: str, do: Callable[[], object], *, times: int = 1) -> None:
    """Do something while a request that reads like this is on its way."""

    def look(call: Call) -> None:
        nonlocal times
        if times and words in str(call):
            times -= 1
            do()

    scene.wire.before.append(look)


def test_the_second_reader_of_a_stream_is_told_busy(on_both: Scene) -> None:
    """While one reads, another asks the vendor nothing; once it is done the stream is free."""
    on_both.prospect(1, 1)
    told: list[bool] = []
    during(on_both, "prospects", lambda: told.append(on_both.poll(Kind.PROSPECT)[0].busy))
    (first,) = on_both.poll(Kind.PROSPECT)
    assert (told, first.busy, first.read) == ([True], False, 1)
    assert len(on_both.wire.calls) == 1
    assert on_both.poll(Kind.PROSPECT)[0].busy is False


def test_a_dead_readers_stream_goes_on(on_both: Scene) -> None:
    """A reader that was killed keeps the stream for the rest of its lease and no longer."""
    on_both.prospect(1, 1)
    with pytest.raises(Killed):
        on_both.poll(Kind.PROSPECT, on=on_both.applier(Life(1)))
    assert on_both.poll(Kind.PROSPECT)[0].busy
    on_both.later(LEASE_S)
    assert on_both.poll(Kind.PROSPECT)[0].read == 1


def test_a_reader_that_lost_its_lease_stores_no_page(on_both: Scene) -> None:
    """Stopped for longer than its lease, it comes back with a page that another has read since, and drops it."""
    on_both.prospect(1, 1)

    def another() -> None:
        on_both.later(LEASE_S)
        assert on_both.poll(Kind.PROSPECT)[0].read == 1

    during(on_both, "prospects", another)
    with pytest.raises(errors.RemoteDown, match="lost the lease"):
        on_both.poll(Kind.PROSPECT)
    with on_both.store.read() as db:
        assert db.execute(sa.select(cursors.CURSOR.c.polls)).scalars().all() == [1]
        assert db.execute(sa.select(outbox.CHANGE.c.generation)).scalars().all() == [1]


def wait_for(claim: Callable[[], bool], seconds: float = 60) -> None:
    """Return once the claim holds."""
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def test_a_live_holder_keeps_its_lease(on_both: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a vendor takes to answer, nobody else claims the row meanwhile."""
    monkeypatch.setattr(case, "BEAT_S", 0.02)
    on_both.prospect(1, 1)
    on_both.poll()
    others: list[int] = []

    def slow_answer() -> None:
        for _ in range(6):
            on_both.later(10)
            until = on_both.now()
            wait_for(lambda until=until: (row := row_of(on_both, 1)) is not None and row.lease_until > until)  # type: ignore[misc]
            others.append(on_both.apply().claimed)

    during(on_both, "write crm /crm/people.api", slow_answer)
    assert on_both.apply().created == 1
    assert others == [0] * 6
    assert on_both.creates() == ["person 1"]


def test_a_live_reader_keeps_its_lease(on_both: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for a stream."""
    monkeypatch.setattr(case, "BEAT_S", 0.02)
    on_both.prospect(1, 1)
    told: list[bool] = []

    def lease_until() -> Any:  # noqa: ANN401 - a moment of the database
        with on_both.store.read() as db:
            return db.scalar(sa.select(cursors.CURSOR.c.lease_until))

    def slow_answer() -> None:
        for _ in range(4):
            on_both.later(10)
            until = on_both.now()
            wait_for(lambda until=until: lease_until() > until)  # type: ignore[misc]
            told.append(on_both.poll(Kind.PROSPECT)[0].busy)

    during(on_both, "prospects", slow_answer)
    assert on_both.poll(Kind.PROSPECT)[0].read == 1
    assert told == [True] * 4


def test_the_heart_survives_a_fault_of_the_store(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is away for one beat costs the holder nothing but that beat."""
    monkeypatch.setattr(case, "BEAT_S", 0.01)
    beats = 0

    def renew(_: sa.Connection) -> None:
        nonlocal beats
        beats += 1
        if beats < 3:
            raise sa.exc.OperationalError("UPDATE", None, Exception("database is locked"))

    with case.kept_alive(scene.store, renew):
        wait_for(lambda: beats >= 5)


def test_no_heart_beats_after_the_work(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread ends with the block, however the block ends."""
    monkeypatch.setattr(case, "BEAT_S", 0.01)
    with pytest.raises(Killed), case.kept_alive(scene.store, lambda _: None):
        raise Killed
    assert [thread.name for thread in threading.enumerate() if thread.name == "lease"] == []


def test_a_stale_holder_leaves_the_link_alone(on_both: Scene) -> None:
    """Stopped in front of its create until another has made the person: its own is a second one, and it is told."""
    on_both.prospect(1, 1)
    on_both.poll()

    def another() -> None:
        on_both.later(UNSEEN_S)
        assert on_both.apply().created == 1

    during(on_both, "write crm /crm/people.api", another)
    on_both.apply()
    first, second = (one["id"] for one in on_both.people())
    with on_both.store.read() as db:
        (link,) = links.load(db, Kind.PROSPECT, [1]).values()
        held = [row.words for row in outbox.holds(db)]
    assert link.crm_id == first
    assert len(held) == 1
    assert str(first) in held[0]
    assert str(second) in held[0]


def stranger(on: Applier, *ids: int) -> Callable[..., Any]:
    """Return a gather that breaks on some prospects as nobody foresaw."""
    honest = gather.people

    def people(prospect_ids: Any, **more: Any) -> Any:  # noqa: ANN401 - as the real one
        if set(ids) & set(prospect_ids):
            raise KeyError("nobody thought of that, p1@people.example")
        return honest(prospect_ids, **more)

    return people


def test_a_record_that_breaks_its_batch_ends_up_alone(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault that nobody foresaw keeps no neighbour from being done; the one that has it waits and is told."""
    scene = make_scene()
    for n in range(1, 8):
        scene.prospect(n, 1)
    scene.poll()
    monkeypatch.setattr(gather, "people", stranger(scene.applier(), 4))
    with capture_logs() as logs:
        while scene.apply().claimed:
            pass
    assert sorted(scene.creates()) == [f"person {n}" for n in (1, 2, 3, 5, 6, 7)]
    row = row_of(scene, 4)
    assert row is not None
    assert row.error == "unexpected KeyError; the log tells where"
    assert row.next_at > scene.now()
    assert [entry["event"] for entry in logs] == ["broke", "broke"]
    monkeypatch.undo()
    scene.later(3600)
    assert scene.sync().converged
    assert scene.of(4)


def test_a_record_that_always_breaks_is_a_dead_letter_in_the_end(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight tries, then it is not tried again until somebody asks; an opt-out is tried hourly for ever."""
    scene = make_scene()
    scene.prospect(1, 1)
    scene.prospect(2, 1)
    scene.edit_outreach(op="opt_out", prospect=2, how="manual")
    scene.poll()
    monkeypatch.setattr(gather, "people", stranger(scene.applier(), 1, 2))
    with capture_logs():
        for _ in range(60):
            scene.apply()
            scene.later(300)
    dead, urgent = row_of(scene, 1), row_of(scene, 2)
    assert dead is not None
    assert (dead.state, dead.attempts) == (Standing.DEAD, 8)
    assert urgent is not None
    assert (urgent.state, urgent.lane) == (Standing.DUE, Lane.OPT_OUT)
    assert urgent.attempts > 8


@pytest.mark.parametrize("pause_s", [UNSEEN_S, LEASE_S])
def test_a_record_that_kills_its_worker_is_a_dead_letter_in_the_end(make_scene: MakeScene, pause_s: float) -> None:
    """Each death costs one attempt; after eight the record is given up, and its neighbours were done long before.

    Also where the next worker comes while nobody knows yet what the dead one has made.
    """
    scene = make_scene()
    for n in range(1, 4):
        scene.prospect(n, 1)
    scene.poll()

    def life() -> bool:
        """Live until nothing is due or until the poison kills us, tell which, and let time pass."""
        on = scene.applier(Life())
        store = on.store
        assert hasattr(store, "life")
        wire_life: Life = store.life

        def look(call: Call) -> None:
            if call.writes and "p2%40people.example" in call.body:
                wire_life.over = True
                raise Killed

        scene.wire.before = [look]
        try:
            while scene.apply(replace(on, remotes=scene.remotes())).claimed:
                pass
        except Killed:
            return True
        finally:
            scene.wire.before = []
            scene.later(pause_s)
        return False

    deaths, lives = 0, 0
    with capture_logs() as logs:
        while (row := row_of(scene, 2)) is not None and row.state != Standing.DEAD:
            deaths, lives = deaths + life(), lives + 1
            assert lives < 60
    assert sorted(scene.creates()) == ["person 1", "person 3"]
    assert row is not None
    assert deaths == errors.GIVE_UP_AFTER
    assert [entry["event"] for entry in logs] == ["gave_up"]
    assert isinstance(logs[0]["records"], list)


def test_a_death_now_and_then_is_no_poison(make_scene: MakeScene) -> None:
    """A change that was retried for a vendor's sake many times and whose worker is then killed once is not given up."""
    scene = make_scene()
    scene.prospect(1, 1)
    scene.poll()
    for _ in range(12):
        with scene.store.write() as db:
            (change,) = outbox.claim(db, Kind.PROSPECT, now=scene.now())
            outbox.retry(db, change, at=scene.now(), error="503")
    with scene.store.write() as db:
        outbox.claim(db, Kind.PROSPECT, now=scene.now())
    scene.later(LEASE_S)
    assert scene.apply().created == 1


def test_a_store_that_fails_is_nobodys_poison(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the database nothing is decided: the fault is told, the leases run out, no record is blamed."""
    scene.prospect(1, 1)
    scene.poll()

    def away(*_: Any, **__: Any) -> Any:  # noqa: ANN401 - as the real one
        raise sa.exc.OperationalError("SELECT", None, Exception("server closed the connection"))

    monkeypatch.setattr(gather, "people", away)
    with pytest.raises(sa.exc.OperationalError):
        scene.apply()
    monkeypatch.undo()
    scene.later(LEASE_S)
    assert scene.apply().created == 1


def test_tasks_are_isolated_too(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in a task's batch that nobody foresaw is told and keeps the pass going."""
    scene.prospect(1, 1)
    scene.poll()
    with scene.store.write() as db:
        outbox.open_changes(db, Kind.TASK, [5], lane=Lane.EDIT, now=scene.now())

    def broken(*_: Any, **__: Any) -> Any:  # noqa: ANN401 - as the real one
        raise ZeroDivisionError

    monkeypatch.setattr(skips, "_load", broken)
    with capture_logs():
        assert skips.apply_tasks(scene.applier()).claimed == 1
    with scene.store.read() as db:
        assert backlog.count(db, scene.now()).deferred == 1


def test_interrupted_work_is_given_back_untouched(scene: Scene) -> None:
    """Ctrl-C in the middle of a batch gives the rows back at once, without an attempt."""
    scene.prospect(1, 1)
    scene.poll()

    def interrupt(_: Call) -> None:
        raise KeyboardInterrupt

    scene.wire.before.append(interrupt)
    with pytest.raises(KeyboardInterrupt):
        scene.apply()
    row = row_of(scene, 1)
    assert row is not None
    assert (row.lease_until, row.attempts, row.state) == (None, 0, Standing.DUE)
    scene.wire.before.clear()
    assert scene.apply().created == 1


def test_weeding_spares_the_living(scene: Scene) -> None:
    """A batch without doomed rows is returned as it is, and nothing is written."""
    scene.prospect(1, 1)
    scene.poll()
    with scene.store.write() as db:
        changes = outbox.claim(db, Kind.PROSPECT, now=scene.now())
    assert poison.weeded(scene.applier(), changes) == changes
