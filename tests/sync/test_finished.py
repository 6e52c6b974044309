"""Tasks that somebody completed or cancelled in the CRM are done in Outreach too, if the mapping says so."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.sync.asking import outreach_writes, settles
from tests.sync.conftest import MakeScene
from tests.sync.scene import Call, Scene, fault
from worker.store import outbox
from worker.sync import run
from worker.sync.case import Permit

BACK = ("back_to_outreach: false", "back_to_outreach: true")
TASK = 40


@pytest.fixture
def on(scene: Scene) -> Scene:
    """Return a scene in which prospect 7 has an open task of a sequence, which a task of the CRM bears the number of."""
    scene.mapping = scene.mapped(BACK)
    scene.prospect(7, 1)
    put(scene, TASK)
    assert scene.sync().converged
    scene.wire.calls.clear()
    return scene


def put(scene: Scene, number: int, *, in_sequence: bool = True, **attributes: object) -> None:
    """Give prospect 7 a task in Outreach, and the CRM one that came from there by whatever means."""
    (state,) = scene.states_of(7)
    of_sequence = {"sequenceState": state, "sequence": 1, "sequenceStep": step(scene)} if in_sequence else {}
    told = {
        "state": "incomplete",
        "action": "call",
        "taskType": "sequence_step_call" if in_sequence else "manual",
        **attributes,
    }
    relations = {"prospect": 7, "subject": 7, **of_sequence}
    scene.edit_outreach(op="create", type="task", id=number, attributes=told, relations=relations)
    fields = {"name": "Call", "activity_status": "New", "cf_task_outreach_id": str(number)}
    scene.edit_crm(op="create", type="task", fields=fields)


def step(scene: Scene) -> int:
    """Return the step on which prospect 7 stands."""
    (state,) = scene.states_of(7)
    told: int = scene.outreach.world.dump()["sequenceState"][str(state)]["relations"]["sequenceStep"]
    return told


def mark(scene: Scene, status: str, number: int = TASK) -> None:
    """Set a status in the CRM, by hand."""
    scene.later(120)
    (one,) = [task for task in scene.tasks() if task.get("cf_task_outreach_id") == str(number)]
    scene.edit_crm(op="set", type="task", id=one["id"], fields={"activity_status": status})


def held(scene: Scene, number: int = TASK) -> dict[str, Any]:
    """Return the Outreach task's attributes."""
    return scene.of_outreach("task", number)


@pytest.mark.parametrize(
    "status, in_sequence, verb",
    [
        ("Complete", True, "markComplete"),
        ("Cancelled", True, "advance"),
        ("Complete", False, "markComplete"),
        ("Cancelled", False, "markComplete"),
    ],
)
def test_what_is_done_in_the_crm_is_done_in_outreach(on: Scene, status: str, in_sequence: bool, verb: str) -> None:
    """Completed is completed, cancelled goes on to the next step, and one of no sequence can only be completed."""
    number = TASK if in_sequence else 41
    if not in_sequence:
        put(on, number, in_sequence=False)
        on.sync()
    before = step(on)
    on.wire.calls.clear()
    mark(on, status, number)
    told = on.sync().as_json()
    assert (told["outreach"]["actions"], told["converged"], told["failed"]) == (1, True, 0)
    assert outreach_writes(on) == [f"POST /api/v2/tasks/{number}/actions/{verb}"]
    assert held(on, number)["state"] == "complete"
    assert (step(on) != before) is in_sequence
    assert [task["activity_status"] for task in on.tasks() if task["cf_task_outreach_id"] == str(number)] == [status]
    settles(on)


@pytest.mark.parametrize("status", ["New", "In Progress"])
def test_another_status_says_nothing(on: Scene, status: str) -> None:
    """A task that is still to be done in the CRM is left alone in Outreach."""
    mark(on, status)
    on.sync()
    assert outreach_writes(on) == []
    assert held(on)["state"] == "incomplete"


