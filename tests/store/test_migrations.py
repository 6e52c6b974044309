"""Every store gets from any version to the newest and stands there exactly as the models say."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from worker.store import database, migrating, tables, upgrade

ROOT = Path(__file__).resolve().parents[2]
BEFORE = "0002"
"""The version before the newest: its programs may go on beside the new ones for one release."""


@pytest.fixture
def store(database_url: str) -> Iterator[database.Store]:
    """An empty database."""
    opened = database.connect(database_url)
    yield opened
    opened.engine.dispose()


def set_version(store: database.Store, version: str) -> None:
    """Pretend that the store is at ``version``."""
    with store.write() as db:
        db.execute(sa.text("UPDATE alembic_version SET version_num = :v"), {"v": version})


def test_migrated_schema_is_that_of_the_models(store: database.Store) -> None:
    """After all migrations nothing differs from ``tables``: no table, column, type, index or constraint."""
    migrating.up(store)
    with store.read() as db:
        context = MigrationContext.configure(db, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, tables.metadata) == []


def test_primary_keys_are_those_of_the_models(store: database.Store) -> None:
    """Primary keys, which alembic does not compare, are the models' too, in the same order."""
    migrating.up(store)
    inspector = sa.inspect(store.engine)
    for table in tables.metadata.sorted_tables:
        columns = [column.name for column in table.primary_key.columns]
        assert inspector.get_pk_constraint(table.name)["constrained_columns"] == columns, table.name


SCHEMA = {
    "sqlite": (
        (
            'SELECT m.name, c.name, c.type, c."notnull", c.dflt_value, c.pk, c.hidden'
            " FROM sqlite_master m, pragma_table_xinfo(m.name) c WHERE m.type = 'table'"
        ),
        (
            'SELECT m.name, i."unique", i.origin, i.partial, c.seqno, c.name'
            " FROM sqlite_master m, pragma_index_list(m.name) i, pragma_index_info(i.name) c WHERE m.type = 'table'"
        ),
        "SELECT m.name, f.* FROM sqlite_master m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table'",
        "SELECT name, sql FROM sqlite_master WHERE type <> 'table'",
    ),
    "postgresql": (
        (
            "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default"
            " FROM information_schema.columns WHERE table_schema = 'public'"
        ),
        "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        (
            "SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace"
        ),
    ),
}
"""What a database says of its tables, but for the order of their columns."""


def schema(store: database.Store) -> dict[str, set[str]]:
    """Return everything that the database itself says of its tables."""
    queries = SCHEMA[store.engine.dialect.name]
    with store.read() as db:
        return {query: {str(row) for row in db.execute(sa.text(query))} for query in queries}


def test_a_store_made_at_once_is_that_of_all_migrations(store: database.Store) -> None:
    """An empty store, which no migration touches, becomes what the migrations make of it."""
    migrating.up(store)
    migrated = schema(store)
    assert len(str(migrated)) > 5000
    with store.write() as db:
        tables.metadata.drop_all(db)
        db.execute(sa.text("DROP TABLE alembic_version"))
    upgrade.upgrade(store)
    assert schema(store) == migrated
    assert upgrade.current(store) == upgrade.head()


def test_up_and_down_leaves_nothing(store: database.Store) -> None:
    """Down to the base nothing of ours is left, and the way up works again, also where the tables were made at once."""
    migrating.up(store)
    migrating.down(store, "base")
    assert sa.inspect(store.engine).get_table_names() == ["alembic_version"]
    assert upgrade.standing(store) is upgrade.Standing.EMPTY
    upgrade.upgrade(store)
    assert upgrade.current(store) == upgrade.head()
    migrating.down(store, "base")
    assert sa.inspect(store.engine).get_table_names() == ["alembic_version"]


def an_old_row(table: sa.Table, number: int) -> dict[str, object]:
    """Return a row as a program of the version before writes it: only the columns that it knows."""
    made: dict[str, object] = {}
    for column in table.columns:
        if isinstance(column.type, sa.Boolean):
            made[column.name] = False
        elif isinstance(column.type, sa.Integer | sa.BigInteger):
            made[column.name] = number
        elif isinstance(column.type, sa.LargeBinary):
            made[column.name] = bytes([number])
        elif isinstance(column.type, sa.Float):
            made[column.name] = number / 2
        elif isinstance(column.type, sa.DateTime):
            made[column.name] = datetime(2026, 11, 20, 9, number)  # noqa: DTZ001 - stored without a zone
        else:
            made[column.name] = f"{{{number}}}"
    return made


