from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.store.makers import NOW, claimed, keep, later, opened, seen
from worker.core.records import Kind, Link, System
from worker.store import copy, database, links, meta, upgrade, vitals
from worker.store.links import Written
from worker.store.tables import metadata
from worker.store.webhooks import Arrival
from worker.store.webhooks import keep as arrived

pytestmark = pytest.mark.postgres
MUCH = 1203


@contextlib.contextmanager
def at(url: str) -> Iterator[database.Store]:
    """A store that is closed afterwards."""
    store = database.connect(url)
    yield store
    store.engine.dispose()


@pytest.fixture(params=["to postgres", "to sqlite"])
def pair(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_url: str
) -> Iterator[tuple[database.Store, database.Store]]:
    """A filled store and an empty database of the other kind."""
    urls = [f"sqlite:///{tmp_path / 'store.db'}", postgres_url]
    with at(urls[request.param == "to sqlite"]) as source, at(urls[request.param != "to sqlite"]) as target:
        upgrade.upgrade(source)
        fill(source)
        yield source, target


def fill(store: database.Store) -> None:
    """Rows in several tables, more than two portions in one, odd texts, bytes and times among them; a change settled."""
    odd = 'Zoë "\\u0000" – 名前 \U0001f600'
    keep(
        store,
        Kind.PROSPECT,
        *(seen(Kind.PROSPECT, n, addresses=[f"p{n}@example.com"], firstName=odd) for n in range(1, MUCH)),
    )
    keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 2**53 + 1, at=None, deleted=True))
    opened(store, 1, 2, 3)
    with store.write() as db:
        links.save(db, Kind.PROSPECT, [Link(1, 10), Link(2, 20, gone=True)], NOW + timedelta(microseconds=123456))
        write = Written(Kind.PROSPECT, 1, 10, System.CRM, "create", {}, {"a": odd}, odd)
        links.remember(db, [write], now=NOW, mapping_version="v")
        arrived(db, [Arrival("event", b"\x00\xff{}", NOW)])
        meta.replace(db, "fact", "told")
        db.execute(sa.text("INSERT INTO counter (name, labels, total) VALUES ('c', '', 0.1)"))
        db.execute(sa.text("DELETE FROM change WHERE record_id = 3"))


def moved(source: database.Store, target: database.Store) -> dict[str, int]:
    """Copy at one hour past; return the rows by table, the empty ones left out."""
    told = copy.copy(source, target, now=later(3600), on_rows=lambda *_: None)
    return {one.table: one.rows for one in told if one.rows}


def everything(store: database.Store) -> dict[str, list[tuple[object, ...]]]:
    """Every row but the marks, sorted."""
    with store.read() as db:
        told = {
            t.name: sorted((tuple(row) for row in db.execute(sa.select(t))), key=repr) for t in metadata.sorted_tables
        }
    told["meta"] = [row for row in told["meta"] if row[0] not in {copy.MOVED, copy.COPYING}]
    return told


def test_everything_arrives_and_the_source_is_closed(pair: tuple[database.Store, database.Store]) -> None:
    """Every row is the same there, new rows get numbers that were never given before, and the old store says where it went."""
    source, target = pair
    assert moved(source, target) == {
        "address": MUCH - 1,
        "change": 2,
        "counter": 1,
        "history": 1,
        "link": 2,
        "meta": 1,
        "mirror": MUCH,
        "webhook": 1,
    }
    assert everything(target) == everything(source)
    assert copy.closed(target) is None
    assert copy.closed(source) == (
        f"this store was moved to {copy.place(target)}, 2026-11-20 10:00 UTC: set OUTBOOK_DATABASE_URL to that"
    )
    opened(target, 4)
    with target.read() as db:
        assert db.scalar(sa.text("SELECT id FROM change WHERE record_id = 4")) == 4
    assert copy.copy(source, target, now=later(3600), on_rows=lambda *_: None) == []


