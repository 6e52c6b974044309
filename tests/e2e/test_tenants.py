"""Whom a store belongs to: remembered at first contact, and nothing is written for anybody else."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from tests.e2e.rig import Stage

BOUND = "SELECT key, value FROM meta WHERE key LIKE 'tenant:%' ORDER BY 1"


def another(stage: Stage, side: str) -> None:
    """Let one side answer as somebody else, with the same records."""
    world: Any = stage.outreach.world if side == "outreach" else stage.crm.world
    change = {"organisation": "org-another"} if side == "outreach" else {"database_id": 8}
    world.options = dataclasses.replace(world.options, **change)


def test_the_first_answers_are_remembered(stage: Stage) -> None:
    """Each side's identity, asked once a pass."""
    stage.sync()
    (crm, outreach) = stage.rows(BOUND)
    assert (crm, outreach[0]) == (("tenant:crm", "7"), "tenant:outreach")
    stage.forget_calls()
    stage.sync()
    assert stage.rows(BOUND) == [crm, outreach]
    assert stage.crm_calls("login.api") == 1


@pytest.mark.parametrize("side", ["outreach", "crm"])
def test_another_answer_stops_everything(stage: Stage, side: str) -> None:
    """Exit 4 before any write, with what to do; `db rebind` accepts it, asking first."""
    stage.sync()
    stage.enrolled("ada@example.com")
    another(stage, side)
    told = stage.sync(code=4)
    assert (stage.crm_writes(), stage.outreach_writes(), told.report["converged"]) == ([], [], False)
    assert "but this store belongs to" in told.err
    assert "outbook db rebind" in told.err
    before = stage.rows(BOUND)
    left = stage.outbook("db", "rebind")
    assert (left.code, stage.rows(BOUND)) == (4, before)
    assert "needs --yes" in left.err
    told = stage.outbook("db", "rebind", "--yes", "--json")
    name = {"outreach": "outreach", "crm": "workbooks"}[side]
    assert json.loads(told.out)[name]["was"] != json.loads(told.out)[name]["is"]
    assert stage.sync().crm == {"created": 1}


def test_an_opt_in_is_stopped_too(stage: Stage) -> None:
    """Every verb that talks to a vendor is."""
    prospect = stage.enrolled("ada@example.com", emailOptedOut=True)
    stage.sync()
    another(stage, "crm")
    stage.forget_calls()
    left = stage.outbook("opt-in", "--prospect", str(prospect), "--reason", "asked for it")
    assert (left.code, stage.crm_writes(), stage.outreach_writes()) == (4, [], [])


def test_a_vendor_that_tells_nothing_is_worked_with(stage: Stage) -> None:
    """No identity on either side: nothing is remembered, one warning, and all is written."""
    stage.servers.outreach.reshape = lambda call, told: {} if call.path == "/api/v2" else told
    stage.servers.crm.reshape = lambda call, told: (
        {"success": True, "user_id": 1} if call.path == "/login.api" else told
    )
    stage.enrolled("ada@example.com")
    assert stage.sync().crm == {"created": 1}
    assert stage.rows(BOUND) == []
    assert stage.rows("SELECT count(*) FROM meta WHERE key LIKE 'untold_tenant:%'") == [(2,)]


def test_a_shut_door_does_not_stop_a_store_that_belongs_to_nobody(stage: Stage) -> None:
    """`login.api` answered with nonsense: all else works, so it goes on; nothing is remembered of that side."""
    stage.servers.crm.reshape = lambda call, told: {"success": False} if call.path == "/login.api" else told
    stage.enrolled("ada@example.com")
    assert stage.sync().crm == {"created": 1}
    assert [key for key, _ in stage.rows(BOUND)] == ["tenant:outreach"]


def test_a_bound_store_waits_until_it_is_told(stage: Stage) -> None:
    """It belongs to somebody, and the CRM does not say who it is just now: no write, and later all of it."""
    stage.sync()
    stage.enrolled("ada@example.com")
    stage.servers.crm.reshape = lambda call, told: {"success": False} if call.path == "/login.api" else told
    stage.sync(code=3)
    assert stage.crm_writes() == []
    stage.servers.crm.reshape = None
    stage.later(900)  # the longest that a retry is put off
    assert stage.sync().crm == {"created": 1}
