from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.web import busy
from tests.web.conftest import MakeWeb, Web
from worker import config
from worker.core.outlook import Outlook
from worker.core.records import Kind
from worker.store import alerts as memory
from worker.store import copy, counters, database, links, outbox, tables, vitals
from worker.store.meta import META
from worker.store.pauses import PAUSE
from worker.sync import outlook
from worker.web import families, metrics, watch

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(web: Web) -> Samples:
    """Return what a scrape tells, by name and labels."""
    told = web.http.get("/metrics")
    assert told.status_code == 200
    assert told.headers["Content-Type"].startswith("text/plain; version=")
    found: Samples = {}
    for family in text_string_to_metric_families(told.text):
        for one in family.samples:
            key = (one.name, tuple(sorted(one.labels.items())))
            assert key not in found, key
            found[key] = one.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float | None:
    """Return one sample."""
    return samples.get((f"outbook_{name}", tuple(sorted(labels.items()))))


@pytest.fixture
def scrape(make_web: MakeWeb, database_url: str) -> Samples:
    """A scrape of a store with work of every kind."""
    web = make_web(url=database_url, now=lambda: busy.NOW)
    busy.fill(web.store)
    return scraped(web)


def test_a_scrape_tells_how_everything_stands(scrape: Samples) -> None:
    """Ages, counts and states as the rows have them, in seconds and calls, on both databases."""
    told: list[tuple[float | None, float | None]] = [
        (value(scrape, "store_reachable"), 1),
        (value(scrape, "opt_out_oldest_age_seconds"), 1000),
        (value(scrape, "due_oldest_age_seconds"), 1000),
        (value(scrape, "changes", standing="due"), 2),
        (value(scrape, "changes", standing="dead"), 1),
        (value(scrape, "changes", standing="held"), 1),
        (value(scrape, "changes", standing="kept"), 0),
        (value(scrape, "changes_leased"), 1),
        (value(scrape, "dead_letters"), 1),
        (value(scrape, "held_entries", kind="brake"), 1),
        (value(scrape, "held_records", kind="brake"), 1),
        (value(scrape, "held_entries", kind="ambiguous"), 0),
        (value(scrape, "cursor_lag_seconds", stream="prospects"), 120),
        (value(scrape, "poll_age_seconds", stream="crmTasks"), 60),
        (value(scrape, "poll_patience_seconds"), 900),
        (value(scrape, "claim_age_seconds"), 20),
        (value(scrape, "tick_age_seconds", who="slow"), 301),
        (value(scrape, "no_progress"), 0),
        (value(scrape, "halted", system="outreach", reason="authorisation"), 1),
        (value(scrape, "halted", system="workbooks", reason="authorisation"), 0),
        (value(scrape, "paused", scope="to-crm"), 1),
        (value(scrape, "paused", scope="all"), 0),
        (value(scrape, "token_left_seconds"), 13 * 86_400),
        (value(scrape, "webhooks_waiting"), 1),
        (value(scrape, "webhooks_total", outcome="stored"), 3),
        (value(scrape, "first_seen_records", stream="prospects", channel="sweep"), 4),
        (value(scrape, "freshness_seconds", direction="to_crm", quantile="0.5"), 4),
        (value(scrape, "freshness_seconds", direction="to_outreach", quantile="0.95"), 10),
        (value(scrape, "writes_total", system="workbooks", action="recreate"), 2),
        (value(scrape, "records_failed_total"), 1),
        (value(scrape, "records_read_total", stream="prospects"), 90),
        (value(scrape, "records_moved_total", stream="prospects"), 7),
        (value(scrape, "echoes_total", stream="people"), 5),
        (value(scrape, "echoes_total", stream="prospects"), 0),
        (value(scrape, "echoes_total", stream="tasks"), None),
        (value(scrape, "round_age_seconds", round="sweep:prospects"), 3600),
    ]
    assert [found for found, _ in told] == [wanted for _, wanted in told]


def test_a_scrape_tells_what_was_called_and_what_may_be(scrape: Samples) -> None:
    """Calls by lane and outcome, latency in buckets, the budget less the reserve that only opt-outs may touch."""
    assert value(scrape, "calls_total", system="outreach", lane="changes") == 170
    assert value(scrape, "calls_total", system="workbooks", lane="changes") == 40
    assert value(scrape, "budget_used_calls", system="outreach", span="hour") == 75
    assert value(scrape, "budget_limit_calls", system="outreach", span="hour") == 10_000
    assert value(scrape, "budget_left_calls", system="outreach", span="hour", lane="optout") == 9925
    assert value(scrape, "budget_left_calls", system="outreach", span="hour", lane="changes") == 8925
    assert value(scrape, "budget_limit_calls", system="workbooks", span="hour") is None
    wrote = {"system": "workbooks", "operation": "write"}
    assert value(scrape, "calls_answered_total", **wrote, outcome="down") == 1
    buckets = [value(scrape, "call_seconds_bucket", **wrote, le=le) for le in ("0.1", "0.25", "30", "+Inf")]
    assert buckets == [0, 1, 1, 2]
    assert value(scrape, "call_seconds_count", **wrote) == 2
    assert value(scrape, "call_seconds_sum", **wrote) == pytest.approx(40.2)


def test_every_family_shows_where_there_is_work(make_web: MakeWeb) -> None:
    """A family that shows nothing in a store with work of every kind could not be built upon. None tells of anybody."""
    web = make_web(now=lambda: busy.NOW)
    busy.fill(web.store)
    told = list(text_string_to_metric_families(web.http.get("/metrics").text))
    assert all(family.name.startswith("outbook_") and family.documentation for family in told)
    assert [family.name for family in told if not family.samples] == ["outbook_key_left_seconds"]  # no date is set
    labels = {f"{name}={its}" for family in told for one in family.samples for name, its in one.labels.items()}
    assert len(labels) < 100
    assert not any("@" in label or "too long" in label for label in labels)


