"""The mapping in force: kept whatever its file says, taken up by everybody once it is another, read for before written by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.core.makers import DEFAULT_TEXT, edited
from tests.core.test_mapping_file import SMALL
from tests.sync.scene import Call, Scene, reads_of
from worker.core import mapping_file
from worker.core.records import Kind
from worker.store import cursors, mappings
from worker.store.outbox import CHANGE, Lane
from worker.sync import in_force, run

LINE = "  person_job_title:            {outreach: title,             direction: both}\n"
PINNED = "sha256:4eb422c599de5b835d51ef9fc7323559f448bb7f52007ee40042537e94608d2c"
NICKNAME = (LINE, f"{LINE}  cf_nick: {{outreach: nickname, direction: to_crm}}\n")
BOTH_WAYS = (LINE, f"{LINE}  cf_nick: {{outreach: nickname, direction: both}}\n")
ON_HOLD = ('paused:     "Active – Paused"', 'paused:     "On Hold"')
ADA = {"firstName": "Ada", "lastName": "Byron", "emails": ["ada@example.com"]}


def put(scene: Scene, *edits: tuple[str, str]) -> in_force.TakenUp:
    """Put the default mapping in force after some edits, as `mapping apply` does."""
    scene.mapping = scene.mapped(*edits)
    with scene.store.write() as db:
        return in_force.take_up(db, scene.mapping, scene.now())


def unread(scene: Scene) -> mappings.Names:
    """Return what is still to be read."""
    with scene.store.read() as db:
        return mappings.unread(db)


def lanes(scene: Scene) -> list[tuple[str, int]]:
    """Return whose changes are open, and in which lane."""
    with scene.store.read() as db:
        return [(row.kind, row.lane) for row in db.execute(CHANGE.select().order_by(CHANGE.c.kind, CHANGE.c.record_id))]


@pytest.fixture
def paired(scene: Scene) -> Scene:
    """A pair that agrees; the CRM also holds a nickname for her that no mapping has named so far."""
    scene.edit_crm(op="add_field", field="cf_nick", type="person", data_type="string")
    scene.prospect(5, 1, **ADA)
    assert scene.sync().converged
    scene.edit_crm(op="set", type="person", id=scene.of(5)["id"], fields={"cf_nick": "Countess"})
    assert scene.sync().converged
    scene.wire.calls.clear()
    return scene


def test_the_first_mapping_is_kept_word_for_word(on_both: Scene) -> None:
    """What was put in force first is there with its text and its time; nothing has to be read or looked at for it."""
    told = put(on_both)
    with on_both.store.read() as db:
        kept = mappings.in_force(db)
    assert kept == mappings.Kept(on_both.mapping.version, DEFAULT_TEXT, on_both.now())
    assert (told.before, told.opened, told.unread) == (None, 0, {})
    assert in_force.stored(on_both.store) == on_both.mapping


def test_another_label_is_taken_up_by_everybody(on_both: Scene) -> None:
    """A mapping that names nothing new opens everyone behind single edits, and reads nothing again."""
    on_both.prospect(5, 1, **ADA)
    on_both.prospect(6, **{**ADA, "emails": ["bo@example.com"]})
    assert on_both.sync().converged
    told = put(on_both, ON_HOLD)
    assert (told.opened, told.unread, unread(on_both)) == (2, {}, {})
    assert lanes(on_both) == [("prospects", Lane.BULK), ("prospects", Lane.BULK)]
    with on_both.store.read() as db:
        marks = {row.stream: row.watermark for row in cursors.all_of(db)}
    assert marks[Kind.PROSPECT] is not None
    assert marks[Kind.PERSON] is not None


def test_notes_and_tests_are_no_other_mapping(scene: Scene) -> None:
    """A note changes the text that is kept, and nothing else: nobody is looked at again."""
    put(scene)
    scene.prospect(5, 1, **ADA)
    assert scene.sync().converged
    told = put(scene, ("# How Outreach and Workbooks agree.", "# How the two agree."))
    assert (told.opened, lanes(scene)) == (0, [])
    with scene.store.read() as db:
        kept = mappings.in_force(db)
    assert kept is not None
    assert "# How the two agree." in kept.text


def test_what_was_never_read_is_read_before_it_is_written(paired: Scene) -> None:
    """A new line names an attribute and a column: both streams are read whole once, her nickname untouched meanwhile."""
    told = put(paired, BOTH_WAYS)
    assert told.unread == {Kind.PROSPECT: {"nickname"}, Kind.PERSON: {"cf_nick"}}
    assert in_force.left_alone(paired.mapping, unread(paired)) == {"cf_nick"}
    paired.apply()
    assert paired.of(5)["cf_nick"] == "Countess"
    report = paired.sync()
    assert report.converged
    assert unread(paired) == {}
    assert (paired.of(5)["cf_nick"], paired.of_outreach("prospect", 5)["nickname"]) == ("Countess", "Countess")


def test_a_one_way_line_waits_for_the_reading_too(paired: Scene) -> None:
    """Outreach rules a one-way field, a blank of it too; but not before somebody has seen what stands there."""
    put(paired, NICKNAME)
    paired.poll(Kind.PROSPECT)
    paired.apply()
    assert unread(paired) == {Kind.PERSON: {"cf_nick"}}
    assert paired.of(5)["cf_nick"] == "Countess"
    assert paired.sync().converged
    assert paired.of(5).get("cf_nick") in {None, ""}


def test_a_column_only_is_no_reason_to_read_prospects(paired: Scene) -> None:
    """A value that Outbook works out needs the people's column; Outreach is not read again for it."""
    old = "cf_person_sequence_name:            {outbook"
    told = put(paired, (old, old.replace("cf_person_sequence_name", "cf_nick")))
    assert told.unread == {Kind.PERSON: {"cf_nick"}}
    paired.poll()
    (first, *_) = [call for call in paired.wire.calls if "prospects" in call.path]
    assert "filter" in first.query
    assert reads_of(paired.wire.calls, "people")


