"""Somebody forgotten while others work: no feed, webhook or look-up lets them in, and nobody's work brings them back."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.sync.scene import LEASE_S, NAMES, Call, Scene
from tests.sync.test_feeds import hear, people, tell
from worker.core import errors
from worker.core.records import Feed, Kind
from worker.store import forgotten, links, outbox
from worker.store.forgotten import Circle
from worker.store.mirror import MIRROR
from worker.sync import deliver, forget, gather, receipts, removals, strangers

ONE = Circle(frozenset({1}))


def forgot(scene: Scene) -> forget.Receipt:
    """Forget prospect 1 with all that is hers."""
    on = scene.applier()
    return forget.forget(on, forget.choose(on, ONE), sleep=scene.later)


def left(scene: Scene) -> list[tuple[str, int]]:
    """Every copy that is kept of prospect 1 or hangs on it, and every change of it."""
    with scene.store.read() as db:
        copies = sa.select(MIRROR.c.kind, MIRROR.c.id).where(
            sa.or_(MIRROR.c.prospect_id == 1, sa.and_(MIRROR.c.kind == Kind.PROSPECT, MIRROR.c.id == 1))
        )
        changes = sa.select(outbox.CHANGE.c.kind, outbox.CHANGE.c.record_id).where(outbox.CHANGE.c.record_id == 1)
        return [tuple(row) for query in (copies, changes) for row in db.execute(query)]


def test_an_event_about_her_opens_nothing(scene: Scene) -> None:
    """An opt-out that only an event tells: no change, no latch under her id, no copy."""
    people(scene, 1, 2)
    forgot(scene)
    tell(scene, "opt_out", prospect=1)
    tell(scene, "prospect_updated", prospect=1)
    assert hear(scene)[Feed.EVENTS].opted_out == 0
    assert left(scene) == []
    with scene.store.read() as db:
        assert links.latched(db, NAMES.of(prospect=1, person=None, addresses=())) == set()


def test_look_ups_and_burials_leave_nothing(scene: Scene) -> None:
    """Fetched by id she is dropped; told as destroyed she gets no tombstone; another's is made."""
    people(scene, 1, 2)
    forgot(scene)
    on = scene.applier()
    told = {"mapping": on.mapping, "names": on.names, "now": on.now()}
    gather.fetch(Kind.PROSPECT, [1], store=on.store, remotes=on.remotes, **told)  # type: ignore[arg-type]
    with scene.store.write() as db:
        removals.removed(db, Kind.PROSPECT, [1, 2], **told)  # type: ignore[arg-type]
    assert left(scene) == []
    with scene.store.read() as db:
        assert db.scalar(sa.select(MIRROR.c.deleted).where(MIRROR.c.kind == Kind.PROSPECT, MIRROR.c.id == 2)) is True


def test_whoever_works_on_her_is_waited_for(scene: Scene) -> None:
    """A lease that runs out lets her be forgotten; one that is renewed for ever ends with a fault and nothing done."""
    people(scene, 1)
    with scene.store.write() as db:
        outbox.open_changes(db, Kind.PROSPECT, [1], lane=outbox.Lane.EDIT, now=scene.now())
        outbox.claim(db, Kind.PROSPECT, now=scene.now(), lanes=tuple(outbox.Lane), limit=10)
    before, began = left(scene), scene.now()
    on = scene.applier()
    with pytest.raises(errors.StaleVersion, match="working on prospects:1"):
        forget.forget(on, ONE, sleep=lambda _: None)
    assert left(scene) == before
    with scene.store.read() as db:
        assert not forgotten.anybody(db)
    forgot(scene)
    assert LEASE_S - 1 <= (scene.now() - began).total_seconds() < LEASE_S + 1
    assert left(scene) == []


@pytest.mark.parametrize("other", [False, True])
def test_a_late_receipt_brings_nobody_back(scene: Scene, monkeypatch: pytest.MonkeyPatch, *, other: bool) -> None:
    """Her holder stands still past its lease while she is forgotten, then writes its receipts down: nothing of her is kept."""
    people(scene, 1, 2)
    for n in (1, 2):
        scene.edit_outreach(op="set", type="prospect", id=n, attributes={"title": f"Late {n}"})
    scene.poll()
    receive, held = receipts.receive, []
    with monkeypatch.context() as patch:
        patch.setattr(receipts, "receive", lambda _db, *told: held.append(told))
        scene.apply()
    scene.later(LEASE_S)
    assert scene.of(1)["person_job_title"] == "Late 1"
    if not other:
        forgot(scene)
    for told in held:
        with scene.store.write() as db:
            receive(db, *told)
    assert (left(scene) == []) is not other
    with scene.store.read() as db:
        kept = {one.outreach_id for one in db.execute(sa.select(links.HISTORY.c.outreach_id))}
        linked = set(links.load(db, Kind.PROSPECT, [1, 2]))
    assert (kept, linked) == (({1, 2}, {1, 2}) if other else ({2}, {2}))


def _forgetting(db: sa.Connection, scene: Scene, crm_id: int) -> None:
    gone = Circle(people=frozenset({crm_id}))
    forgotten.remember(db, gone, NAMES, scene.now())
    forgotten.erase(db, gone)


def _nobody(scene: Scene) -> None:
    with scene.store.read() as db:
        copies = sa.select(sa.func.count()).select_from(MIRROR).where(MIRROR.c.kind.in_([Kind.PERSON, Kind.PROSPECT]))
        assert db.scalar(copies) == 0
        assert db.scalar(sa.select(sa.func.count()).select_from(links.LINK)) == 0
        assert db.scalar(sa.select(sa.func.count()).select_from(links.HISTORY)) == 0


def _stranger(scene: Scene, **fields: object) -> int:
    told = {"person_first_name": "Ada", "person_last_name": "Ashby", "cf_person_sync_to_outreach": True, **fields}
    crm_id = scene.person(**told)
    scene.poll()
    return crm_id


def test_a_late_receipt_brings_no_stranger_back(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """She is forgotten while the prospect that she wished for is made: neither side of her is kept."""
    crm_id, receive = _stranger(scene, **{"main_location[email]": "ada@example.com"}), strangers._receive

    def received(db: sa.Connection, *rest: Any) -> None:  # noqa: ANN401 - handed on
        _forgetting(db, scene, crm_id)
        receive(db, *rest)

    monkeypatch.setattr(strangers, "_receive", received)
    assert strangers.apply_strangers(scene.applier()).claimed == 1
    _nobody(scene)


def test_a_copy_read_while_she_was_forgotten_is_dropped(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody saves her while the CRM is told why she cannot be brought to Outreach: the newer copy comes too late."""
    fresh: list[object] = []
    crm_id, carry_out = _stranger(scene), deliver.carry_out

    def save_first(call: Call) -> None:
        if call.writes and call.path.endswith("people.api"):
            scene.wire.before.clear()
            scene.edit_crm(op="set", type="person", id=crm_id, fields={"person_job_title": "Newer"})

    def carried_out(*rest: Any) -> Any:  # noqa: ANN401 - handed on
        answer = carry_out(*rest)
        fresh.extend(one.fresh.fields["person_job_title"] for one in answer.values() if one.fresh)
        with scene.store.write() as db:
            _forgetting(db, scene, crm_id)
        return answer

    scene.wire.before.append(save_first)
    monkeypatch.setattr(deliver, "carry_out", carried_out)
    assert strangers.apply_strangers(scene.applier()).claimed == 1
    assert fresh == ["Newer"]
    _nobody(scene)
