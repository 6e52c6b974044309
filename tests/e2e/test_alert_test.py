from __future__ import annotations

import json
import sys

from tests.e2e.rig import Stage


def test_a_test_alert_is_sent_and_its_fate_told(stage: Stage) -> None:
    """Nobody named is a warning; a command that takes it is ok, an address where nobody is a failure without the address."""
    nobody = stage.outbook("doctor", "--alert-test", "--json")
    assert nobody.code == 0
    assert [(one["level"], one["words"]) for one in nobody.report["checks"]] == [("warn", "nobody is named")]
    got = stage.directory / "got.json"
    script = stage.directory / "take.py"
    script.write_text("import pathlib, sys\npathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())\n")
    stage.environ["OUTBOOK_ALERT_COMMAND"] = f"{sys.executable} -S {script} {got}"
    assert stage.outbook("doctor", "--alert-test").code == 0
    assert json.loads(got.read_text())["alerts"][0]["alert"] == "OutbookTest"
    stage.environ["OUTBOOK_ALERT_URL"] = "http://127.0.0.1:1/hush"
    both = stage.outbook("doctor", "--alert-test", "--json")
    assert both.code == 1
    assert [(one["name"], one["level"]) for one in both.report["checks"]] == [
        ("alert by url", "fail"),
        ("alert by command", "ok"),
    ]
    assert "hush" not in both.out + both.err


def test_a_halt_is_remembered_for_whoever_looks_on(stage: Stage) -> None:
    """A key that is refused ends a pass with 5; status and the alerts then say whose, and nobody's words but ours."""
    stage.environ["OUTBOOK_WORKBOOKS__API_KEY"] = "another-key"
    stage.sync(code=5)
    (halted,) = stage.outbook("status", "--json").report["work"]["halted"]
    assert (halted["system"], halted["reason"]) == ("workbooks", "authorisation")
