"""`outbook plan`: what would be written, now or by another mapping, in numbers that come true; and nothing is written."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.e2e import worlds
from tests.e2e.pages import PLAN
from tests.e2e.rig import Stage
from tests.e2e.shapes import fits
from tests.e2e.worlds import STATE
from worker import config
from worker.sync import planning

PAUSED = ('paused:     "Active – Paused"', 'paused:     "On Hold"')
TITLE = "  person_job_title:            {outreach: title,             direction: both}\n"


def another(stage: Stage, *edits: tuple[str, str], name: str = "new.yaml") -> Path:
    """Write the default mapping after some edits beside the one in force."""
    text = config.shipped_mapping().read_text(encoding="utf-8")
    for before, after in edits:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    path = stage.directory / name
    path.write_text(text, encoding="utf-8")
    return path


def nonzero(told: dict[str, int]) -> dict[str, int]:
    """Return what is not nought."""
    return {name: count for name, count in told.items() if count}


@pytest.fixture
def world(stage: Stage) -> Stage:
    """Two who agree, one of them paused; then an edit on each side, an opt-out, a deletion, a skipped task, somebody new."""
    ada, bo = stage.enrolled("ada@example.com"), stage.enrolled("bo@example.com", word="paused", first="Bo")
    cy = stage.enrolled("cy@example.com", first="Cy")
    stage.sync()
    stage.set_prospect(ada, title="Countess")
    stage.set_person(stage.person_of(bo)["id"], person_job_title="Clerk")
    stage.set_prospect(bo, emailOptedOut=True)
    stage.delete_person(stage.person_of(cy)["id"])
    (state,) = [
        one["id"]
        for one in stage.outreach.world.dump()["sequenceState"].values()
        if one["relations"]["prospect"] == ada
    ]
    stage.task(state, state="skipped")
    stage.enrolled("di@example.com", first="Di")
    stage.forget_calls()
    return stage


def test_the_numbers_of_a_plan_come_true(world: Stage) -> None:
    """What it tells by side and field is what the next pass does; until then neither side was written."""
    told = world.outbook("plan", "--json")
    assert told.code == 2
    fits(told.report, PLAN)
    crm = {"created": 1, "updated": 2, "recreated": 1, "opted_out": 1, "tasks_cancelled": 1}
    assert nonzero(told.report["totals"]["workbooks"]) == crm
    assert nonzero(told.report["totals"]["outreach"]) == {"updated": 1}
    assert {"side": "outreach", "field": "title", "records": 1, "cleared": 0} in told.report["fields"]
    assert (world.crm_writes(), world.outreach_writes()) == ([], [])
    report = world.sync().report
    assert {name: report["crm"][name] for name in crm} == crm
    assert report["outreach"]["updated"] == 1
    again = world.outbook("plan", "--json")
    assert (again.code, again.report["anything"]) == (0, False)


def test_offline_nobody_is_asked(world: Stage) -> None:
    """By what is mirrored nothing is due yet: the edits were not polled. No vendor gets a single request."""
    told = world.outbook("plan", "--offline", "--json")
    assert (told.code, told.report["looked_at"]) == (0, 0)
    assert (world.outreach_calls(), world.crm_calls()) == (0, 0)


def test_a_selection_is_looked_at_alone(world: Stage) -> None:
    """Only the named record is planned, due or not; a name that nobody knows is told."""
    told = world.outbook("plan", "--email", "di@example.com", "--email", "nobody@example.com", "--json")
    assert (told.code, told.report["scope"], told.report["looked_at"]) == (2, "selection", 1)
    assert nonzero(told.report["totals"]["workbooks"]) == {"created": 1}
    assert "nobody@example.com: not known here" in told.err


def test_people_see_the_totals_first_and_no_personal_data(world: Stage) -> None:
    """The table of totals, then the fields, then samples with names hidden, then the cost and the hash."""
    told = world.outbook("plan")
    assert told.code == 2
    order = [
        told.out.index(text) for text in ("tasks cancelled", "person_job_title", "samples", "cost: about", "plan:")
    ]
    assert order == sorted(order)
    assert "Workbooks no_email_soliciting no → yes" in " ".join(told.out.split())
    for secret in ("Countess", "Clerk", "ada@example.com", "Di"):
        assert secret not in told.out.replace("Digest", "")
    shown = world.outbook("plan", "--offline", "--show-personal")
    assert "Countess" in shown.out


def test_the_table_lists_every_change(world: Stage) -> None:
    """A line for each value, before and after, hidden unless asked; nothing in it is taken for a formula."""
    cunning = world.enrolled("ed@example.com", first="=cmd()")
    path = world.directory / "changes.csv"
    world.outbook("plan", "--csv", str(path), "--show-personal")
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    titles = {
        (row["side"], row["field"], row["before"], row["after"])
        for row in rows
        if row["field"] in {"title", "person_job_title"}
    }
    assert ("workbooks", "person_job_title", "", "Countess") in titles
    assert ("outreach", "title", "", "Clerk") in titles
    (first,) = [row["after"] for row in rows if row["prospect"] == str(cunning) and row["field"] == "person_first_name"]
    assert first == "'=cmd()"
    world.outbook("plan", "--offline", "--csv", str(path))
    assert "Countess" not in path.read_text(encoding="utf-8")
    told = world.outbook("plan", "--offline", "--csv", str(world.directory / "no" / "where.csv"))
    assert told.code == 4
    assert "--csv" in told.err


def test_another_mapping_is_compared_with_the_one_in_force(world: Stage) -> None:
    """Only what it changes counts: the new label of the paused one, not the edits that are written anyway."""
    world.sync()
    quiet = world.enrolled("fay@example.com", word="paused", first="Fay")
    world.sync()
    world.enrolled("gus@example.com", first="Gus")
    new = another(world, PAUSED)
    told = world.outbook("plan", "--mapping", str(new), "--json")
    assert told.code == 2
    assert nonzero(told.report["totals"]["workbooks"]) == {"updated": 1}
    (sample,) = told.report["samples"]
    assert sample["prospect"] == quiet
    assert {"side": "workbooks", "field": STATE, "before": worlds.PAUSED, "after": "On Hold"} in sample["changes"]
    assert told.report["aside"]["anyway"] == 1
    assert world.person_of(quiet)[STATE] == worlds.PAUSED
    people = world.outbook("plan", "--offline", "--mapping", str(new))
    assert f"next: outbook mapping apply {new} --plan {told.report['plan']}" in people.out


def test_what_was_never_read_is_told_with_its_cost(world: Stage) -> None:
    """A new line names an attribute and a column: which streams are read for it, at what cost, and what is left alone."""
    world.hand("add_field", field="cf_nick", type="person", data_type="string")
    world.sync()
    new = another(world, (TITLE, f"{TITLE}  cf_nick: {{outreach: nickname, direction: both}}\n"))
    told = world.outbook("plan", "--offline", "--mapping", str(new), "--json").report
    assert told["reads_first"] == [
        {"stream": "prospects", "names": ["nickname"], "calls": 2},
        {"stream": "people", "names": ["cf_nick"], "calls": 2},
    ]
    assert told["left_alone"] == ["cf_nick"]
    assert (told["anything"], nonzero(told["totals"]["workbooks"])) == (True, {})


def test_two_processes_come_to_the_same(world: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large mirror is shared between two processes: the same numbers, samples and hash."""
    alone = world.outbook("plan", "--json").report
    monkeypatch.setattr(planning, "ALONE", 0)
    shared = world.outbook("plan", "--offline", "--json").report
    assert {name: shared[name] for name in ("plan", "totals", "fields", "samples")} == {
        name: alone[name] for name in ("plan", "totals", "fields", "samples")
    }


