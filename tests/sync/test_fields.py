"""What the CRM lacks of the mapping: found, told once, stopped for everybody, and let go on once it is mended."""

from __future__ import annotations

from tests.sync.conftest import MakeScene
from tests.sync.scene import Scene, fault
from worker.store import outbox
from worker.store.outbox import Lane
from worker.sync import fields
from worker.sync.fields import Lack

STATE, TASK = "cf_person_sequence_state", "cf_task_outreach_id"


def check(scene: Scene) -> list[Lack]:
    """Look whether the CRM has everything."""
    return fields.check(store=scene.store, crm=scene.remotes().crm, mapping=scene.mapping, now=scene.now())


def entries(scene: Scene) -> dict[str, str]:
    """Return what is held, and in which words."""
    with scene.store.read() as db:
        return {row.key: row.words for row in outbox.holds(db)}


def test_a_complete_crm_lacks_nothing(on_both: Scene) -> None:
    """Every field and label is there: no entry, and no record is opened for it."""
    assert check(on_both) == []
    assert entries(on_both) == {}
    assert on_both.writes(on_both.crm) == []


def test_a_missing_field_is_named(make_scene: MakeScene) -> None:
    """Its name is told, with a near one if there is any; of a task as of a person."""
    scene = make_scene(crm_options={"without_fields": ["cf_person_sequence_step", TASK]})
    scene.edit_crm(op="add_field", field="cf_person_sequence_stepp", type="person", data_type="integer")
    assert [(lack.field, lack.what) for lack in check(scene)] == [
        ("cf_person_sequence_step", fields.FIELD),
        (TASK, fields.FIELD),
    ]
    told = entries(scene)
    near = "the CRM has no field 'cf_person_sequence_step' on people; did you mean 'cf_person_sequence_stepp'?"
    assert told["field:cf_person_sequence_step"] == near
    assert told[f"field:{TASK}"].startswith(f"the CRM has no field '{TASK}' on tasks")


def test_a_missing_label_is_named(make_scene: MakeScene) -> None:
    """A picklist that lacks one of the nine, or spells it otherwise, is told with the near spelling."""
    scene = make_scene(crm_options={"label_typo": {"Active – Paused": "Active - Paused"}})
    (lack,) = check(scene)
    assert (lack.field, lack.what) == (STATE, fields.LABEL)
    assert lack.words == "'Active – Paused' is not in Sequence State; did you mean 'Active - Paused'?"


def test_several_labels_of_a_field_are_one_entry(make_scene: MakeScene) -> None:
    """However many labels a field lacks, one entry tells them all."""
    scene = make_scene(crm_options={"without_labels": ["Failed", "Bounced"]})
    check(scene)
    check(scene)
    (words,) = entries(scene).values()
    assert "'Failed' is not in Sequence State" in words
    assert "'Bounced' is not in Sequence State" in words


def test_a_mended_field_lets_everybody_go_on(make_scene: MakeScene) -> None:
    """The entry goes, every prospect is opened behind single edits, and the tasks that waited are due."""
    scene = make_scene(crm_options={"without_labels": ["Failed"]})
    scene.prospect(1, 1)
    scene.prospect(2, 1)
    scene.sync()
    assert entries(scene)
    scene.edit_crm(op="add_label", label="Failed")
    assert check(scene) == []
    assert entries(scene) == {}
    with scene.store.read() as db:
        found = [(row.record_id, row.lane) for row in db.execute(outbox.CHANGE.select())]
    assert sorted(found) == [(1, Lane.BULK), (2, Lane.BULK)]


def test_an_entry_of_another_kind_is_left_alone(on_both: Scene) -> None:
    """Only fields and labels are mended here."""
    with on_both.store.write() as db:
        outbox.post_hold(db, key="brake:x", kind="brake", words="x", now=on_both.now())
    check(on_both)
    assert list(entries(on_both)) == ["brake:x"]


def test_an_unreadable_picklist_lacks_nothing(make_scene: MakeScene) -> None:
    """A list that answers empty is more likely one that we may not read than one that takes nothing."""
    scene = make_scene()
    scene.crm.faults.arm(
        [fault("status", path="picklist_entries", times=None, code=200, body={"success": True, "data": []})]
    )
    assert check(scene) == []


