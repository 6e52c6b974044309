"""The mapping's file: what it may say, and every way of getting it wrong, with line and column counted by hand."""

from __future__ import annotations

import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.makers import DEFAULT_FILE, DEFAULT_TEXT, QUARTER, edited
from worker.core import mapping_file
from worker.core.mapping import (
    Brakes,
    Computed,
    CreatePeople,
    Direction,
    FirstSight,
    OnCrmDelete,
    OnOutreachDelete,
    Share,
    SkipSignal,
    Winner,
)
from worker.core.mapping_file import MappingInvalid, Problem, load
from worker.core.states import Label
from worker.core.transforms import Compare

SCHEMA_FILE = DEFAULT_FILE.with_name("mapping.schema.json")

SMALL = """\
# How both agree. Lines are counted from this one.
version: 1
timezone: Europe/London
create_people: all
on_crm_delete: ask
on_outreach_delete: ask
on_conflict: outreach
first_sight: on_conflict
brakes:
  deleted_people: 5%
fields:
  person_first_name: {outreach: firstName, direction: both}
  "main_location[email]": {outreach: "emails[0]", direction: both}   # the others stay
  "main_location[telephone]": {outreach: "workPhones[0]", direction: both, on_conflict: crm}
  cf_person_outreach_id: {outbook: prospect_id, direction: to_crm}
  cf_person_sequence_state: {outbook: sequence_state, direction: to_crm}
labels:
  active: Active – Running
  paused: "Active – Paused"
  opted_out: Opted Out
  finished: 'Finished'
  pending: Pending
  disabled: Disabled
  failed: Failed
  bounced: Bounced
  not_active: Not Active
roll_up: [active, paused, pending, failed, bounced, disabled, finished]
task:
  status: Cancelled
  name: "Skipped {action}: {sequence}, step {step}"
  since: 2026-01-31
  skipped_when: [state_is_skipped]
"""

FIRST_NAME = "{outreach: firstName, direction: both}"
ROLL_UP = "[active, paused, pending, failed, bounced, disabled, finished]"


def problems(text: str) -> list[Problem]:
    """Return what is wrong with a mapping, which must be something."""
    with pytest.raises(MappingInvalid) as caught:
        load(text)
    return caught.value.problems


# ---- what it may say


def test_the_default_mapping() -> None:
    """The mapping that is shipped is valid and holds what the contract says of it."""
    told = load(DEFAULT_TEXT)
    assert [(line.crm, line.outreach or str(line.computed), str(line.direction)) for line in told.fields] == [
        ("person_first_name", "firstName", "both"),
        ("person_last_name", "lastName", "both"),
        ("person_job_title", "title", "both"),
        ("main_location[email]", "emails[0]", "both"),
        ("main_location[telephone]", "workPhones[0]", "both"),
        ("main_location[mobile]", "mobilePhones[0]", "both"),
        ("cf_person_outreach_id", "prospect_id", "to_crm"),
        ("cf_person_sequence_state", "sequence_state", "to_crm"),
        ("cf_person_sequence_state_updated_at", "sequence_state_updated_at", "to_crm"),
        ("cf_person_sequence_name", "sequence_name", "to_crm"),
        ("cf_person_sequence_step", "sequence_step", "to_crm"),
        ("cf_person_sequences", "sequences", "to_crm"),
        ("no_email_soliciting", "opted_out", "both"),
        ("cf_person_sync_to_outreach", "sync_request", "to_outreach"),
        ("cf_person_outreach_error", "error", "to_crm"),
    ]
    assert {line.on_conflict for line in told.fields} == {Winner.CRM}
    assert (told.create_people, told.first_sight) == (CreatePeople.IN_SEQUENCE, FirstSight.FILL_BLANKS)
    assert (told.on_crm_delete, told.on_outreach_delete) == (OnCrmDelete.RECREATE, OnOutreachDelete.UNLINK)
    assert (told.timezone.key, told.brakes) == ("UTC", Brakes(Share(2.0, 20), Share(2.0, 20), 500, 500))
    assert [str(label) for label in told.roll_up] == [
        *("active", "paused", "pending", "failed", "bounced", "disabled", "finished")
    ]
    assert told.reference == "cf_person_outreach_id"
    assert (told.task.status, told.task.reference, told.task.since) == ("Cancelled", "cf_task_outreach_id", None)
    assert told.task.name == "Skipped {action}: {sequence}, step {step}"
    assert told.task.skipped_when == frozenset(SkipSignal)


