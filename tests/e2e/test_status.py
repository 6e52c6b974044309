from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime

from rich.console import Console

from tests.e2e.pages import STATUS as SCHEMA
from tests.e2e.rig import Stage
from tests.e2e.shapes import fits
from worker.cli import status
from worker.core import outlook as values
from worker.core.outlook import Outlook

NOON = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
EARLIER = datetime(2026, 11, 20, 11, 59, 48, tzinfo=UTC)


RESTING = (
    values.Resting("workbooks", "write", "asked", EARLIER, NOON),
    values.Resting("outreach", "read", "failing", EARLIER),
)


def _outlook() -> Outlook:
    stream = values.Stream("prospects", True, False, EARLIER, EARLIER, 12.0, None, values.Lag(9, 4.0, 130.0))
    broken = values.Stream("tasks", True, False, EARLIER, EARLIER, 7300.0, "answered 503 [twice]")
    counts = values.Open(3, 1, 0, 2, 4, 12)
    return Outlook(
        at=NOON,
        safe=values.Safe(
            ok=False,
            opt_outs=values.OptOuts(2, EARLIER, 1300.0, 1, 21, alarm=True),
            kept_back=values.KeptBack(12, 1, ("OUTBOOK_ONLY",)),
            pauses=(values.Pause("to-crm", EARLIER, "the importer runs"),),
        ),
        fresh=values.Fresh(
            ok=False,
            streams=(stream, broken),
            to_crm=values.Lag(231, 4.0, 130.0),
            to_outreach=values.Lag(0, None, None),
            last_pass_at=EARLIER,
        ),
        stuck=values.Stuck(
            ok=False,
            linked=215,
            in_sync=212,
            open=counts,
            excluded_records=40,
            excluded=(values.Excluded("never in a sequence", 38), values.Excluded("no e-mail address", 2)),
            held=(values.Held("ambiguous", 1, 2),),
            failed=(values.Cause("title: is too long", 4, EARLIER),),
        ),
        budget=values.Budget(
            ok=False,
            outreach=values.Spent(214, 10_000, 9786, 5012, 100_000, 94_988, 187_000, date(2027, 5, 24)),
            workbooks=values.Spent(12, None, None, 80, None, None, None, None),
        ),
        mapping=values.InForce("sha256:0123456789abcdef", EARLIER, "m.yaml", "sha256:ff", True, None, ("people",)),
        credentials=values.Credentials(date(2026, 11, 30), 10, EARLIER, 13.9),
        nets=values.Nets(
            rounds=(
                values.Round("reconcile", EARLIER, EARLIER, NOON, {"coverage": 100, "differences": 2}, 0.25, EARLIER),
                values.Round("sweep", EARLIER, EARLIER, NOON, {"looked": 7}),
            ),
            webhooks=values.Webhooks(EARLIER, 3),
            seen={"webhook": 90, "poll": 10, "sweep": 2},
            caught_only_by_sweep=2,
            silence="no webhook has come for long",
        ),
        work=values.Work(
            ok=False,
            oldest_due_at=EARLIER,
            oldest_due_age_s=130.0,
            leased=2,
            troubles=("3 changes are due and nobody takes any up",),
            ticks=(values.Tick("beat", EARLIER, 12.0), values.Tick("worker:apply", EARLIER, 300.0)),
            halted=(values.Halted("workbooks", "authorisation", EARLIER),),
            resting=RESTING,
        ),
        next=(values.Advice("1 entry waits", "outbook held list"), values.Advice("4 failed", "outbook failures list")),
    )


