"""What nobody foresaw is kept in the store by its kind: what the exception said is in no column."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from tests.sync.conftest import MakeScene
from tests.sync.test_leases import row_of
from worker.core import errors
from worker.store import tables
from worker.store.outbox import Standing
from worker.sync import gather

NAME = "Zyxashby"


def test_no_column_holds_what_an_exception_said(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried until it is a dead letter: its reason names the kind, and no table of the store has the name."""
    scene = make_scene()
    scene.prospect(1, 1)
    scene.poll()

    def broken(*_: object, **__: object) -> object:
        raise KeyError(NAME)

    monkeypatch.setattr(gather, "people", broken)
    with capture_logs():
        for _ in range(errors.GIVE_UP_AFTER):
            while scene.apply().claimed:
                pass
            scene.later(errors.RETRY_CAP_S)
    row = row_of(scene, 1)
    assert row is not None
    assert (row.state, row.error) == (Standing.DEAD, "unexpected KeyError; the log tells where")
    with scene.store.read() as db:
        kept = {table.name: db.execute(sa.select(table)).all() for table in tables.metadata.sorted_tables}
    assert len(kept["change"]) >= 1
    assert [name for name, rows in kept.items() if NAME.lower() in repr(rows).lower()] == []
