"""What goes wrong with dates (facts, delivery D.3: F38): the hour is changed, a leap second, the year 2099."""

from __future__ import annotations

import subprocess
import time
from datetime import UTC, datetime, timedelta

from tests.fault import edits
from tests.fault.people_scenarios import drawn, set_prospect, steady
from tests.fault.rig import OURS
from tests.fault.scene import Scenario, Scene

AHEAD = "2099-01-01T00:00:00.000Z"
SUMMER_IN_S, LASTS_S, AFTER_S = 40.0, 25.0, 4.0
HOUR = timedelta(hours=1)


def an_hour_is_changed(scene: Scene) -> None:
    """Ours begin anew in a time zone whose clocks go forward within the minute, and back soon after."""
    rig, summer = scene.rig, datetime.now(UTC) + timedelta(seconds=SUMMER_IN_S)
    winter = summer + timedelta(seconds=LASTS_S)
    scene.notes["changes"] = (summer, winter)
    rig.environ["TZ"] = f"WIN0SUM,{_rule(summer)},{_rule(winter + HOUR)}"  # each told by the clock that ends
    ours = [name for name in OURS if name != "broker"]
    rig.kill(*ours)
    rig.start(*ours)


def _rule(at: datetime) -> str:
    """Return when the clocks change, as POSIX has it: the day of the year from nought, and the time of day."""
    return f"{at.timetuple().tm_yday - 1}/{at:%H:%M:%S}"


def far_ahead(scene: Scene) -> None:
    """The hour is changed between the waves. Records are of a leap second and of 2099, and the CRM's clock is 10 min ahead."""
    if scene.wave == 0:
        scene.rig.control("workbooks", "clock", {"shift": 600})
        leap = f"{datetime.now(UTC):%Y-%m-%dT%H:%M}:60.000Z"
        early, late = steady(scene.plan)[:3], steady(scene.plan)[3:6]
        dated = [set_prospect(one, updatedAt=AHEAD) for one in early]
        dated += [set_prospect(one, updatedAt=leap, title="Leapt") for one in late]
        scene.rig.edit("outreach", [one | {"touch": False} for one in dated])
        scene.plan.wanted += [edits.Wanted(one, "crm", edits.TITLE, "Leapt") for one in late]
        scene.plan.changes += len(late)
    summer, winter = scene.notes["changes"]
    hour = scene.notes.setdefault("hours", [])
    hour.append(_hour(scene))
    if scene.wave in {1, 2}:
        _wait_until((summer, winter)[scene.wave - 1] + timedelta(seconds=AFTER_S))
        hour.append(_hour(scene))
    time.sleep(3)


def _hour(scene: Scene) -> str:
    """Return how far the clocks of ours are from UTC just now."""
    environ = {"TZ": scene.rig.environ["TZ"]}
    return subprocess.run(["date", "+%z"], env=environ, capture_output=True, text=True, check=True).stdout.strip()


def _wait_until(at: datetime) -> None:
    time.sleep(max(0.0, (at - datetime.now(UTC)).total_seconds()))


def was_changed(scene: Scene) -> str:
    """The hour was changed while all ran, forward and back."""
    hours = scene.notes["hours"]
    return "" if {"+0000", "+0100"} <= set(hours) and hours[-1] == "+0000" else f"the hour was not changed: {hours}"


SCENARIOS = [
    Scenario(
        "F38",
        "the hour changed, a leap second, the year 2099",
        far_ahead,
        first=an_hour_is_changed,
        check=was_changed,
        draw=drawn,
        alone=True,
    ),
]
