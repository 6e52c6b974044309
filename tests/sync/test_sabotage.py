"""Each protection taken out, one at a time, from outside: the scenario that it is there for then goes wrong.

A protection without which all scenarios still go well would protect nothing. Every test here runs its scenario twice: whole,
where it must go well, and sabotaged, where it must not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.sync.conftest import MakeScene
from tests.sync.scene import LEASE_S, QUIET, UNSEEN_S, Call, Killed, Life, Scene, fault
from worker.core import cursor, plan
from worker.core.records import Kind
from worker.remote.workbooks import Applied, Outcome
from worker.store import links, mirror, outbox
from worker.store.outbox import Change
from worker.sync import deliver, identify
from worker.sync.deliver import Job

Sabotage = Callable[[pytest.MonkeyPatch], None]


def whole(_: pytest.MonkeyPatch) -> None:
    """Leave everything as it is."""


def no_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Create without having looked whether the person is there."""
    monkeypatch.setattr(identify, "look_up", lambda *_, **__: None)


def no_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Believe everybody who holds the row's id, whoever has claimed it since."""

    def any_holder(_db: object, changes: Sequence[Change]) -> sa.ColumnElement[bool]:
        return outbox.CHANGE.c.id.in_([change.id for change in changes])

    monkeypatch.setattr(outbox, "_ours", any_holder)
    monkeypatch.setattr(outbox, "_mine", lambda change: any_holder(None, [change]))
    monkeypatch.setattr(outbox, "_read", lambda _db, changes: {change.id: change.generation for change in changes})


def no_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read on from just where the last run ended."""
    monkeypatch.setattr(cursor, "OVERLAP", timedelta(0))
    monkeypatch.setattr(cursor, "LONG_OVERLAP", timedelta(0))


def no_safety(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the watermark run right up to the server's own time and beyond."""
    monkeypatch.setattr(cursor, "SAFETY", timedelta(days=-36500))


def no_latch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget an opt-out as soon as neither side shows it."""
    monkeypatch.setattr(links, "latched", lambda *_: set())


def no_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settle a row whatever has reached it meanwhile."""

    def settle(db: sa.Connection, changes: Sequence[Change]) -> None:
        db.execute(sa.delete(outbox.CHANGE).where(outbox.CHANGE.c.id.in_([change.id for change in changes])))

    monkeypatch.setattr(outbox, "settle", settle)


def no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a write without an answer for one that was not carried out."""

    def blindly(job: Job, outcome: Outcome, *_: object) -> None:
        assert not isinstance(outcome, Applied)

    monkeypatch.setattr(deliver, "_settled", blindly)


def no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take an older copy of a record for news."""
    monkeypatch.setattr(mirror, "_is_older", lambda *_: False)


