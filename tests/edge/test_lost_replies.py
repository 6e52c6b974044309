from __future__ import annotations

import pytest

from tests.e2e import worlds
from tests.e2e.rig import Stage
from tests.e2e.worlds import ID, STATE, TITLE
from worker.sim import workbooks


def _ids(stage: Stage) -> list[str]:
    return sorted(one[ID] for one in stage.people())


@pytest.mark.parametrize("kind", ["lost_reply", "drop", "reset", "html200", "truncate"])
@pytest.mark.parametrize("count", [1, 12])
def test_a_create_without_an_answer_is_neither_lost_nor_doubled(stage: Stage, kind: str, count: int) -> None:
    """Whether the CRM had made the people or not: in a pass with some patience everybody is there exactly once."""
    people = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(count)]
    stage.break_crm(kind)
    told = stage.sync("--wait", "60")
    assert told.report["converged"] is True
    assert _ids(stage) == sorted(str(one) for one in people)
    assert {stage.person_of(one)[STATE] for one in people} == {worlds.RUNNING}
    stage.settled()


@pytest.mark.parametrize("lag, code", [(8.0, 0), (300.0, 3)])
def test_a_create_without_an_answer_where_lists_lag(stage: Stage, lag: float, code: int) -> None:
    """The CRM's lists do not know a new person for a while: waited for, if need be by the next pass, not created twice."""
    stage.use(crm_app=workbooks.build(records=0, options={"search_lag": lag}))
    people = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(3)]
    stage.break_crm("lost_reply")
    told = stage.sync(code=code)
    assert told.report["deferred"] == (3 if code else 0)
    assert ("did not confirm a new record" in told.err) is bool(code)
    assert _ids(stage) == sorted(str(one) for one in people)
    stage.later(lag)
    assert stage.sync().report["converged"] is True
    assert _ids(stage) == sorted(str(one) for one in people)


def test_a_create_without_an_answer_and_no_answer_to_the_look_up(stage: Stage) -> None:
    """The CRM goes down right after taking the batch: found later, nobody is created twice."""
    people = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(3)]
    stage.crm.faults.arm(
        [
            {"match": {"path": "people", "op": "write"}, "kind": "lost_reply", "times": 1},
            {
                "match": {"path": "people", "op": "read"},
                "kind": "status",
                "after": 2,
                "times": 12,
                "args": {"code": 503},
            },
        ]
    )
    stage.sync(code=None)
    stage.mend()
    stage.later(60)
    stage.sync()
    assert _ids(stage) == sorted(str(one) for one in people)
    stage.settled()


@pytest.mark.parametrize("kind", ["lost_reply", "drop", "html200"])
def test_an_update_without_an_answer_arrives_once(stage: Stage, kind: str) -> None:
    """Applied or not, the value is there after the pass and the next one writes nothing."""
    people = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(5)]
    stage.sync()
    for one in people:
        stage.set_prospect(one, title="Planner")
    stage.break_crm(kind)
    stage.sync()
    assert {stage.person_of(one)[TITLE] for one in people} == {"Planner"}
    stage.settled()


@pytest.mark.parametrize("index", [0, 2, -1])
def test_a_reply_that_leaves_one_object_out(stage: Stage, index: int) -> None:
    """All were saved, one is missing in the answer: nobody is mistaken for another, nobody doubled."""
    people = [stage.enrolled(f"p{n}@example.com", first=f"P{n}", title=f"T{n}") for n in range(6)]
    stage.break_crm("omit_object", args={"index": index})
    stage.sync()
    assert [stage.person_of(one)[TITLE] for one in people] == [f"T{n}" for n in range(6)]
    assert len(stage.people()) == 6
    for one in people:
        stage.set_prospect(one, title="Planner")
    stage.break_crm("omit_object", args={"index": index})
    stage.sync()
    assert {stage.person_of(one)[TITLE] for one in people} == {"Planner"}
    stage.settled()


