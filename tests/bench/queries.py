"""`queries`: how both databases go about every statement of a hot path, with a million mirrored records around it.

Which statements those are is not written down anywhere: the work is done, and whatever it asks the store is explained.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tests.bench import crowd
from tests.bench.plans import MANY, Plans, Statement
from tests.bench.report import Findings
from tests.bench.site import Site, one_pass, polled, site
from worker.bootstrap import Runtime
from worker.store import backlog, cursors, outbox, selection, webhooks
from worker.store.selection import Selection
from worker.sync import (
    apply,
    brakes,
    explain,
    failures,
    feeds,
    held,
    intake,
    reconcile,
    resync,
    skips,
    strangers,
    sweep,
    timing,
)
from worker.web import families
from worker.web.health import Readiness
from worker.web.metrics import Metrics
from worker.web.wire import Request

RECORDS = 1_000_000
PEOPLE = 1_500
EDITED = 300
SHOWN = 25


def run(scale: float) -> Findings:
    """Do all hot work once over each kind of database, and tell what was slow and what was walked through."""
    from tests import conftest  # it stands up the real Postgres of the tests

    found = Findings()
    place = Path(tempfile.mkdtemp(prefix="outbook-bench-"))
    try:
        with ExitStack() as stack:
            (place / "pg").mkdir()
            place.chmod(0o755)
            url = stack.enter_context(conftest._postgres(place / "pg"))
            postgres = f"{url}/postgres".replace("postgresql://", "postgresql+psycopg://")
            _over(found, "Postgres", postgres, round(RECORDS * scale))
            _over(found, "SQLite", f"sqlite:///{place / 'store.db'}", round(RECORDS * scale))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    found.notes.append(
        "Postgres: EXPLAIN (ANALYZE, BUFFERS) of each statement where it is made, rolled back; 32 MB of buffers"
    )
    found.notes.append(
        "SQLite: EXPLAIN QUERY PLAN; it tells neither rows nor time, so a walk along an index counts as one"
    )
    return found


def _over(found: Findings, name: str, url: str, records: int) -> None:
    with site(PEOPLE) as here, here.runtime(OUTBOOK_DATABASE_URL=url) as on:
        one_pass(on)
        one_pass(on)
        now = on.applier().now()
        mirrored = crowd.sizes(on.store)["mirror"]
        crowd.multiply(on.store, max(2, round(records / mirrored)), now)
        plans = Plans(on.store, crowd.sizes(on.store))
        _work(here, on, plans)
    found.size[f"mirrored records, {name}"] = plans.sizes["mirror"]
    _tell(found, name, list(plans.statements.values()))


def _tell(found: Findings, name: str, statements: list[Statement]) -> None:
    walked = [one for one in statements if one.scanned]
    found.tell(f"{name}: statements looked at", len(statements))
    found.tell(f"{name}: that walk through a table of more than {MANY:,} rows", len(walked), most=0)
    slowest = sorted(statements, key=lambda one: -one.ms)
    if name == "Postgres":
        found.tell(f"{name}: all of them together", sum(one.ms for one in statements), "ms")
        for one in slowest[:SHOWN]:
            walk = f", walks through {', '.join(one.scanned)}" if one.scanned else ""
            found.tell(f"{name}: {one.work}: {one.where}, {one.rows:,.0f} rows looked at{walk}", one.ms, "ms")
    found.notes += [
        f"{name}: {one.work}: {one.where} walks through {', '.join(one.scanned)} ({one.ms:.0f} ms): {one.text[:300]}"
        for one in walked
    ]


def _work(here: Site, on: Runtime, plans: Plans) -> None:
    """Do each piece of hot work once."""
    pairs = crowd.linked(on.store)
    chosen = sorted(pairs)[:EDITED]
    _edit(here, pairs, chosen)
    for stream in cursors.STREAMS:
        with plans.of(f"poll {stream.value}"):
            timing.is_due(on.store, stream, 1, on.applier().now())
            polled(on, stream)
            timing.plan_next(on.store, stream, 1, on.applier().now())
    with plans.of("apply people"):
        apply.apply_people(on.applier())
        apply.apply_people(on.applier())
    with plans.of("apply opt-outs"):
        apply.apply_people(on.applier(), lanes=(outbox.Lane.OPT_OUT,))
    with plans.of("apply tasks"):
        skips.apply_tasks(on.applier())
    with plans.of("apply people made in the CRM"):
        strangers.apply_strangers(on.applier())
    with plans.of("ring for what is due"), on.store.read() as db:
        backlog.claimable(db, on.applier().now())
        webhooks.any_free(db, on.applier().now())
    _look(on, plans, pairs)
    _rounds(on, plans)


def _edit(here: Site, pairs: dict[int, int], chosen: list[int]) -> None:
    """Let something happen on every stream: fields, states, a sequence renamed, an opt-out, people and tasks."""
    told = [{"op": "set", "type": "prospect", "id": one, "attributes": {"title": "Chair"}} for one in chosen]
    states = here.outreach.state()["sequenceState"].values()
    theirs = [one["id"] for one in states if one["relations"]["prospect"] in set(chosen[:50])]
    paused = {"state": "paused", "stateChangedAt": "2026-11-20T09:00:00.000Z"}
    told += [{"op": "set", "type": "sequenceState", "id": one, "attributes": paused} for one in theirs]
    told.append({"op": "set", "type": "sequence", "id": 1, "attributes": {"name": "Another name"}})
    told.append({"op": "opt_out", "prospect": chosen[0], "how": "manual"})
    here.outreach.edit(*told)
    ticked = {"person_job_title": "Seat"}
    here.crm.edit(*({"op": "set", "type": "person", "id": pairs[one], "fields": ticked} for one in chosen[100:150]))


def _rounds(on: Runtime, plans: Plans) -> None:
    """Take a slice of each slow round."""
    applier = on.applier()
    for kind in sweep.KINDS:
        with plans.of(f"sweep {kind.value}"):
            sweep.take(kind, applier, early=True)
    with plans.of("compare"):
        reconcile.take(applier, early=True)
    with plans.of("hints"):
        intake.take(**on.reading())
        webhooks.clean_all(on.store, applier.now())
    with plans.of("feeds"):
        feeds.listen(applier)
    with plans.of("the first pass's end"):
        brakes.note_first_pass(on.store, applier.now())
    with plans.of("calls counted"):
        for budget in on.budgets.values():
            budget.used()
        on.flush()


def _look(on: Runtime, plans: Plans, pairs: dict[int, int]) -> None:
    """Look at everything that operators and their machines look at."""
    applier = on.applier()
    with plans.of("status, metrics"):
        list(families.of(Metrics(on.settings, on.store, applier.now)._facts()))
    with plans.of("ready"):
        Readiness(on.store, applier.now).answer(_asked("/readyz"))
    one = min(pairs)
    for name, wanted in (("a prospect", Selection(prospects=(one,))), ("a person", Selection(people=(pairs[one],)))):
        with plans.of(f"explain {name}"):
            with on.store.read() as db:
                chosen = selection.resolve(db, wanted, applier.now())
            explain.explain(applier, chosen)
    with plans.of("explain an address"), on.store.read() as db:
        selection.resolve(db, Selection(addresses=("nobody@driftwood.example",)), applier.now())
    with plans.of("resync a prospect"):
        resync.resync(on.store, replace(Selection(), prospects=(one,)), names=on.names, now=applier.now())
    with plans.of("failures listed"), on.store.read() as db:
        failures.causes(db)
    with plans.of("held listed"):
        held.entries(on.store)


def _asked(path: str) -> Request:
    return Request("GET", path, "", {})
