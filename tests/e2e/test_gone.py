"""What is gone in Outreach, where no event tells it: found by a full pass, and by the workers' rounds within a day."""

from __future__ import annotations

import json

import pytest

from tests.e2e.nets import ALONE, one_round
from tests.e2e.rig import Stage
from tests.e2e.worlds import COLD, INBOUND, NOT_ACTIVE, RUNNING, STATE
from worker.sim import outreach
from worker.sim.outreach_options import Options


@pytest.fixture
def quiet(stage: Stage) -> Stage:
    """A stage whose token may read neither events nor addresses."""
    stage.use(outreach_app=outreach.build(records=0, options=Options(scopes=ALONE)))
    return stage


def gone(stage: Stage, type_: str, record_id: int) -> None:
    """Somebody deletes a record in Outreach."""
    stage.tell({"op": "delete", "type": type_, "id": record_id})


@pytest.mark.parametrize("how", ["full pass", "round"])
def test_removed_from_the_only_sequence_reads_not_active(quiet: Stage, how: str) -> None:
    """One state removed, one of two removed, a prospect and an open task deleted: each as the contract says."""
    stage = quiet
    only, deleted = stage.enrolled("only@example.com"), stage.enrolled("deleted@example.com")
    both = stage.prospect("both@example.com")
    first, _ = stage.state(both, COLD), stage.state(both, INBOUND)
    busy = stage.prospect("busy@example.com")
    of_busy = stage.state(busy, COLD, step=1)
    task = stage.task(of_busy, order=1)
    stage.sync()
    states = stage.outreach.world.dump()["sequenceState"].values()
    of_only = next(one["id"] for one in states if one["relations"]["prospect"] == only)
    gone(stage, "sequenceState", of_only)
    gone(stage, "sequenceState", first)
    gone(stage, "prospect", deleted)
    gone(stage, "task", task)
    stage.settled()
    if how == "full pass":
        told = stage.sync("--full")
        assert told.report["swept"]["sequenceStates"]["removed"] == 3
        assert {name: one["removed"] for name, one in told.report["swept"].items()} == {
            "sequenceStates": 3,
            "prospects": 1,
            "tasks": 1,
        }
    else:
        assert one_round(stage) == {"sequenceStates": 3, "prospects": 1, "tasks": 1}
        stage.sync()
    labels = [stage.person_of(one)[STATE] for one in (only, deleted, both, busy)]
    assert labels == [NOT_ACTIVE, NOT_ACTIVE, RUNNING, RUNNING]
    assert stage.person_of(both)["cf_person_sequences"] == "Inbound follow-up: Active – Running (step 1)"
    stage.tell({"op": "advance", "state": of_busy})
    stage.sync()
    assert len(stage.cancelled(task)) == 1
    stage.settled()


def test_a_lost_permission_waits_for_somebody(quiet: Stage) -> None:
    """Two dozen people out of sight at once: one entry a kind, exit 3, nobody touched, until somebody approves."""
    stage = quiet
    people = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(30)]
    stage.sync()
    stage.tell({"op": "hide", "type": "prospect", "ids": people[:24], "hanging": True})
    told = stage.sync("--full", code=3)
    assert (told.crm, told.report["held"]) == ({}, 2)
    assert {stage.person_of(one)[STATE] for one in people} == {RUNNING}
    listed = json.loads(stage.outbook("held", "list", "--json").out)
    keys = {one["key"] for one in listed["held"]}
    assert keys == {"brake:removals:prospects", "brake:removals:sequenceStates"}
    assert stage.outbook("held", "approve", "--kind", "brake").code == 0
    assert stage.sync().crm == {"updated": 24}
    assert [stage.person_of(one)[STATE] for one in people] == [NOT_ACTIVE] * 24 + [RUNNING] * 6
    stage.settled()
