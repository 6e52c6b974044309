"""Whatever a claim ends in, nothing of it is left behind without a word."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.sync.scene import LEASE_S, Scene
from worker.core.mapping import Mapping
from worker.core.records import Kind, Snapshot, Value
from worker.store import backlog
from worker.store.outbox import Standing
from worker.sync import receipts, strangers


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


def test_a_receipt_that_collided_is_made_again_at_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim is given back, not waited for until its lease has run out, and nobody is created twice."""
    scene.prospect(1, 1)
    plainly, tries = receipts.receive, []

    def receive(*args: object) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise sa.exc.OperationalError("", {}, _Deadlock())
        plainly(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(receipts, "receive", receive)
    assert scene.sync().converged
    assert len(tries) > 1
    assert len(scene.people()) == 1
    assert sum(scene.slept) < LEASE_S


class _Deadlock(Exception):
    sqlstate = "40P01"