def test_without_metadata_a_person_is_read_instead(make_scene: MakeScene) -> None:
    """A column that a row leaves out is one that the CRM lacks; without any row nothing is concluded."""
    scene = make_scene(crm_options={"without_fields": ["cf_person_sequence_step"]})
    scene.crm.faults.arm([fault("status", path="metadata", times=None, code=404)])
    assert check(scene) == []
    scene.person(person_last_name="Somebody")
    assert [lack.field for lack in check(scene)] == ["cf_person_sequence_step"]


def test_a_missing_field_stops_itself_alone(make_scene: MakeScene) -> None:
    """All else of every record is written, nobody's error field blames the record, and no read names the column."""
    scene = make_scene(crm_options={"without_fields": ["cf_person_sequence_step"]})
    scene.prospect(1, 1)
    report = scene.sync()
    assert (report.counts.dead, report.counts.holds) == (0, 1)
    person = scene.of(1)
    assert person["cf_person_sequence_state"] == "Active – Running"
    assert "cf_person_outreach_error" not in person
    scene.edit_crm(op="add_field", field="cf_person_sequence_step")
    assert scene.sync().converged
    assert scene.of(1)["cf_person_sequence_step"] == 1


def test_tasks_wait_for_their_reference(make_scene: MakeScene) -> None:
    """Without its field no Cancelled task is written; once it is there all of them are, once each."""
    scene = make_scene(crm_options={"without_fields": [TASK]})
    scene.prospect(1, 1)
    (state,) = scene.states_of(1)
    scene.edit_outreach(
        op="create",
        type="task",
        id=40,
        attributes={"state": "skipped", "action": "call"},
        relations={"prospect": 1, "sequenceState": state, "sequence": 1, "sequenceStep": 2},
    )
    scene.sync()
    assert scene.tasks() == []
    scene.edit_crm(op="add_field", field=TASK)
    assert scene.sync().converged
    assert scene.creates() == ["person 1", "task 40"]


def asked(scene: Scene) -> int:
    """Count the requests for metadata since this was last asked."""
    found = sum("metadata" in call.path or "picklist" in call.path for call in scene.wire.calls)
    scene.wire.calls.clear()
    return found


def test_an_idle_pass_does_not_ask_again(make_scene: MakeScene) -> None:
    """Within the hour the fields are asked for only when something is to be written, and then before it is."""
    scene = make_scene()
    scene.prospect(1, 1)
    assert scene.sync().converged
    assert asked(scene) > 0
    assert scene.sync().converged
    assert asked(scene) == 0
    scene.edit_crm(op="remove_field", field="cf_person_sequence_name")
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Dean"})
    scene.later(1)
    report = scene.sync()
    writes = [number for number, call in enumerate(scene.wire.calls) if call.writes and "people" in call.path]
    looks = [number for number, call in enumerate(scene.wire.calls) if "metadata" in call.path]
    assert looks[0] < writes[0]
    assert (report.counts.dead, list(entries(scene))) == (0, ["field:cf_person_sequence_name"])
    assert scene.of(1)["person_job_title"] == "Dean"
    asked(scene)
    scene.sync()
    assert asked(scene) > 0  # what is lacking may have been mended


def test_after_an_hour_it_is_asked_for_anew(make_scene: MakeScene) -> None:
    """A field that went away is told within an hour even if nothing happens; a full pass asks at once."""
    scene = make_scene()
    assert scene.sync().converged
    scene.edit_crm(op="remove_field", field="cf_person_sequence_name")
    scene.later(3590)
    scene.sync()
    assert entries(scene) == {}
    scene.later(20)
    scene.sync()
    assert list(entries(scene)) == ["field:cf_person_sequence_name"]
    scene.edit_crm(op="add_field", field="cf_person_sequence_name")
    scene.sync()
    scene.edit_crm(op="remove_field", field="cf_person_sequence_name")
    scene.sync(full=True)
    assert list(entries(scene)) == ["field:cf_person_sequence_name"]


def test_a_list_refused_for_a_field_that_went_away_is_read_without_it(make_scene: MakeScene) -> None:
    """Filtered by the tasks' reference, the list of tasks is refused once that is gone: asked again, the pass goes on."""
    scene = make_scene()
    assert scene.sync().converged
    scene.edit_crm(op="remove_field", type="task", field=TASK)
    report = scene.sync()
    assert (report.halt, report.troubles) == (None, [])
    assert set(entries(scene)) <= {f"field:{TASK}"}
