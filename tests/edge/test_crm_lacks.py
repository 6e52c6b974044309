from __future__ import annotations

import pytest

from tests.e2e import worlds
from tests.e2e.rig import Stage
from tests.e2e.worlds import ERROR, NO_EMAIL, STATE
from worker.sim import workbooks


def _words(stage: Stage) -> str:
    return " | ".join(words for (words,) in stage.rows("SELECT words FROM hold"))


def test_a_missing_field_stops_that_field_alone(stage: Stage) -> None:
    """One entry however many people, exit 3, everything else is written, nobody's error field is filled."""
    stage.use(crm_app=workbooks.build(records=0, options={"without_fields": ["cf_person_sequence_step"]}))
    people = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(8)]
    told = stage.sync(code=3)
    assert (told.report["held"], told.report["failed"], told.crm) == (1, 0, {"created": 8})
    assert "cf_person_sequence_step" in _words(stage)
    assert "cf_person_sequence_step" in told.err
    for one in people:
        person = stage.person_of(one)
        assert (person[STATE], person.get(ERROR)) == (worlds.RUNNING, None)
    again = stage.sync(code=3)
    assert (again.report["held"], again.report["queued"], again.crm) == (1, 0, {})


def test_a_field_mended_everyone_follows_by_themselves(stage: Stage) -> None:
    """Created by an admin later: the next pass fills it for everybody and ends with 0."""
    stage.use(crm_app=workbooks.build(records=0, options={"without_fields": ["cf_person_sequence_step"]}))
    people = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(3)]
    stage.sync(code=3)
    stage.hand("add_field", field="cf_person_sequence_step")
    told = stage.sync()
    assert (told.report["held"], told.crm) == (0, {"updated": 3})
    assert [stage.person_of(one)[worlds.STEP] for one in people] == [1, 1, 1]
    stage.settled()


def test_a_field_taken_away_later_stops_alone(stage: Stage) -> None:
    """Deleted by an admin after people were linked: one entry, states go on arriving."""
    prospect = stage.prospect("ada@example.com")
    state = stage.state(prospect)
    stage.sync()
    stage.hand("remove_field", field="cf_person_sequence_name")
    stage.tell({"op": "pause", "state": state})
    told = stage.sync(code=3)
    assert (told.report["held"], told.report["failed"]) == (1, 0)
    assert stage.person_of(prospect)[STATE] == worlds.PAUSED


def test_a_missing_label_stops_the_state_field_alone(stage: Stage) -> None:
    """The picklist lacks a label: one entry that names it, all other fields are written, opt-outs too."""
    stage.use(crm_app=workbooks.build(records=0, options={"without_labels": ["Active – Paused"]}))
    prospect = stage.enrolled("ada@example.com", word="paused", title="Buyer")
    out = stage.enrolled("bo@example.com", first="Bo", emailOptedOut=True)
    told = stage.sync(code=3)
    assert (told.report["held"], told.report["failed"], told.crm["created"]) == (1, 0, 2)
    assert "'Active – Paused' is not in Sequence State" in _words(stage)
    person = stage.person_of(prospect)
    assert (person.get(STATE), person[worlds.TITLE], person.get(ERROR)) == (None, "Buyer", None)
    assert stage.person_of(out)[NO_EMAIL] is True
    stage.hand("add_label", label="Active – Paused")
    told = stage.sync()
    assert (told.report["held"], stage.person_of(prospect)[STATE]) == (0, worlds.PAUSED)
    assert stage.person_of(out)[STATE] == worlds.OPTED_OUT
    stage.settled()


def test_a_label_typo_is_told_with_what_was_meant(stage: Stage) -> None:
    """A hyphen where the mapping has a dash: the entry says which label is there instead."""
    stage.use(crm_app=workbooks.build(records=0, options={"label_typo": {"Active – Running": "Active - Running"}}))
    prospect = stage.enrolled("ada@example.com")
    told = stage.sync(code=3)
    assert told.report["held"] == 1
    assert "did you mean 'Active - Running'" in _words(stage)
    assert "did you mean 'Active - Running'" in told.err
    assert stage.person_of(prospect).get(ERROR) is None


def test_a_typo_in_the_mapping_is_told(stage: Stage) -> None:
    """A mapping that names a field the CRM does not have: one entry with the near one, the rest flows."""
    stage.mapping(
        (
            "  cf_person_sequence_name:            {outbook: sequence_name,",
            "  cf_person_sequence_nme:             {outbook: sequence_name,",
        )
    )
    prospect = stage.enrolled("ada@example.com")
    told = stage.sync(code=3)
    assert told.report["held"] == 1
    assert "cf_person_sequence_nme" in _words(stage)
    assert "did you mean 'cf_person_sequence_name'" in _words(stage)
    assert stage.person_of(prospect)[STATE] == worlds.RUNNING


