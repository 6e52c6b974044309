"""What beat rings and when, whatever the clocks of its host and of the workers' are set to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from celery.utils.dispatch import Signal

from worker import app as front
from worker import bootstrap, tasks

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOURS = timedelta(hours=2)


@pytest.mark.parametrize("leap", [-HOURS, timedelta(0), HOURS])
def test_a_tick_comes_in_time_whatever_the_clock_is_set_to(leap: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beat goes by steady time: set back by two hours, it does not keep silent for two hours."""
    monkeypatch.setattr(front.app, "now", lambda: datetime.now(UTC) + leap)
    evenly = front.beat_table(60)["sweep"]["schedule"]
    last = evenly.now()
    assert not evenly.is_due(last - timedelta(seconds=4)).is_due
    assert evenly.is_due(last - timedelta(seconds=6)).is_due


@pytest.mark.parametrize("age_s, is_stale", [(0, False), (29, False), (31, True), (-7_200, False)])
def test_a_tick_that_came_too_late_is_not_taken_up(
    age_s: float, is_stale: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says when it was rung and how long it lasts; the worker judges by the clock that all hosts go by."""
    headers = dict(front.beat_table(60)["sweep"]["options"]["headers"])
    published = Signal()
    monkeypatch.setattr(front, "before_task_publish", published)
    front.date_ticks(lambda: NOON)
    published.send(sender="outbook.sweep", headers=headers)
    monkeypatch.setattr(bootstrap, "now", lambda: NOON + timedelta(seconds=age_s))
    tasks.sweep.push_request(**headers)
    try:
        assert tasks.sweep._is_stale() is is_stale
    finally:
        tasks.sweep.pop_request()


def test_what_is_no_tick_is_never_too_late() -> None:
    """Whoever rings for work that is there says nothing of the time."""
    tasks.sweep.push_request()
    try:
        assert not tasks.sweep._is_stale()
    finally:
        tasks.sweep.pop_request()


def test_a_tick_that_came_too_late_asks_the_store_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of them wait after hours without a worker: what is due does not stand behind a query for each."""
    headers = {**front.beat_table(60)["sweep"]["options"]["headers"], front.RUNG: NOON.isoformat()}
    monkeypatch.setattr(bootstrap, "now", lambda: NOON + HOURS)
    monkeypatch.setattr(tasks, "runtime", lambda: None)
    monkeypatch.setattr(tasks, "heed_mapping", lambda: pytest.fail("the store was asked"))
    monkeypatch.setattr(tasks.sweep, "run", lambda: pytest.fail("it was taken up"))
    tasks.sweep.push_request(**headers)
    try:
        assert tasks.sweep() is None
    finally:
        tasks.sweep.pop_request()
