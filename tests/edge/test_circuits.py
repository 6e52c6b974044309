"""Most calls to a vendor fail: it is left alone but for one call now and then, and everything else goes on."""

from __future__ import annotations

import pytest

from tests.e2e.rig import Stage
from tests.e2e.worlds import NO_EMAIL, TITLE

PEOPLE = 25


@pytest.fixture
def edited(stage: Stage) -> list[int]:
    """Pairs edited in the CRM, just before Outreach stops to take anything."""
    pairs = [stage.enrolled(f"p{n}@example.com", first=f"P{n}", title="Buyer") for n in range(PEOPLE)]
    stage.sync()
    for one in pairs:
        stage.set_person(stage.person_of(one)["id"], title="Planner")
    stage.break_outreach("status", op="write", path="prospects", times=None, args={"code": 503})
    stage.forget_calls()
    return pairs


def tried(stage: Stage) -> int:
    """How many writes Outreach has met with since it was last asked, well or ill."""
    found: int = sum(entry["method"] == "PATCH" for entry in stage.outreach.journal.entries())
    stage.forget_calls()
    return found


def test_after_twenty_failures_one_call_finds_out(stage: Stage, edited: list[int]) -> None:
    """Twenty calls, then one every fifteen seconds, whichever process makes it; nobody is given up, all arrive in the end."""
    told = stage.sync("--wait", "0", code=3)
    assert (tried(stage), told.report["deferred"], told.report["failed"]) == (20, PEOPLE, 0)
    assert "most calls of this kind failed" in told.err
    stage.later(5)
    stage.sync("--wait", "0", code=3)
    assert tried(stage) == 0
    for _ in range(2):
        stage.later(400)
        stage.sync("--wait", "0", code=3)
        assert tried(stage) == 1
    stage.mend()
    stage.later(1_000)
    stage.sync()
    assert {stage.of_prospect(one)["title"] for one in edited} == {"Planner"}
    stage.settled()


@pytest.mark.usefixtures("edited")
def test_other_calls_go_on(stage: Stage) -> None:
    """What is read from that vendor, and what is written to the other, is held up by nothing."""
    stage.sync("--wait", "0", code=3)
    ben = stage.enrolled("ben@example.com", title="Baker")
    told = stage.sync("--wait", "0", code=3)
    assert told.report["crm"]["created"] == 1
    assert stage.person_of(ben)[TITLE] == "Baker"


def test_an_opt_out_is_tried_all_the_same(stage: Stage, edited: list[int]) -> None:
    """While the circuit is open: its one call goes, and if it is answered everything else follows."""
    stage.sync("--wait", "0", code=3)
    tried(stage)
    gone = edited[0]
    stage.set_person(stage.person_of(gone)["id"], no_email=True)
    stage.sync("--wait", "0", code=3)
    assert tried(stage) >= 1
    assert not stage.of_prospect(gone).get("emailOptedOut")
    stage.mend()
    stage.later(1_000)
    stage.sync()
    assert stage.of_prospect(gone)["emailOptedOut"] is True
    assert stage.person_of(gone)[NO_EMAIL] is True