def test_rows_of_the_version_before_outlive_the_upgrade(store: database.Store) -> None:
    """Every row is as it was, and programs of both versions may write side by side; the way back loses none either."""
    migrating.up(store)
    migrating.down(store, BEFORE)
    old = sa.MetaData()
    old.reflect(store.engine)
    known = [table for table in old.sorted_tables if table.name != "alembic_version"]
    assert len(known) > 10
    with store.write() as db:
        for table in known:
            db.execute(sa.insert(table).values(an_old_row(table, 1)))
    upgrade.upgrade(store)
    with store.write() as db:
        for table in known:
            db.execute(sa.insert(table).values(an_old_row(table, 2)))
    migrating.down(store, BEFORE)
    with store.read() as db:
        for table in known:
            rows = sorted(db.execute(sa.select(table)).mappings().all(), key=str)
            assert [dict(row) for row in rows] == [an_old_row(table, 1), an_old_row(table, 2)], table.name


def test_standing_tells_empty_behind_ready_and_ahead(store: database.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller can tell whether the store may be used, must be upgraded, or belongs to a newer program."""
    assert (upgrade.standing(store), upgrade.current(store)) == (upgrade.Standing.EMPTY, None)
    assert upgrade.upgrade(store) == upgrade.head()
    assert (upgrade.standing(store), upgrade.current(store)) == (upgrade.Standing.READY, upgrade.head())
    with monkeypatch.context() as patched:
        patched.setattr(upgrade, "head", lambda: "one that comes later")
        assert upgrade.standing(store) is upgrade.Standing.BEHIND
    set_version(store, "9999")
    assert upgrade.standing(store) is upgrade.Standing.AHEAD


def test_programs_of_one_release_before_go_on(store: database.Store) -> None:
    """While a release is rolled out, and after a roll-back, the one before works on its store; two releases before do not."""
    upgrade.upgrade(store)
    following = int(upgrade.head()) + 1
    set_version(store, f"{following:04d}")
    assert upgrade.standing(store) is upgrade.Standing.READY
    assert upgrade.upgrade(store) == f"{following:04d}"
    assert upgrade.current(store) == f"{following:04d}"
    set_version(store, f"{following + 1:04d}")
    assert upgrade.standing(store) is upgrade.Standing.AHEAD


def test_store_of_a_newer_program_is_left_alone(store: database.Store) -> None:
    """An upgrade of a store that is ahead fails with a sentence for people and changes nothing."""
    upgrade.upgrade(store)
    set_version(store, "9999")
    with pytest.raises(upgrade.StoreAhead, match="newer Outbook"):
        upgrade.upgrade(store)
    assert upgrade.current(store) == "9999"


def test_failed_migration_leaves_nothing_behind(store: database.Store) -> None:
    """A migration that breaks half-way is undone altogether, tables included, and can be repeated."""

    def cut(_db: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
        if "CREATE TABLE token" in statement:
            raise RuntimeError("power cut")

    sa.event.listen(store.engine, "before_cursor_execute", cut)
    with pytest.raises(RuntimeError):
        upgrade.upgrade(store)
    sa.event.remove(store.engine, "before_cursor_execute", cut)
    assert sa.inspect(store.engine).get_table_names() == []
    upgrade.upgrade(store)
    assert upgrade.standing(store) is upgrade.Standing.READY


def test_threads_that_upgrade_at_once_all_succeed(database_url: str) -> None:
    """Four upgrades of one empty database at the same moment end with one schema and no error."""
    barrier = threading.Barrier(4)
    failures: list[BaseException] = []

    def run() -> None:
        barrier.wait(60)
        try:
            upgrade.upgrade(database_url)
        except BaseException as error:  # noqa: BLE001 - a thread's failure must reach the test
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    store = database.connect(database_url)
    assert upgrade.standing(store) is upgrade.Standing.READY
    store.engine.dispose()


@pytest.mark.processes
def test_processes_that_upgrade_at_once_all_succeed(database_url: str, tmp_path: Path) -> None:
    """Processes that start together, from any directory, all find or make the newest schema."""
    script = "import sys; from worker.store import upgrade; print(upgrade.upgrade(sys.argv[1]))"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, database_url],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    assert [process.communicate(timeout=90)[0].strip() for process in processes] == [upgrade.head()] * 3
