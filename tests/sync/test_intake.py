"""Webhooks looked at: each a hint, fetched by id, kept as a poll's page is, and done with once whatever becomes of it."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from tests.sync.scene import LEASE_S, Killed, Life, Scene, fault, reads_of
from worker.core import errors
from worker.core.records import Kind
from worker.remote import outreach_hints
from worker.store import links, mirror, outbox, sights, webhooks
from worker.store.webhooks import Arrival
from worker.sync import intake
from worker.sync.case import Applier

STATE, NO_EMAIL = "cf_person_sequence_state", "no_email_soliciting"


def told(scene: Scene, resource: str, record_id: object, action: str = "updated", **data: object) -> None:
    """Let a webhook come in."""
    document = {
        "data": {"type": resource, "id": record_id, "attributes": {}, "relationships": {}, **data},
        "meta": {"deliveredAt": "2026-11-20T09:00:00.412+00:00", "eventName": f"{resource}.{action}"},
    }
    arrived(scene, json.dumps(document).encode())


def arrived(scene: Scene, body: bytes) -> None:
    """Let anything come in."""
    with scene.store.write() as db:
        count = db.scalar(sa.select(sa.func.count()).select_from(webhooks.WEBHOOK))
        urgent = outreach_hints.may_opt_out(body)
        webhooks.keep(db, [Arrival(f"event {count}", body, scene.now(), urgent)])


def take(scene: Scene, on: Applier | None = None, *, limit: int = 1000) -> intake.Taken:
    """Look at what has come in."""
    on = on or scene.applier()
    touched = {"store": on.store, "remotes": on.remotes, "mapping": on.mapping, "names": on.names, "now": on.now}
    return intake.take(**touched, limit=limit)  # type: ignore[arg-type]


def left(scene: Scene) -> int:
    """Return how many webhooks wait."""
    with scene.store.read() as db:
        return webhooks.pulse(db).waiting


def seen(scene: Scene) -> dict[tuple[str, str], int]:
    """Return how many changes each channel was the first to show."""
    with scene.store.read() as db:
        return sights.told(db, scene.now())


def due(scene: Scene) -> set[tuple[str, int, int]]:
    """Return the open changes: kind, record and lane."""
    with scene.store.read() as db:
        rows = db.execute(sa.select(outbox.CHANGE.c.kind, outbox.CHANGE.c.record_id, outbox.CHANGE.c.lane))
        return {(row.kind, row.record_id, row.lane) for row in rows}


def buried(scene: Scene, kind: Kind, record_id: int) -> bool:
    """Tell whether the mirror has a tombstone."""
    with scene.store.read() as db:
        found = mirror.load(db, kind, [record_id])
    return record_id in found and found[record_id].deleted


def test_a_hint_brings_the_record_as_a_poll_would(on_both: Scene) -> None:
    """A pause arrives in the CRM without any poll, counts as seen by webhook, and the poll finds nothing new in it."""
    scene = on_both
    scene.prospect(1, 1)
    scene.sync()
    (state,) = scene.states_of(1)
    before = seen(scene)
    scene.later(60)
    scene.edit_outreach(op="pause", state=state)
    told(scene, "sequenceState", state)
    assert take(scene) == intake.Taken(read=1, moved=1, queued=1)
    scene.apply()
    assert scene.of(1)[STATE] == "Active – Paused"
    assert (left(scene), take(scene)) == (0, intake.Taken())
    assert [polled.moved for polled in scene.poll(Kind.STATE)] == [0]
    assert {pair: count for pair, count in seen(scene).items() if before.get(pair) != count} == {
        ("sequenceStates", "webhook"): 1
    }


def test_many_hints_cost_one_call_a_kind(scene: Scene) -> None:
    """Doubled, out of order, in both directions: one look-up by id a kind, and what is there now counts."""
    for record_id in (1, 2, 3):
        scene.prospect(record_id, 1)
    scene.sync()
    scene.edit_outreach(op="set", type="prospect", id=2, attributes={"title": "The latest"}, touch=True)
    for _ in range(8):
        for record_id in (3, 1, 2):
            told(scene, "prospect", record_id, attributes={"title": "An older one"})
            told(scene, "sequenceState", scene.states_of(record_id)[0], "advanced")
    scene.wire.calls.clear()
    assert take(scene) == intake.Taken(read=48, moved=1, queued=1)
    assert [call.path for call in reads_of(scene.wire.calls, "api/v2")] == [
        "/api/v2/prospects",
        "/api/v2/sequenceStates",
    ]
    scene.sync()
    assert scene.of(2)["person_job_title"] == "The latest"


def test_an_opt_out_goes_before_everything(scene: Scene) -> None:
    """An unsubscribe told by webhook opens its change in the lane of opt-outs and is latched at once."""
    scene.prospect(1, 1)
    scene.sync()
    scene.edit_outreach(op="opt_out", prospect=1)
    told(scene, "prospect", 1, attributes={"optedOut": True})
    take(scene)
    assert ("prospects", 1, outbox.Lane.OPT_OUT) in due(scene)
    scene.apply()
    assert (scene.of(1)[NO_EMAIL], scene.of(1)[STATE]) == (True, "Opted Out")


def test_an_opt_out_does_not_wait_behind_a_flood(scene: Scene) -> None:
    """Fifty others came before it: it is looked at in the first batch of four, and they are all looked at in the end."""
    scene.prospect(1, 1)
    scene.prospect(2, 1)
    scene.sync()
    for number in range(50):
        told(scene, "prospect", 2, attributes={"title": f"Title {number}"})
    scene.edit_outreach(op="opt_out", prospect=1)
    told(scene, "prospect", 1, attributes={"optedOut": True})
    assert take(scene, limit=4) == intake.Taken(read=4, moved=1, queued=1, more=True)
    assert due(scene) == {("prospects", 1, outbox.Lane.OPT_OUT)}
    assert left(scene) == 47
    while take(scene, limit=20).more:
        pass
    assert left(scene) == 0


def test_an_address_leads_to_its_prospect(scene: Scene) -> None:
    """With the vendor's odd relation at once, without any by asking whose it is; where that is forbidden nothing is lost."""
    scene.prospect(1, 1)
    scene.prospect(2, 1)
    scene.sync()
    for record_id in (1, 2):
        scene.edit_outreach(op="opt_out", prospect=record_id)
    scene.edit_outreach(op="create", type="emailAddress", id=77, attributes={}, relations={"prospect": 2})
    told(scene, "emailAddress", 5, relationships={"prospect": {"type": "prospect", "id": 1}})
    assert take(scene).moved == 1
    scene.outreach.faults.arm([fault("status", path="emailAddresses", code=403)])
    told(scene, "emailAddress", 77)
    assert take(scene) == intake.Taken(read=1)
    told(scene, "emailAddress", 77)
    assert (take(scene).moved, left(scene)) == (1, 0)