def test_a_field_fed_by_another_value_is_seen_for_the_first_time(on_both: Scene) -> None:
    """The title comes from the nickname from now on: what was agreed about the old one blanks nothing; a blank is filled."""
    on_both.prospect(5, 1, **ADA, title="Clerk")
    on_both.prospect(6, 1, title="Boss", nickname="Bo")
    on_both.prospect(7, 1, nickname="Cy")
    assert on_both.sync().converged
    put(on_both, ("outreach: title,   ", "outreach: nickname,"))
    assert on_both.sync().converged
    assert [on_both.of(pid).get("person_job_title") for pid in (5, 6, 7)] == ["Clerk", "Boss", "Cy"]
    assert on_both.of_outreach("prospect", 5)["nickname"] == "Clerk"
    on_both.edit_outreach(op="set", type="prospect", id=6, attributes={"nickname": "Bob"})
    assert on_both.sync().converged
    assert on_both.of(6)["person_job_title"] == "Bob"


def test_what_a_batch_agreed_while_it_was_overtaken_is_forgotten(scene: Scene) -> None:
    """A worker in the middle of a batch by the old mapping leaves nothing behind that would blank a field by the new one."""
    scene.prospect(5, 1, **ADA, title="Clerk")
    old = scene.applier()
    scene.poll(on=old)

    def meanwhile(call: Call) -> None:
        if call.writes:
            put(scene, ("outreach: title,   ", "outreach: nickname,"))

    scene.wire.before.append(meanwhile)
    scene.apply(old)
    scene.wire.before.clear()
    assert scene.sync().converged
    assert scene.of(5)["person_job_title"] == "Clerk"


def test_reading_more_of_everybody_is_nobody_s_edit(paired: Scene) -> None:
    """Whom the reading only shows more of stands behind single edits; who was edited meanwhile does not."""
    paired.prospect(6, 1, nickname="Bo")
    assert paired.sync().converged
    put(paired, NICKNAME)
    paired.apply()
    paired.edit_outreach(op="set", type="prospect", id=6, attributes={"title": "Chief"})
    paired.poll(Kind.PROSPECT)
    with paired.store.read() as db:
        found = {row.record_id: row.lane for row in db.execute(CHANGE.select())}
    assert found == {5: Lane.BULK, 6: Lane.EDIT}


def test_a_reader_with_the_old_columns_cannot_do_the_reading(paired: Scene) -> None:
    """A process that has not taken the new mapping up yet is turned away before it moves the stream."""
    old = paired.applier()
    put(paired, NICKNAME)
    with pytest.raises(in_force.Superseded, match="another mapping was put in force"):
        paired.poll(Kind.PERSON, on=old)
    assert unread(paired)[Kind.PERSON] == {"cf_nick"}
    with paired.store.read() as db:
        (row,) = [row for row in cursors.all_of(db) if row.stream == Kind.PERSON]
    assert row.watermark is None


def test_an_opt_out_waits_for_no_reading(paired: Scene) -> None:
    """Though another field holds No Email from now on and was never read, an opt-out is written there at once."""
    put(paired, ("no_email_soliciting:                {outbook", "cf_nick:                {outbook"))
    paired.edit_outreach(op="set", type="prospect", id=5, attributes={"emailOptedOut": True})
    paired.poll(Kind.PROSPECT)
    paired.apply()
    assert unread(paired) == {Kind.PERSON: {"cf_nick"}}
    assert paired.of(5)["cf_nick"] == "1"


def test_going_back_reads_again_what_was_dropped(paired: Scene) -> None:
    """A column that was out of force for a while may have changed unseen: it is read whole again."""
    put(paired, NICKNAME)
    assert paired.sync().converged
    assert put(paired).unread == {}
    assert put(paired, NICKNAME).unread == {Kind.PROSPECT: {"nickname"}, Kind.PERSON: {"cf_nick"}}


