"""How everything stands, drawn from rows written by hand, on both databases."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from tests.store.makers import NOW, keep, later, seen
from worker.core.outlook import InForce, Outlook, Resting
from worker.core.records import Kind, Link, Shadow, System
from worker.store import brakes, database, links, meta, outbox, tables
from worker.store.circuits import Circuits
from worker.store.links import Name, Written
from worker.store.outbox import Lane
from worker.store.respites import Respites
from worker.sync import outlook
from worker.sync.outlook import Terms

SAME = InForce("sha256:aa", NOW, "mapping.yaml", "sha256:aa", differs=False, problem=None, unread=())
TERMS = Terms(mapping=SAME, hourly=1000, yearly=100_000, no_email="no_email_soliciting")


def _drawn(store: database.Store, told: Terms = TERMS, at: float = 0) -> Outlook:
    return outlook.look(store, told, later(at))


def _insert(store: database.Store, row: type, **values: object) -> None:
    with store.write() as db:
        db.execute(sa.insert(row.__table__).values(**values))  # type: ignore[attr-defined]


def _polled(store: database.Store, *, trouble: str | None = None) -> None:
    for kind in Kind:
        mine = trouble if kind is Kind.TASK else None
        _insert(
            store, tables.CursorRow, stream=kind.value, primed_at=NOW, polled_at=NOW, polls=3, fence=1, trouble=mine
        )


def _linked(store: database.Store, *ids: int, gone: bool = False) -> None:
    with store.write() as db:
        links.save(db, Kind.PROSPECT, [Link(one, one + 1000, Shadow(), gone=gone) for one in ids], NOW)


def test_an_empty_store_says_to_begin(store: database.Store) -> None:
    """Nothing has been read: not fresh, nothing unsafe, and the first thing to type is `outbook sync`."""
    told = _drawn(store)
    assert (told.safe.ok, told.fresh.ok, told.stuck.ok, told.budget.ok) == (True, False, True, True)
    assert [(one.why, one.command) for one in told.next] == [("nothing has been read yet", "outbook sync")]


def test_a_store_in_which_all_is_well_says_nothing(store: database.Store) -> None:
    """Every stream read, everybody in sync: four times ok and nothing to do; tombstones are no pairs."""
    _polled(store)
    _linked(store, 1, 2, 3)
    _linked(store, 4, gone=True)
    told = _drawn(store, at=60)
    assert (told.safe.ok, told.fresh.ok, told.stuck.ok, told.budget.ok, told.next) == (True, True, True, True, ())
    assert (told.stuck.linked, told.stuck.in_sync) == (3, 3)
    assert told.fresh.streams[0].polled_age_s == 60.0


def test_open_changes_by_where_they_stand(store: database.Store) -> None:
    """Due, deferred, waiting, held, failed and kept back are told apart; a linked person with one is not in sync."""
    _polled(store)
    _linked(store, 1, 2, 3)
    with store.write() as db:
        outbox.open_changes(db, Kind.PROSPECT, [1, 2, 11, 12, 13, 14], lane=Lane.EDIT, now=NOW)
        stands: dict[int, dict[str, object]] = {
            2: {"next_at": later(900)},
            11: {"state": "waiting"},
            12: {"state": "held", "hold_key": "ambiguous:prospects:12"},
            13: {"state": "dead", "error": "title: is too long", "failed_at": later(-30)},
            14: {"state": "kept"},
        }
        for record, values in stands.items():
            db.execute(sa.update(outbox.CHANGE).where(outbox.CHANGE.c.record_id == record).values(**values))
        outbox.post_hold(db, key="ambiguous:prospects:12", kind="ambiguous", words="two could be meant", now=NOW)
        links.exclude(db, Kind.PROSPECT, {21: "never in a sequence", 22: "never in a sequence", 23: "no address"}, [])
    stuck = _drawn(store, at=60).stuck
    tally = stuck.open
    assert (tally.due, tally.deferred, tally.waiting, tally.held, tally.failed, tally.kept_back) == (1, 1, 1, 1, 1, 1)
    assert (stuck.ok, stuck.linked, stuck.in_sync) == (False, 3, 1)
    assert [(one.reason, one.records) for one in stuck.excluded] == [("never in a sequence", 2), ("no address", 1)]
    assert stuck.excluded_records == 3
    assert [(one.kind, one.entries, one.records) for one in stuck.held] == [("ambiguous", 1, 1)]
    assert [(one.cause, one.records, one.newest) for one in stuck.failed] == [("title: is too long", 1, later(-30))]
    assert [one.command for one in _drawn(store, at=60).next] == ["outbook held list", "outbook failures list"]


def test_the_oldest_opt_out_and_what_keeps_it(store: database.Store) -> None:
    """An opt-out on its way has an age and after a quarter of an hour is unsafe; kept ones are told with what keeps them."""
    _polled(store)
    with store.write() as db:
        outbox.open_changes(db, Kind.PROSPECT, [1], lane=Lane.OPT_OUT, now=NOW)
        outbox.open_changes(db, Kind.PROSPECT, [2, 3], lane=Lane.EDIT, now=later(-500))
        outbox.open_changes(db, Kind.PROSPECT, [4], lane=Lane.OPT_OUT, now=later(120))
        kept = outbox.CHANGE.c.record_id.in_([3, 4])
        db.execute(sa.update(outbox.CHANGE).where(kept).values(state="kept"))
    _insert(store, tables.PauseRow, scope="to-crm", since=NOW, words="the importer runs")
    soon = _drawn(store, at=600).safe
    assert (soon.ok, soon.opt_outs.undelivered, soon.opt_outs.oldest_at, soon.opt_outs.oldest_age_s) == (
        True,
        2,
        NOW,
        600.0,
    )
    assert (soon.kept_back.records, soon.kept_back.opt_outs) == (2, 1)
    assert soon.kept_back.because == ("paused: to-crm",)
    assert _drawn(store, at=901).safe.ok is False
    both = Terms(mapping=SAME, writes=False, pilot=True)
    assert _drawn(store, both).safe.kept_back.because == ("paused: to-crm", "OUTBOOK_WRITES", "OUTBOOK_ONLY")
    assert _drawn(store).next[0].command == "outbook resume to-crm"


@pytest.mark.parametrize("prospect,person,failed", [(True, True, 0), (True, False, 1), (False, True, 1)])
def test_a_dead_letter_is_a_failed_opt_out_only_if_one_side_does_not_show_it(
    store: database.Store, prospect: bool, person: bool, failed: int
) -> None:
    """A refused title beside an opt-out that got through is no unsafe one; an opt-out that did not is, and comes first."""
    _polled(store)
    _linked(store, 1)
    keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 1, emailOptedOut=prospect))
    keep(store, Kind.PERSON, seen(Kind.PERSON, 1001, no_email_soliciting=person))
    with store.write() as db:
        outbox.open_changes(db, Kind.PROSPECT, [1], lane=Lane.OPT_OUT, now=NOW)
        db.execute(sa.update(outbox.CHANGE).values(state="dead", error="title: no"))
    told = _drawn(store, at=60)
    assert (told.safe.opt_outs.failed, told.safe.ok) == (failed, failed == 0)
    assert (told.next[0].why == "1 opt-outs could not be delivered") is bool(failed)


def test_too_many_opt_outs_within_an_hour_raise_an_alarm(store: database.Store) -> None:
    """Above 20 and 2 % of the linked: 21 of 1,000 do, 20 do not, the first load's and yesterday's do not count."""
    _linked(store, *range(1, 1001))
    with store.write() as db:
        many = [(Name("prospect", str(one)), "optedOut") for one in range(1, 22)]
        links.latch(db, [*many, (Name("person", "1001"), "optedOut")], NOW)
        links.latch(db, [(Name("prospect", str(one)), "optedOut") for one in range(50, 90)], later(-7200))
    assert _drawn(store, at=60).safe.opt_outs.last_hour == 0
    with store.write() as db:
        meta.replace(db, brakes.THROUGH, later(-86_400).isoformat())
    told = _drawn(store, at=60).safe
    assert (told.opt_outs.last_hour, told.opt_outs.alarm, told.ok) == (21, True, False)
    with store.write() as db:
        db.execute(sa.delete(links.LATCH).where(links.LATCH.c.key == "21"))
    assert _drawn(store, at=60).safe.opt_outs.alarm is False


def test_percentiles_are_by_nearest_rank_and_of_a_day(store: database.Store) -> None:
    """Of twenty writes of 1 to 20 s the median is 10 and the 95th percentile 19; older ones and causeless ones are out."""
    writes = [
        Written(Kind.PROSPECT, one, 1000 + one, System.CRM, "update", {}, {}, "", caused_at=later(-one))
        for one in range(1, 21)
    ]
    none = Written(Kind.PROSPECT, 30, 1030, System.CRM, "update", {}, {}, "")
    old = Written(Kind.PROSPECT, 31, 1031, System.CRM, "update", {}, {}, "", caused_at=later(-900_000))
    with store.write() as db:
        links.remember(db, [*writes, none], now=NOW, mapping_version="v")
        links.remember(db, [old], now=later(-90_000), mapping_version="v")
    fresh = _drawn(store, at=60).fresh
    assert (fresh.to_crm.writes, fresh.to_crm.p50_s, fresh.to_crm.p95_s) == (20, 10.0, 19.0)
    assert (fresh.to_outreach.writes, fresh.to_outreach.p50_s) == (0, None)


def test_freshness_is_told_by_stream(store: database.Store) -> None:
    """Each write counts for the stream that brought its cause, and for its direction; one of unknown cause for that alone."""
    told = [(System.CRM, Kind.STATE, 3), (System.CRM, Kind.STATE, 9), (System.CRM, Kind.PROSPECT, 4)]
    told += [(System.OUTREACH, Kind.PERSON, 7)]
    writes = [
        Written(Kind.PROSPECT, age, 1000 + age, system, "update", {}, {}, "", caused_at=later(-age), caused_by=stream)
        for system, stream, age in told
    ]
    unknown = Written(Kind.PROSPECT, 20, 1020, System.CRM, "update", {}, {}, "", caused_at=later(-20))
    with store.write() as db:
        links.remember(db, [*writes, unknown], now=NOW, mapping_version="v")
    fresh = _drawn(store, at=60).fresh
    lags = {one.stream: (one.lag.writes, one.lag.p95_s) for one in fresh.streams if one.lag.writes}
    assert lags == {"prospects": (1, 4.0), "sequenceStates": (2, 9.0), "people": (1, 7.0)}
    assert (fresh.to_crm.writes, fresh.to_crm.p95_s, fresh.to_outreach.p95_s) == (4, 20.0, 7.0)


def test_the_oldest_slice_is_as_old_as_its_turn_in_the_last_round(store: database.Store) -> None:
    """A round of 10 hours, the next a quarter through: the slice next in turn was compared 7.5 hours before that one ended."""
    last = f'{{"began_at": "{later(-36_000).isoformat()}", "coverage": 100, "findings": []}}'
    _insert(
        store,
        tables.RoundRow,
        name="reconcile",
        place_id=7,
        fence=1,
        began_at=later(-600),
        ended_at=NOW,
        told='{"done": 5, "slices": 20}',
        last=last,
    )
    _insert(store, tables.RoundRow, name="sweep", place_id=0, fence=1, told="{}", last="{}")
    reconcile, sweep = _drawn(store).nets.rounds
    assert (reconcile.part, reconcile.oldest_at) == (0.25, later(-27_000))
    assert (sweep.part, sweep.oldest_at) == (None, None)


def test_a_sweep_under_way_is_told_without_how_far_it_is(store: database.Store) -> None:
    """The sweep counts the slices it has taken, not those there will be; it has no bearing on the oldest slice."""
    told = '{"slices": 3, "read": 3000, "count": 9000, "top": 9000}'
    _insert(store, tables.RoundRow, name="sweep:prospects", place_id=3000, fence=1, began_at=later(-60), told=told)
    (sweep,) = _drawn(store).nets.rounds
    assert (sweep.began_at, sweep.part, sweep.oldest_at) == (later(-60), None, None)


def test_the_budget_and_when_it_runs_out(store: database.Store) -> None:
    """10 calls an hour for two days are 87,600 a year: with 50,000 a year, 480 used, it ends after some 206 days."""
    for hour in range(48):
        at = later(-3600 * hour)
        _insert(store, tables.CallRow, system="outreach", lane="changes", hour=at, calls=10)
    spent = _drawn(store, Terms(mapping=SAME, hourly=1000, yearly=50_000)).budget
    mine = spent.outreach
    assert (mine.hour_used, mine.hour_limit, mine.hour_left) == (10, 1000, 990)
    assert (mine.year_used, mine.year_left) == (480, 49_520)
    assert mine.a_year_at_this_pace is not None
    assert 87_000 <= mine.a_year_at_this_pace <= 90_000
    assert mine.runs_out_on is not None
    assert date(2027, 6, 5) <= mine.runs_out_on <= date(2027, 6, 16)
    assert spent.ok is False
    assert _drawn(store).budget.outreach.runs_out_on is None
    assert spent.workbooks.a_year_at_this_pace is None


def test_a_first_load_frightens_nobody(store: database.Store) -> None:
    """20,000 calls at once and 2 an hour since are 17,520 a year: what is left bears that, and nothing is slowed."""
    _insert(store, tables.CallRow, system="outreach", lane="load", hour=later(-3600 * 72), calls=20_000)
    for hour in range(72):
        _insert(store, tables.CallRow, system="outreach", lane="polls", hour=later(-3600 * hour), calls=2)
    told = _drawn(store, Terms(mapping=SAME, hourly=1000, yearly=50_000)).budget
    assert (told.outreach.year_used, told.outreach.runs_out_on, told.ok, told.slowed) == (20_144, None, True, ())
    assert told.outreach.a_year_at_this_pace is not None
    assert 17_000 <= told.outreach.a_year_at_this_pace <= 17_600


def test_a_year_that_runs_short_names_who_is_slowed(store: database.Store) -> None:
    """Ten times that pace and everything that can wait is slowed or stopped, history first."""
    for hour in range(72):
        _insert(store, tables.CallRow, system="outreach", lane="polls", hour=later(-3600 * hour), calls=20)
    told = _drawn(store, Terms(mapping=SAME, hourly=1000, yearly=50_000)).budget
    assert [(one.lane, one.rate) for one in told.slowed] == [
        ("backfill", 0.0),
        ("reconcile", 0.0),
        ("sweep", 0.0),
        ("polls", 0.017),
    ]
    assert told.outreach.runs_out_on is not None


def test_trouble_and_silence_are_not_fresh(store: database.Store) -> None:
    """A stream that cannot be read says why and sends to the doctor; a store nobody reads from for 20 min is not fresh."""
    _polled(store, trouble="answered 503")
    told = _drawn(store, at=60)
    assert (told.fresh.ok, [one.trouble for one in told.fresh.streams if one.trouble]) == (False, ["answered 503"])
    assert told.next[0].command == "outbook doctor"
    with store.write() as db:
        db.execute(sa.update(tables.CursorRow.__table__).values(trouble=None))  # type: ignore[attr-defined]
    assert _drawn(store, at=60).fresh.ok is True
    assert [one.command for one in _drawn(store, at=1200).next] == ["outbook up"]


def test_keys_nets_and_the_mapping(store: database.Store) -> None:
    """What runs out is told in days, what the sweep alone saw in records, and another mapping in the file as such."""
    _polled(store)
    _insert(store, tables.TokenRow, vendor="outreach", sealed="…", seeds="[]", fence=1, minted_at=later(-86_400))
    _insert(store, tables.WebhookRow, event="1", at=later(-5), body=b"{}")
    _insert(store, tables.SightRow, stream="tasks", channel="sweep", day=NOW - timedelta(days=1), records=3)
    _insert(store, tables.SightRow, stream="tasks", channel="poll", day=NOW - timedelta(days=1), records=40)
    other = InForce("sha256:aa", NOW, "m.yaml", "sha256:bb", differs=True, problem=None, unread=("people",))
    told = _drawn(store, Terms(mapping=other, key_expires=date(2026, 11, 30)))
    keys = told.credentials
    assert (keys.workbooks_key_days_left, keys.outreach_days_left) == (10, 13.0)
    assert (told.nets.webhooks.last_at, told.nets.webhooks.waiting) == (later(-5), 1)
    assert (told.nets.caught_only_by_sweep, dict(told.nets.seen)) == (3, {"sweep": 3, "poll": 40})
    assert [one.command for one in told.next] == ["outbook doctor", "outbook plan --mapping m.yaml"]


def test_calls_that_rest_are_told_by_whom_of_which_kind_and_why(store: database.Store) -> None:
    """A wait until it is over, and an open circuit until a call is answered; answered ones tell nothing."""
    Respites(store, System.CRM, lambda: NOW).asked("write", 120)
    failing = Circuits(store, System.OUTREACH, lambda: NOW)
    for _ in range(20):
        failing.note("read", "down", 0.0)
    Circuits(store, System.CRM, lambda: NOW).note("read", "down", 0.0)
    asked = Resting("workbooks", "write", "asked", NOW, later(120))
    fails = Resting("outreach", "read", "failing", NOW)
    assert _drawn(store, at=119).work.resting == (asked, fails)
    assert _drawn(store, at=120).work.resting == (fails,)
    failing = Circuits(store, System.OUTREACH, lambda: later(121))
    failing.heed("read")
    failing.note("read", "ok", 0.0)
    assert _drawn(store, at=122).work.resting == ()