PAGE = """\
Outbook at 2026-11-20 12:00:00

safe     WARN  opt-outs on their way: 2, the oldest for 22 min
               opt-outs that could not be delivered: 1
               opted out within the last hour: 21; unusually many
               kept back: 12, opt-outs among them 1 (OUTBOOK_ONLY)
               paused: to-crm since 2026-11-20 11:59:48, the importer runs
fresh    WARN  to Workbooks: from edit to write p50 4 s, p95 2 min (231 writes within 24 h)
               to Outreach: no edit was carried over within 24 h
stuck    WARN  in sync: 212 of 215 linked people
               open: due 3, deferred 1, waiting 0, held 2, failed 4, kept back 12
               excluded: 40
                 38  never in a sequence
                 2  no e-mail address
               held: 1 ambiguous (2 records hang on it)
               failed: 4  title: is too long, newest 2026-11-20 11:59:48
work     WARN  the oldest due for 2 min, 2 in hand
               Workbooks stands still since 2026-11-20 11:59:48: authorisation
               Workbooks writes wait until 2026-11-20 12:00:00, as asked for by the other end
               Outreach reads mostly fail since 2026-11-20 11:59:48: one is tried every 15 s
               3 changes are due and nobody takes any up
               got on: beat 12 s ago, worker:apply 5 min ago
budget   WARN  Outreach: 214 calls this hour of 10000, 5012 within a year of 100000, 187000 a year at this pace, \
used up on 2027-05-24
               Workbooks: 12 calls this hour, 80 within a year, pace not known before a day has passed
mapping  WARN  in force: sha256:0123456789ab since 2026-11-20 11:59:48
               the file is another one: sha256:ff (m.yaml)
               read whole for it before everything is written: people
keys     ok    Workbooks: the key runs out on 2026-11-30, in 10 days
               Outreach: token renewed 2026-11-20 11:59:48, good for 13.9 days more without us
rounds   WARN  no webhook has come for long
               webhooks: the last one 2026-11-20 11:59:48, 3 not looked at yet
               reconcile: last round ended 2026-11-20 11:59:48, 100 % of the pairs compared, 2 differences, \
the oldest slice 12 s ago, under way: 25%, next 2026-11-20 12:00:00
               sweep: last round ended 2026-11-20 11:59:48, next 2026-11-20 12:00:00
               first seen within a week by: poll 10, sweep 2, webhook 90; caught only by the sweep: 2

stream      read until            last poll   p50     p95
prospects   2026-11-20 11:59:48   12 s ago    4 s   2 min
tasks       2026-11-20 11:59:48   2 h ago       –       –   answered 503 [twice]

next: outbook held list  (1 entry waits)
then: outbook failures list  (4 failed)
"""


def test_the_page_reads_as_it_should(utc: None) -> None:
    """Word for word, without colour where there is no terminal; brackets in a vendor's words are no markup."""
    out = io.StringIO()
    Console(file=out, width=200).print(status.drawn(_outlook()))
    assert [line.rstrip() for line in out.getvalue().splitlines()] == PAGE.splitlines()


def test_the_document_has_the_documented_shape(stage: Stage) -> None:
    """Of values made by hand, of a store never used, and of one in use: one document each, all of the same shape."""
    fits(values.as_json(_outlook()), SCHEMA)
    fresh = stage.outbook("status", "--json")
    assert (fresh.code, fresh.out.count("\n")) == (0, 1)
    fits(json.loads(fresh.out), SCHEMA)
    stage.enrolled("ada@example.com", first="Adalind")
    stage.prospect("idle@example.com")
    stage.sync()
    told = stage.outbook("status", "--json")
    fits(told.report, SCHEMA)
    assert (told.report["stuck"]["linked"], told.report["stuck"]["in_sync"]) == (1, 1)
    assert told.report["stuck"]["excluded_records"] == 1
    assert told.report["next"] == []
    assert told.report["budget"]["outreach"]["hour_used"] == stage.outreach_calls()
    assert "ada" not in told.out.lower()


def test_a_page_for_people_ends_with_what_to_type(stage: Stage) -> None:
    """Before anything was read it says to begin; needs no credentials; `--watch` and `--json` together are refused."""
    for name in ("OUTBOOK_OUTREACH__ACCESS_TOKEN", "OUTBOOK_WORKBOOKS__API_KEY"):
        del stage.environ[name]
    told = stage.outbook("status")
    assert (told.code, told.err) == (0, "")
    assert told.out.rstrip().endswith("next: outbook sync  (nothing has been read yet)")
    both = stage.outbook("status", "--watch", "--json")
    assert (both.code, both.out) == (4, "")


def test_a_file_that_differs_is_told(stage: Stage) -> None:
    """After the file was edited the mapping in force is told beside it; a broken file is a problem and no traceback."""
    path = stage.mapping()
    stage.sync()
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('finished:   "Finished"', 'finished:   "Done"'), encoding="utf-8")
    told = stage.outbook("status", "--json").report
    assert (told["mapping"]["differs"], told["next"][0]["command"]) == (True, f"outbook plan --mapping {path}")
    path.write_text("nonsense: [", encoding="utf-8")
    told = stage.outbook("status", "--json").report
    assert told["mapping"]["file"] is None
    assert told["mapping"]["problem"]
    assert told["next"][0]["command"] == f"outbook mapping check {path}"
