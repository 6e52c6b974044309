"""What the benches stand on: environments of others, the cost of a process, query plans, a store made large."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.bench import crowd, peers, rivals
from tests.bench.__main__ import BENCHES
from tests.bench.plans import Plans, shortened
from tests.bench.report import Findings
from tests.bench.spent import Failed, spent
from tests.store.makers import keep, seen
from worker.core.records import Kind, Link
from worker.store import database, links, mirror, outbox, tables

NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)


@pytest.fixture
def filled(database_url: str) -> Iterator[database.Store]:
    """A store with a prospect, his state and person."""
    store = database.connect(database_url)
    tables.metadata.create_all(store.engine)
    keep(store, Kind.PROSPECT, seen(Kind.PROSPECT, 1, addresses=["ada@driftwood.example"]))
    keep(store, Kind.PERSON, seen(Kind.PERSON, 7))
    keep(store, Kind.STATE, seen(Kind.STATE, 2, relations={"prospect": 1}))
    with store.write() as db:
        links.save(db, Kind.PROSPECT, [Link(1, 7)], NOW)
    yield store
    store.engine.dispose()


@pytest.mark.parametrize("name", BENCHES)
def test_every_bench_that_is_named_is_there(name: str) -> None:
    """Each name is a room with a `run`."""
    assert callable(importlib.import_module(f"tests.bench.{name}").run)


def test_who_cannot_be_installed_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is measured then, and a line says why; the next run tries again."""

    def refuse(command: list[str]) -> None:
        raise rivals.LeftOut("not installed: no such thing")

    monkeypatch.setattr(rivals, "CACHE", tmp_path)
    monkeypatch.setattr(rivals, "_made", refuse)
    found = Findings()
    assert not peers._is_there(rivals.DLT, found)
    assert found.notes == ["left out: dlt (dlt[duckdb]==1.31.0): not installed: no such thing"]


def test_pip_that_fails_is_quoted_by_its_last_error() -> None:
    """Its warnings are not."""
    says = "import sys; sys.stderr.write('WARNING: x\\nERROR: first\\nERROR: no matching version\\n'); sys.exit(1)"
    with pytest.raises(rivals.LeftOut, match=r"^not installed: ERROR: no matching version$"):
        rivals._made([sys.executable, "-c", says])


def test_a_process_is_charged_with_what_it_burnt_and_held(tmp_path: Path) -> None:
    """A child's seconds count as well; its memory is the process' own, not ours."""
    burns = "import time\nheld = bytearray(40_000_000)\nwhile time.process_time() < 0.3: pass\nprint('done')"
    took = spent([sys.executable, "-c", burns], env={}, place=tmp_path, out=tmp_path / "out", within_s=50)
    assert (tmp_path / "out").read_text() == "done\n"
    assert took.cpu_s >= 0.3
    assert took.wall_s >= took.cpu_s * 0.5
    assert 40 <= took.peak_mb < 80


@pytest.mark.parametrize(
    "program, within_s, words",
    [
        ("import sys; sys.stderr.write('so it went'); sys.exit(5)", 50.0, "so it went"),
        ("import time; time.sleep(60)", 0.2, "it was not done after 0 s"),
    ],
)
def test_a_process_that_does_not_end_well_is_told(program: str, within_s: float, words: str, tmp_path: Path) -> None:
    """Its last words are the reason, or that it took too long, and nothing of it is left."""
    with pytest.raises(Failed, match=f"^{words}$"):
        spent([sys.executable, "-c", program], env=os.environ, place=tmp_path, out=tmp_path / "out", within_s=within_s)


def test_a_statement_is_the_same_however_many_values_it_names() -> None:
    """Lists of values and of pairs shrink to one."""
    assert shortened("SELECT a\nFROM t WHERE id IN (?, ?, ?)") == "SELECT a FROM t WHERE id IN (*)"
    assert shortened("x IN (%(id_1)s::BIGINT, %(id_2)s::BIGINT) OR y = 1") == "x IN (*) OR y = 1"
    assert shortened("(a, b) IN ((?, ?), (?, ?))") == "(a, b) IN (*)"


@pytest.mark.postgres
def test_a_walk_through_a_large_table_is_seen(filled: database.Store) -> None:
    """Looking for a fingerprint walks through the mirror, looking by id does not; explaining a delete deletes nothing."""
    store, row = filled, mirror.MIRROR
    with store.write() as db:
        db.execute(sa.insert(row), [_bare(number) for number in range(100, 20_100)])
        db.execute(sa.text("ANALYZE"))
    plans = Plans(store, crowd.sizes(store))
    with plans.of("looking"), store.write() as db:
        assert db.execute(sa.select(row.c.id).where(row.c.fingerprint == "none")).all() == []
        assert db.execute(sa.select(row.c.id).where(row.c.kind == Kind.PROSPECT, row.c.id == 1)).all() == [(1,)]
        assert db.execute(sa.delete(row).where(row.c.kind == Kind.TASK, row.c.id == 107)).rowcount == 1
    assert [(one.work, one.scanned) for one in plans.statements.values()] == [
        ("looking", ("mirror",)),
        ("looking", ()),
        ("looking", ()),
    ]


def test_copies_are_as_much_of_a_piece_as_the_original(filled: database.Store) -> None:
    """Each copy's link joins its own prospect and person; the first copy is still there, and alone is known to the vendors."""
    store = filled
    crowd.multiply(store, 4, NOW)
    linked, row = links.LINK, mirror.MIRROR
    joined = sa.select(linked.c.outreach_id, linked.c.crm_id).join(
        row, sa.and_(row.c.kind == Kind.PERSON, row.c.id == linked.c.crm_id)
    )
    with store.read() as db:
        assert sorted(db.execute(joined).all()) == [
            (1, 7),
            (1_000_001, 1_000_007),
            (2_000_001, 2_000_007),
            (3_000_001, 3_000_007),
        ]
        states = sa.select(row.c.id, row.c.prospect_id).where(row.c.kind == Kind.STATE).order_by(row.c.id)
        assert db.execute(states).all()[-1] == (3_000_002, 3_000_001)
        assert db.execute(sa.select(sa.func.count()).select_from(row)).scalar_one() == 12
        waiting = sa.select(outbox.CHANGE.c.record_id, outbox.CHANGE.c.state).order_by(outbox.CHANGE.c.record_id)
        assert db.execute(waiting).all() == [(1_000_001, "due"), (2_000_001, "due"), (3_000_001, "due")]
    assert crowd.linked(store) == {1: 7}


def _bare(number: int) -> dict[str, object]:
    kind = Kind.TASK.value
    return {"kind": kind, "id": number, "fields": "{}", "relations": "{}", "moved_at": "{}", "fingerprint": str(number)}
