"""A year that runs short, end to end: what beat rings for waits, and whoever looks on is told why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.e2e.crowd import by_hand
from tests.e2e.rig import Stage
from tests.e2e.worlds import NO_EMAIL
from tests.remote.shares import as_csv, row
from worker import bootstrap, config, tasks
from worker.bootstrap import Runtime
from worker.core.records import System
from worker.store import budget, database

STREAM = "prospects"


@pytest.fixture
def short(stage: Stage) -> Iterator[Runtime]:
    """A store that has polled more in its first three days than 60,000 calls a year bear; the workers' runtime over it."""
    stage.environ["OUTBOOK_OUTREACH__YEARLY_CALLS"] = "60000"
    stage.enrolled("ada@example.com")
    stage.sync()
    hours = [budget._hour(stage.now()) - timedelta(hours=back) for back in range(72)]
    settings = config.load(stage.environ, stage.directory)
    with stage.monkeypatch.context() as patch:
        patch.setattr(bootstrap, "now", stage.now)
        with bootstrap.runtime(settings) as runtime:
            with runtime.store.write() as db:
                rows = [{"system": System.OUTREACH, "lane": "polls", "hour": at, "calls": 7} for at in hours]
                budget.add(db, rows)
            patch.setattr(tasks, "ring", lambda *_told: None)
            patch.setattr(tasks, "runtime", lambda: runtime)
            yield runtime


def polled(stage: Stage, runtime: Runtime) -> bool:
    """Tell whether a tick that comes now calls Outreach."""
    before = runtime.calls()["outreach"]
    tasks.poll.run(STREAM)
    return runtime.calls()["outreach"] > before


def test_what_can_wait_waits(stage: Stage, short: Runtime) -> None:
    """Streams are read every quarter of an hour or so, feeds and slow rounds hardly or not at all; opt-outs go on."""
    assert short.rate("optout") == short.rate("changes") == 1.0
    assert short.rate("sweep") == short.rate("reconcile") == 0.0
    assert 1 / 60 <= short.rate("polls") < 1 / 10
    read = []
    for _ in range(8):
        stage.later(600)
        read.append(polled(stage, short))
    assert 1 <= sum(read) <= 4
    before = short.budgets[System.OUTREACH].spent()
    for body in (tasks.take_round, tasks.compare):
        body.run()
    assert short.budgets[System.OUTREACH].spent() == before
    assert set(before) == {"polls"}
    stage.tell({"op": "opt_out", "prospect": 1, "how": "manual"})
    assert stage.outbook("sync", "--json").report["crm"]["opted_out"] == 1


def test_whoever_looks_on_is_told(stage: Stage, short: Runtime) -> None:
    """Status names each lane that is slower, the doctor warns, and a whole reading says what it will cost."""
    told = stage.outbook("status", "--json").report["budget"]["slowed"]
    assert [one["lane"] for one in told] == ["backfill", "reconcile", "sweep", "polls"]
    assert "slower for the calls to last: comparing both sides: stopped" in stage.outbook("status").out
    assert "Outreach, pace" in stage.outbook("doctor").out
    words = stage.sync("--full", code=None).err
    assert "reading everything again: about 8 calls of Outreach (0.1 % of what is left of the hour, " in words


def test_what_a_share_lacks_waits_first(stage: Stage, short: Runtime) -> None:
    """A backfill loads its rows, says what asking for the rest would cost, and leaves that for later: exit 6."""
    assert short.rate("backfill") == 0.0
    stage.enrolled("bea@example.com")
    path = as_csv(stage.directory / "a.csv", row(77, PROSPECT_ID="999", SEQUENCE_ID="1", STATE="active"))
    told = stage.outbook("backfill", str(path))
    assert told.code == 6, told.err
    assert "asking for what is not known here: about " in told.err
    assert "waits first; the same command goes on later" in told.err


def test_a_pass_opts_out_with_what_is_kept_for_it(stage: Stage) -> None:
    """Where nothing is left of an hour but the tenth that is kept for opt-outs, `sync` still carries every one to Outreach."""
    many = 30
    for number in range(many):
        stage.enrolled(f"p{number}@example.com", first=f"P{number}")
    stage.sync()
    stage.later(3_700)
    people = [int(one["id"]) for one in stage.people()]
    by_hand(stage, "set", people, fields={NO_EMAIL: True})
    stage.environ["OUTBOOK_OUTREACH__HOURLY_CALLS"] = "1000"
    store = database.connect(config.load(stage.environ, stage.directory).database_url.get_secret_value())
    with store.write() as db:
        spent = {"system": System.OUTREACH, "lane": "polls", "hour": budget._hour(stage.now()), "calls": 870}
        budget.add(db, [spent])
    assert stage.sync(code=None).outreach == {"opted_out": many}
    assert stage.outreach_calls() > 30
