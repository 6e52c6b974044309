"""`outbook resync`: a receipt of what is queued, and one row a record however often it is asked for."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from tests.e2e.rig import Pass, Stage
from worker import tasks
from worker.store import database


def resync(stage: Stage, *words: str, code: int = 0) -> Pass:
    """One `outbook resync --json`, which must end with this code."""
    told = stage.outbook("resync", "--json", *words)
    assert told.code == code, (told.code, told.out, told.err)
    return told


def done(stage: Stage, statement: str) -> None:
    """Do something to the store behind everybody's back."""
    with contextlib.closing(sqlite3.connect(f"{stage.environ['OUTBOOK_DATA_DIR']}/outbook.db")) as db, db:
        db.execute(statement)


def failed(stage: Stage, address: str) -> int:
    """A prospect whose change is a dead letter."""
    prospect = stage.prospect(address, first="Bo")
    stage.set_state(stage.state(prospect), state="on_holiday")
    stage.sync(code=None)
    return prospect


def test_what_is_queued_is_due_once(stage: Stage) -> None:
    """Asked for twice it is one row; the next pass looks at it and finds nothing to do."""
    ada = stage.enrolled("ada@example.com")
    stage.sync()
    for _ in range(2):
        told = resync(stage, "--prospect", str(ada)).report
        assert (told["queued"], told["prospects"], told["skipped"]) == (1, 1, [])
    assert stage.rows("SELECT kind, record_id, state, attempts FROM change") == [("prospects", ada, "due", 0)]
    assert stage.sync().report["crm"]["unchanged"] == 1


def test_a_dead_letter_is_due_again_from_the_first_attempt(stage: Stage) -> None:
    """Same row, no attempts, no words of the failure."""
    bo = failed(stage, "bo@example.com")
    before = stage.rows("SELECT id FROM change")
    assert resync(stage, "--failed").report["queued"] == 1
    assert stage.rows("SELECT id FROM change") == before
    assert stage.rows("SELECT record_id, state, attempts, error FROM change") == [(bo, "due", 0, None)]


def test_a_dry_run_queues_nothing(stage: Stage) -> None:
    """Exit 2 if there is something, the row as it was."""
    failed(stage, "bo@example.com")
    before = stage.rows("SELECT * FROM change")
    assert resync(stage, "--failed", "--dry-run", code=2).report["queued"] == 1
    assert stage.rows("SELECT * FROM change") == before
    assert resync(stage, "--task", "7", "--dry-run", code=3).report["queued"] == 0


def test_whatever_is_skipped_has_its_reason(stage: Stage) -> None:
    """Held, excluded, erased, never seen: each named with why, the rest queued, exit 3 for what is not known."""
    ada = stage.enrolled("ada@example.com")
    for number in (1, 2):
        stage.person(first="Ada", last=f"Ashby {number}", email="ada@example.com")
    mute = stage.prospect(first="Cy")
    stage.state(mute)
    good = stage.enrolled("di@example.com", first="Di")
    stage.sync(code=3)
    assert stage.outbook("forget", "--prospect", "4711", "--offline").code == 0
    words = [f"--prospect={one}" for one in (ada, mute, good, 4711, 4712)]
    told = resync(stage, *words, "--email", "no@example.com", code=3).report
    reasons = {one["record"]: one["why"] for one in told["skipped"]}
    assert told["queued"] == 1
    assert reasons == {
        f"prospect:{ada}": "held",
        f"prospect:{mute}": "excluded",
        "prospect:4711": "forgotten",
        "prospect:4712": "unknown",
        "no@example.com": "unknown",
    }


def test_waiting_ends_when_somebody_is_done_with_them(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that settles the row meanwhile: exit 0, all done."""
    ada = stage.enrolled("ada@example.com")
    stage.sync()

    def settled(seconds: float) -> None:
        done(stage, "DELETE FROM change")

    monkeypatch.setattr(stage, "later", settled)
    told = resync(stage, "--prospect", str(ada), "--wait")
    assert told.report["left"] == {"open": 0, "deferred": 0, "failed": 0, "held_back": 0}


def test_nothing_selected_is_refused_with_a_hint(stage: Stage) -> None:
    """Exit 4 before the store is touched."""
    left = stage.outbook("resync")
    assert (left.code, left.out) == (4, "")
    assert "say which: --prospect" in left.err


def test_the_task_takes_the_same_words(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """`outbook.resync` with the options' names, as somebody's own program sends it."""
    ada = stage.enrolled("ada@example.com")
    stage.sync()
    store = database.connect(f"sqlite:///{stage.environ['OUTBOOK_DATA_DIR']}/outbook.db")
    rung: list[str] = []
    monkeypatch.setattr(tasks, "runtime", type("On", (), {"store": store, "names": None}))
    monkeypatch.setattr(tasks, "ring", rung.append)
    tasks.resync_chosen.run(prospect=[ada])
    assert stage.rows("SELECT record_id, state FROM change") == [(ada, "due")]
    assert rung == ["outbook.apply"]
