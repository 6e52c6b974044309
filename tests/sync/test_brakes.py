"""What the brakes cost where nothing is braked."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.sync.scene import Scene
from worker.core.records import Kind
from worker.store import links


def test_an_ordinary_batch_does_not_count_everybody(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit is carried over without the links being counted: that takes the longer the more there are."""
    scene.prospect(1, 1, title="Early")
    scene.sync()
    scene.later(300)
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Late"})
    scene.poll()
    counted = []

    def count(db: sa.Connection, kind: Kind) -> int:
        counted.append(kind)
        return 1

    monkeypatch.setattr(links, "count", count)
    assert scene.apply().updated == 1
    assert counted == []
    assert scene.of(1)["person_job_title"] == "Late"
