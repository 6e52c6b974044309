from __future__ import annotations

import pytest

from tests.e2e import worlds
from tests.e2e.rig import Stage
from tests.e2e.worlds import ERROR, NO_EMAIL, STATE, TITLE
from worker.sim import workbooks

SHAPES = ["failures", "failure_words", "information", "errors2009"]
LONG = "x" * 300


@pytest.fixture(params=SHAPES)
def strict(stage: Stage, request: pytest.FixtureRequest) -> Stage:
    """A CRM that knows no transactions by object, in each way of telling what failed."""
    stage.use(crm_app=workbooks.build(records=0, options={"failure_shape": request.param}))
    stage.servers.crm.deaf_to = b"_per_object_transactions"
    return stage


def test_one_bad_record_of_a_new_batch_fails_alone(strict: Stage) -> None:
    """Twelve people, one with a title too long: all twelve are there, just that one fails.

    What the reply does not speak of may have been made: it is looked for during 35 s before it is made again, first with
    few others, then alone.
    """
    people = [strict.enrolled(f"p{n}@example.com", first=f"P{n}", title=LONG if n == 7 else "Buyer") for n in range(12)]
    told = strict.sync("--wait", "120", code=3)
    assert (told.report["failed"], len(strict.people())) == (1, 12)
    assert {strict.person_of(one)[STATE] for one in people} == {worlds.RUNNING}
    assert [strict.person_of(one).get(TITLE) for one in people] == ["Buyer"] * 7 + [None] + ["Buyer"] * 4
    assert [bool(strict.person_of(one).get(ERROR)) for one in people] == [n == 7 for n in range(12)]
    again = strict.sync(code=3)
    assert (again.report["queued"], again.crm) == (0, {})


def test_one_bad_record_of_a_later_batch_fails_alone(strict: Stage) -> None:
    """Updates, two of ten bad, one of the bad opted out: eight are whole, the opt-out arrives."""
    people = [strict.enrolled(f"p{n}@example.com", first=f"P{n}", title="Buyer") for n in range(10)]
    strict.sync()
    for n, one in enumerate(people):
        strict.set_prospect(one, title=LONG if n in {2, 6} else "Planner", emailOptedOut=n == 6)
    told = strict.sync(code=3)
    assert told.report["failed"] == 2
    assert [strict.person_of(one)[TITLE] for one in people].count("Planner") == 8
    assert strict.person_of(people[6])[NO_EMAIL] is True


def test_one_stale_record_of_a_batch_keeps_nobody_away(strict: Stage) -> None:
    """Somebody saves one of ten between poll and write: all ten arrive in the same pass, their edit stays."""
    people = [strict.enrolled(f"p{n}@example.com", first=f"P{n}", title="Buyer") for n in range(10)]
    strict.sync()
    for one in people:
        strict.set_prospect(one, title="Planner")
    third = strict.person_of(people[3])["id"]
    strict.before_crm_write(lambda: strict.set_person(third, mobile="+44 7700 900999"))
    strict.sync()
    assert {strict.person_of(one)[TITLE] for one in people} == {"Planner"}
    assert strict.of_prospect(people[3])["mobilePhones"] == ["+44 7700 900999"]
    strict.settled()


def test_one_deleted_record_of_a_batch_is_created_again(strict: Stage) -> None:
    """Somebody deletes one of ten between poll and write: nine are updated, one is created again, nobody is doubled."""
    people = [strict.enrolled(f"p{n}@example.com", first=f"P{n}", title="Buyer") for n in range(10)]
    strict.sync()
    for one in people:
        strict.set_prospect(one, title="Planner")
    third = strict.person_of(people[3])["id"]
    strict.before_crm_write(lambda: strict.delete_person(third))
    told = strict.sync()
    assert told.crm == {"updated": 9, "recreated": 1}
    assert {strict.person_of(one)[TITLE] for one in people} == {"Planner"}
    assert len(strict.people()) == 10
    strict.settled()
