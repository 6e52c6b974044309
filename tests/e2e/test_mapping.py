"""`outbook mapping`: checked against both vendors, compared, put in force; and what a running deployment makes of its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from tests.e2e import worlds
from tests.e2e.pages import APPLIED, CHECKED, DIFFERENCES
from tests.e2e.rig import Stage
from tests.e2e.shapes import fits
from tests.e2e.test_plan import PAUSED, TITLE, another
from tests.e2e.worlds import STATE
from worker import bootstrap, config
from worker.core import mapping_file, yaml_tree
from worker.sim import workbooks


def line_of(path: Path, text: str) -> int:
    """Return the number of the one line of a file that begins so."""
    lines = path.read_text(encoding="utf-8").splitlines()
    (number,) = [n for n, line in enumerate(lines, 1) if line.lstrip().startswith(text)]
    return number


# ---- check


def test_the_default_fits_a_complete_crm(stage: Stage) -> None:
    """Live against both vendors nothing is found, and the examples hold."""
    stage.prospect("ada@example.com")
    told = stage.outbook("mapping", "check", "--live", "--json")
    assert told.code == 0, told.out
    fits(told.report, CHECKED)
    assert (told.report["problems"], told.report["tests"], told.report["notes"]) == ([], {"run": 4, "failed": []}, [])
    assert (stage.crm_writes(), stage.outreach_writes()) == ([], [])
    assert "4 tests hold" in stage.outbook("mapping", "check").out


def test_a_test_that_does_not_hold_is_shown_with_its_line(stage: Stage) -> None:
    """Expected and actual value under the place, exit 4; the same as JSON; put in force it may be all the same."""
    path = stage.mapping(("      cf_person_sequence_step: 3\n", "      cf_person_sequence_step: 4\n"))
    told = stage.outbook("mapping", "check", str(path))
    number = line_of(path, "cf_person_sequence_step: 4")
    assert told.code == 4
    assert (
        f"{path}:{number}:7: test 'Finished in one sequence, running in another: the running one is shown'" in told.err
    )
    assert "expected  4\n    but is    3\n    because   5: state is active" in told.err
    document = stage.outbook("mapping", "check", str(path), "--json")
    fits(document.report, CHECKED)
    assert (document.code, document.report["ok"]) == (4, False)
    applied = stage.outbook("mapping", "apply", str(path))
    assert (applied.code, "do not hold" in applied.err) == (0, True)


def test_live_what_does_not_fit_is_told_where_it_stands(stage: Stage) -> None:
    """A missing field, a wrong kind, a read-only one, a short one, a label with another dash, an unknown attribute."""
    stage.prospect("ada@example.com", custom7="x", title="T" * 300)
    options = {"without_fields": ["cf_person_sequence_step"], "label_typo": {"Active – Paused": "Active - Paused"}}
    stage.use(crm_app=workbooks.build(records=0, options=options))
    stage.hand("add_field", field="cf_person_sequence_stepp", type="person", data_type="integer")
    path = stage.mapping(
        ("  cf_person_sequences:                {outbook", "  cf_person_outreach_id2:             {outbook"),
        ("  cf_person_sequence_state_updated_at: {outbook", "  person_suffix: {outbook"),
        (TITLE, f"{TITLE}  created_at: {{outreach: custom7, direction: to_crm}}\n"),
    )
    stage.hand("add_field", field="cf_person_outreach_id2", type="person", data_type="string")
    told = stage.outbook("mapping", "check", str(path), "--live", "--json")
    assert told.code == 4
    found = {(one["line"], one["column"]): one["words"] for one in told.report["problems"]}
    for text, column, words in (
        ("cf_person_sequence_step: ", 3, "did you mean 'cf_person_sequence_stepp'?"),
        ("cf_person_outreach_id2", 3, "takes at most 255 characters in Workbooks, and a long text is needed"),
        ("person_suffix", 3, "a date and time is needed"),
        ("created_at", 3, "read-only in Workbooks"),
        ("paused: ", 15, "which differs only by a dash (U+002D where the file has U+2013): copy it from there"),
    ):
        number = next(
            n
            for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            if line.lstrip().startswith(text)
        )
        here = [told_words for (line, at), told_words in found.items() if (line, at) == (number, column)]
        assert any(words in one for one in here), (text, words, found)


def test_live_an_attribute_that_the_token_is_not_shown(stage: Stage) -> None:
    """What Outreach leaves out of a prospect does not exist for us; nobody to look at is a note, and no mistake."""
    told = stage.outbook("mapping", "check", "--live", "--json")
    assert (told.code, told.report["notes"]) == (
        0,
        ["Outreach shows no prospect to this token: its attributes were not checked"],
    )
    stage.prospect("ada@example.com")

    def bare(_call: object, document: Any) -> Any:  # noqa: ANN401 - a body of the vendor
        for one in document.get("data") or ():
            one["attributes"].pop("title", None)
        return document

    stage.servers.outreach.reshape = bare
    told = stage.outbook("mapping", "check", "--live", "--json")
    (problem,) = told.report["problems"]
    assert problem["words"] == "Outreach shows no 'title' to this token"
    assert problem["column"] == 43


def test_the_live_schema_offers_what_there_is(stage: Stage) -> None:
    """Real fields with their titles, the labels of the picklists, and only attributes that exist; the file in use fits it."""
    stage.prospect("ada@example.com")
    schema = json.loads(stage.outbook("mapping", "schema", "--live").out)
    fields = schema["properties"]["fields"]
    assert fields["properties"]["person_job_title"]["description"].startswith("Person job title")
    assert fields["additionalProperties"] is False
    assert schema["properties"]["labels"]["additionalProperties"]["enum"] == list(worlds.LABELS)
    assert "Cancelled" in schema["$defs"]["TaskSection"]["properties"]["status"]["enum"]
    assert {"emails[0]", "title"} <= set(schema["$defs"]["FieldLine"]["properties"]["outreach"]["enum"])
    document = yaml_tree.plain(yaml_tree.parse(config.shipped_mapping().read_text(encoding="utf-8"), "mapping"))
    jsonschema.validate(document, schema)
    document["fields"]["cf_nobody_has"] = {"outreach": "title", "direction": "both"}
    with pytest.raises(jsonschema.ValidationError, match="cf_nobody_has"):
        jsonschema.validate(document, schema)


def test_the_lock_beside_a_mapping_is_kept_fresh(stage: Stage) -> None:
    """`init` brings the schema along; `--live --write` puts the real names into it, and changes nothing the second time."""
    assert stage.outbook("mapping", "init", "mine.yaml").code == 0
    lock = Path("mapping.schema.json")
    assert lock.read_text(encoding="utf-8") == mapping_file.schema()
    written = stage.outbook("mapping", "schema", "mine.yaml", "--live", "--write", "--json")
    assert written.code == 0, written.err
    assert written.report == {"mapping": "mine.yaml", "schema": str(lock), "live": True, "changed": True}
    offered = json.loads(lock.read_text(encoding="utf-8"))["properties"]["fields"]["properties"]
    assert "cf_person_outreach_id" in offered
    assert "cf_person_shoe_size" not in offered
    again = stage.outbook("mapping", "schema", "mine.yaml", "--live", "--write")
    assert (again.code, again.out) == (0, f"{lock}: up to date\n")
    assert [path.name for path in Path().glob("*mapping.schema*")] == [lock.name]


def test_a_lock_is_never_overwritten_with_less(stage: Stage) -> None:
    """The CRM tells no fields, or is away: exit 3, the file as it was. The default that came along is left alone: exit 4."""
    stage.outbook("mapping", "init", "mine.yaml")
    stage.outbook("mapping", "schema", "mine.yaml", "--live", "--write")
    before = Path("mapping.schema.json").read_bytes()
    stage.break_crm("status", times=None, op=None, path="metadata", args={"code": 500})
    told = stage.outbook("mapping", "schema", "mine.yaml", "--live", "--write")
    assert (told.code, told.out) == (3, "")
    assert Path("mapping.schema.json").read_bytes() == before
    refused = stage.outbook("mapping", "schema", "--write")
    assert (refused.code, "outbook mapping init FILE" in refused.err) == (4, True)


# ---- diff


def test_a_difference_is_told_in_the_words_of_the_crm(stage: Stage) -> None:
    """What somebody who looks at Workbooks would notice, each with its place in the file; notes are nothing of that."""
    old = another(stage, name="old.yaml")
    new = another(
        stage, PAUSED, ("create_people: in_sequence", "create_people: never"), (TITLE, ""), ("# How Out", "# So Out")
    )
    told = stage.outbook("mapping", "diff", str(old), str(new))
    assert told.code == 0
    assert told.out.splitlines() == [
        "create_people: a prospect without a person: never created (until now: created if it is or was in a sequence)",
        "fields.person_job_title: person_job_title is no longer touched; what stands there stays",
        "labels.paused: paused is called 'On Hold' (until now: 'Active – Paused')",
    ]
    document = stage.outbook("mapping", "diff", str(old), str(new), "--json").report
    fits(document, DIFFERENCES)
    assert [one["where"] for one in document["differences"]] == [
        "create_people",
        "fields.person_job_title",
        "labels.paused",
    ]
    assert stage.outbook("mapping", "diff", str(old), str(old)).out == "no difference in effect\n"
    assert stage.outbook("mapping", "diff", str(old), "in-force").code == 4
    stage.sync()
    assert stage.outbook("mapping", "diff", "in-force", str(new)).out.splitlines()[0].startswith("create_people:")


# ---- apply


def test_an_applied_mapping_reaches_everybody_with_the_next_pass(stage: Stage) -> None:
    """It is queued at once, stands in the history of the writes it causes, and the pass after that writes nothing."""
    ada = stage.enrolled("ada@example.com", word="paused")
    stage.crm.world.edit({"op": "add_label", "field": STATE, "label": "On Hold"})
    stage.sync()
    new = another(stage, PAUSED)
    told = stage.outbook("mapping", "apply", str(new), "--json")
    assert told.code == 0
    fits(told.report, APPLIED)
    assert (told.report["applied"], told.report["queued"], told.report["reads_first"]) == (True, 1, {})
    assert stage.rows("SELECT lane FROM change") == [(2,)]
    stage.environ["OUTBOOK_MAPPING"] = str(new)
    report = stage.sync().report
    assert report["mapping_version"] == told.report["version"]
    assert stage.person_of(ada)[STATE] == "On Hold"
    assert stage.rows("SELECT mapping_version FROM history ORDER BY id DESC LIMIT 1") == [(told.report["version"],)]
    stage.settled()
    again = stage.outbook("mapping", "apply", str(new))
    assert (again.code, "in force already" in again.out) == (0, True)


def test_a_planned_mapping_is_refused_once_something_moved(stage: Stage) -> None:
    """Exit 4, with what moved: the data, the file, the mapping in force, or a plan that nobody made."""
    stage.enrolled("ada@example.com", word="paused")
    stage.sync()
    new = another(stage, PAUSED)
    plan = stage.outbook("plan", "--mapping", str(new), "--json").report["plan"]
    stage.enrolled("bo@example.com", word="paused", first="Bo")
    stage.sync()
    moved = stage.outbook("mapping", "apply", str(new), "--plan", plan)
    assert moved.code == 4
    assert f"the data: workbooks {STATE}: 1 planned, 2 now" in moved.err
    assert "the data: workbooks updated: 1 planned, 2 now" in moved.err
    assert stage.rows("SELECT count(*) FROM change") == [(0,)]
    plan = stage.outbook("plan", "--mapping", str(new), "--json").report["plan"]
    other = another(stage, PAUSED, ("create_people: in_sequence", "create_people: all"), name="other.yaml")
    assert "the mapping: sha256:" in stage.outbook("mapping", "apply", str(other), "--plan", plan).err
    some = stage.outbook("plan", "--mapping", str(new), "--email", "bo@example.com", "--json").report["plan"]
    assert "made for a selection" in stage.outbook("mapping", "apply", str(new), "--plan", some).err
    assert "is known here" in stage.outbook("mapping", "apply", str(new), "--plan", "0" * 32).err
    told = stage.outbook("mapping", "apply", str(new), "--plan", plan, "--json")
    assert (told.code, told.report["applied"], told.report["moved"]) == (0, True, [])
    assert stage.outbook("mapping", "apply", str(new), "--plan", plan).code == 4


def test_an_edit_that_is_written_anyway_does_not_spoil_a_plan(stage: Stage) -> None:
    """On a busy system something is always due: only what the mapping itself changes is part of its plan."""
    ada = stage.enrolled("ada@example.com", word="paused")
    bo = stage.enrolled("bo@example.com", first="Bo")
    stage.sync()
    new = another(stage, PAUSED)
    plan = stage.outbook("plan", "--mapping", str(new), "--json").report["plan"]
    stage.set_prospect(bo, title="Countess")
    stage.set_prospect(ada, title="Clerk")
    stage.outbook("plan", "--json")
    assert stage.outbook("mapping", "apply", str(new), "--plan", plan).code == 0


def test_a_broken_file_is_refused_and_nothing_is_lost(stage: Stage) -> None:
    """Exit 4 with all its problems; a pass refuses it too; the one in force stays, and other verbs go by it."""
    stage.enrolled("ada@example.com")
    stage.sync()
    before = stage.rows("SELECT value FROM meta WHERE key = 'mapping'")
    path = stage.mapping(
        ("create_people: in_sequence", "create_people: some"), ("on_conflict: crm\n", "on_conflct: crm\n")
    )
    for verb in (("mapping", "apply"), ("sync",), ("mapping", "check")):
        told = stage.outbook(*verb)
        assert told.code == 4
        assert told.err.count(f"{path}:") == 2
    assert stage.rows("SELECT value FROM meta WHERE key = 'mapping'") == before
    told = stage.outbook("plan", "--json")
    assert (told.code, told.report["mapping_version"]) == (0, before[0][0])
    assert "2 mistakes, and the mapping in force is kept" in told.err


def test_what_was_only_looked_by_is_no_first_start(stage: Stage) -> None:
    """A plan before anything was ever written does not keep the file from being edited: the first start takes the file."""
    stage.enrolled("ada@example.com", word="paused", nickname="Countess")
    stage.outbook("plan")
    stage.hand("add_field", field="cf_nick", type="person", data_type="string")
    stage.mapping((TITLE, f"{TITLE}  cf_nick: {{outreach: nickname, direction: both}}\n"))
    mapping = bootstrap.begin_mapping(config.load(stage.environ, stage.directory))
    assert "cf_nick" in mapping.by_crm
    stage.sync()
    assert stage.people()[0]["cf_nick"] == "Countess"
