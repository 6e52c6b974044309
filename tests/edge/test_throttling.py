from __future__ import annotations

import pytest

from tests.e2e import worlds
from tests.e2e.rig import Stage
from tests.e2e.worlds import STATE, TITLE
from worker.sim import outreach
from worker.sim.outreach import Options


def test_a_throttling_redirect_is_followed_with_method_and_body(stage: Stage) -> None:
    """The CRM slows us down by 302s: each person is written once, nobody is lost or doubled."""
    people = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(4)]
    stage.break_crm("throttle302", args={"seconds": 0.01, "hops": 3})
    stage.sync()
    assert [stage.person_of(one)[STATE] for one in people] == [worlds.RUNNING] * 4
    assert len(stage.people()) == 4
    stage.settled()


def test_reads_are_slowed_down_too(stage: Stage) -> None:
    """302s before lists: the pass goes through."""
    prospect = stage.enrolled("ada@example.com")
    stage.break_crm("throttle302", times=3, op="read", path="", args={"seconds": 0.01, "hops": 2})
    stage.sync()
    assert stage.person_of(prospect)[STATE] == worlds.RUNNING


@pytest.mark.parametrize("kind", ["dead_session302", "html_login200"])
def test_a_login_page_is_no_answer(stage: Stage, kind: str) -> None:
    """A redirect to the login page, or the page itself with 200: told, nothing is lost, goes on later."""
    prospect = stage.enrolled("ada@example.com")
    stage.break_crm(kind, times=None, op=None, path="")
    told = stage.sync("--wait", "0", code=None)
    assert told.code == (5 if kind == "dead_session302" else 3)
    assert "key" in told.err or kind != "dead_session302"
    assert stage.people() == []
    stage.mend()
    stage.sync()
    assert stage.person_of(prospect)[STATE] == worlds.RUNNING


def test_a_dead_key_in_the_middle_of_writing(stage: Stage) -> None:
    """The key dies between poll and write: exit 5, nobody lost, all there once it is good again."""
    people = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(4)]
    stage.break_crm("dead_session302", times=None)
    stage.sync(code=5)
    stage.mend()
    stage.sync()
    assert [stage.person_of(one)[STATE] for one in people] == [worlds.RUNNING] * 4


@pytest.mark.parametrize("form", ["seconds", "epoch", "iso", "http_date"])
@pytest.mark.parametrize("seconds", [2, 20])
def test_a_short_429_is_waited_out(stage: Stage, form: str, seconds: int) -> None:
    """Within --wait, in whichever form Outreach tells the time: waited, then all is done in the same pass."""
    prospect = stage.enrolled("ada@example.com")
    stage.break_outreach("throttle", times=1, path="sequenceStates", args={"seconds": seconds, "retry_after": form})
    told = stage.sync()
    assert told.report["converged"] is True
    assert stage.person_of(prospect)[STATE] == worlds.RUNNING
    assert stage.skipped_s >= seconds - 1


@pytest.mark.parametrize("form", ["seconds", "epoch", "iso", "http_date"])
def test_a_long_429_is_named_and_left(stage: Stage, form: str) -> None:
    """An hour is not waited for: exit 3, the stream named, no call to it more; later it goes on."""
    prospect = stage.enrolled("ada@example.com")
    stage.break_outreach("throttle", times=1, path="sequenceStates", args={"seconds": 3_600, "retry_after": form})
    told = stage.sync(code=3)
    assert "sequenceStates" in told.err
    assert stage.skipped_s < 60
    assert stage.people() == []
    stage.mend()
    stage.later(3_600)
    stage.sync()
    assert stage.person_of(prospect)[STATE] == worlds.RUNNING


def test_wait_nought_waits_for_nothing(stage: Stage) -> None:
    """With --wait 0 a 429 of twenty seconds is left at once."""
    stage.enrolled("ada@example.com")
    stage.break_outreach("throttle", times=1, path="prospects", args={"seconds": 20, "retry_after": "seconds"})
    stage.sync("--wait", "0", code=3)
    assert stage.skipped_s < 5


def test_a_429_while_writing_to_outreach(stage: Stage) -> None:
    """Throttled at a PATCH: waited and delivered; what goes to the CRM is not held up by it."""
    prospect = stage.enrolled("ada@example.com", title="Buyer")
    stage.sync()
    person = stage.person_of(prospect)["id"]
    stage.set_person(person, title="Planner")
    stage.set_prospect(prospect, lastName="Ashcombe")
    stage.break_outreach("throttle", op="write", args={"seconds": 12, "retry_after": "seconds"})
    stage.sync()
    assert stage.of_prospect(prospect)["title"] == "Planner"
    assert stage.of_person(person)["person_last_name"] == "Ashcombe"
    stage.settled()


def test_a_long_429_while_writing_to_outreach(stage: Stage) -> None:
    """Throttled for an hour: deferred, exit 3, both sides' edits kept; delivered when the hour is over."""
    prospect = stage.enrolled("ada@example.com", title="Buyer")
    stage.sync()
    person = stage.person_of(prospect)["id"]
    stage.set_person(person, title="Planner")
    stage.break_outreach("throttle", op="write", times=None, args={"seconds": 3_600, "retry_after": "seconds"})
    told = stage.sync(code=3)
    assert (told.report["deferred"], told.report["failed"], told.report["converged"]) == (1, 0, False)
    stage.mend()
    stage.later(4_000)
    stage.sync()
    assert [stage.of_prospect(prospect)["title"], stage.of_person(person)[TITLE]] == ["Planner", "Planner"]


def test_the_vendors_own_limit_is_stopped_at(stage: Stage) -> None:
    """Outreach's headers say that the hour is used up: hardly a call beyond it, named, and nothing half read is shown."""
    stage.use(outreach_app=outreach.build(records=0, options=Options(hourly_calls=4)))
    stage.enrolled("ada@example.com")
    told = stage.sync(code=None)
    assert told.code in {3, 6}
    assert stage.outreach_calls("/api/v2") <= 6
    assert told.err
    assert stage.people() == []


def test_nobody_asks_again_within_the_hour(stage: Stage) -> None:
    """Told to wait an hour, later passes make no read of Outreach; `outbook resume` ends the wait, and all is delivered."""
    prospect = stage.enrolled("ada@example.com")
    stage.break_outreach(
        "throttle", times=None, path="sequenceStates", args={"seconds": 3_600, "retry_after": "seconds"}
    )
    stage.sync(code=3)
    stage.mend()
    before = stage.outreach_calls("/api/v2/")
    for _ in range(3):
        stage.later(600)
        told = stage.sync(code=3)
        assert "asked to wait until" in told.err
    assert stage.outreach_calls("/api/v2/") == before
    assert stage.outbook("resume").code == 0
    stage.sync()
    assert stage.person_of(prospect)[STATE] == worlds.RUNNING


def test_an_opt_out_asks_again_before_the_hour_is_over(stage: Stage) -> None:
    """Outreach wants an hour of peace and has thought better of it: an opt-out from the CRM arrives within some minutes."""
    prospect = stage.enrolled("ada@example.com")
    stage.sync()
    stage.set_person(stage.person_of(prospect)["id"], no_email_soliciting=True)
    stage.break_outreach("throttle", op="write", times=None, args={"seconds": 3_600, "retry_after": "seconds"})
    stage.sync(code=3)
    stage.mend()
    stage.later(300)
    stage.sync()
    assert stage.of_prospect(prospect)["emailOptedOut"] is True
