"""What goes wrong with the database (facts, delivery D.3: F17 to F23)."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from tests.fault import invariants
from tests.fault.disk import read_only
from tests.fault.postgres import NAME, Postgres
from tests.fault.rig import OURS, Rig, Unsettled
from tests.fault.scene import Scenario, Scene
from worker.core.records import Kind
from worker.store.clocks import CURSOR

AWAY_S, FULL_S, READ_S, HOUR_S, LIFE_S = 30.0, 8.0, 120.0, 3_600, 7_200
WRITTEN_S, LOCKED_S = 10.0, 20.0
BACKUP = "backup"
OAUTH = {
    "OUTBOOK_OUTREACH__ACCESS_TOKEN": "",
    "OUTBOOK_OUTREACH__CLIENT_ID": "sim-client",
    "OUTBOOK_OUTREACH__CLIENT_SECRET": "sim-secret",
    "OUTBOOK_OUTREACH__REDIRECT_URI": "http://127.0.0.1/back",
    "OUTBOOK_OUTREACH__REFRESH_TOKEN": "sim-refresh",
}
"""The simulator's own, known to everybody: tokens are minted, spent and stored."""


def postgres_killed(scene: Scene) -> None:
    """Postgres is killed while somebody has written and not committed, and started again, five times."""
    for _ in range(2 if scene.last else 1):
        time.sleep(scene.chance.uniform(0.3, 1.5))
        hit = _is_written_to(_server(scene.rig))
        scene.rig.kill("postgres")
        scene.notes["hit"] = scene.notes.get("hit", 0) + hit
        time.sleep(scene.chance.uniform(0.2, 1))
        scene.rig.start("postgres")


def _is_written_to(server: Postgres) -> bool:
    """Return as soon as a transaction of ours has written something; False if none did in time."""
    url = make_url(server.url()).set(drivername="postgresql").render_as_string()
    writing = f"SELECT 1 FROM pg_stat_activity WHERE datname = '{NAME}' AND backend_xid IS NOT NULL"
    until = time.monotonic() + WRITTEN_S
    with psycopg.connect(url, autocommit=True, connect_timeout=20) as db:
        while time.monotonic() < until:
            if db.execute(writing).fetchone():
                return True
    return False


def were_cut_off(scene: Scene) -> str:
    """Most of the times somebody was in the middle of a transaction."""
    hit = scene.notes.get("hit", 0)
    return "" if hit > len(scene.plan.waves) // 2 else f"only {hit} times anything was being written as Postgres died"


def store_locked(scene: Scene) -> None:
    """Somebody else holds the database's write lock for 20 s, again and again."""
    with closing(sqlite3.connect(_file(scene.rig), timeout=30)) as db:
        db.isolation_level = None
        db.execute("BEGIN IMMEDIATE")
        time.sleep(LOCKED_S if scene.last else scene.span(LOCKED_S, 5))
        db.execute("ROLLBACK")


def _file(rig: Rig) -> Path:
    return Path(str(make_url(rig.database_url).database))


def disk_full(scene: Scene) -> None:
    """No room for anything more, nor for the broker and for logs; meanwhile the token runs out. Then there is room again."""
    rig, postgres = scene.rig, scene.rig.postgres
    if not postgres:
        _cut_log(rig)
    for disk in rig.disks:
        disk.fill()
    stops = scene.wave % 2 == 0  # else Postgres goes on within the files that it has, and a token may be spent and kept
    if postgres and stops:
        with contextlib.suppress(psycopg.Error):
            postgres.run("SELECT pg_switch_wal()", "CREATE TABLE ballast ()")
    since = rig.mark()
    if scene.wave == 0:
        rig.control("outreach", "clock", {"shift": LIFE_S})
    time.sleep(FULL_S)
    spent = _minted(rig, since)
    rig.free()
    rig.supervise()
    if spent and (stops or not postgres):
        raise Unsettled(f"F19 {spent} tokens spent that could not be kept")


