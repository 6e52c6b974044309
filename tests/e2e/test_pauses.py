"""`outbook pause` and `resume`: nothing is written, everything is polled, planned, counted and done later."""

from __future__ import annotations

import json

import pytest

from tests.e2e import worlds
from tests.e2e.rig import Stage
from tests.e2e.worlds import NO_EMAIL, STATE


def test_paused_a_pass_polls_and_writes_nothing(stage: Stage) -> None:
    """Exit 0, `paused`, what is held back counted with its opt-outs; resumed, all is delivered."""
    ada = stage.enrolled("ada@example.com")
    bo = stage.enrolled("bo@example.com", first="Bo", emailOptedOut=True)
    assert stage.outbook("pause").code == 0
    told = stage.sync()
    report = told.report
    assert (report["paused"], report["paused_scopes"], report["converged"]) == (True, ["all"], True)
    assert (report["held_back"], report["held_back_opt_outs"]) == (2, 1)
    assert report["polled"]["prospects"] == 2
    assert "paused: all" in told.err
    assert (stage.crm_writes(), stage.outreach_writes()) == ([], [])
    assert json.loads(stage.outbook("resume", "--json").out) == {"resumed": ["all"], "paused": [], "due": 2}
    told = stage.sync()
    assert told.report["paused"] is False
    assert (stage.person_of(ada)[STATE], stage.person_of(bo)[NO_EMAIL]) == (worlds.RUNNING, True)
    stage.settled()


@pytest.mark.parametrize(
    "scope, crm, outreach",
    [
        ("to-crm", {}, {"updated": 1}),
        ("prospects", {}, {"updated": 1}),
        ("sequenceStates", {}, {"updated": 1}),
        ("to-outreach", {"updated": 1, "tasks_cancelled": 1}, {}),
        ("people", {"updated": 1, "tasks_cancelled": 1}, {}),
        ("tasks", {"updated": 1}, {"updated": 1}),
        ("crmTasks", {"updated": 1, "tasks_cancelled": 1}, {"updated": 1}),
    ],
)
def test_a_scope_holds_back_one_way(stage: Stage, scope: str, crm: dict[str, int], outreach: dict[str, int]) -> None:
    """A side, or what one stream brings to the other side; the rest flows, and nothing is lost."""
    ada, bo = stage.enrolled("ada@example.com"), stage.prospect("bo@example.com", first="Bo")
    state = stage.state(bo)
    stage.sync()
    stage.set_prospect(ada, title="Engineer")
    stage.set_person(stage.person_of(bo)["id"], title="Planner")
    stage.task(state, state="skipped")
    stage.outbook("pause", scope)
    told = stage.sync()
    if scope in {"to-crm", "prospects", "sequenceStates"}:
        crm = {**crm, **({"tasks_cancelled": 1} if scope != "to-crm" else {})}
    assert (told.crm, told.outreach) == (crm, outreach)
    assert told.report["paused_scopes"] == [scope]
    assert told.report["held_back"] == (2 if scope == "to-crm" else 0 if scope == "crmTasks" else 1)
    stage.outbook("resume")
    stage.sync()
    assert stage.person_of(ada)["person_job_title"] == "Engineer"
    assert stage.of_prospect(bo)["title"] == "Planner"
    assert len(stage.cancelled()) == 1
    stage.settled()


def test_an_opt_out_in_the_crm_is_held_back_and_counted(stage: Stage) -> None:
    """Paused towards Outreach: one opt-out is held back, and arrives as soon as it may."""
    ada = stage.enrolled("ada@example.com")
    stage.sync()
    stage.outbook("pause", "to-outreach")
    stage.set_person(stage.person_of(ada)["id"], no_email=True)
    assert stage.sync().report["held_back_opt_outs"] == 1
    assert not stage.of_prospect(ada).get("emailOptedOut")
    stage.outbook("resume", "to-outreach")
    stage.sync()
    assert stage.of_prospect(ada)["emailOptedOut"] is True


def test_several_are_paused_and_resumed_one_by_one(stage: Stage) -> None:
    """Each stands by itself; one paused twice keeps its date; without a scope everything goes on."""
    for scope in ("to-crm", "tasks", "tasks"):
        told = json.loads(stage.outbook("pause", scope, "--json", "--reason", "audit").out)
    assert (told["new"], [one["scope"] for one in told["paused"]]) == (False, ["to-crm", "tasks"])
    assert json.loads(stage.outbook("resume", "tasks", "--json").out)["resumed"] == ["tasks"]
    left = stage.outbook("resume", "tasks")
    assert (left.code, left.err) == (4, "outbook: tasks is not paused; paused just now: to-crm\n")
    assert json.loads(stage.outbook("resume", "--json").out)["resumed"] == ["to-crm"]


def test_a_scope_that_is_none_is_refused(stage: Stage) -> None:
    """With those that are."""
    left = stage.outbook("pause", "emails")
    assert left.code == 4
    assert "emails cannot be paused; it is one of all, to-crm, to-outreach, sequences," in left.err


def test_a_store_that_was_never_let_write_says_what_to_do(stage: Stage) -> None:
    """First opened with real hosts: a pass polls, writes nothing and names the two commands; `resume` lets it go live."""
    stage.enrolled("ada@example.com")
    near = dict(stage.environ)
    for name in ("OUTBOOK_ALLOW_INSECURE_HOSTS", "OUTBOOK_OUTREACH__BASE_URL", "OUTBOOK_WORKBOOKS__BASE_URL"):
        del stage.environ[name]
    assert stage.outbook("held", "list").code == 0
    stage.environ = near
    told = stage.sync()
    assert (told.report["paused"], told.report["held_back"]) == (True, 1)
    assert "not live yet: outbook plan, then outbook resume" in told.err
    assert stage.crm_writes() == []
    stage.outbook("resume")
    assert stage.sync().crm == {"created": 1}


@pytest.mark.parametrize("scope", ["all", "to-outreach", "people"])
def test_whoever_is_wanted_in_outreach_waits(stage: Stage, scope: str) -> None:
    """A person ticked in the CRM is not created there while that is paused, counts as held back, and comes afterwards."""
    stage.sync()
    stage.person(first="Di", last="Ashby", email="di@example.com", cf_person_sync_to_outreach=True)
    stage.outbook("pause", scope)
    assert stage.sync().report["held_back"] == 1
    assert stage.outreach_writes() == []
    stage.outbook("resume")
    assert stage.sync().outreach == {"created": 1}
