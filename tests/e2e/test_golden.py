"""Every page for people, byte for byte, as it looks on a terminal of 100 columns and in a pipe; see ``transcripts``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import worlds
from tests.e2e.rig import Stage
from tests.e2e.transcripts import Transcript


@pytest.fixture
def page(stage: Stage, utc: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Transcript]:
    """A transcript yet to be written, by somebody who lives by UTC."""
    with tempfile.TemporaryDirectory(prefix="outbook-", dir="/tmp") as directory:
        monkeypatch.chdir(directory)
        stage.directory = Path(directory)
        yield Transcript(stage)


def test_golden_new(page: Transcript) -> None:
    """A store that was never used: every page says so, and what to type."""
    for words in ("status", "plan --offline", "failures list", "held list", "explain --prospect 1", "resync --all"):
        page.both(*words.split())
    page.seen("failures", "retry", "--all")
    page.seen("explain")
    page.seen("mapping", "check")
    page.seen("mapping", "init", "mine.yaml")
    page.seen("mapping", "init", "mine.yaml")
    page.seen("db", "upgrade")
    page.seen("webhooks", "status")
    page.matches("new")


def _people(stage: Stage) -> dict[str, int]:
    """Somebody of every kind."""
    ada = stage.enrolled("ada@example.com", title="Engineer")
    stage.state(ada, worlds.INBOUND, "finished", step=2)
    bo = stage.enrolled("bo@example.com", first="Bo", last="Berg", emailOptedOut=True)
    cy = stage.enrolled("cy@example.com", first="Cy", last="Croft", word="paused")
    dan = stage.enrolled(first="Dan", last="Dale")
    eve = stage.prospect("eve@example.com", first="Eve", last="Ember")
    state = stage.state(stage.prospect("finn@example.com", first="Finn", last="Frost"), worlds.COLD)
    task = stage.task(state, state="skipped", note="Not now")
    return {"ada": ada, "bo": bo, "cy": cy, "dan": dan, "eve": eve, "task": task}


def test_golden_day(page: Transcript) -> None:
    """An ordinary day: a first pass, edits on both sides, what is going on, and why somebody is as he is."""
    stage = page.stage
    who = _people(stage)
    stage.person(first="Gus", last="Green", email="gus@example.com")
    stage.later(60)
    page.both("doctor")
    page.both("sync", "--dry-run")
    page.both("plan")
    page.seen("sync")
    page.piped("sync")
    stage.later(3600)
    page.typed("an hour later: Ada gets another title, Cy is opted out in Workbooks")
    stage.set_prospect(who["ada"], title="Chief Engineer")
    stage.set_person(stage.person_of(who["cy"])["id"], no_email=True)
    page.both("plan")
    page.both("plan", "--show-personal")
    page.seen("pause", "to-outreach", "--reason", "maintenance")
    page.seen("pause", "to-outreach")
    page.piped("sync")
    page.both("status")
    page.both("explain", "--prospect", str(who["cy"]))
    page.seen("resume")
    page.seen("sync")
    page.seen("resume")
    page.both("status")
    page.both("explain", "--email", "ada@example.com")
    page.seen("explain", "--email", "ada@example.com", "--show-personal")
    page.seen("explain", "--prospect", str(who["dan"]))
    page.seen("explain", "--prospect", str(who["eve"]))
    page.both("explain", "--task", str(who["task"]))
    page.both("explain", "--person", str(stage.people()[0]["id"]))
    page.both("reconcile")
    page.seen("resync", "--since", "2h", "--dry-run")
    page.seen("resync", "--sequence", "1")
    page.seen("resync", "--prospect", str(who["dan"]), "--prospect", "999")
    page.seen("opt-in", "--prospect", str(who["cy"]), "--reason", "asked for it by phone")
    page.seen("opt-in", "--prospect", str(who["ada"]), "--reason", "a mistake")
    page.seen("opt-in", "--prospect", str(who["ada"]))
    page.seen("forget", "--email", "ada@example.com")
    page.seen("forget", "--email", "ada@example.com")
    page.seen("explain", "--email", "ada@example.com")
    page.matches("day")


def test_golden_trouble(page: Transcript) -> None:
    """A bad day: refused fields, twins, a conflict to be decided, people deleted, a label that the CRM lacks."""
    stage = page.stage
    stage.mapping(("on_conflict: crm", "on_conflict: ask"), ("on_crm_delete: recreate", "on_crm_delete: ask"))
    who = _people(stage)
    stage.later(60)
    stage.sync()
    stage.later(7200)
    stage.person(first="Hal", last="Hope", email="hal@example.com")
    stage.person(first="Hal", last="Hope", email="hal@example.com")
    hal = stage.enrolled("hal@example.com", first="Hal", last="Hope")
    stage.state(who["eve"], worlds.COLD, "snoozed")
    stage.set_prospect(who["ada"], title="Chief Engineer")
    stage.set_person(stage.person_of(who["ada"])["id"], title="Head of Engines")
    stage.set_prospect(who["bo"], title="Engineer " * 40)
    stage.delete_person(stage.person_of(who["cy"])["id"])
    page.seen("sync")
    page.both("status")
    page.both("failures", "list")
    page.seen("failures", "show", "prospect:2")
    page.both("held", "list")
    page.seen("held", "approve", "--kind", "conflict")
    page.seen("held", "approve", "--kind", "conflict", "--as", "outreach")
    page.seen("link", "--prospect", str(hal), "--person", "7001")
    page.seen("held", "reject", "--kind", "ask")
    page.seen("failures", "retry", "--cause", "1")
    page.piped("sync")
    page.matches("trouble")


def test_golden_admin(page: Transcript) -> None:
    """Whoever edits the mapping and looks after the systems: checked, planned, put in force, fields made, webhooks, a move."""
    stage = page.stage
    stage.environ["OUTBOOK_OUTREACH__WEBHOOK_SECRET"] = "made up for a transcript"
    who = _people(stage)
    stage.later(60)
    stage.sync()
    page.seen("mapping", "init", "new.yaml")
    text = Path("new.yaml").read_text(encoding="utf-8")
    page.typed("typing mistakes: roll_up: [activ], on_conflict: cmr, person_job_titel")
    wrong = text.replace("roll_up: [active", "roll_up: [activ").replace("on_conflict: crm", "on_conflict: cmr", 1)
    Path("new.yaml").write_text(wrong.replace("{outreach: title,", "{outreach: titel,"), encoding="utf-8")
    page.both("mapping", "check", "new.yaml")
    page.typed("mended; the label of a paused sequence becomes On Hold")
    Path("new.yaml").write_text(
        text.replace('paused:     "Active – Paused"', 'paused:     "On Hold"'), encoding="utf-8"
    )
    page.seen("mapping", "check", "new.yaml")
    page.seen("mapping", "check", "new.yaml", "--live")
    page.seen("mapping", "diff", "in-force", "new.yaml")
    stage.environ["OUTBOOK_WORKBOOKS__SETUP_API_KEY"] = "sim-admin-key"
    stage.environ["OUTBOOK_MAPPING"] = "new.yaml"
    page.seen("status")
    page.both("plan", "--mapping", "new.yaml")
    digest = page.hidden("plan", "--mapping", "new.yaml", "--json").report["plan"]
    page.seen("mapping", "apply", "new.yaml", "--plan", digest)
    page.seen("mapping", "apply", "new.yaml")
    page.seen("mapping", "schema", "new.yaml", "--live", "--write")
    page.seen("crm", "setup", "--dry-run")
    page.seen("crm", "setup", "--yes")
    page.seen("crm", "setup")
    page.piped("sync")
    stage.set_person(stage.person_of(who["cy"])["id"], cf_person_sequence_state="Finished")
    page.both("reconcile")
    page.seen("reconcile", "--repair")
    page.seen("webhooks", "setup", "--url", "https://outbook.example")
    page.both("webhooks", "status")
    page.seen("webhooks", "remove")
    page.seen("db", "rebind", "--yes")
    page.seen("db", "copy", "--to", "sqlite:///moved.db")
    page.seen("status")
    page.matches("admin")


def test_golden_refusals(page: Transcript) -> None:
    """What is typed wrongly or lacks something: a sentence each, with the exit code, and never a traceback."""
    stage = page.stage
    page.seen("sync", "--direction", "sideways")
    page.seen("resync", "--sequense", "1")
    page.seen("resync", "--prospect", "x")
    page.seen("resync", "--since", "yesterday", "--email", "nobody", "--ids-from", "missing.txt")
    page.seen("failures", "show", "7")
    page.seen("failures", "drop")
    page.seen("held", "list", "--kind", "odd")
    page.seen("link", "--prospect", "1")
    page.seen("opt-in", "--reason", "asked")
    page.seen("forget")
    page.seen("pause", "everything")
    page.seen("mapping", "check", "missing.yaml")
    page.seen("mapping", "diff", "in-force", "missing.yaml")
    page.seen("webhooks", "setup", "--url", "http://outbook.example")
    page.seen("backfill", "missing.csv")
    page.seen("crm", "setup")
    page.seen("auth", "outreach")
    page.seen("worker")
    page.seen("status", "--watch", "--json")
    stage.break_crm("status", times=None, op=None, path="api", args={"code": 503})
    page.piped("sync", "--wait", "0")
    stage.mend()
    del stage.environ["OUTBOOK_OUTREACH__ACCESS_TOKEN"], stage.environ["OUTBOOK_WORKBOOKS__API_KEY"]
    page.seen("sync")
    stage.environ |= {"OUTBOOK_POLL_SECONDS": "often", "OUTBOOK_DATABASE_URL": "mysql://here"}
    page.seen("status")
    page.matches("refusals")
