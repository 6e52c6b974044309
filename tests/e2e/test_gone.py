"""What is gone in Outreach, where no event tells it: found by a full pass, and by the workers' rounds within a day."""

from __future__ import annotations

import json

import pytest

from tests.e2e.rig import Stage
from tests.e2e.worlds import COLD, INBOUND, NOT_ACTIVE, RUNNING, STATE
from worker import bootstrap, config, tasks
from worker.core.records import System
from worker.sim import outreach
from worker.sim.outreach_options import Options
from worker.store.rounds import standings
from worker.sync import sweep

SCOPES = frozenset(
    f"{plural}.all" for plural in ("prospects", "sequences", "sequenceSteps", "sequenceStates", "tasks", "users")
)


@pytest.fixture
def quiet(stage: Stage) -> Stage:
    """A stage whose token may read neither events nor addresses."""
    stage.use(outreach_app=outreach.build(records=0, options=Options(scopes=SCOPES)))
    return stage


def gone(stage: Stage, type_: str, record_id: int) -> None:
    """Somebody deletes a record in Outreach."""
    stage.tell({"op": "delete", "type": type_, "id": record_id})


def one_round(stage: Stage) -> dict[str, int]:
    """What the rolling sweep takes away in the day to come, as a worker's task does it hour by hour."""
    rung: list[str] = []
    settings = config.load(stage.environ, stage.directory)
    stage.monkeypatch.setattr(bootstrap, "now", stage.now)
    stage.monkeypatch.setattr(tasks, "ring", rung.append)
    with bootstrap.runtime(settings) as runtime:
        stage.monkeypatch.setattr(tasks, "runtime", lambda: runtime)
        for _ in range(23):
            tasks.take_round.run()
            stage.later(3600)
        with runtime.store.read() as db:
            told = {one.name.removeprefix("sweep:"): one.last["removed"] for one in standings(db)}
        assert runtime.budgets[System.OUTREACH].spent().keys() == {sweep.LANE}
    assert "outbook.apply" in rung
    return told


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
