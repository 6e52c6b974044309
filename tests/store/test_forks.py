"""A process that forks and its child never share a connection to the store."""

from __future__ import annotations

import os

import pytest
import sqlalchemy as sa

from tests.store.makers import NOW
from worker.core.records import Kind
from worker.store import bulk, database, outbox
from worker.store.outbox import Lane

pytestmark = pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")


def open_one(store: database.Store, record_id: int) -> None:
    """Queue one prospect."""
    with store.write() as db:
        outbox.open_changes(db, Kind.PROSPECT, [record_id], lane=Lane.EDIT, now=NOW)


def marks(store: database.Store) -> tuple[object, object]:
    """Return whether this connection bears the parent's mark, and which of the server's processes answers it."""
    with store.read() as db:
        server = db.scalar(sa.text("SELECT pg_backend_pid()")) if db.dialect.name == "postgresql" else None
        return db.info.get("parent"), server


def forked(store: database.Store, before: tuple[object, object]) -> int:
    """Let a child look, write and end; return 0 if its connection was its own."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        mark, server = marks(store)
        open_one(store, 2)
        code = 0 if mark is None and (server is None or server != before[1]) else 2
    finally:
        os._exit(code)


def test_a_child_opens_its_own(store: database.Store) -> None:
    """With a connection idle and another in the middle of a transaction, the child uses neither; both sides go on."""
    open_one(store, 1)
    with store.read() as db:
        db.info["parent"] = True
        known = db.scalar(sa.select(sa.func.count()).select_from(outbox.CHANGE))
        server = db.scalar(sa.text("SELECT pg_backend_pid()")) if db.dialect.name == "postgresql" else None
        assert forked(store, (True, server)) == 0
        assert known == 1
        assert db.scalar(sa.text("SELECT 1")) == 1
    open_one(store, 3)
    with store.read() as db:
        assert list(db.scalars(sa.select(outbox.CHANGE.c.record_id).order_by(outbox.CHANGE.c.record_id))) == [1, 2, 3]
        if db.dialect.name == "sqlite":
            assert db.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_what_lies_idle_is_closed_before_a_fork(store: database.Store) -> None:
    """The parent's idle connection is not carried into the child at all, and the parent opens another."""
    with store.read() as db:
        db.info["parent"] = True
    assert marks(store)[0] is True
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    assert marks(store)[0] is None


def test_a_connection_that_was_eased_is_as_before(store: database.Store) -> None:
    """Only the transaction that asked for it lets SQLite's log grow; the next on the same connection does not."""
    with store.write() as db:
        bulk.ease(db)
        eased = db.dialect.name == "sqlite" and db.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar()
    with store.read() as db:
        after = db.dialect.name == "sqlite" and db.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar()
    assert (eased, after) in {(8000, 1000), (False, False)}
