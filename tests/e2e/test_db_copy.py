from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.rig import Stage
from tests.e2e.worlds import PAUSED, STATE
from worker.store import upgrade


@pytest.mark.postgres
def test_a_store_moves_to_postgres_and_work_goes_on(stage: Stage, postgres_url: str) -> None:
    """SQLite to Postgres: nothing is written again, edits travel, and every verb on the old store says where it went."""
    ada = stage.enrolled("ada@example.com")
    stage.sync()
    upgrade.upgrade(postgres_url)
    told = stage.outbook("db", "copy", "--to", postgres_url, "--json")
    assert told.code == 0, told.err
    assert told.report["tables"]["link"]["rows"] == 1
    for arguments in (("status",), ("sync",), ("pause",), ("db", "upgrade"), ("plan", "--offline")):
        refused = stage.outbook(*arguments)
        assert (refused.code, refused.out) == (4, ""), arguments
        assert f"this store was moved to {postgres_url.partition('?')[0]}" in refused.err
    assert "this store was moved to" in stage.outbook("doctor").out
    assert stage.outbook("db", "copy", "--to", postgres_url).out.startswith("this was done already\n")
    key = (Path(stage.environ["OUTBOOK_DATA_DIR"]) / "secret.key").read_text().strip()
    stage.environ |= {"OUTBOOK_DATABASE_URL": postgres_url, "OUTBOOK_SECRET_KEY": key}
    stage.settled()
    stage.set_state(1, state="paused", stateChangedAt="2026-02-01T10:00:00.000Z")
    stage.later(60)
    stage.sync()
    assert stage.person_of(ada)[STATE] == PAUSED


def test_the_words_for_people(stage: Stage, tmp_path: Path) -> None:
    """File to file: a table of what was compared, and what to set next, with no secret in it."""
    stage.sync()
    told = stage.outbook("db", "copy", "--to", "sqlite:///copy.db")
    assert told.code == 0, told.err
    assert f"moved to sqlite:///{tmp_path / 'copy.db'}; this store is closed" in told.out
    assert "OUTBOOK_SECRET_KEY" in told.out
    assert (Path(stage.environ["OUTBOOK_DATA_DIR"]) / "secret.key").read_text().strip() not in told.out + told.err


@pytest.mark.parametrize(
    "to, words",
    [
        ("mysql://db.example/x", "must begin with postgresql+psycopg://"),
        ("sqlite:///no/such/place/x.db", "there is no directory"),
        ("postgresql+psycopg://nobody:zyxword@127.0.0.1:9/none", "cannot be reached"),
        ("postgresql+psycopg://nobody:a@zyxword@127.0.0.1:9/none", "cannot be read as USER:PASSWORD@HOST"),
    ],
)
def test_a_target_that_is_none(stage: Stage, to: str, words: str) -> None:
    """Another kind of database, a directory that is not there, nobody who answers: exit 4, and no password is told."""
    stage.sync()
    told = stage.outbook("db", "copy", "--to", to)
    assert told.code == 4
    assert f"--to: {'that database ' if 'reached' in words else ''}{words}" in told.err
    assert "zyxword" not in told.err
    assert stage.outbook("status").code != 4


def test_there_must_be_a_store(stage: Stage) -> None:
    """Before the first start there is nothing to move, and no file is made for it."""
    told = stage.outbook("db", "copy", "--to", "sqlite:///copy.db")
    assert told.code == 4
    assert "there is no store yet" in told.err
    assert not Path(stage.environ["OUTBOOK_DATA_DIR"]).exists()