def test_the_labels_are_the_mapping_s(on: Scene) -> None:
    """What counts as completed is a list in the mapping."""
    on.mapping = on.mapped(BACK, ("completed_labels: [Complete, Completed]", "completed_labels: [In Progress]"))
    mark(on, "Complete")
    on.sync()
    assert outreach_writes(on) == []
    mark(on, "In Progress")
    on.sync()
    assert outreach_writes(on) == [f"POST /api/v2/tasks/{TASK}/actions/markComplete"]


def test_a_task_that_outreach_has_done_is_not_touched(on: Scene) -> None:
    """Completed on both sides there is nothing to do."""
    on.edit_outreach(op="complete_task", task=TASK)
    mark(on, "Complete")
    on.sync()
    assert outreach_writes(on) == []


def test_what_outbook_cancelled_never_goes_back(on: Scene) -> None:
    """A skipped task is shown as Cancelled, and neither that nor somebody's edit of it reaches Outreach."""
    put_skipped(on, 41)
    on.sync()
    (mine,) = [task for task in on.tasks() if task.get("cf_task_outreach_id") == "41"]
    assert mine["activity_status"] == "Cancelled"
    for fields in ({"description": "by hand"}, {"activity_status": "Complete"}):
        on.later(120)
        on.edit_crm(op="set", type="task", id=mine["id"], fields=fields)
        on.sync()
    assert outreach_writes(on) == []
    assert held(on, 41)["state"] == "skipped"


def put_skipped(scene: Scene, number: int) -> None:
    """Give prospect 7 a task that Outreach calls skipped."""
    (state,) = scene.states_of(7)
    relations = {"prospect": 7, "sequenceState": state, "sequence": 1, "sequenceStep": step(scene)}
    scene.edit_outreach(
        op="create", type="task", id=number, attributes={"state": "skipped", "action": "call"}, relations=relations
    )


def test_without_the_sign_a_skipped_task_is_not_open(on: Scene) -> None:
    """Where `skipped` counts as nothing it is still no task that could be completed."""
    signs = "[state_is_skipped, autoskipped_without_completer, gone_while_the_step_moved_on]"
    on.mapping = on.mapped(BACK, (f"skipped_when: {signs}", "skipped_when: [autoskipped_without_completer]"))
    put_skipped(on, 41)
    on.edit_crm(
        op="create", type="task", fields={"name": "C", "activity_status": "Cancelled", "cf_task_outreach_id": "41"}
    )
    on.sync()
    assert outreach_writes(on) == []


def test_a_lost_reply_is_looked_at(on: Scene) -> None:
    """The task is found complete, and not asked for once more."""
    on.outreach.faults.arm([fault("lost_reply", path="/tasks/", op="write")])
    mark(on, "Complete")
    told = on.sync().as_json()
    assert (told["converged"], told["failed"]) == (True, 0)
    assert len(outreach_writes(on)) == 1
    settles(on)


def test_a_refusal_is_a_dead_letter_with_the_vendor_s_words(on: Scene) -> None:
    """A missing permission fails that task, and nothing else."""
    on.outreach.faults.arm([fault("status", path="/tasks/", op="write", code=403)])
    mark(on, "Complete")
    report = on.sync()
    assert report.as_json()["failed"] == 1
    (words,) = report.waiting
    assert f"Outreach would not markComplete task {TASK}: Outreach forbids it" in words
    assert report.halt is None


def test_a_task_that_is_gone_is_let_be(on: Scene) -> None:
    """There is nothing to complete any more."""
    on.edit_outreach(op="delete", type="task", id=TASK)
    mark(on, "Complete")
    assert on.sync().converged
    assert outreach_writes(on) == []
    settles(on)


def test_the_permit_holds_it_back(on: Scene) -> None:
    """Without leave to write to Outreach it waits for the next pass that has it."""
    mark(on, "Complete")
    on.poll()
    on.apply(on.applier(permit=Permit(to_outreach=False)))
    assert outreach_writes(on) == []
    with on.store.read() as db:
        assert db.execute(sa.select(outbox.CHANGE.c.state)).scalars().all() == ["kept"]
    assert on.sync().as_json()["outreach"]["actions"] == 1


