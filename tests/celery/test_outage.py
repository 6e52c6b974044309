"""What workers say while their database is away: one line a minute with what to do, and one when it is back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
import structlog

from worker import tasks
from worker.app import app
from worker.core.records import System
from worker.remote import deadline
from worker.store import database
from worker.tasks import OutbookTask


class _Task(OutbookTask):
    name = "outbook.looked"

    def __init__(self, look: Callable[[], None]) -> None:
        self.look = look

    def run(self) -> None:
        self.look()


@pytest.fixture(autouse=True)
def _prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process whose runtime is opened by nobody, and that has told of no outage yet."""
    monkeypatch.setattr(tasks, "outage", tasks.Outage())
    monkeypatch.setattr(tasks, "_opened", [])
    monkeypatch.setattr(tasks, "heed_mapping", lambda: None)
    monkeypatch.setattr(OutbookTask, "_is_stale", lambda _task: False)
    monkeypatch.setattr(tasks, "runtime", lambda: _Runtime)


class _Runtime:
    class guard:  # noqa: N801 - as the runtime calls it
        heed = staticmethod(lambda: None)


def _unreachable() -> None:
    with database.connect("postgresql+psycopg://nobody@127.0.0.1:1/none").read():
        raise AssertionError("nobody listens there")


def test_an_outage_is_one_line_a_minute_and_one_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten tasks within a minute are one error without a traceback that says what to do; a minute later comes another."""
    at = [1000.0]
    monkeypatch.setattr("worker.tasks.time.monotonic", lambda: at[0])
    with structlog.testing.capture_logs() as logs:
        for _ in range(10):
            _Task(_unreachable)()
        at[0] += 61
        _Task(_unreachable)()
        _Task(lambda: None)()
        _Task(lambda: None)()
    told = [one for one in logs if one["log_level"] != "debug"]
    assert [(one["event"], one["log_level"], one["put_off"]) for one in told] == [
        ("database_away", "error", 1),
        ("database_away", "error", 11),
        ("database_back", "info", 11),
    ]
    assert "OUTBOOK_DATABASE_URL" in told[0]["reason"]
    assert not any("exc_info" in one for one in told)
    assert sum("exc_info" in one for one in logs) == 11


def test_a_full_disk_is_an_outage_and_a_missing_table_is_not(tmp_path: Path) -> None:
    """What an operator mends is told in a sentence; what is wrong with the program itself keeps its traceback."""
    store = database.connect(f"sqlite:///{tmp_path / 'small.db'}")

    def fill() -> None:
        with store.write() as db:
            db.exec_driver_sql("PRAGMA max_page_count = 2")
            db.exec_driver_sql("CREATE TABLE rows (text TEXT)")
            db.exec_driver_sql("INSERT INTO rows VALUES (hex(zeroblob(100000)))")

    def ask() -> None:
        with store.read() as db:
            db.exec_driver_sql("SELECT * FROM nowhere")

    with structlog.testing.capture_logs() as logs:
        _Task(fill)()
    assert [one["event"] for one in logs if one["log_level"] == "error"] == ["database_away"]
    assert "(SQLITE_FULL)" in logs[-1]["reason"]
    with pytest.raises(sa.exc.OperationalError, match="no such table"):
        _Task(ask)()
    store.engine.dispose()


def test_a_task_that_ends_in_an_outage_is_told_of_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is noted after the work meets the same database: also that is no traceback."""
    monkeypatch.setattr(tasks, "_opened", [type("Opened", (), {"flush": staticmethod(_unreachable)})])
    with structlog.testing.capture_logs() as logs:
        _Task(lambda: None)()
    assert [one["event"] for one in logs if one["log_level"] == "error"] == ["database_away"]


def test_a_collision_is_a_warning_for_it_comes_again() -> None:
    """The database ended the task's transaction for another's sake: no outage, no traceback, and nothing is lost."""

    def collide() -> None:
        raise sa.exc.OperationalError("", {}, _Deadlock())

    with structlog.testing.capture_logs() as logs:
        _Task(collide)()
    assert [(one["event"], one["log_level"], one["task"]) for one in logs] == [("put_off", "warning", "outbook.looked")]


class _Deadlock(Exception):
    sqlstate = "40P01"


@pytest.mark.parametrize("calls_s, told", [(1.0, ["put_off"]), (tasks.CALLS_S, [])])
def test_a_task_with_slow_calls_ends_by_itself(
    calls_s: float, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With too little time for another call it ends with a warning, long before Celery would end it."""
    monkeypatch.setattr(tasks, "CALLS_S", calls_s)
    with structlog.testing.capture_logs() as logs:
        _Task(lambda: deadline.heed(System.CRM))()
    assert [one["event"] for one in logs] == told
    assert app.conf.task_soft_time_limit > tasks.CALLS_S