def test_a_small_mapping() -> None:
    """A mapping of one's own is read with everything in it; labels need no quotes."""
    told = load(SMALL)
    assert (told.create_people, told.first_sight) == (CreatePeople.ALL, FirstSight.ON_CONFLICT)
    assert (told.on_crm_delete, told.on_outreach_delete) == (OnCrmDelete.ASK, OnOutreachDelete.ASK)
    assert (told.timezone.key, told.brakes.deleted_people) == ("Europe/London", Share(5.0, 20))
    assert (told.labels[Label.ACTIVE], told.labels[Label.PAUSED]) == ("Active \u2013 Running", "Active \u2013 Paused")
    assert (told.labels[Label.OPTED_OUT], told.labels[Label.FINISHED]) == ("Opted Out", "Finished")
    assert (told.task.since, told.task.skipped_when) == (date(2026, 1, 31), frozenset({SkipSignal.STATE_IS_SKIPPED}))
    compared = {line.crm: (line.compare, line.on_conflict) for line in told.copied}
    assert compared == {
        "person_first_name": (Compare.TEXT, Winner.OUTREACH),
        "main_location[email]": (Compare.EMAIL, Winner.OUTREACH),
        "main_location[telephone]": (Compare.PHONE, Winner.CRM),
    }


def test_an_opt_out_reaches_the_crm_whatever_the_file_forgets() -> None:
    """A mapping without a line for the opt-out has one all the same."""
    line = load(SMALL).field_of(Computed.OPTED_OUT)
    assert line is not None
    assert (line.crm, line.direction, line.compare) == ("no_email_soliciting", Direction.BOTH, Compare.FLAG)


def test_what_a_mapping_leaves_out_has_a_default() -> None:
    """Only version, fields and labels must be there."""
    short = SMALL[: SMALL.index("timezone")] + SMALL[SMALL.index("fields:") : SMALL.index("roll_up")]
    told, default = load(short), load(DEFAULT_TEXT)
    assert (told.create_people, told.on_crm_delete, told.on_outreach_delete, told.first_sight) == (
        *(CreatePeople.IN_SEQUENCE, OnCrmDelete.RECREATE, OnOutreachDelete.UNLINK, FirstSight.FILL_BLANKS),
    )
    assert (told.roll_up, told.task, told.words) == (default.roll_up, default.task, default.words)
    assert (told.timezone.key, told.brakes, told.fields[0].on_conflict) == ("UTC", default.brakes, Winner.CRM)


EDITS = [
    *(("on_conflict: crm", f"on_conflict: {value}") for value in ("crm", "outreach", "newest", "ask")),
    *(("on_crm_delete: recreate", f"on_crm_delete: {value}") for value in ("recreate", "unlink", "ask")),
    *(("create_people: in_sequence", f"create_people: {value}") for value in ("in_sequence", "all", "never")),
    *(("first_sight: fill_blanks", f"first_sight: {value}") for value in ("fill_blanks", "on_conflict")),
    *(("on_outreach_delete: unlink", f"on_outreach_delete: {value}") for value in ("unlink", "ask")),
]


@pytest.mark.parametrize("old, new", EDITS)
def test_one_line_edits(old: str, new: str) -> None:
    """Each of the five keys stands on a line of its own in the default mapping, and takes each of its values."""
    text = edited((f"\n{old}\n", f"\n{new}\n"))
    key, value = new.split(": ")
    told = load(text)
    held = told.fields[0].on_conflict if key == "on_conflict" else getattr(told, key)
    assert held == value


def test_a_line_may_have_its_own_winner() -> None:
    """A field's own on_conflict goes before the file's."""
    told = load(
        edited(
            (
                "{outreach: title,             direction: both}",
                "{outreach: title, direction: both, on_conflict: outreach}",
            )
        )
    )
    assert {line.crm for line in told.fields if line.on_conflict is Winner.OUTREACH} == {"person_job_title"}