def test_what_was_destroyed_is_gone(scene: Scene) -> None:
    """A removed state leaves Not Active; a deleted prospect leaves the person; a deleted task a tombstone."""
    scene.prospect(1, 1)
    scene.prospect(2, 1)
    scene.edit_outreach(op="create", type="task", id=88, attributes={"state": "incomplete"}, relations={"prospect": 2})
    scene.sync()
    (state,) = scene.states_of(1)
    for type_, record_id in (("sequenceState", state), ("task", 88), ("prospect", 2)):
        scene.edit_outreach(op="delete", type=type_, id=record_id)
        told(scene, type_, record_id)
        told(scene, type_, record_id, "destroyed", attributes={"state": "active"})
    assert take(scene).moved == 3
    assert buried(scene, Kind.STATE, state)
    assert buried(scene, Kind.PROSPECT, 2)
    assert buried(scene, Kind.TASK, 88)
    scene.sync()
    assert scene.of(1)[STATE] == "Not Active"
    with scene.store.read() as db:
        assert links.load(db, Kind.PROSPECT, [2])[2].gone


def test_a_prospect_in_the_bin_is_gone_though_it_is_shown(scene: Scene) -> None:
    """Outreach may still show a deleted prospect by its id, with the time of the deletion."""
    scene.prospect(1, 1)
    scene.sync()
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"trashedAt": "2026-11-20T09:00:00.000Z"})
    told(scene, "prospect", 1, "destroyed")
    take(scene)
    assert buried(scene, Kind.PROSPECT, 1)


