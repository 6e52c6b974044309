"""The fixtures themselves: real servers, empty each time, and nothing of the developer's own."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest
import redis
import sqlalchemy
from hypothesis import given, strategies


@pytest.mark.postgres
@pytest.mark.parametrize("_time", [1, 2])
def test_postgres_is_real_and_empty_each_time(postgres_url: str, _time: int) -> None:
    """A table made by one test is not there in the next, and the server is a real one."""
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as db:
        row = db.execute("select version(), count(*) from pg_tables where schemaname = 'public'").fetchone()
        assert row is not None
        assert row[0].startswith("PostgreSQL 18")
        assert row[1] == 0
        db.execute("create table here (id int)")


@pytest.mark.parametrize("_time", [1, 2])
def test_the_store_suite_meets_both_databases_empty(database_url: str, _time: int) -> None:
    """Whichever database is handed out, it works and holds no table."""
    engine = sqlalchemy.create_engine(database_url)
    with engine.begin() as db:
        assert sqlalchemy.inspect(db).get_table_names() == []
        db.execute(sqlalchemy.text("create table here (id int)"))
    engine.dispose()


@pytest.mark.broker
@pytest.mark.parametrize("_time", [1, 2])
def test_the_broker_is_real_and_empty_each_time(broker_url: str, _time: int) -> None:
    """A key set by one test is not there in the next."""
    with redis.Redis.from_url(broker_url) as db:
        assert db.info("server")["server_name"] == "valkey"
        assert db.dbsize() == 0
        db.set("here", 1)


@given(number=strategies.integers())
def test_a_property_may_run_in_the_empty_surrounding(number: int) -> None:
    """Our settings, home and current directory are empty, within a property too."""
    assert isinstance(number, int)
    assert [name for name in os.environ if name.startswith("OUTBOOK_")] == []
    assert list(Path.cwd().iterdir()) == []
    assert Path.home() == Path.cwd()