@pytest.mark.parametrize(
    "word, share", [("none", None), ("2%", Share(2.0, 20)), ("0.5%", Share(0.5, 20)), ("100%", Share(100.0, 20))]
)
def test_the_brakes_on_what_goes_missing(word: str, share: Share | None) -> None:
    """The brakes on deletions and on emptied fields are each a share, or none; below 21 people neither trips."""
    text = edited(("deleted_people: 5%", f"deleted_people: {word}\n  emptied_values: {word}"), text=SMALL)
    assert (load(text).brakes.deleted_people, load(text).brakes.emptied_values) == (share, share)


@pytest.mark.parametrize("word, number", [("none", None), ("500", 500), ("0", 0)])
def test_the_brakes_on_new_records(word: str, number: int | None) -> None:
    """The brakes on new prospects and new people are each a number, or none."""
    text = edited(("deleted_people: 5%", f"new_prospects: {word}\n  new_people: {word}"), text=SMALL)
    assert (load(text).brakes.new_prospects, load(text).brakes.new_people) == (number, number)


@pytest.mark.parametrize("word, owner", [("none", None), ("ada@example.com", "ada@example.com")])
def test_who_owns_a_new_prospect(word: str, owner: str | None) -> None:
    """The owner of new prospects is an address, or none."""
    assert load(SMALL + f"new_prospects:\n  owner: {word}\n").new_owner == owner


@pytest.mark.parametrize(
    "path, compare", [("name", Compare.TEXT), ("tags", Compare.TEXT), ("mobilePhones[1]", Compare.PHONE)]
)
def test_what_may_only_be_shown(path: str, compare: Compare) -> None:
    """What cannot be written in Outreach may be shown in the CRM, and so may any element of a list."""
    told = load(edited((FIRST_NAME, f"{{outreach: '{path}', direction: to_crm}}"), text=SMALL)).fields[0]
    assert (told.outreach, told.direction, told.compare) == (path, Direction.TO_CRM, compare)


def test_what_is_off_is_off() -> None:
    """Sequence actions from the CRM and tasks back to Outreach are there, and off."""
    told = load(DEFAULT_TEXT)
    assert (told.actions, told.task.back) == (None, None)


def test_sequence_actions_switched_on() -> None:
    """Switched on, the three fields are read with the others, and the words are those of the picklist."""
    told = load(edited(("  enabled: false", "  enabled: true"), ("  mailbox: none", "  mailbox: owner")))
    assert told.actions is not None
    assert told.actions.mailbox == "owner"
    assert {str(verb): word for verb, word in told.actions.words.items()} == {
        "add": "Add to sequence",
        "pause": "Pause",
        "resume": "Resume",
        "finish": "Finish",
        "remove": "Remove",
    }
    asked = {"cf_person_outreach_action", "cf_person_outreach_sequence", "cf_person_outreach_outcome"}
    assert asked == set(told.actions.columns)
    assert asked <= set(told.person_columns())
    assert load(edited(("  enabled: false", "  enabled: true"))).actions.mailbox is None  # type: ignore[union-attr]


def test_tasks_back_to_outreach_switched_on() -> None:
    """Switched on, a task's status says what becomes of it in Outreach."""
    back = load(edited(("back_to_outreach: false", "back_to_outreach: true"))).task.back
    assert back is not None
    assert (back.completed, back.cancelled) == (frozenset({"Complete", "Completed"}), frozenset({"Cancelled"}))


def test_what_is_read_of_each_side() -> None:
    """Every attribute and column that a decision needs is read, and no other."""
    told = load(SMALL)
    assert told.prospect_attributes() == (
        *("emailOptedOut", "emails", "emailsOptStatus", "emailsOptedAt", "firstName", "optedOut", "optedOutAt"),
        *("updatedAt", "workPhones"),
    )
    assert told.person_columns() == (
        *("cf_person_outreach_id", "cf_person_sequence_state", "main_location[alternate_email]"),
        *("main_location[email]", "main_location[telephone]", "no_email_soliciting", "person_first_name"),
    )


@pytest.mark.parametrize(
    "field, compare",
    [
        ("main_location[email]", Compare.EMAIL),
        ("main_location[alternate_email]", Compare.EMAIL),
        ("main_location[mobile]", Compare.PHONE),
        ("cf_person_sequence_step", Compare.INTEGER),
        ("cf_person_sequence_state_updated_at", Compare.DATETIME),
        ("no_email_soliciting", Compare.FLAG),
        ("person_job_title", Compare.TEXT),
        ("person_something_else", Compare.TEXT),
    ],
)
def test_how_a_column_is_compared(field: str, compare: Compare) -> None:
    """Each column of a person is compared as what it holds asks, mapped or not."""
    assert load(DEFAULT_TEXT).compare_of(field) is compare


