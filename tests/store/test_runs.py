"""Runs: every pass leaves its report, and old ones go."""

from __future__ import annotations

import msgspec
import pytest
import sqlalchemy as sa

from tests.store.makers import NOW, later
from worker.store import database, runs


def test_a_pass_leaves_its_report(store: database.Store) -> None:
    """A report is there from the beginning, empty, and whole at the end."""
    with store.write() as db:
        runs.begin(db, "one", "sha256:1", NOW)
        begun = db.execute(sa.select(runs.RUN)).one()
        runs.end(db, "one", later(2), {"queued": 3, "note": "é"})
        ended = db.execute(sa.select(runs.RUN)).one()
    assert (begun.id, begun.began_at, begun.ended_at, begun.report) == ("one", NOW, None, "{}")
    assert (ended.ended_at, ended.mapping_version) == (later(2), "sha256:1")
    assert msgspec.json.decode(ended.report) == {"queued": 3, "note": "é"}


def test_the_oldest_reports_go(store: database.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many are kept; the newest, that of the pass just begun among them, stay."""
    monkeypatch.setattr(runs, "KEPT", 3)
    for n in range(5):
        with store.write() as db:
            runs.begin(db, str(n), "sha256:1", later(n))
    with store.read() as db:
        assert sorted(db.execute(sa.select(runs.RUN.c.id)).scalars()) == ["2", "3", "4"]