def _cut_log(rig: Rig) -> None:
    """Leave SQLite no file that it may write over: within the log of a large store a token can be spent and kept."""
    with closing(sqlite3.connect(_file(rig), timeout=READ_S)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _minted(rig: Rig, since: dict[str, int]) -> int:
    return sum(call["path"] == "/oauth/token" for call in rig.seen(since).journal)


def one_mint(scene: Scene) -> str:
    """The token that ended was renewed once: none was spent and lost."""
    made = _minted(scene.rig, scene.since)
    return "" if made == 1 else f"{made} tokens were minted for one that had ended"


def unwritable(scene: Scene) -> None:
    """The store can be read and not written for a while: nothing is written to a vendor that is not intended first."""
    file = _file(scene.rig)
    with read_only(file.parent, f"{file.name}*"):
        time.sleep(3)  # what had its intent written down before is on its way
        since = scene.rig.mark()
        time.sleep(FULL_S)
        calls = scene.rig.seen(since).journal
    wrote = [call for call in calls if call["effect"] and not call["path"].startswith("/_sim/")]
    if wrote:
        raise Unsettled(f"F20 {len(wrote)} writes without an intent")


def failover(scene: Scene) -> None:
    """Every connection to Postgres is reset and it is away for half a minute; in other waves sessions are ended at random."""
    if scene.wave == 1:
        scene.rig.wires.turn("store", "refuse")
        time.sleep(AWAY_S)
        scene.rig.wires.turn("store", "pass")
        return
    theirs = f"FROM pg_stat_activity WHERE datname = '{NAME}' AND pid <> pg_backend_pid() AND random() < 0.5"
    for _ in range(6):
        time.sleep(scene.chance.uniform(0.1, 0.6))
        _server(scene.rig).run(f"SELECT pg_terminate_backend(pid) {theirs}", f"SELECT pg_cancel_backend(pid) {theirs}")
        _deadlock(_server(scene.rig))


def _deadlock(server: Postgres) -> None:
    """Lock rows in the order opposite to ours, waiting in between: one of the two is told of a deadlock."""
    url = make_url(server.url()).set(drivername="postgresql").render_as_string()
    with contextlib.suppress(psycopg.Error), psycopg.connect(url, connect_timeout=2) as db:
        db.execute("SET lock_timeout = 3000")
        rows = db.execute("SELECT kind, record_id FROM change ORDER BY kind DESC, record_id DESC LIMIT 20").fetchall()
        for kind, record in rows:
            db.execute("SELECT 1 FROM change WHERE kind = %s AND record_id = %s FOR UPDATE", (kind, record))
            time.sleep(0.01)


def _server(rig: Rig) -> Postgres:
    assert rig.postgres is not None
    return rig.postgres


def restored(scene: Scene) -> None:
    """A backup is made after the first wave; an hour later by the vendors' clocks it takes the store's place.

    All has arrived by then: what an edit on its way meets in the CRM is our own write that the backup does not know, and the
    runbook tells what to do about that (tests/e2e/test_restored.py).
    """
    rig = scene.rig
    if scene.wave == 0:
        time.sleep(2)
        _back_up(rig)
    if scene.last:
        for vendor in ("outreach", "workbooks"):
            rig.control(vendor, "clock", {"shift": HOUR_S})
        rig.wait_for(lambda: rig.is_quiet() and not invariants.missing(rig.seen(), scene.plan.wanted), READ_S)
        rig.kill(*(name for name in OURS if name != "broker"))
        _restore(rig)
        started = datetime.now(UTC)
        rig.start(*(name for name in OURS if name != "broker"))
        rig.wait_for(lambda: _was_all_read(rig, started), READ_S)
    time.sleep(2)


def _was_all_read(rig: Rig, since: datetime) -> bool:
    """Tell whether every stream of records was read anew: until then the store cannot know what it lost."""
    read = sa.select(CURSOR.c.polled_at).where(CURSOR.c.stream.in_([kind.value for kind in Kind]))
    with rig.store() as db:
        return all(at is not None and at > since for at in db.scalars(read))


def _back_up(rig: Rig) -> None:
    if rig.postgres is None:
        with closing(sqlite3.connect(_file(rig))) as db, closing(sqlite3.connect(rig.directory / BACKUP)) as copy:
            db.backup(copy)
        return
    rig.kill(*(name for name in OURS if name != "broker"))
    rig.postgres.run(f"CREATE DATABASE {BACKUP} TEMPLATE {NAME}")
    rig.start(*(name for name in OURS if name != "broker"))


def _restore(rig: Rig) -> None:
    if rig.postgres is not None:
        rig.postgres.run(f"DROP DATABASE {NAME} WITH (FORCE)", f"CREATE DATABASE {NAME} TEMPLATE {BACKUP}")
        return
    file = _file(rig)
    for tail in ("-wal", "-shm"):
        file.with_name(file.name + tail).unlink(missing_ok=True)
    shutil.copyfile(rig.directory / BACKUP, file)


SCENARIOS = [
    Scenario(
        "F17", "kill -9 of Postgres in mid-write, five times", postgres_killed, check=were_cut_off, stores=("postgres",)
    ),
    Scenario(
        "F18",
        "database locked by somebody else",
        store_locked,
        stores=("sqlite",),
        in_short="20 s each time; here 5 s but for the last",
    ),
    Scenario(
        "F19",
        "the disk is full, and a token runs out meanwhile",
        disk_full,
        check=one_mint,
        environ=OAUTH,
        disk_mb=160,
    ),
    Scenario("F20", "the store is read-only for a while", unwritable, stores=("sqlite",)),
    Scenario("F21", "Postgres away for 30 s; sessions ended, cancelled, deadlocked", failover, stores=("postgres",)),
    Scenario(
        "F22",
        "the store replaced by an hour-old backup",
        restored,
        alone=True,
        short_of="edits on their way as the store was lost: `on_conflict` decides (deploy/runbook.md)",
    ),
]