def test_a_pilot_narrows_the_plan(world: Stage) -> None:
    """Who is not in the file of OUTBOOK_ONLY is not counted as written, but told."""
    pilot = world.directory / "pilot.txt"
    pilot.write_text("di@example.com\n", encoding="utf-8")
    world.environ["OUTBOOK_ONLY"] = str(pilot)
    told = world.outbook("plan", "--json")
    assert told.report["aside"]["held_back"] == 3
    assert told.report["totals"]["workbooks"]["created"] == 1
    assert "not in the file of OUTBOOK_ONLY" in told.err


def test_a_field_fed_by_another_value_is_planned_as_it_will_be(stage: Stage) -> None:
    """Another source is a first sight: a blank there is filled, and whatever differs stays, going there and coming back."""
    ada = stage.enrolled("ada@example.com")
    stage.sync()
    new = another(
        stage,
        ("person_first_name:           {outreach: firstName, ", "person_first_name:           {outreach: company,"),
    )
    stage.outbook("mapping", "apply", str(new))
    stage.environ["OUTBOOK_MAPPING"] = str(new)
    assert stage.sync().report["converged"]
    assert stage.of_prospect(ada)["company"] == "Ada"
    stage.set_prospect(ada, company="Analytical Engines")
    stage.sync()
    back = another(stage, name="back.yaml")
    told = stage.outbook("plan", "--mapping", str(back), "--json")
    assert told.report["left_alone"] == ["person_first_name"]
    stage.outbook("mapping", "apply", str(back), "--plan", told.report["plan"])
    stage.environ["OUTBOOK_MAPPING"] = str(back)
    assert stage.sync().crm == {}
    assert stage.person_of(ada)["person_first_name"] == "Analytical Engines"


def test_tasks_of_people_yet_to_be_made_are_counted(stage: Stage) -> None:
    """What `plan` foresees is what `sync` then does, in the same numbers: the person and the skipped task in one go."""
    task = stage.task(stage.state(stage.prospect("ada@example.com")), state="skipped")
    stage.task(stage.state(stage.prospect(first="Nobody")), state="skipped")
    told = stage.outbook("plan", "--json")
    assert nonzero(told.report["totals"]["workbooks"]) == {"created": 1, "tasks_cancelled": 1}
    assert [one["task"] for one in told.report["samples"] if one["task"]] == [task]
    assert stage.outbook("plan", "--json", "--offline").report["plan"] == told.report["plan"]
    assert len(stage.outbook("sync", "--dry-run", "--json").report["plan"]) == 2
    assert stage.sync().crm == {"created": 1, "tasks_cancelled": 1}
    assert stage.outbook("plan", "--json").report["anything"] is False
