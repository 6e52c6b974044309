"""Whatever a claim ends in, nothing of it is left behind without a word."""

from __future__ import annotations

import pytest

from tests.sync.scene import Scene
from worker.core.mapping import Mapping
from worker.core.records import Kind, Snapshot, Value
from worker.store import backlog
from worker.store.outbox import Standing
from worker.sync import strangers


def test_one_that_nobody_foresaw_keeps_no_other_out_of_outreach(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three people who are wanted one breaks the work: the others are created, it is tried alone and waits."""
    broken, *others = (
        scene.person(
            **{
                "person_last_name": f"New{n}",
                "main_location[email]": f"new{n}@people.example",
                "cf_person_sync_to_outreach": True,
            }
        )
        for n in range(3)
    )
    plainly = strangers.attributes

    def attributes(person: Snapshot, mapping: Mapping, *, opted_out: bool) -> dict[str, Value]:
        if person.ref.id == broken:
            raise ZeroDivisionError
        return plainly(person, mapping, opted_out=opted_out)

    monkeypatch.setattr(strangers, "attributes", attributes)
    assert scene.sync().tally.outreach_created == len(others)
    with scene.store.read() as db:
        told = backlog.told(db, Kind.PERSON, [broken, *others])
    assert told == {broken: (Standing.DUE, "unexpected ZeroDivisionError; the log tells where")}