def test_a_claim_asks_for_forty_seconds(on: Scene) -> None:
    """With 15 s a request three fit; the rest is done by the next claim."""
    numbers = [TASK, *range(41, 45)]
    for number in numbers[1:]:
        put(on, number, in_sequence=False)
    on.sync()
    for number in numbers:
        mark(on, "Complete", number)
    on.poll()
    on.wire.calls.clear()

    def slow(call: Call) -> None:
        if "/actions/" in call.path:
            on.later(15)

    on.wire.after.append(slow)
    assert [on.apply().outreach_actions for _ in range(2)] == [3, 2]
    assert len(outreach_writes(on)) == 5


def test_by_default_nothing_goes_back(make_scene: MakeScene) -> None:
    """With the default mapping a completed task of the CRM opens no change and leads to no request."""
    on = make_scene()
    on.prospect(7, 1)
    put(on, TASK)
    on.sync()
    on.wire.calls.clear()
    mark(on, "Complete")
    told = on.sync().as_json()
    assert (told["queued"], told["outreach"]["actions"]) == (0, 0)
    assert [call.path for call in on.wire.calls if "/tasks" in call.path and call.path.startswith("/api")] == [
        "/api/v2/tasks"
    ]
    assert held(on)["state"] == "incomplete"


def forgotten(on: Scene, status: str) -> None:
    """Finish the task in the CRM, and let nobody have heard of it but the mirror."""
    mark(on, status)
    on.poll()
    with on.store.write() as db:
        assert db.execute(sa.delete(outbox.CHANGE)).rowcount == 1


@pytest.mark.parametrize("status, verb", [("Complete", "markComplete"), ("Cancelled", "advance")])
def test_a_full_pass_finds_what_was_finished_long_ago(on: Scene, status: str, verb: str) -> None:
    """An ordinary pass reads only what moves; with --full the task is done in Outreach, once."""
    forgotten(on, status)
    assert on.sync().tally.outreach_actions == 0
    told = on.sync(full=True)
    assert (told.tally.outreach_actions, told.converged) == (1, True)
    assert outreach_writes(on) == [f"POST /api/v2/tasks/{TASK}/actions/{verb}"]
    assert on.sync(full=True).tally.outreach_actions == 0
    settles(on)


def test_finished_before_the_switch_was_turned(scene: Scene) -> None:
    """Switched on, a full pass brings to Outreach what was finished in the CRM until then, and nothing that is still open."""
    scene.prospect(7, 1)
    put(scene, TASK)
    put(scene, 41, in_sequence=False)
    scene.sync()
    mark(scene, "Complete")
    scene.sync()
    assert outreach_writes(scene) == []
    scene.mapping = scene.mapped(BACK)
    scene.sync(full=True)
    assert outreach_writes(scene) == [f"POST /api/v2/tasks/{TASK}/actions/markComplete"]
    assert [held(scene, number)["state"] for number in (TASK, 41)] == ["complete", "incomplete"]


def test_a_dry_run_lists_what_would_go_back(on: Scene) -> None:
    """The task with its action is in the plan of a full pass that writes nothing."""
    forgotten(on, "Cancelled")
    crm_id = next(task["id"] for task in on.tasks())
    told = run.run(run.Pass(on=on.applier(), sleep=on.later, calls=dict, full=True, dry_run=True))
    assert told.would_write == [
        {
            "task": TASK,
            "person": None,
            "action": "finish task",
            "why": f"task {crm_id} was finished in the CRM",
            "crm": [],
            "outreach": ["advance"],
        }
    ]
    assert (outreach_writes(on), held(on)["state"]) == ([], "incomplete")


def test_a_full_pass_leaves_alone_what_outbook_cancelled_itself(on: Scene) -> None:
    """A Cancelled task of our own has a link, whatever the mapping calls cancelled."""
    on.edit_outreach(op="set", type="task", id=TASK, attributes={"state": "skipped"})
    (crm_task,) = on.tasks()
    on.edit_crm(op="delete", type="task", id=crm_task["id"])
    on.sync()
    assert [task["activity_status"] for task in on.tasks() if not task["is_deleted"]] == ["Cancelled"]
    on.edit_outreach(op="set", type="task", id=TASK, attributes={"state": "incomplete"})
    on.wire.calls.clear()
    on.sync(full=True)
    assert outreach_writes(on) == []