def no_brake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take any number of deletions as meant."""
    monkeypatch.setattr(plan, "too_many_deleted", lambda *_, **__: False)


def known_by_another_name(scene: Scene) -> bool:
    """The process dies with the reply to its creates in hand; tell whether everybody is there once in the end."""
    for n in range(1, 4):
        scene.prospect(n, 1)
    life = Life()
    honest = life.at

    def at(what: str) -> None:
        if what.startswith("told: write crm"):
            life.dies_at = len(life.points)
        honest(what)

    life.at = at  # type: ignore[method-assign]
    with pytest.raises(Killed):
        scene.sync(life)
    scene.later(UNSEEN_S)
    while scene.apply().claimed:  # as a worker does, before the next poll
        pass
    return Counter(scene.creates()) == Counter(["person 1", "person 2", "person 3"])


def two_hands(scene: Scene) -> bool:
    """A holder comes back long after its lease, with a plan of yesterday; tell whether what came since stands."""
    scene.prospect(1, 1)
    scene.sync()
    scene.later(300)
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Early"})
    scene.poll()
    with scene.store.write() as db:
        (stale,) = outbox.claim(db, Kind.PROSPECT, now=scene.now())
    scene.later(LEASE_S)
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Late"})
    scene.poll()
    with scene.store.write() as db:
        (owner,) = outbox.claim(db, Kind.PROSPECT, now=scene.now())
        outbox.settle(db, [stale])
        outbox.release(db, [stale])
        free = outbox.claim(db, Kind.PROSPECT, now=scene.now())
        left = db.scalar(sa.select(sa.func.count()).select_from(outbox.CHANGE))
    return free == [] and left == 1 and owner.fence > stale.fence


def late_arrival(scene: Scene) -> bool:
    """A record is dated a minute back when it first shows; tell whether it is found."""
    scene.prospect(1, 1)
    scene.later(3600)
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Edge"})
    scene.later(120)
    scene.sync()
    scene.prospect(2, updatedAt="2026-11-20T09:59:10.000Z")
    for _ in range(12):
        scene.poll(Kind.PROSPECT)
    with scene.store.read() as db:
        return 2 in mirror.load(db, Kind.PROSPECT, [2])


def dated_2099(scene: Scene) -> bool:
    """One record is dated 2099; tell whether what is edited afterwards still arrives."""
    scene.prospect(1, 1)
    scene.prospect(2, 1, updatedAt="2099-01-01T00:00:00.000Z")
    scene.sync()
    scene.later(600)
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "After"})
    scene.sync()
    return bool(scene.of(1).get("person_job_title") == "After")


def taken_back(scene: Scene) -> bool:
    """Opted out, then taken back on both sides by hand; tell whether the person stays opted out."""
    scene.prospect(1, 1)
    scene.sync()
    scene.later(300)
    scene.edit_outreach(op="opt_out", prospect=1, how="manual")
    scene.sync()
    scene.later(300)
    scene.edit_outreach(op="opt_in", prospect=1, how="manual")
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"emailsOptStatus": None, "optedOut": False})
    scene.edit_crm(op="set", type="person", id=scene.of(1)["id"], fields={"no_email_soliciting": False})
    scene.sync()
    scene.sync()
    return scene.of(1)["no_email_soliciting"] is True and scene.of_outreach("prospect", 1)["emailOptedOut"] is True


def edited_meanwhile(scene: Scene) -> bool:
    """An edit arrives between the plan and the receipt; tell whether it gets through."""
    scene.prospect(1, 1)
    scene.sync()
    scene.later(300)
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Early"})
    scene.poll(Kind.PROSPECT)

    def edit(call: Call) -> None:
        if call.writes:
            scene.wire.before.clear()
            scene.later(1)
            scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Late"})
            scene.poll(Kind.PROSPECT)

    scene.wire.before.append(edit)
    while scene.apply().claimed:
        pass
    return bool(scene.of(1)["person_job_title"] == "Late")


def lost_reply(scene: Scene) -> bool:
    """A create is carried out and its reply lost; tell whether there is one person."""
    scene.prospect(1, 1)
    scene.crm.faults.arm([fault("lost_reply", path="people", op="write")])
    scene.sync(wait_s=60)
    return scene.creates() == ["person 1"]


def overtaken_page(scene: Scene) -> bool:
    """A page of people is read, our write lands, the page is stored; tell whether the mirror holds what we wrote."""
    scene.prospect(1, 1)
    scene.sync()
    scene.later(300)
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Ours"})
    scene.edit_crm(op="set", type="person", id=scene.of(1)["id"], fields={"main_location[mobile]": "+44 7700 900123"})
    scene.poll(Kind.PROSPECT, Kind.PERSON)

    def write_meanwhile(call: Call) -> None:
        if call.path.endswith("people.api") and not call.writes:
            scene.wire.after.clear()
            scene.apply()

    scene.wire.after.append(write_meanwhile)
    scene.poll(Kind.PERSON)
    with scene.store.read() as db:
        (held,) = mirror.load(db, Kind.PERSON, [scene.of(1)["id"]]).values()
    return held.fields["person_job_title"] == "Ours"


def mass_deletion(scene: Scene) -> bool:
    """Thirty of sixty people vanish at once; tell whether somebody is asked before thirty are created again."""
    for n in range(1, 61):
        scene.prospect(n, 1)
    scene.sync()
    scene.later(300)
    for n in range(1, 31):
        scene.edit_crm(op="delete", type="person", id=scene.of(n)["id"])
    report = scene.sync()
    return report.tally.recreated == 0 and report.counts.holds == 1


CASES: dict[str, tuple[Sabotage, Callable[[Scene], bool]]] = {
    "the look-up before a create": (no_look_up, known_by_another_name),
    "the fence": (no_fence, two_hands),
    "the overlap": (no_overlap, late_arrival),
    "the safety margin": (no_safety, dated_2099),
    "the latch": (no_latch, taken_back),
    "the generation": (no_generation, edited_meanwhile),
    "the second look": (no_second_look, lost_reply),
    "the lock_version": (no_version, overtaken_page),
    "the brake": (no_brake, mass_deletion),
}


@pytest.mark.parametrize("protection", CASES)
def test_the_scenario_goes_well(make_scene: MakeScene, protection: str) -> None:
    """With every protection in place the scenario ends as it should."""
    _, scenario = CASES[protection]
    assert scenario(make_scene())


@pytest.mark.parametrize("protection", CASES)
def test_the_scenario_needs_its_protection(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch, protection: str
) -> None:
    """Without this one protection the scenario goes wrong."""
    sabotage, scenario = CASES[protection]
    sabotage(monkeypatch)
    assert not scenario(make_scene(options=QUIET))


def test_a_stolen_fence_links_the_wrong_person(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the fence a holder that was stopped in front of its create takes the link for the second person it made."""

    def ends_with_the_first(scene: Scene) -> bool:
        scene.prospect(1, 1)
        scene.poll()

        def another(call: Call) -> None:
            if call.writes:
                scene.wire.before.clear()
                scene.later(UNSEEN_S)
                scene.apply()

        scene.wire.before.append(another)
        scene.apply()
        with scene.store.read() as db:
            (link,) = links.load(db, Kind.PROSPECT, [1]).values()
        return bool(link.crm_id == min(one["id"] for one in scene.people()))

    assert ends_with_the_first(make_scene())
    monkeypatch.setattr(outbox, "ours", lambda _db, changes: {change.id for change in changes})
    assert not ends_with_the_first(make_scene())


def test_a_sabotage_is_undone(make_scene: MakeScene) -> None:
    """What these tests take out is back for all others."""
    assert timedelta(seconds=90) == cursor.OVERLAP
    assert timedelta(seconds=60) == cursor.SAFETY
    assert all(found.__module__.startswith("worker.") for found in (outbox.settle, links.latched, identify.look_up))
    assert make_scene().sync().converged
