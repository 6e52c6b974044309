from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from tests.store.makers import NOW, keep, opened, seen
from worker.core.records import Kind, Link, Ref, System
from worker.store import database, forgotten, links, tables
from worker.store.exchanges import Exchange
from worker.store.exchanges import keep as exchanged
from worker.store.forgotten import Circle
from worker.store.links import Name, Names, Written

NAMES = Names(b"pepper of the tests")
HERS = Circle(frozenset({7}), frozenset({70}), frozenset({"her@example.com", "her@example.net"}))


def fill(store: database.Store) -> None:
    """Prospect 7 and person 70 with all that hangs on them, and prospect 8 beside them."""
    keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 7, addresses=["her@example.com"]), seen(Kind.PROSPECT, 8))
    keep(store, Kind.PERSON, seen(Kind.PERSON, 70, addresses=["her@example.net"], reference=7))
    keep(
        store,
        Kind.STATE,
        seen(Kind.STATE, 1, relations={"prospect": 7}),
        seen(Kind.STATE, 2, relations={"prospect": 8}),
    )
    keep(
        store,
        Kind.TASK,
        seen(Kind.TASK, 7, relations={"sequenceState": 2}),
        seen(Kind.TASK, 5, relations={"sequenceState": 1}),
    )
    keep(
        store,
        Kind.CRM_TASK,
        seen(Kind.CRM_TASK, 50, primary_contact_id=70),
        seen(Kind.CRM_TASK, 51, primary_contact_id=71),
    )
    opened(store, 7, 8)
    with store.write() as db:
        links.save(db, Kind.PROSPECT, [Link(7, 70), Link(8, 71)], NOW)
        written = [Written(Kind.PROSPECT, pid, pid * 10, System.CRM, "update", {}, {"a": "b"}, "") for pid in (7, 8)]
        links.remember(db, written, now=NOW, mapping_version="v")
        exchanged(db, [Exchange(Kind.PERSON, 70, System.CRM, "asked", "told")], NOW)
        links.latch(db, [(Name("prospect", "7"), "opted out")], NOW)


def test_the_circle_is_drawn_by_links_references_and_addresses(store: database.Store) -> None:
    """Whichever name is given, the whole person is found, and nobody else."""
    fill(store)
    for named in (
        Circle(frozenset({7})),
        Circle(people=frozenset({70})),
        Circle(addresses=frozenset({"her@example.net"})),
    ):
        with store.read() as db:
            assert forgotten.circle(db, named) == HERS


def test_what_is_erased_is_hers_alone(store: database.Store) -> None:
    """Rows of every table about her go; another's stay, though a number is the same in another kind."""
    fill(store)
    with store.write() as db:
        forgotten.remember(db, HERS, NAMES, NOW)
        told = forgotten.erase(db, HERS)
    assert told == {
        "mirror": 5,
        "address": 2,
        "reference": 1,
        "change": 1,
        "link": 1,
        "history": 1,
        "exchange": 1,
        "latch": 1,
    }
    with store.write() as db:
        assert forgotten.hanging(db, Circle(frozenset({8}))) == {Ref(Kind.STATE, 2), Ref(Kind.TASK, 7)}
        assert forgotten.circle(db, Circle(frozenset({8}))) == Circle(frozenset({8}), frozenset({71}))
        assert forgotten.erase(db, HERS) == {}


def test_only_hashes_are_remembered_and_known_again(store: database.Store) -> None:
    """By id and address of her own pepper alone; her latch goes on under the hashes of her addresses."""
    fill(store)
    asked = NAMES.of(prospect=7, person=71, addresses=["her@example.com"])
    with store.write() as db:
        assert not forgotten.anybody(db)
        forgotten.remember(db, HERS, NAMES, NOW)
        forgotten.remember(db, HERS, NAMES, NOW)
        assert forgotten.anybody(db)
        assert set(forgotten.since(db, asked, NAMES)) == {asked[0], Name("prospect", "7")}
        assert forgotten.since(db, asked, Names(b"another pepper")).keys() == {asked[0]}
        keys = [row.key for row in db.execute(forgotten.FORGOTTEN.select())]
        addresses = NAMES.of(prospect=None, person=None, addresses=HERS.addresses)
        assert links.latched(db, addresses) == set(addresses)
    assert len(keys) == 4
    assert all(len(key) == 64 for key in keys)


def test_no_byte_stays_in_the_file(tmp_path: Path) -> None:
    """On a SQLite that overwrites nothing by itself the file and its log are clean afterwards; a reader in the way is told."""
    store = database.connect(f"sqlite:///{tmp_path / 'store.db'}")
    sa.event.listen(store.engine, "connect", lambda driver, _: driver.execute("PRAGMA secure_delete=OFF"))
    tables.metadata.create_all(store.engine)
    fill(store)
    with store.write() as db:
        forgotten.erase(db, HERS)
    assert _bytes(tmp_path).count(b"her@example") > 0
    with store.read() as reader:
        reader.execute(sa.text("SELECT * FROM mirror")).fetchone()
        assert not forgotten.sweep_away(store, wait_ms=50)
    assert forgotten.sweep_away(store)
    assert _bytes(tmp_path).count(b"her@example") == 0
    store.engine.dispose()


def _bytes(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir())
