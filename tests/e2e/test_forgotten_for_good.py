"""Who was forgotten stays so: in a copy on another database, under new secret keys, and after yesterday's backup came back."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.e2e.rig import Stage
from tests.e2e.test_forget import CANARIES, forgot, somebody, traces
from tests.e2e.test_restored import Backup, backup, postgres_backup, sqlite_backup
from tests.e2e.worlds import ID
from worker.store import upgrade

__all__ = ["backup", "postgres_backup", "sqlite_backup"]


def kept(stage: Stage) -> list[str]:
    """The canaries that any row of the store in use holds, and any file of the data directory."""
    url = stage.environ.get("OUTBOOK_DATABASE_URL", "")
    if not url.startswith("postgresql"):
        return traces(stage)
    with psycopg.connect(url.replace("+psycopg", "")) as db:
        tables = [
            row[0]
            for row in db.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        ]
        rows = [row[0].lower() for table in tables for row in db.execute(f'SELECT t::text FROM "{table}" t'.encode())]
    every = "\n".join(rows)
    return [one for one in CANARIES if one in every or one.encode().hex() in every]


def log_now(postgres_url: str) -> str:
    """Where the server's log stands, at the start of a file: what other tests wrote before lies behind it."""
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as db:
        db.execute("SELECT pg_switch_wal()")
        return str((db.execute("SELECT pg_current_wal_insert_lsn()").fetchone() or [""])[0])


def bytes_of(postgres_url: str, since: str) -> bytes:
    """Everything that lies in the server's files of one database, its log since a place in it, and `zyxprobe` there.

    A log file's rest, and those laid by for later, hold what was there before they were used again: other tests' bytes.
    """
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as db:
        db.execute("SELECT pg_logical_emit_message(false, 'test', 'zyxprobe')")
        db.execute("CHECKPOINT")
        found = db.execute(
            "SELECT current_setting('data_directory'), oid, pg_walfile_name(%s::pg_lsn), w.file_name, w.file_offset"
            " FROM pg_database, pg_walfile_name_offset(pg_current_wal_insert_lsn()) w"
            " WHERE datname = current_database()",
            [since],
        )
        directory, oid, first, last, end = found.fetchone() or ("", 0, "", "", 0)
    log = [path.read_bytes() for path in sorted(Path(directory, "pg_wal").iterdir()) if first <= path.name <= last]
    assert log, "no file of the server's log"
    files = [path.read_bytes() for path in Path(directory, "base", str(oid)).iterdir() if path.is_file()]
    return b"".join([*files, *log[:-1], log[-1][:end]])


def comes_back(stage: Stage, prospect: int, person: int) -> None:
    """Show her again from both sides, under her ids and under new ones, by polls and by a full read: nothing comes of it."""
    stage.set_prospect(prospect, title="zyxcanary again", emailOptedOut=True)
    stage.set_person(person, person_job_title="zyxcanary again", cf_person_sync_to_outreach=True)
    stage.enrolled("zyxCANARY@example.com", first="Zyxcanary", last="Zyxashby")
    copy = stage.person(
        first="Zyxcanary", last="Zyxashby", email="ZyxCanary@example.com", cf_person_sync_to_outreach=True
    )
    stage.later(60)
    stage.settled()
    stage.forget_calls()
    stage.sync("--full")
    assert (stage.crm_writes(), stage.outreach_writes()) == ([], [])
    assert stage.of_person(copy).get(ID) is None
    assert kept(stage) == []


@pytest.mark.postgres
def test_a_copy_knows_her_and_every_new_key_does(stage: Stage, postgres_url: str) -> None:
    """SQLite to Postgres, two rotations there, back to SQLite, one more: known each time, and in no byte of the copies."""
    prospect, person, _ = somebody(stage)
    stage.set_prospect(prospect, emailOptedOut=True)
    stage.sync()
    forgot(stage, "--prospect", str(prospect))
    first = (Path(stage.environ["OUTBOOK_DATA_DIR"]) / "secret.key").read_text().strip()
    remembered = stage.rows("SELECT key_kind, key FROM forgotten ORDER BY key")
    upgrade.upgrade(postgres_url)
    since = log_now(postgres_url)
    assert stage.outbook("db", "copy", "--to", postgres_url).code == 0
    copied = bytes_of(postgres_url, since).lower()
    assert [one for one in (*CANARIES, "zyxprobe") if one.encode() in copied] == ["zyxprobe"]
    stage.environ |= {"OUTBOOK_DATABASE_URL": postgres_url, "OUTBOOK_SECRET_KEY": first}
    for key in (f"second-key,{first}", "second-key", "third-key,second-key"):
        stage.environ["OUTBOOK_SECRET_KEY"] = key
        stage.settled()
    stage.environ["OUTBOOK_SECRET_KEY"] = first
    assert stage.outbook("sync").code == 4
    stage.environ["OUTBOOK_SECRET_KEY"] = "third-key"
    comes_back(stage, prospect, person)
    target = stage.directory / "back" / "outbook.db"
    target.parent.mkdir()
    stage.later(600)
    assert stage.outbook("db", "copy", "--to", f"sqlite:///{target}").code == 0
    stage.environ |= {"OUTBOOK_DATABASE_URL": f"sqlite:///{target}", "OUTBOOK_DATA_DIR": str(target.parent)}
    assert traces(stage) == []
    assert set(remembered) <= set(stage.rows("SELECT key_kind, key FROM forgotten"))
    stage.environ["OUTBOOK_SECRET_KEY"] = "fourth-key,third-key"
    comes_back(stage, prospect, person)
    assert traces(stage) == []


def test_a_backup_from_before_is_forgotten_again(stage: Stage, backup: Backup) -> None:
    """As the runbook has it: paused, everything read, forgotten again from one's own record, resumed; then she stays away."""
    prospect, person, _ = somebody(stage)
    put_back = backup()
    forgot(stage, "--prospect", str(prospect))
    put_back()
    assert kept(stage) == list(CANARIES)
    assert stage.outbook("pause").code == 0
    assert stage.outbook("sync", "--full", "--dry-run", "--json").code in {0, 2}
    told = forgot(stage, "--email", "zyxcanary@example.com")
    assert (told["prospects"], told["people"]) == ([prospect], [person])
    assert kept(stage) == []
    assert stage.outbook("resume").code == 0
    stage.settled()
    comes_back(stage, prospect, person)