def test_what_is_still_to_be_read_outlives_the_next_mapping(paired: Scene) -> None:
    """A second edit right after the first does not forget that the column of the first was not read yet."""
    put(paired, NICKNAME)
    assert put(paired, NICKNAME, ON_HOLD).unread == {}
    assert unread(paired) == {Kind.PROSPECT: {"nickname"}, Kind.PERSON: {"cf_nick"}}
    put(paired, ON_HOLD)
    assert unread(paired) == {}


def test_a_dry_run_puts_nothing_in_force(paired: Scene) -> None:
    """It tells what everybody would get by its file, and the mapping in force stays the one that it was."""
    before = in_force.stored(paired.store)
    planned = replace(
        paired.applier(), mapping=paired.mapped(('active:     "Active – Running"', 'active:     "Going"'))
    )
    report = run.run(run.Pass(on=planned, sleep=paired.later, calls=dict, dry_run=True))
    assert [(one["prospect"], one["crm"]) for one in report.would_write or []] == [
        (5, ["cf_person_sequence_state", "cf_person_sequences"])
    ]
    assert in_force.stored(paired.store) == before
    assert paired.sync().converged
    assert paired.of(5)["cf_person_sequence_state"] == "Active – Running"


def test_a_task_rule_that_lets_more_through_opens_those_tasks(scene: Scene) -> None:
    """Without its `since` a mapping lets an old skipped task through: it is opened, one already shown is not."""
    scene.prospect(5, 1, **ADA)
    (state,) = scene.states_of(5)
    scene.edit_outreach(
        op="create",
        type="task",
        attributes={"action": "call", "state": "skipped", "stateChangedAt": "2026-01-05T10:00:00Z"},
        relations={"sequenceState": state, "prospect": 5, "sequence": 1},
    )
    put(scene, ("  # since: 2026-01-01\n", "  since: 2027-01-01\n"))
    assert scene.sync().converged
    assert scene.tasks() == []
    put(scene)
    assert ("tasks", Lane.BULK) in lanes(scene)
    assert scene.sync().converged
    assert len(scene.tasks()) == 1
    put(scene, ("  # since: 2026-01-01\n", "  since: 2026-01-02\n"))
    assert [kind for kind, _ in lanes(scene)] == ["prospects"]


# ---- the file beside it


def test_what_the_file_says_meanwhile_is_told_and_nothing_more(scene: Scene, tmp_path: Path) -> None:
    """The file is in force, differs, has a mistake, is gone: each is told with the next command, and the stored one stays."""
    file = tmp_path / "mapping.yaml"
    file.write_text(DEFAULT_TEXT, encoding="utf-8")
    first = in_force.standing(scene.store, file)
    assert (first.version, first.differs) == (None, False)
    assert "the first start or sync takes" in first.words
    taken = in_force.begin(scene.store, lambda: in_force.read(file), scene.now())
    assert in_force.standing(scene.store, file).words == f"{file} is in force"
    file.write_text(edited(ON_HOLD), encoding="utf-8")
    other = in_force.standing(scene.store, file)
    assert (other.differs, other.version) == (True, taken.version)
    assert f"outbook plan --mapping {file}" in other.words
    file.write_text("version: 2\n", encoding="utf-8")
    broken = in_force.standing(scene.store, file)
    assert (broken.file_version, broken.differs) == (None, True)
    assert {(one.line, one.column) for one in broken.problems} == {(1, 1), (1, 10)}
    assert "outbook mapping check" in broken.words
    file.unlink()
    assert in_force.standing(scene.store, file).problems[0].words.startswith("cannot be read")
    assert in_force.begin(scene.store, lambda: pytest.fail("the file is not asked"), scene.now()) == taken


def test_the_same_text_keeps_the_version_it_had(scene: Scene) -> None:
    """A newer program that numbers the same text otherwise goes on with the old version: nobody is looked at again."""
    put(scene)
    with scene.store.write() as db:
        mappings.put(db, "sha256:of-an-older-program", DEFAULT_TEXT, scene.now())
    stored = in_force.stored(scene.store)
    assert stored is not None
    assert stored.version == "sha256:of-an-older-program"
    assert in_force.named(scene.store, scene.mapped()).version == "sha256:of-an-older-program"
    assert in_force.named(scene.store, scene.mapped(ON_HOLD)).version == scene.mapped(ON_HOLD).version


def test_a_store_that_knows_only_the_version_plans_nothing(scene: Scene) -> None:
    """The program before kept the version alone: with the same file nobody is opened, and the text is kept from now on."""
    scene.prospect(5, 1, **ADA)
    assert scene.sync().converged
    with scene.store.write() as db:
        db.execute(mappings.MAPPING.delete())
    assert in_force.stored(scene.store) is None
    assert put(scene).opened == 0
    assert in_force.stored(scene.store) == scene.mapping
    report = scene.sync()
    assert (report.converged, report.queued) == (True, 0)


def test_the_version_of_a_text_never_changes_by_itself() -> None:
    """The hash of the smallest mapping, as version 0.1 told it: stores keep it, and another one would open everybody."""
    assert mapping_file.load(SMALL).version == PINNED
