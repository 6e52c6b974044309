from __future__ import annotations

import types
from typing import Any

import pytest

from tests.e2e.documents import SET_UP as SCHEMA
from tests.e2e.rig import Stage
from tests.e2e.shapes import fits
from tests.e2e.worlds import LABELS, RUNNING, STATE
from worker.cli import crm
from worker.sim import workbooks
from worker.sim.workbooks_types import CUSTOM_FIELDS

EVERY = [column for _, _, column, _ in CUSTOM_FIELDS]


def _crm(stage: Stage, *, key: str | None = "sim-admin-key", **options: object) -> None:
    stage.use(crm_app=workbooks.build(records=0, options=options))
    if key is not None:
        stage.environ["OUTBOOK_WORKBOOKS__SETUP_API_KEY"] = key


def _set_up(stage: Stage, *arguments: str, code: int = 0) -> dict[str, Any]:
    """What `crm setup --json` says, ending with this code; the key is never printed."""
    told = stage.outbook("crm", "setup", "--json", *arguments)
    assert told.code == code, (told.code, told.out, told.err)
    assert "sim-admin-key" not in told.out + told.err
    fits(told.report, SCHEMA)
    return told.report


def test_an_empty_crm_gets_everything(stage: Stage) -> None:
    """All nine fields are made, each of its type, the picklist with its nine labels; then a person is written in full."""
    _crm(stage, without_fields=EVERY)
    planned = _set_up(stage, "--dry-run", code=2)
    assert planned["made"] == []
    assert stage.crm_writes() == []
    told = _set_up(stage)
    assert told["planned"] == planned["planned"]
    made = {(one["on"], one["field"]): one["type"] for one in told["made"]}
    assert made == {
        ("person", "cf_person_outreach_id"): "text",
        ("person", "cf_person_sequence_state"): "picklist",
        ("person", "cf_person_sequence_state_updated_at"): "date and time",
        ("person", "cf_person_sequence_name"): "text",
        ("person", "cf_person_sequence_step"): "whole number",
        ("person", "cf_person_sequences"): "long text",
        ("person", "cf_person_sync_to_outreach"): "checkbox",
        ("person", "cf_person_outreach_error"): "long text",
        ("task", "cf_task_outreach_id"): "text",
    }
    assert tuple(next(one["labels"] for one in told["made"] if one["type"] == "picklist")) == LABELS
    ada = stage.enrolled("ada@example.com")
    assert stage.sync().report["converged"] is True
    assert stage.person_of(ada)[STATE] == RUNNING


def test_twice_is_once(stage: Stage) -> None:
    """The second run finds nothing to do, in words too, and writes nothing."""
    _crm(stage, without_fields=["cf_person_sequence_step"], without_labels=["Bounced"])
    told = _set_up(stage)
    assert [(one["field"], one["type"], one["labels"]) for one in told["made"]] == [
        ("cf_person_sequence_state", None, ["Bounced"]),
        ("cf_person_sequence_step", "whole number", []),
    ]
    stage.forget_calls()
    assert _set_up(stage)["planned"] == []
    assert _set_up(stage, "--dry-run")["planned"] == []
    assert stage.crm_writes() == []
    assert stage.outbook("crm", "setup").out == "Workbooks has everything that the mapping names\n"


def test_a_crash_on_the_way_is_gone_on_from(stage: Stage) -> None:
    """The list was made and its field was not: the next run takes the list that is there, and makes no second one."""
    _crm(stage, without_fields=["cf_person_sequence_state"])
    stage.break_crm("status", path="custom_fields", args={"code": 500})
    assert "not known whether it was made" in _set_up(stage, code=3)["troubles"][0]["words"]
    assert len(_set_up(stage)["made"]) == 1
    world: Any = stage.crm.world
    assert sum(row.values["name"] == "Sequence State" for row in world.tables["picklist"].rows.values()) == 1
    assert tuple(world.labels("Sequence State")) == LABELS


def test_what_waits_for_a_field_goes_on_at_once(stage: Stage) -> None:
    """A field held back for want of it is written with the next pass after it was made."""
    _crm(stage, without_fields=["cf_person_sequence_state"])
    ada = stage.enrolled("ada@example.com")
    stage.sync(code=3)
    _set_up(stage)
    stage.sync()
    assert stage.person_of(ada)[STATE] == RUNNING


def test_a_wrong_type_is_left_alone(stage: Stage) -> None:
    """A field of another kind is told, exit 3, and nothing about it is changed; what else lacks is made."""
    _crm(stage, without_fields=["cf_person_sequence_step", "cf_person_sequence_name"])
    stage.hand("add_field", field="cf_person_sequence_step", data_type="boolean")
    told = _set_up(stage, code=3)
    assert [one["field"] for one in told["made"]] == ["cf_person_sequence_name"]
    assert told["troubles"][0]["words"] == (
        "it is there as boolean, and the mapping needs whole number; it is left as it is"
    )


def test_a_key_that_may_not_is_told_how_by_hand(stage: Stage) -> None:
    """An ordinary key: exit 3, and for each field what to click."""
    _crm(stage, key="sim-key", without_fields=["cf_task_outreach_id"])
    told = _set_up(stage, code=3)
    assert told["made"] == []
    assert told["troubles"][0]["by_hand"] == (
        "by hand: Configuration, Record Types, Task: add a custom field 'Outreach Id', text; "
        "its API name must come out as cf_task_outreach_id"
    )


def test_a_new_field_is_waited_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pending first: it is asked again until Available."""
    _crm(stage, without_fields=["cf_person_sequence_step"], custom_field_seconds=5)
    monkeypatch.setattr(crm, "time", types.SimpleNamespace(sleep=stage.later))
    assert len(_set_up(stage)["made"]) == 1
    assert _set_up(stage)["planned"] == []


def test_a_name_that_comes_out_differently_is_said(stage: Stage) -> None:
    """The CRM's own rule for names gave another one: exit 3 with that name."""
    _crm(stage, without_fields=["cf_person_sequences"])
    stage.mapping(("  cf_person_sequences: ", "  cf_person__sequences: "))
    told = _set_up(stage, code=3)
    assert "under the name 'cf_person_sequences'" in told["troubles"][0]["words"]


def test_the_key_is_needed_and_must_open_the_same_database(stage: Stage) -> None:
    """Without it exit 4 by the setting's name; one of another database makes nothing, exit 4."""
    _crm(stage, key=None)
    told = stage.outbook("crm", "setup")
    assert (told.code, "OUTBOOK_WORKBOOKS__SETUP_API_KEY: missing" in told.err) == (4, True)
    stage.sync()
    _crm(stage, without_fields=EVERY, database_id=8)
    told = stage.outbook("crm", "setup")
    assert (told.code, "opens the database 8, but this store belongs to 7" in told.err) == (4, True)
    assert stage.crm_writes() == []


def test_the_fields_of_sequence_actions(stage: Stage) -> None:
    """Switched on, their three fields are made as well, the first with its five entries."""
    _crm(stage)
    stage.mapping(("  enabled: false ", "  enabled: true "))
    told = _set_up(stage)
    assert [(one["field"], one["type"], len(one["labels"])) for one in told["made"]] == [
        ("cf_person_outreach_action", "picklist", 5),
        ("cf_person_outreach_sequence", "text", 0),
        ("cf_person_outreach_outcome", "text", 0),
    ]
