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