def test_an_empty_store_and_none_at_all_are_told_apart(make_web: MakeWeb) -> None:
    """Nothing in it: reachable, and noughts. Not there: which Outbook this is, that the store does not answer, no more."""
    empty = scraped(make_web())
    assert value(empty, "store_reachable") == 1
    assert value(empty, "opt_out_oldest_age_seconds") == 0
    none = make_web(url="postgresql+psycopg://outbook@127.0.0.1:1/none", tables_too=False)
    began = time.monotonic()
    told = scraped(none)
    assert time.monotonic() - began < 60
    assert {name for name, _ in told} == {"outbook_build_info", "outbook_store_reachable"}
    assert value(told, "store_reachable") == 0


def test_many_scrapes_are_one_look(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a few seconds the store is looked at once, however many ask; then again."""
    looks: list[families.Facts] = []
    of = families.of

    def counted(facts: families.Facts) -> Iterator[Metric]:
        looks.append(facts)
        return of(facts)

    monkeypatch.setattr(families, "of", counted)
    for _ in range(20):
        scraped(web)
    assert len(looks) == 1
    monkeypatch.setattr(metrics, "FRESH_S", 0.0)
    scraped(web)
    assert len(looks) == 2


@pytest.mark.parametrize("many, counted", [(3, 2), (4, 4)])
def test_links_are_counted_once_a_minute_where_they_are_many(
    many: int, counted: int, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three links are many or few: four looks within two minutes count them twice, or each time anew."""
    busy.fill(web.store)
    counts: list[int] = []
    count = links.count

    def noted(db: sa.Connection, kind: Kind) -> int:
        counts.append(count(db, kind))
        return counts[-1]

    monkeypatch.setattr(links, "count", noted)
    monkeypatch.setattr(outlook, "MANY", many)
    at = [busy.NOW]
    lookout = outlook.Lookout(config.load({}, tmp_path, credentials=False), web.store, lambda: at[0])
    told = []
    for seconds in (0, 15, 59, 61):
        at[0] = busy.NOW + timedelta(seconds=seconds)
        told.append(lookout.look().stuck.linked)
    assert told == [3, 3, 3, 3]
    assert counts == [3] * counted


@pytest.fixture
def store(database_url: str) -> Iterator[database.Store]:
    """A store with work of every kind."""
    opened = database.connect(database_url)
    tables.metadata.create_all(opened.engine)
    busy.fill(opened)
    yield opened
    opened.engine.dispose()


def test_the_watch_counts_what_all_webs_received(store: database.Store, tmp_path: Path) -> None:
    """What each web received since it last looked is added up; in the end nothing is left uncounted."""
    settings = config.load({}, tmp_path, credentials=False)
    received = [{"stored": 2, "forged": 0}, {"stored": 5, "forged": 1}]
    watches = [watch.Watch(settings, store, one, lambda: busy.NOW) for one in received]
    for one in watches:
        one.look()
        one.look()
    received[0]["stored"] = 4
    for one in watches:
        one.stop()
    with store.read() as db:
        told = counters.of(counters.told(db), counters.WEBHOOKS)
    assert dict(told) == {("forged",): 1, ("stored",): 3 + 4 + 5}


def test_a_watch_notices_that_nobody_works(
    store: database.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every worker and beat dead a web still notices, by its thread, and goes on after a look that failed."""
    with store.write() as db:
        db.execute(sa.delete(PAUSE))
    monkeypatch.setattr(watch, "EVERY_S", 0.02)
    failures = [RuntimeError("once")]
    look = outlook.look

    def stumbling(*args: object) -> Outlook:
        if failures:
            raise failures.pop()
        return look(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(outlook, "look", stumbling)
    watching = watch.Watch(
        config.load({}, tmp_path, credentials=False), store, {}, lambda: busy.NOW + timedelta(minutes=10)
    )
    deadline = time.monotonic() + 60
    while not (told := _firing(store)) and time.monotonic() < deadline:
        time.sleep(0.02)
    watching.stop()
    assert {"OutbookNoProgress", "OutbookBeatDown", "OutbookOptOutLate"} <= told
    assert "OutbookWorkersDown" not in told  # whoever does not ring hears nobody answer
    assert not failures


def test_a_web_keeps_its_store_from_being_moved(store: database.Store, tmp_path: Path) -> None:
    """From its first moment it ticks; two minutes after its last sign the store may be copied elsewhere."""
    with store.write() as db:
        db.execute(sa.delete(META))
        db.execute(sa.update(outbox.CHANGE).values(lease_until=None))
    watching = watch.Watch(config.load({}, tmp_path, credentials=False), store, {}, lambda: busy.NOW)
    deadline = time.monotonic() + 60
    told: dict[str, datetime] = {}
    while not told and time.monotonic() < deadline:
        with store.read() as db:
            told = vitals.ticks(db)
    watching.stop()
    assert told == {"web": busy.NOW}
    with store.write() as db:
        with pytest.raises(copy.Refused, match="web was at work 30 s ago"):
            copy._must_be_stopped(db, busy.NOW + timedelta(seconds=30))
        copy._must_be_stopped(db, busy.NOW + timedelta(minutes=2))


def _firing(store: database.Store) -> set[str]:
    with store.read() as db:
        return {one.name for one in memory.standing(db) if one.firing}
