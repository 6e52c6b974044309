"""A pass for some records only: they are looked at anew, and whatever else is due stays queued."""

from __future__ import annotations

import pytest

from tests.e2e import worlds
from tests.e2e.rig import Stage
from tests.e2e.worlds import STATE


def test_only_the_chosen_are_applied(stage: Stage) -> None:
    """Of two new prospects the named one is created; the other waits, counts nowhere, and the next pass creates it."""
    ada, bo = stage.enrolled("ada@example.com"), stage.enrolled("bo@example.com", first="Bo")
    told = stage.sync("--prospect", str(ada))
    assert told.crm == {"created": 1}
    assert stage.person_of(ada)[STATE] == worlds.RUNNING
    assert len(stage.people()) == 1
    report = told.report
    assert (report["converged"], report["queued"], report["deferred"], report["held_back"]) == (True, 1, 0, 0)
    assert (report["chosen"], report["unknown"]) == (1, 0)
    assert stage.sync().crm == {"created": 1}
    assert stage.person_of(bo)[STATE] == worlds.RUNNING
    stage.settled()


def test_an_address_in_any_case_chooses_on_either_side(stage: Stage) -> None:
    """A CRM user's edit of the person who bears it travels; that of somebody else does not yet."""
    ada, bo = stage.enrolled("ada@example.com"), stage.enrolled("bo@example.com", first="Bo")
    stage.sync()
    for prospect in (ada, bo):
        stage.set_person(stage.person_of(prospect)["id"], title="Planner")
    assert stage.sync("--email", "ADA@Example.com").outreach == {"updated": 1}
    assert (stage.of_prospect(ada)["title"], stage.of_prospect(bo).get("title")) == ("Planner", None)


def test_the_chosen_are_looked_at_though_nothing_is_due(stage: Stage) -> None:
    """A change that got lost here is found again, without a second row."""
    ada = stage.enrolled("ada@example.com")
    stage.sync()
    told = stage.sync("--prospect", str(ada))
    assert (told.crm, told.report["crm"]["unchanged"], told.report["queued"]) == ({}, 1, 1)
    assert stage.rows("SELECT count(*) FROM change") == [(0,)]


def test_the_tasks_of_the_chosen_come_along(stage: Stage) -> None:
    """A skipped task of the named prospect is shown; that of another is not yet."""
    ada, bo = stage.prospect("ada@example.com"), stage.prospect("bo@example.com", first="Bo")
    states = stage.state(ada), stage.state(bo)
    stage.sync()
    for state in states:
        stage.task(state, state="skipped")
    assert stage.sync("--prospect", str(ada)).crm == {"tasks_cancelled": 1}
    assert stage.sync().crm == {"tasks_cancelled": 1}


def test_failures_of_others_do_not_count(stage: Stage) -> None:
    """One fails, another is chosen: exit 0; the failed one chosen: exit 3."""
    ada, bo = stage.enrolled("ada@example.com"), stage.prospect("bo@example.com", first="Bo")
    stage.set_state(stage.state(bo), state="on_holiday")
    assert stage.sync(code=3).report["failed"] == 1
    assert stage.sync("--prospect", str(ada)).report["failed"] == 0
    assert stage.sync("--failed", code=3).report["failed"] == 1


def test_a_failed_one_is_tried_again(stage: Stage) -> None:
    """`--failed` takes a dead letter up from the first attempt; whose cause stays is one again, in the same row."""
    bo = stage.prospect("bo@example.com", first="Bo")
    stage.set_state(stage.state(bo), state="on_holiday")
    stage.sync(code=3)
    assert stage.rows("SELECT state, attempts FROM change") == [("dead", 1)]
    told = stage.sync("--failed", code=3)
    assert (told.report["chosen"], told.report["new_failed"]) == (1, 1)
    assert stage.rows("SELECT state, attempts FROM change") == [("dead", 1)]


def test_whoever_is_not_known_is_named_and_the_rest_is_done(stage: Stage) -> None:
    """Exit 3, the unknown on stderr; the report has only their number."""
    ada = stage.enrolled("ada@example.com")
    told = stage.sync("--prospect", str(ada), "--email", "no@example.com", "--prospect", "99999", code=3)
    assert told.crm == {"created": 1}
    assert told.report["unknown"] == 2
    assert "prospect:99999: not known here" in told.err
    assert "no@example.com" not in told.out


def test_a_dry_run_tells_of_the_chosen_alone_and_opens_nothing(stage: Stage) -> None:
    """What would be written for the named one, though two are due."""
    ada = stage.enrolled("ada@example.com")
    stage.enrolled("bo@example.com", first="Bo")
    told = stage.sync("--dry-run", "--prospect", str(ada), code=2)
    assert [one["prospect"] for one in told.report["plan"]] == [ada]
    assert stage.crm_writes() == []


@pytest.mark.parametrize(
    "words, told",
    [
        (("--since", "yesterday"), "--since: say how long ago"),
        (("--email", "ada"), "--email: not an e-mail address"),
        (("--ids-from", "nothing.txt"), "--ids-from: nothing.txt cannot be read"),
        (("--limit", "5"), "say which"),
        (("--prospect", "99999999999999999999"), "--prospect: no such id"),
    ],
)
def test_what_selects_nothing_is_refused(stage: Stage, words: tuple[str, ...], told: str) -> None:
    """Exit 4, with what to do, before anything is asked of a vendor."""
    left = stage.outbook("sync", *words)
    assert (left.code, left.out) == (4, "")
    assert told in left.err


def test_a_file_that_names_nobody_does_not_turn_failed_into_all_failed(stage: Stage) -> None:
    """An empty list is a mistake, not everybody; a good one names people, tasks and sequences."""
    listed = stage.directory / "ids.txt"
    listed.write_text("# nobody yet\n", encoding="utf-8")
    left = stage.outbook("sync", "--failed", "--ids-from", str(listed))
    assert left.code == 4
    assert "names nobody" in left.err
    ada = stage.enrolled("ada@example.com")
    listed.write_text(f"prospect:{ada}  # the one\nsequence:1\nBO@example.com\n", encoding="utf-8")
    assert stage.sync("--ids-from", str(listed), code=3).crm == {"created": 1}
