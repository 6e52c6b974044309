"""What a claim costs: the hundred it takes, whatever else waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.store.makers import NOW, opened
from worker.core.records import Kind
from worker.store import database, outbox, tables


def test_an_index_tells_a_claim_whose_turn_it_is(tmp_path: Path) -> None:
    """Nothing is sorted, and no row of another kind looked at: the index has state, kind, lane, time and id in that order."""
    store = database.connect(f"sqlite:///{tmp_path / 'store.db'}")
    tables.metadata.create_all(store.engine)
    opened(store, 1, 2, 3)
    asked: list[tuple[str, Any]] = []
    sa.event.listen(store.engine, "before_cursor_execute", lambda *told: asked.append((told[2], told[3])))
    with store.write() as db:
        assert len(outbox.claim(db, Kind.PROSPECT, now=NOW)) == 3
        (claim, given), *_ = [one for one in asked if one[0].startswith("SELECT") and "FROM change" in one[0]]
        steps = [str(row[3]) for row in db.exec_driver_sql(f"EXPLAIN QUERY PLAN {claim}", given)]
    store.engine.dispose()
    assert steps[0].startswith("SEARCH change USING INDEX ix_change_next (state=? AND kind=? AND lane=? AND next_at<?)")
    assert not [step for step in steps if "TEMP B-TREE" in step]
