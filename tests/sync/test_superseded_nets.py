"""Another mapping is put in force while the second net is at work: what was read by the old one is not kept over the new."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.sync.scene import Scene
from worker.core import errors
from worker.core.records import Feed, Kind
from worker.store import mirror
from worker.sync import feeds, reconcile, sweep
from worker.sync.case import Applier

LINE = "  person_job_title:            {outreach: title,             direction: both}\n"
NICKNAME = (LINE, f"{LINE}  cf_nick: {{outreach: nickname, direction: to_crm}}\n")


def by_the_sweep(on: Applier) -> str | None:
    """Take the slice of prospects."""
    return sweep.take(Kind.PROSPECT, on, early=True).trouble


def by_events(on: Applier) -> str | None:
    """Listen to what happened."""
    told = feeds.read(Feed.EVENTS, on)
    return told.trouble if told else None


def by_comparing(on: Applier) -> str | None:
    """Compare a slice."""
    with pytest.raises(errors.Transient) as fault:
        reconcile.take(on, early=True)
    return fault.value.words


@pytest.mark.parametrize("look", [by_the_sweep, by_events, by_comparing])
def test_what_was_read_by_the_old_mapping_is_not_kept(scene: Scene, look: Callable[[Applier], str | None]) -> None:
    """A nickname that was read for the new mapping stays, though somebody looks the prospect up without it at that moment."""
    scene.edit_crm(op="add_field", field="cf_nick", type="person", data_type="string")
    scene.prospect(1, 1, nickname="Countess")
    scene.sync()
    scene.later(1800)
    scene.prospect(9001, 2)
    scene.sync()
    old = scene.applier()
    scene.mapping = scene.mapped(NICKNAME)
    scene.sync()
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Chief"}, touch=True)
    scene.edit_outreach(
        op="create",
        type="event",
        attributes={"name": "prospect_updated", "createdAt": stamp(scene), "eventAt": stamp(scene)},
        relations={"prospect": 1},
    )
    assert "another mapping" in (look(old) or "")
    assert nickname(scene) == "Countess"


def stamp(scene: Scene) -> str:
    """Return the vendor's time a moment from now."""
    return (scene.now() + timedelta(seconds=5)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def nickname(scene: Scene) -> object:
    """Return what the mirror holds."""
    with scene.store.read() as db:
        return mirror.load(db, Kind.PROSPECT, [1])[1].fields.get("nickname")
