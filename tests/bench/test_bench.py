"""The bench itself: one of them, made small. What it counts is asserted, nothing that a clock tells."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.processes
def test_a_second_pass_writes_nothing(tmp_path: Path) -> None:
    """`noop` writes its figures as JSON, and whatever may be written, queued or stored without need is nought."""
    path = tmp_path / "told.json"
    command = [sys.executable, "-m", "tests.bench", "noop", "--scale", "0.002", "--json", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=55, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(path.read_text())
    assert told.keys() == {"date", "cores", "load", "python", "system", "scale", "benches"}
    assert told["benches"]["noop"]["size"] == {"people": 200}
    figures = {one["what"]: one for one in told["benches"]["noop"]["figures"]}
    assert all(one.keys() == {"what", "value", "unit", "wanted", "met"} for one in figures.values())
    wanted = {what: one["value"] for what, one in figures.items() if one["wanted"]}
    assert wanted == {
        "counts in the report, both sides": 0,
        "effects that the CRM saw": 0,
        "changes queued": 0,
        "rows written to mirror": 0,
        "rows written to change": 0,
        "rows written to history": 0,
        "rows written to link": 0,
    }
    assert figures["requests made"]["value"] >= figures["requests that reading the overlap takes"]["value"] >= 7


def test_an_unknown_bench_is_refused() -> None:
    """A misspelt name is told with those there are."""
    command = [sys.executable, "-m", "tests.bench", "nope"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no bench nope: noop, calls" in done.stderr