@pytest.mark.parametrize("field", ["cf_person_outreach_id", "cf_person_outreach_error"])
def test_without_reference_or_error_field_nobody_is_doubled(stage: Stage, field: str) -> None:
    """Even the link's own field may be missing: one entry, one person, none more at later passes."""
    stage.use(crm_app=workbooks.build(records=0, options={"without_fields": [field]}))
    stage.enrolled("ada@example.com")
    stage.sync(code=3)
    stage.sync(code=3)
    assert len(stage.people()) == 1
    stage.hand("add_field", field=field)
    told = stage.sync()
    assert (told.report["held"], len(stage.people())) == (0, 1)
    stage.settled()


def test_without_the_tasks_reference_none_is_written_until_it_is_there(stage: Stage) -> None:
    """A Cancelled task without its reference could be doubled: none is made, one entry, all follow once mended."""
    stage.use(crm_app=workbooks.build(records=0, options={"without_fields": ["cf_task_outreach_id"]}))
    prospect = stage.prospect("ada@example.com")
    state = stage.state(prospect)
    task = stage.task(state, state="skipped")
    told = stage.sync(code=3)
    assert (told.report["held"], told.report["failed"], told.crm) == (1, 0, {"created": 1})
    assert stage.cancelled() == []
    stage.hand("add_field", field="cf_task_outreach_id")
    assert stage.sync().crm["tasks_cancelled"] == 1
    assert len(stage.cancelled(task)) == 1
    stage.settled()


def test_a_label_removed_between_check_and_write_is_no_records_fault(stage: Stage) -> None:
    """Taken out of the picklist just before the write: one entry, the record does not fail, the rest is written."""
    prospect = stage.enrolled("ada@example.com", title="Buyer")
    stage.before_crm_write(lambda: stage.hand("remove_label", label="Active – Running"))
    told = stage.sync(code=3)
    assert (told.report["held"], told.report["failed"]) == (1, 0)
    person = stage.person_of(prospect)
    assert (person[worlds.TITLE], person.get(ERROR)) == ("Buyer", None)
    stage.hand("add_label", label="Active – Running")
    stage.sync()
    assert stage.person_of(prospect)[STATE] == worlds.RUNNING


def test_without_metadata_a_missing_field_is_found_too(stage: Stage) -> None:
    """A CRM that shows no metadata: the field that its refusal names stops alone."""
    stage.use(crm_app=workbooks.build(records=0, options={"without_fields": ["cf_person_sequence_step"]}))
    stage.break_crm("status", times=None, op="read", path="metadata", args={"code": 404, "body": ""})
    stage.person(first="Bo", last="Borg", email="other@example.com")
    people = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(3)]
    told = stage.sync(code=3)
    assert (told.report["held"], told.report["failed"]) == (1, 0)
    assert [stage.person_of(one)[STATE] for one in people] == [worlds.RUNNING] * 3
    assert [stage.person_of(one).get(ERROR) for one in people] == [None] * 3


@pytest.mark.parametrize("hidden", ["metadata", "picklist"])
def test_a_refused_label_whose_list_is_not_shown_is_no_records_fault(stage: Stage, hidden: str) -> None:
    """Label refused, picklist unreadable: one entry, nobody's error field; added, everyone follows by themselves."""
    stage.use(crm_app=workbooks.build(records=0, options={"without_labels": ["Active – Paused"]}))
    stage.break_crm("status", times=None, op="read", path=hidden, args={"code": 404, "body": ""})
    people = [stage.enrolled(f"p{n}@example.com", first=f"P{n}", word="paused", title="Buyer") for n in range(3)]
    for _ in range(2):
        told = stage.sync(code=3)
        assert (told.report["held"], told.report["failed"]) == (1, 0)
        assert [stage.person_of(one).get(ERROR) for one in people] == [None] * 3
        assert [stage.person_of(one)[worlds.TITLE] for one in people] == ["Buyer"] * 3
    stage.hand("add_label", label="Active – Paused")
    assert stage.sync().report["held"] == 0
    assert [stage.person_of(one)[STATE] for one in people] == [worlds.PAUSED] * 3
    stage.settled()


def test_rows_that_leave_blanks_out_lack_nothing(stage: Stage) -> None:
    """A CRM without metadata whose rows tell only what is filled: every field is written all the same."""
    rows = '{"success": true, "total": 1, "data": [{"id": 7001, "lock_version": 0, "person_last_name": "Borg"}]}'
    stage.person(first="Bo", last="Borg", email="other@example.com")
    prospect = stage.enrolled("ada@example.com")
    stage.crm.faults.arm(
        [
            {"match": {"path": "metadata"}, "kind": "status", "args": {"code": 404, "body": ""}},
            {
                "match": {"path": "people", "op": "read"},
                "kind": "status",
                "times": 1,
                "args": {"code": 200, "body": rows},
            },
        ]
    )
    stage.sync()
    assert stage.person_of(prospect)[STATE] == worlds.RUNNING