def test_a_destroyed_that_is_not_true_changes_nothing(scene: Scene) -> None:
    """What can still be found is not gone, whatever an old or a replayed webhook says."""
    scene.prospect(1, 1)
    scene.sync()
    told(scene, "prospect", 1, "destroyed")
    assert take(scene) == intake.Taken(read=1)
    assert not buried(scene, Kind.PROSPECT, 1)


def test_what_is_merely_not_found_is_not_taken_for_gone(scene: Scene) -> None:
    """A permission that was lost looks like a deletion; without a word of destruction the sweep has to look into it."""
    scene.prospect(1, 1)
    scene.sync()
    scene.edit_outreach(op="delete", type="prospect", id=1)
    told(scene, "prospect", 1)
    told(scene, "prospect", 4711, "created")
    assert take(scene) == intake.Taken(read=2)
    assert (left(scene), buried(scene, Kind.PROSPECT, 1), due(scene)) == (0, False, set())


def test_what_says_nothing_holds_nobody_up(scene: Scene) -> None:
    """Broken bodies are closed with their fault and nothing else of them; what is none of ours is closed without one."""
    scene.prospect(1, 1)
    scene.sync()
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Chief"}, touch=True)
    arrived(scene, b'{"data": {"type": "prospect", "id": "someone@people.example"}}')
    arrived(scene, b"\xff")
    told(scene, "account", 9)
    told(scene, "prospect", 1)
    assert take(scene) == intake.Taken(read=4, moved=1, queued=1)
    with scene.store.read() as db:
        rows = db.execute(sa.select(webhooks.WEBHOOK).order_by(webhooks.WEBHOOK.c.id)).all()
    assert [row.error for row in rows] == ["no usable id", "no JSON", None, None]
    assert {row.body for row in rows} == {b""}


def test_when_outreach_cannot_be_asked_hints_wait(scene: Scene) -> None:
    """They are put off together, nothing is lost, and the next try takes them; what was done before the fault is kept."""
    scene.prospect(1, 1)
    scene.sync()
    (state,) = scene.states_of(1)
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Chief"}, touch=True)
    scene.edit_outreach(op="pause", state=state)
    told(scene, "sequenceState", state)
    told(scene, "prospect", 1)
    scene.outreach.faults.arm([fault("status", path="sequenceStates", code=500, times=None)])
    with pytest.raises(errors.RemoteDown):
        take(scene)
    assert left(scene) == 1
    scene.outreach.faults.arm([])
    assert take(scene) == intake.Taken()
    scene.later(LEASE_S)
    assert take(scene) == intake.Taken(read=1, moved=1, queued=1)


def test_more_than_a_batch_is_told(scene: Scene) -> None:
    """The oldest go first, and whoever took them knows that there may be more."""
    for record_id in (1, 2, 3):
        scene.prospect(record_id)
        told(scene, "prospect", record_id, "created")
    assert take(scene, limit=2) == intake.Taken(read=2, moved=2, queued=2, more=True)
    assert due(scene) == {("prospects", 1, 1), ("prospects", 2, 1)}
    assert take(scene, limit=2) == intake.Taken(read=1, moved=1, queued=1)


def test_whoever_dies_over_hints_loses_none(scene: Scene) -> None:
    """At every point of its life: the lease runs out, the next one takes them, and the CRM comes right once."""
    scene.prospect(1, 1)
    scene.sync()
    (state,) = scene.states_of(1)
    paused = True
    for point in range(40):
        scene.edit_outreach(op="pause" if paused else "resume", state=state)
        told(scene, "sequenceState", state)
        life = Life(dies_at=point)
        try:
            take(scene, scene.applier(life))
        except Killed:
            scene.later(LEASE_S)
        else:
            break
        take(scene)
        assert left(scene) == 0
        scene.later(600)  # the breaker takes no more than four flips in ten minutes
        scene.apply()
        assert scene.of(1)[STATE] == ("Active – Paused" if paused else "Active – Running"), life.points
        paused = not paused
    assert life.points == [
        "begin",
        "commit",
        "begin",
        "commit",
        "ask: read outreach /api/v2/sequenceStates",
        "told: read outreach /api/v2/sequenceStates",
        "begin",
        "commit",
    ]
