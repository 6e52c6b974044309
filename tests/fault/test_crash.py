"""A process killed at a dozen drawn points of the hundreds that F08 has (`./dev chaos --scenario F08` plays all)."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fault import crash, crash_story
from tests.fault.crash import Death, Played
from tests.fault.crash_points import Point
from tests.fault.rig import ROOT

EACH = 6
"""How many points of each story are drawn."""


@pytest.mark.processes
@pytest.mark.timeout(240)
def test_a_process_may_die_at_any_point(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Killed before or after some commit or exchange, it is followed by one that ends as if nobody had died."""
    seed = request.config.getoption("randomly_seed", default=0)
    drawn = random.Random(f"{seed} crash points").sample(range(10_000), EACH)
    done = subprocess.run(
        [sys.executable, "-m", "tests.fault.crash", *map(str, drawn)],
        cwd=ROOT,
        env={"HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    again = f"again: --randomly-seed={seed}\n{done.stdout}{done.stderr}"
    assert done.returncode == 0, again
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["story", *crash_story.STORIES], again
    for line in lines[1:]:
        counts = dict(zip(lines[0][1:], map(int, line[1:]), strict=True))
        assert min(counts[step] for step in crash.STEPS) > 0, f"a step without a point: {again}"
        assert counts["points"] > 150, again
        assert counts["played"] == len({one % counts["points"] for one in drawn}), again


def test_the_table_counts_each_step_and_names_what_went_wrong() -> None:
    """Points by step, those played, those that did not end well, and these in words."""
    points = [Point(1, "poll", "worker.sync.poll.poll", "after the commit"), Point(2, "refresh", "x", "y")]
    one = Played("first", points, [Death(1, "here", "ends otherwise"), Death(2, "there")])
    assert one.steps() == {"poll": 1, "identify": 0, "apply": 0, "refresh": 1, "around": 0}
    assert one.wrong() == ["first, point 1, here: ends otherwise"]
    assert crash.table([one])[1].split() == ["first", "1", "0", "0", "1", "0", "2", "2", "1"]