def test_a_lost_reply_of_outreach_arrives_once(stage: Stage) -> None:
    """Outreach took the edit and its answer was lost: the value is there, and nothing flips back."""
    prospect = stage.enrolled("ada@example.com", title="Buyer")
    stage.sync()
    person = stage.person_of(prospect)["id"]
    stage.set_person(person, title="Planner")
    stage.break_outreach("lost_reply", op="write", path="prospects")
    stage.sync()
    assert [stage.of_prospect(prospect)["title"], stage.of_person(person)[TITLE]] == ["Planner"] * 2
    stage.settled()


def test_somebody_saves_between_poll_and_write(stage: Stage) -> None:
    """A stale version: read again, their edit kept, ours written, all in one pass."""
    prospect = stage.enrolled("ada@example.com", title="Buyer")
    stage.sync()
    person = stage.person_of(prospect)["id"]
    stage.set_prospect(prospect, title="Engineer")
    stage.before_crm_write(lambda: stage.set_person(person, last="Ashcombe"))
    stage.sync()
    held = stage.of_person(person)
    assert (held[TITLE], held["person_last_name"]) == ("Engineer", "Ashcombe")
    assert stage.of_prospect(prospect)["lastName"] == "Ashcombe"
    stage.settled()


@pytest.mark.parametrize("shape", ["failures", "failure_words", "information", "errors2009"])
def test_somebody_saves_the_same_field_between_poll_and_write(stage: Stage, shape: str) -> None:
    """Then it is a conflict: the CRM's edit stands on both sides, however the CRM tells of the stale version."""
    stage.use(crm_app=workbooks.build(records=0, options={"conflict_shape": shape}))
    prospect = stage.enrolled("ada@example.com", title="Buyer")
    stage.sync()
    person = stage.person_of(prospect)["id"]
    stage.set_prospect(prospect, title="Engineer")
    stage.before_crm_write(lambda: stage.set_person(person, title="Planner"))
    stage.sync()
    assert [stage.of_prospect(prospect)["title"], stage.of_person(person)[TITLE]] == ["Planner", "Planner"]
    stage.settled()


def test_somebody_saves_every_time(stage: Stage) -> None:
    """Three times in a row the version is stale: ours still arrives within the pass."""
    prospect = stage.enrolled("ada@example.com", title="Buyer")
    stage.sync()
    person = stage.person_of(prospect)["id"]
    stage.set_prospect(prospect, title="Engineer")
    towns = iter(["One", "Two", "Three"])
    stage.before_crm_write(lambda: stage.set_person(person, **{"main_location[town]": next(towns)}), times=3)
    stage.sync()
    assert stage.of_person(person)[TITLE] == "Engineer"
    assert stage.of_person(person)["main_location[town]"] == "Three"


def test_somebody_creates_the_person_between_look_up_and_write(stage: Stage) -> None:
    """Typed in by hand at the very moment we create: both exist, which is told; no third one follows."""
    prospect = stage.enrolled("ada@example.com")
    stage.before_crm_write(lambda: stage.person(first="Ada", last="Ashby", email="ada@example.com"))
    stage.sync(code=None)
    stage.sync(code=None)
    assert len(stage.people()) == 2
    assert stage.person_of(prospect)[STATE] == worlds.RUNNING


def test_the_prospect_vanishes_between_poll_and_write(stage: Stage) -> None:
    """Deleted in Outreach while we write to it: the person stays and reads Not Active."""
    prospect = stage.enrolled("ada@example.com", title="Buyer")
    stage.sync()
    person = stage.person_of(prospect)["id"]
    stage.set_person(person, title="Planner")
    stage.before_outreach_write(lambda: stage.tell({"op": "delete", "type": "prospect", "id": prospect}))
    stage.sync()
    assert stage.of_person(person)[STATE] == worlds.NOT_ACTIVE
    assert stage.of_person(person)[TITLE] == "Planner"
    stage.settled()
