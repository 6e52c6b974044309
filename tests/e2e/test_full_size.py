"""The mistakes of going live at the size of a real store: thousands deleted at once, restored, approved.

Minutes of measurement, run by name: ``./dev test tests/e2e/test_full_size.py -m slow -s`` tells seconds and calls of each step.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.e2e import crowd
from tests.e2e.crowd import timed
from tests.e2e.rig import Stage, end_of
from tests.e2e.worlds import RUNNING, STATE

pytestmark = [pytest.mark.slow, pytest.mark.processes, pytest.mark.timeout(1800)]

WITHIN_S = 1500.0


def passed(stage: Stage, what: str, *arguments: str, code: int | None = 0) -> dict[str, Any]:
    """Run one pass as a process of its own, tell what it took, and return its report."""
    verb = ("sync", "--json", *arguments)
    told = timed(stage, what, lambda: end_of(stage.process(*verb), within_s=WITHIN_S))
    assert code is None or told.code == code, (told.code, told.out, told.err)
    assert "Traceback" not in told.err
    return told.report


def unchanged(report: dict[str, Any]) -> bool:
    """Tell whether a pass wrote nothing and queued nothing."""
    return not any([*report["crm"].values(), *report["outreach"].values(), report["queued"]])


def test_three_thousand_of_ten_thousand_are_deleted_at_once(stage: Stage) -> None:
    """Held as one entry; restored, all are linked as before; deleted again, approved while a third is restored: no double."""
    ids = crowd.populate(stage, 10_000)
    passed(stage, "10,000 people created")
    of = crowd.pairs(stage)
    assert len(of) == len(stage.people()) == len(ids)
    gone = [of[one] for one in ids[:3000]]

    crowd.by_hand(stage, "delete", gone)
    report = passed(stage, "3,000 deleted", code=3)
    assert (report["held"], report["failed"], report["crm"]["recreated"]) == (1, 0, 0)
    assert len(stage.people()) == 7000
    (entry,) = crowd.entries(stage)
    words = "3000 of 10000 linked people were deleted or became unreadable in the CRM within a day; "
    assert (entry["kind"], entry["records"], entry["words"].startswith(words)) == ("brake", 3000, True)
    assert "held: 1 brake (3000 records hang on it)" in stage.outbook("status").out
    stage.set_prospect(ids[-1], title="Engineer")
    again = passed(stage, "3,000 held, one edit", code=3)
    assert (again["crm"]["updated"], again["crm"]["recreated"], len(stage.people())) == (1, 0, 7000)

    crowd.by_hand(stage, "undelete", gone)
    restored = passed(stage, "3,000 restored")
    assert (restored["held"], restored["crm"]["created"], restored["crm"]["recreated"]) == (0, 0, 0)
    assert crowd.entries(stage) == []
    assert (crowd.pairs(stage), crowd.linked(stage), crowd.doubled(stage)) == (of, of, [])

    crowd.by_hand(stage, "delete", gone)
    assert passed(stage, "3,000 deleted again", code=3)["held"] == 1
    crowd.by_hand(stage, "undelete", gone[:1000])
    assert stage.outbook("held", "approve", "--kind", "brake").code == 4
    timed(stage, "approved", lambda: stage.outbook("held", "approve", "--kind", "brake", "--yes"))
    report = passed(stage, "2,000 created again, 1,000 found alive")
    assert (report["held"], report["crm"]["recreated"], report["crm"]["created"]) == (0, 2000, 0)
    now = crowd.pairs(stage)
    assert (len(stage.people()), len(now), crowd.doubled(stage)) == (10_000, 10_000, [])
    assert crowd.linked(stage) == now
    assert {one: now[one] for one in [*ids[:1000], *ids[3000:]]} == {one: of[one] for one in [*ids[:1000], *ids[3000:]]}
    assert set(Counter(one[STATE] for one in stage.people())) == {RUNNING}
    assert unchanged(passed(stage, "nothing to do"))