@pytest.mark.parametrize("dies_at", ["rows", "mark", "end"])
def test_after_a_crash_the_same_again_ends_well(
    pair: tuple[database.Store, database.Store], monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    """Dying amid the rows, before the source's mark or right after: the target is no use yet; the second run makes it whole."""
    source, target = pair
    before = everything(source)

    class Died(BaseException):
        pass

    def die(*_: object) -> None:
        raise Died

    def on_rows(table: str, rows: int) -> None:
        if dies_at == "rows" and table == "mirror" and rows > 1000:
            raise Died

    with monkeypatch.context() as patch:
        if dies_at == "mark":
            patch.setattr(meta, "replace", _after_first(meta.replace, die))
        elif dies_at == "end":
            patch.setattr(meta, "forget", die)
        with pytest.raises(Died):
            copy.copy(source, target, now=later(3600), on_rows=on_rows)
    assert "unfinished copy" in (copy.closed(target) or "")
    assert (copy.closed(source) is not None) is (dies_at == "end")
    assert moved(source, target)["mirror"] == MUCH
    assert everything(target) == before
    assert copy.closed(target) is None


def _after_first(real: Callable[..., object], then: Callable[..., object]) -> Callable[..., object]:
    """The first call is real, the next one is not."""
    calls: list[object] = []

    def call(*arguments: object) -> object:
        calls.append(arguments)
        return (real if len(calls) == 1 else then)(*arguments)

    return call


def test_a_store_at_work_is_refused(pair: tuple[database.Store, database.Store]) -> None:
    """A lease, or a tick of a minute ago: nothing is copied; two minutes after the last sign of life it is."""
    source, target = pair
    claimed(source, at=3590)
    with pytest.raises(copy.Refused, match="change is leased"):
        moved(source, target)
    with source.write() as db:
        db.execute(sa.text("UPDATE change SET lease_until = NULL"))
    vitals.Ticks(source).note("beat", later(3500))
    with pytest.raises(copy.Refused, match="beat was at work 100 s ago"):
        moved(source, target)
    assert upgrade.current(target) is None
    vitals.Ticks(source).note("beat", later(3480))
    assert moved(source, target)["mirror"] == MUCH


def test_a_store_of_the_next_release_is_not_copied(pair: tuple[database.Store, database.Store]) -> None:
    """It may be worked with, but what this program does not know of would stay behind; nor is such a one a target."""
    source, target = pair
    following = f"{int(upgrade.head()) + 1:04d}"
    for ahead, words in ((source, "not of this version"), (target, "of another version")):
        upgrade.upgrade(ahead)
        with ahead.write() as db:
            db.execute(sa.text("UPDATE alembic_version SET version_num = :v"), {"v": following})
        with pytest.raises(copy.Refused, match=words):
            moved(source, target)
        with source.write() as db:
            db.execute(sa.text("UPDATE alembic_version SET version_num = :v"), {"v": upgrade.head()})
    assert copy.closed(source) is None


def test_a_target_in_use_is_refused(pair: tuple[database.Store, database.Store]) -> None:
    """A database that holds anything is left as it is, and so is the source itself."""
    source, target = pair
    upgrade.upgrade(target)
    with target.write() as db:
        meta.replace(db, "theirs", "fact")
    with pytest.raises(copy.Refused, match="not empty"):
        moved(source, target)
    assert everything(target)["meta"] == [("theirs", "fact")]
    with pytest.raises(copy.Refused, match="the very database"):
        moved(source, source)
    assert copy.closed(source) is None


def test_what_does_not_arrive_is_noticed(
    pair: tuple[database.Store, database.Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One value altered on the way: refused, the source is not marked."""
    source, target = pair
    real = copy._go_on_after

    def alter(db: sa.Connection, table: sa.Table, last: int) -> None:
        real(db, table, last)
        if table.name == "link":
            db.execute(sa.text("UPDATE link SET crm_id = 11 WHERE crm_id = 10"))

    monkeypatch.setattr(copy, "_go_on_after", alter)
    with pytest.raises(copy.Refused, match="link is not the same"):
        moved(source, target)
    assert copy.closed(source) is None


def test_no_password_is_told_wherever_it_stands() -> None:
    """In a URL's query as well: the mark in the old store, and what is printed, name hosts and ports alone."""
    url = "postgresql+psycopg://outbook:zyxword@/x?host=/run/pg&password=zyxword&sslpassword=zyxword&user=zyxword"
    store = database.connect(url)
    assert copy.place(store) == "postgresql+psycopg://outbook:***@/x?host=%2Frun%2Fpg"
    store.engine.dispose()