@pytest.mark.parametrize(
    "text",
    [
        SMALL.replace("\n", "\r\n"),
        "\ufeff" + SMALL,
        "\n\n" + SMALL + "\n\n",
        SMALL.rstrip("\n"),
        SMALL.replace("  ", "      "),
        SMALL.replace("{outreach: firstName, direction: both}", "\n    outreach: firstName\n    direction: both"),
        "---\n" + SMALL,
    ],
    ids=["CRLF", "BOM", "blank lines", "no last line end", "wide", "block", "document"],
)
def test_formatting_is_no_matter(text: str) -> None:
    """Line ends, marks, indentation and style change nothing."""
    assert load(text) == load(SMALL)


@pytest.mark.parametrize("label", ["Läuft – heute", "実行中", "👩\u200d🚀 läuft", "C'est: fini", "# 1", "no", "a, b"])
def test_labels_may_hold_anything(label: str) -> None:
    """A label is kept letter for letter."""
    assert (
        load(
            edited(("active: Active – Running", f"active: {json.dumps(label, ensure_ascii=False)}"), text=SMALL)
        ).labels[Label.ACTIVE]
        == label
    )


# ---- the schema


def test_the_schema_on_disk_is_the_generated_one() -> None:
    """The schema that editors use says what the reader accepts (renew it: `outbook mapping schema`)."""
    assert SCHEMA_FILE.read_text(encoding="utf-8") == mapping_file.schema()


def test_the_default_mapping_names_its_schema() -> None:
    """The first line points editors to the schema beside the file."""
    assert DEFAULT_TEXT.splitlines()[0] == f"# yaml-language-server: $schema=./{SCHEMA_FILE.name}"


def test_the_schema_knows_every_key_of_the_default_mapping() -> None:
    """What the default mapping holds is named and closed in the schema, with the words that each choice takes."""
    schema = json.loads(mapping_file.schema())
    keys = {line.split(":")[0] for line in DEFAULT_TEXT.splitlines() if line and line[0] not in "# "}
    assert keys <= set(schema["properties"])
    assert (schema["additionalProperties"], sorted(schema["required"])) == (False, ["fields", "labels", "version"])
    assert schema["$defs"]["CreatePeople"]["enum"] == ["in_sequence", "all", "never"]
    assert schema["$defs"]["OnCrmDelete"]["enum"] == ["recreate", "unlink", "ask"]
    assert schema["$defs"]["Direction"]["enum"] == ["both", "to_crm", "to_outreach"]


# ---- any text at all

FRAGMENTS = st.sampled_from(
    [*": - ? # & * ! | > ' \" { } [ ] , % @ << ~ \t".split(" "), "\n", "  ", "2026-02-30", "0o9", "+_"]
)


@given(cut=st.integers(0, len(SMALL)), width=st.integers(0, 12), piece=FRAGMENTS | st.text(max_size=3))
@QUARTER
def test_no_edit_breaks_the_reader(cut: int, width: int, piece: str) -> None:
    """Any edit of a mapping gives a mapping, or problems with a place inside the file: never anything else."""
    text = SMALL[:cut] + piece + SMALL[cut + width :]
    found: list[Problem] = []
    try:
        load(text)
    except MappingInvalid as invalid:
        found = invalid.problems or [Problem(0, 0, "")]
    last = text.count("\n") + text.count("\r") + 2
    assert all(1 <= one.line <= last and one.column >= 1 and one.words for one in found)


def test_the_error_reads_as_compilers_do() -> None:
    """Each problem is one line, `file:line:column: words`, sorted by place."""
    text = edited(("create_people: all", "create_people: some"), ("timezone: E", "timezones: E"), text=SMALL)
    with pytest.raises(MappingInvalid) as caught:
        load(text, "my.yaml")
    assert str(caught.value).splitlines() == [
        "my.yaml:3:1: unknown key 'timezones', did you mean 'timezone'?",
        "my.yaml:4:16: 'some' is not one of in_sequence, all, never",
    ]
