"""`outbook doctor --alerts`, run by a timer: it tells once what nobody else lives to tell, and is a dead-man's switch."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.e2e.rig import Pass, Stage


@pytest.fixture
def told(stage: Stage) -> Path:
    """Where the alert command leaves what it was sent, a document a line."""
    got = stage.directory / "got.jsonl"
    script = stage.directory / "take.py"
    script.write_text(
        "import pathlib, sys\nwith open(sys.argv[1], 'ab') as out: out.write(sys.stdin.buffer.read() + b'\\n')\n"
    )
    stage.environ["OUTBOOK_ALERT_COMMAND"] = f"{sys.executable} -S {script} {got}"
    return got


def levels(ended: Pass) -> dict[str, str]:
    """Return what was found, by its name."""
    return {one["name"]: one["level"] for one in ended.report["checks"]}


def documents(told: Path) -> list[tuple[str, str]]:
    """Return every alert that was told, and whether it began or ended."""
    lines = told.read_text().splitlines() if told.exists() else []
    return [(one["alert"], one["state"]) for line in lines for one in json.loads(line)["alerts"]]


def test_a_deployment_that_is_dead_is_told_of_by_a_timer(stage: Stage, told: Path) -> None:
    """After a day of nothing: exit 1 and one alert, however often it looks; a pass later exit 0, and it is told over."""
    stage.enrolled("ada@example.com")
    stage.sync()
    well = stage.outbook("doctor", "--alerts", "--json")
    assert (well.code, levels(well), documents(told)) == (0, {"alerts": "ok"}, [])
    stage.later(86_400)
    for _ in range(2):
        dead = stage.outbook("doctor", "--alerts", "--json")
        assert (dead.code, levels(dead)) == (1, {"OutbookPollingStopped": "fail"})
    assert documents(told) == [("OutbookPollingStopped", "firing")]
    stage.sync()
    assert stage.outbook("doctor", "--alerts").code == 0
    assert documents(told)[1:] == [("OutbookPollingStopped", "resolved")]


def test_what_is_only_a_warning_keeps_the_switch_alive(stage: Stage) -> None:
    """A key that runs out soon is told and no reason to fail; that nobody is named is told, too."""
    stage.sync()
    stage.environ["OUTBOOK_WORKBOOKS__API_KEY_EXPIRES"] = stage.now().date().isoformat()
    ended = stage.outbook("doctor", "--alerts", "--json")
    assert (ended.code, levels(ended)) == (0, {"OutbookKeyExpiring": "warn", "alerts": "warn"})


def test_a_receiver_that_hears_nothing_lets_the_switch_go(stage: Stage, told: Path) -> None:
    """Whoever cannot be told is a failure, even where what stands is only a warning; the address is not shown."""
    stage.sync()
    stage.environ["OUTBOOK_WORKBOOKS__API_KEY_EXPIRES"] = stage.now().date().isoformat()
    stage.environ["OUTBOOK_ALERT_URL"] = "http://127.0.0.1:1/hush"
    ended = stage.outbook("doctor", "--alerts", "--json")
    assert (ended.code, levels(ended)) == (1, {"OutbookKeyExpiring": "warn", "alert by url": "fail"})
    assert documents(told) == [("OutbookKeyExpiring", "firing")]
    assert "hush" not in ended.out + ended.err


def test_settings_that_are_wrong_let_the_switch_go(stage: Stage) -> None:
    """Exit 4 with the variable named: a timer's unit fails, and no heartbeat is sent."""
    stage.environ["OUTBOOK_POLL_SECONDS"] = "never"
    ended = stage.outbook("doctor", "--alerts")
    assert ended.code == 4
    assert "OUTBOOK_POLL_SECONDS" in ended.err
