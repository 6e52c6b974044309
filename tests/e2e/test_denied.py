"""The right to change a field is lost: no record fails for it, one entry says so, and it goes on once the right is back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e import crowd
from tests.e2e.rig import Stage
from tests.e2e.worlds import ERROR, NO_EMAIL, TITLE

WORDS = "may not be changed: no permission"
MANY = 25
"""More than 20."""


def rule(stage: Stage, *rules: dict[str, str], shape: str = "information") -> None:
    """Let the CRM refuse what fits a rule."""
    for name, value in (("rules", list(rules)), ("failure_shape", shape)):
        stage.crm.world.edit({"op": "option", "name": name, "value": value})


def lost(stage: Stage, shape: str = "information") -> None:
    """The key's user may no longer change the job title."""
    rule(stage, {"type": "person", "field": TITLE, "pattern": "", "message": WORDS}, shape=shape)


def agreed(stage: Stage, many: int = MANY) -> tuple[list[int], dict[int, int]]:
    """So many linked people with job titles, who had none of it before: their prospects, and their people by those."""
    ids = crowd.populate(stage, many)
    stage.sync()
    return ids, crowd.pairs(stage)


def held(stage: Stage) -> list[dict[str, Any]]:
    """The entries that wait, without when they began."""
    return [{name: one[name] for name in ("key", "kind", "words")} for one in crowd.entries(stage)]


ENTRY = {"key": f"denied:{TITLE}", "kind": "denied"}


@pytest.mark.parametrize("shape", ["information", "failures", "failure_words", "errors2009"])
def test_a_field_taken_of_nobody_is_no_records_fault(stage: Stage, shape: str) -> None:
    """All titles edited in Outreach: one entry, no dead letter, all else arrives; the right is back and so are the titles."""
    ids, of = agreed(stage)
    lost(stage, shape)
    for one in ids:
        stage.set_prospect(one, title=f"Chair {one}", lastName="Ashcombe")
    stage.tell({"op": "opt_out", "prospect": ids[3]})
    told = stage.sync(code=3)
    assert (told.report["failed"], told.report["held"]) == (0, 1)
    (entry,) = held(stage)
    assert {**entry, "words": ""} == {**ENTRY, "words": ""}
    assert "takes no value for 'person_job_title', not even the one it has" in entry["words"]
    assert WORDS in entry["words"]
    assert {stage.of_person(of[one])["person_last_name"] for one in ids} == {"Ashcombe"}
    assert stage.of_person(of[ids[3]])[NO_EMAIL] is True
    stage.set_prospect(ids[0], title="Chair again")
    stage.forget_calls()
    assert stage.sync(code=3).report["failed"] == 0
    assert not any(TITLE in write["changes"] for write in stage.crm_writes("person"))
    rule(stage)
    stage.later(3700)
    last = stage.sync()
    assert (last.report["failed"], last.report["held"]) == (0, 0)
    assert [stage.of_person(of[one])[TITLE] for one in ids] == [stage.of_prospect(one)["title"] for one in ids]
    assert {stage.of_person(of[one]).get(ERROR) for one in ids} == {None}
    stage.settled()


def test_still_without_the_right_it_is_tried_once_an_hour(stage: Stage) -> None:
    """An hour later a few are tried, refused, and stopped again, in the same one entry; nobody fails."""
    ids, _ = agreed(stage)
    lost(stage)
    for one in ids:
        stage.set_prospect(one, title=f"Chair {one}")
    stage.sync(code=3)
    stage.later(3700)
    again = stage.sync(code=3)
    assert (again.report["failed"], again.report["held"], len(held(stage))) == (0, 1, 1)
    stage.forget_calls()
    stage.sync(code=3)
    assert stage.crm_writes() == []


def test_bad_values_however_many_are_their_records_own_fault(stage: Stage) -> None:
    """Twenty-five titles that a rule refuses, where the CRM would take others: each fails with the words, none is stopped."""
    ids, of = agreed(stage)
    rule(stage, {"type": "person", "field": TITLE, "pattern": "Minister", "message": "Titles of state need approval"})
    for one in ids:
        stage.set_prospect(one, title="Minister")
    told = stage.sync(code=3)
    assert (told.report["failed"], told.report["held"], held(stage)) == (MANY, 0, [])
    assert "Titles of state need approval" in stage.of_person(of[ids[0]])[ERROR]
    stage.set_prospect(ids[0], title="Chair")
    stage.sync(code=3)
    assert stage.of_person(of[ids[0]])[TITLE] == "Chair"


def test_a_few_at_a_time_add_up(stage: Stage) -> None:
    """Eight a pass: the first are dead letters, then it is stopped, and the dead ones go on with the others."""
    ids, of = agreed(stage, 30)
    lost(stage)
    failed = []
    for start in range(0, 30, 8):
        for one in ids[start : start + 8]:
            stage.set_prospect(one, title=f"Chair {one}")
        failed.append(stage.sync(code=3).report["failed"])
    assert (failed, len(held(stage))) == ([8, 16, 16, 16], 1)
    rule(stage)
    stage.later(3700)
    assert stage.sync().report["failed"] == 0
    assert [stage.of_person(of[one])[TITLE] for one in ids] == [f"Chair {one}" for one in ids]


def test_an_opt_out_is_never_stopped(stage: Stage) -> None:
    """No Email itself may no longer be changed: such a record fails and says so, for an opt-out must not be lost in silence."""
    ids, _ = agreed(stage)
    rule(stage, {"type": "person", "field": NO_EMAIL, "pattern": "", "message": WORDS})
    for one in ids:
        stage.tell({"op": "opt_out", "prospect": one})
    told = stage.sync(code=3)
    assert (told.report["failed"], held(stage)) == (MANY, [])


def test_refused_twice_and_then_mended_the_words_are_taken_off(stage: Stage) -> None:
    """Retried while it is still refused, and once more after the title was mended: the error field is blank."""
    (ada,), of = agreed(stage, 1)
    rule(stage, {"type": "person", "field": TITLE, "pattern": "Minister", "message": "Titles of state need approval"})
    stage.set_prospect(ada, title="Minister")
    stage.sync(code=3)
    stage.sync("--failed", code=3)
    assert "Titles of state" in stage.of_person(of[ada])[ERROR]
    stage.set_prospect(ada, title="Chair")
    assert stage.sync().report["failed"] == 0
    assert (stage.of_person(of[ada])[TITLE], stage.of_person(of[ada]).get(ERROR)) == ("Chair", None)
    stage.settled()
