"""Messages: as few as tell everything. One goes on while anything is due, and none rings for what is not there."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from tests.sync.scene import Scene
from worker import bootstrap, tasks
from worker.core import errors
from worker.core.records import Kind
from worker.store import outbox
from worker.store.outbox import Lane
from worker.sync.tally import Tally


@pytest.fixture
def rung(on_both: Scene, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of what is rung for, instead of telling a broker."""
    told: list[str] = []
    on = SimpleNamespace(store=on_both.store, applier=on_both.applier)
    monkeypatch.setattr(tasks, "runtime", lambda: on)
    monkeypatch.setattr(tasks, "ring", lambda task, *_: told.append(task))
    monkeypatch.setattr(bootstrap, "now", on_both.now)
    return told


def work(name: str, asked: list[str], *claims: int) -> Callable[[object], Tally]:
    """Return a work that claims so many, batch after batch, and nothing from then on."""
    left = list(claims)

    def claim(_on: object) -> Tally:
        asked.append(name)
        return Tally(claimed=left.pop(0) if left else 0)

    return claim


def test_a_message_goes_on_until_nothing_is_due(rung: list[str]) -> None:
    """What had nothing is asked again once all is quiet, for tasks wait for people; then nobody need be rung for."""
    asked: list[str] = []
    tasks.work_off("outbook.apply", work("people", asked, 100, 7), work("tasks", asked, 0, 3))
    assert asked == ["people", "tasks", "people", "people", "people", "tasks", "tasks", "people", "tasks"]
    assert rung == []


def test_a_message_ends_after_its_time(rung: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is rung for, and lies behind whatever else waits for this worker."""
    asked: list[str] = []
    monkeypatch.setattr(tasks, "APPLY_S", 0.0)
    monkeypatch.setattr(tasks, "time", SimpleNamespace(monotonic=iter([5.0, 4.9, 5.0]).__next__))
    tasks.work_off("outbook.opt_outs", work("people", asked, 100, 100))
    assert (asked, rung) == (["people"], ["outbook.opt_outs"])


def test_a_fault_ends_a_message(rung: list[str]) -> None:
    """Nothing is rung for: the rows say when to try again, and the sweep rings for them."""
    asked: list[str] = []

    def halt(_on: object) -> Tally:
        raise errors.AuthRevoked("the token is refused")

    with pytest.raises(errors.AuthRevoked):
        tasks.work_off("outbook.apply", work("people", asked, 100), halt)
    assert (asked, rung) == (["people"], [])


def opened(scene: Scene, record: int, lane: Lane, after_s: float = 0) -> None:
    """Open a change."""
    with scene.store.write() as db:
        outbox.open_changes(db, Kind.TASK, [record], lane=lane, now=scene.now())
    scene.later(after_s)


def test_only_what_is_due_is_rung_for(on_both: Scene, rung: list[str]) -> None:
    """The messages of opt-outs are sent where there is one, those of the rest where there is anything."""
    tasks.ring_for_due()
    assert rung == []
    opened(on_both, 1, Lane.EDIT)
    tasks.ring_for_due()
    assert rung == ["outbook.apply"]
    opened(on_both, 2, Lane.OPT_OUT)
    tasks.ring_for_due()
    assert rung[1:] == ["outbook.opt_outs", "outbook.apply"]


def test_what_waits_for_its_time_is_not_rung_for(on_both: Scene, rung: list[str]) -> None:
    """A change that was put off rings no bell; the sweep does once its time has come."""
    opened(on_both, 1, Lane.BULK)
    with on_both.store.write() as db:
        (change,) = outbox.claim(db, Kind.TASK, now=on_both.now())
        outbox.retry(db, change, at=on_both.now().replace(year=2036), error="later")
    tasks.ring_for_due()
    assert rung == []


def test_an_edit_of_one_person_takes_one_message(on_both: Scene, rung: list[str]) -> None:
    """From the poll's ring to the CRM: one message, and none more for whoever looks whether there is anything left."""
    on_both.prospect(1, 1)
    assert on_both.sync().converged
    on_both.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Dean"})
    on_both.later(1)
    on_both.poll(Kind.PROSPECT)
    tasks.ring_for_due()
    tasks.apply_due.run()
    assert rung == ["outbook.apply"]
    assert [one["person_job_title"] for one in on_both.people()] == ["Dean"]
