"""What is given up, when, and what is tried again by itself or because somebody asks."""

from __future__ import annotations

import sqlalchemy as sa

from tests.sync.conftest import MakeScene
from tests.sync.scene import Scene, fault
from tests.sync.test_faults import changes, down, polled
from worker.core.records import Kind
from worker.store import dead, outbox
from worker.store.outbox import CHANGE, Lane, Standing
from worker.sync import failures

DAY = 86_400.0
LOCKED = {
    "errors": [
        {
            "id": "validationError",
            "detail": "email opted out is locked by policy",
            "source": {"pointer": "/data/attributes/emailOptedOut"},
        }
    ]
}


def standings(scene: Scene) -> dict[int, str]:
    """Where each change stands."""
    return {n: row.state for n, row in changes(scene).items()}


def buried(scene: Scene, *words: str) -> None:
    """Let prospects 1, 2 … be dead letters of these words."""
    with scene.store.write() as db:
        numbers = range(1, len(words) + 1)
        outbox.open_changes(db, Kind.PROSPECT, numbers, lane=Lane.EDIT, now=scene.now())
        for n, error in zip(numbers, words, strict=True):
            dead = {"state": Standing.DEAD, "error": error, "failed_at": scene.now()}
            db.execute(sa.update(CHANGE).where(CHANGE.c.record_id == n).values(**dead))


def test_what_waited_for_days_before_anybody_tried_is_not_given_up(make_scene: MakeScene) -> None:
    """The 72 hours begin with the first failed try, not when the row was opened: it may have been paused since."""
    scene = polled(make_scene(), 1)
    scene.later(4 * DAY)
    down(scene)
    scene.apply()
    assert standings(scene) == {1: Standing.DUE}
    scene.later(3 * DAY - 900)
    scene.apply()
    assert standings(scene) == {1: Standing.DUE}
    scene.later(900)
    scene.apply()
    assert standings(scene) == {1: Standing.DEAD}


def test_an_edit_meanwhile_does_not_begin_them_anew(make_scene: MakeScene) -> None:
    """Whoever is edited each day is given up after three days all the same; what was held back meanwhile is not."""
    scene = polled(make_scene(), 1, 2)
    down(scene)
    scene.apply()
    with scene.store.write() as db:
        db.execute(sa.update(CHANGE).where(CHANGE.c.record_id == 2).values(state=Standing.KEPT))
    for _ in range(3):
        scene.later(DAY)
        with scene.store.write() as db:
            outbox.open_changes(db, Kind.PROSPECT, [1], lane=Lane.EDIT, now=scene.now())
    with scene.store.write() as db:
        outbox.unkeep(db)
    scene.apply()
    assert standings(scene) == {1: Standing.DEAD, 2: Standing.DUE}


def test_a_refused_opt_out_is_asked_for_again_every_hour(make_scene: MakeScene) -> None:
    """It is a dead letter that people are told of, and nobody need do more than mend the cause (facts, delivery B.7)."""
    scene = polled(make_scene(), 1)
    scene.sync()
    scene.edit_crm(op="set", type="person", id=scene.of(1)["id"], fields={"no_email_soliciting": True})
    scene.outreach.faults.arm([fault("status", op="write", times=None, code=422, body=LOCKED)])
    scene.later(300)
    scene.sync()
    assert standings(scene) == {1: Standing.DEAD}
    scene.wire.calls.clear()
    scene.later(1800)
    scene.sync()
    assert not any(call.writes for call in scene.wire.calls)
    scene.later(1900)
    scene.sync()
    asked = [call for call in scene.wire.calls if call.method == "PATCH"]
    assert (standings(scene), len(asked)) == ({1: Standing.DEAD}, 1)
    scene.outreach.faults.arm([])
    scene.later(3601)
    assert scene.sync().tally.outreach_opted_out == 1
    assert standings(scene) == {}


def test_only_what_a_side_does_not_show_is_asked_again(make_scene: MakeScene) -> None:
    """A delivered opt-out of a record that fails for another field's sake, and any other dead letter, stay dead."""
    scene = polled(make_scene(), 1, 2)
    scene.edit_outreach(op="opt_out", prospect=1, how="manual")
    scene.sync()
    buried(scene, "title: is odd", "title: is odd")
    with scene.store.write() as db:
        db.execute(sa.update(CHANGE).where(CHANGE.c.record_id == 1).values(lane=int(Lane.OPT_OUT)))
    scene.later(2 * 3600)
    assert failures.revive(scene.store, scene.mapping, scene.now()) == 0
    assert standings(scene) == {1: Standing.DEAD, 2: Standing.DEAD}


def test_who_opted_out_since_the_list_was_read_is_not_dropped(make_scene: MakeScene) -> None:
    """Between the list and the drop a dead letter was tried with an opt-out, and died again."""
    scene = make_scene()
    buried(scene, "title: is odd", "title: is odd")
    with scene.store.read() as db:
        known = dead.letters(db)
    with scene.store.write() as db:
        db.execute(sa.update(CHANGE).where(CHANGE.c.record_id == 1).values(lane=int(Lane.OPT_OUT)))
    dropped, refused = failures.drop(scene.store, known, scene.mapping)
    assert (dropped, [one.ref.id for one in refused]) == (1, [1])


def test_a_report_tells_causes_not_records(make_scene: MakeScene) -> None:
    """Thirty records that a vendor names in its words are one line."""
    scene = make_scene()
    buried(scene, *(f"record {n + 1000} is locked by user_{n + 500}" for n in range(30)), "title: is odd")
    told = [line for line in scene.sync().waiting if line.startswith("failed")]
    assert told == ["failed, 30 of them: record # is locked by #", "failed, 1 of them: title: is odd"]


def test_no_word_names_no_cause(make_scene: MakeScene) -> None:
    """An unset variable in ``--cause "$CAUSE"`` must not mean every cause."""
    scene = make_scene()
    buried(scene, "title: is odd")
    with scene.store.read() as db:
        known = failures.causes(db)
    assert [failures.named(known, text) for text in ("", " ", "\t")] == [[], [], []]
    assert failures.named(known, "ODD") == known
