"""Prospects in Outreach's bin, in case it lists them and shows them by id: that is a deletion, whoever comes by it first."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.sync.conftest import MakeScene
from tests.sync.scene import QUIET, Scene
from worker.core.records import Kind
from worker.store import links, mirror
from worker.sync import reconcile, sweep

STATE, NO_EMAIL, HOUR = "cf_person_sequence_state", "no_email_soliciting", 3600.0


@pytest.fixture
def scene(make_scene: MakeScene) -> Scene:
    """Return two people in a sequence, the second opted out, all of long ago; nothing tells of events."""
    made = make_scene(options=QUIET)
    made.prospect(1, 1)
    made.prospect(2, 1)
    made.edit_outreach(op="opt_out", prospect=2)
    made.sync()
    made.later(HOUR / 2)
    made.prospect(9001, 2)
    made.sync()
    return made


def into_the_bin(scene: Scene, *, touch: bool) -> None:
    """Somebody deletes both prospects; ``touch``: that moves their stamps."""
    for number in (1, 2):
        told = {"trashedAt": scene.now().strftime("%Y-%m-%dT%H:%M:%S.000Z")}
        scene.edit_outreach(op="set", type="prospect", id=number, attributes=told, touch=touch)


def by_a_poll(scene: Scene) -> None:
    """Read what moved."""
    assert [(one.read, one.moved) for one in scene.poll(Kind.PROSPECT)][-1][1] == 2


def by_the_sweep(scene: Scene) -> None:
    """Look at every id."""
    told = list(sweep.roll(scene.applier(), scene.now() + timedelta(minutes=1)))
    assert {one.kind: one.removed for one in told if one.removed} == {Kind.PROSPECT: 2}


def by_comparing(scene: Scene) -> None:
    """Compare both sides."""
    reconcile.begin_anew(scene.applier())
    list(reconcile.walk(scene.applier(), sleep=scene.later))


@pytest.mark.parametrize("look, touch", [(by_a_poll, True), (by_the_sweep, False), (by_comparing, False)])
def test_what_is_in_the_bin_is_gone(scene: Scene, look: object, touch: bool) -> None:
    """Unlinked and Not Active, the opted-out one opted out for ever; no later look brings either back to life."""
    into_the_bin(scene, touch=touch)
    assert callable(look)
    look(scene)
    for _ in range(2):
        scene.sync()
        assert (scene.of(1)[STATE], scene.of(2)[STATE], scene.of(2)[NO_EMAIL]) == ("Not Active", "Opted Out", True)
        with scene.store.read() as db:
            assert all(one.gone for one in links.load(db, Kind.PROSPECT, [1, 2]).values())
            assert all(one.deleted for one in mirror.load(db, Kind.PROSPECT, [1, 2]).values())
        scene.later(25 * HOUR)
        list(sweep.roll(scene.applier(), scene.now() + timedelta(minutes=1)))


def test_nobody_is_linked_to_a_prospect_in_the_bin(scene: Scene) -> None:
    """Neither by its address, as somebody ticked in the CRM is looked up, nor by its id."""
    told = {"trashedAt": "2026-01-05T10:00:00.000Z", "emails": ["bin@people.example"]}
    scene.edit_outreach(op="create", type="prospect", id=700, attributes=told, relations={})
    found = scene.applier().remotes.outreach.prospects_by_email(["bin@people.example"], attributes=["firstName"])
    assert found == []
    assert scene.applier().remotes.outreach.by_ids(Kind.PROSPECT, [700], attributes=["firstName"], relations=[]) == []
