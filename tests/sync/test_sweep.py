"""The rolling sweep: what no poll shows is found within a round, and a lost permission is no removal."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qsl

import pytest
import sqlalchemy as sa

from tests.sync.conftest import MakeScene
from tests.sync.scene import LEASE_S, QUIET, Killed, Life, Scene, reads_of
from worker.core.records import Kind
from worker.store import links, mirror, outbox, rounds, sights
from worker.sync import held, sweep
from worker.sync.sweep import Swept

STATE, RUNNING = "cf_person_sequence_state", "Active – Running"
HOUR, DAY = 3600.0, 86400.0
LATEST = 9001
"""The prospect with the newest stamps: what is older no poll looks at any more."""


@pytest.fixture
def scene(make_scene: MakeScene) -> Scene:
    """Return a scene without people, and without events."""
    return quiet(make_scene)


def quiet(make_scene: MakeScene) -> Scene:
    """Return a scene whose token may read no feed."""
    return make_scene(options=QUIET)


def peopled(scene: Scene, people: int, **more: object) -> Scene:
    """Put so many prospects into Outreach, each in one sequence, and bring them to the CRM; then half an hour goes by."""
    for n in range(1, people + 1):
        scene.prospect(n, 1, **more)
    scene.sync()
    scene.later(1800)
    scene.prospect(LATEST, 2)
    scene.sync()
    return scene


def roll(scene: Scene) -> list[Swept]:
    """Take every slice that is due."""
    return list(sweep.roll(scene.applier(), scene.now() + timedelta(minutes=1)))


def found(told: list[Swept]) -> dict[Kind, tuple[int, int]]:
    """Return by kind what was missed and what was removed, if anything."""
    sums = {kind: [(one.missed, one.removed) for one in told if one.kind is kind] for kind in sweep.KINDS}
    totals = {kind: (sum(a for a, _ in both), sum(b for _, b in both)) for kind, both in sums.items()}
    return {kind: both for kind, both in totals.items() if any(both)}


def sights_of(scene: Scene) -> dict[str, int]:
    """Return how many changes only the sweep caught, by stream."""
    with scene.store.read() as db:
        told = sights.told(db, scene.now() - timedelta(days=1))
    return {stream: count for (stream, channel), count in told.items() if channel == "sweep"}


def gone(scene: Scene, type_: str, *ids: int) -> None:
    """Let somebody delete records in Outreach."""
    for one in ids:
        scene.edit_outreach(op="delete", type=type_, id=one)


def list_of_states(kind: str, **args: object) -> dict[str, object]:
    """Return a fault that hits one slice of sequence states."""
    match = {"path": "sequenceStates", "query": "sort=id"}
    return {"match": match, "kind": kind, "times": 1, "args": args}


def entries(scene: Scene) -> list[held.Entry]:
    """Return what waits for a person."""
    return held.entries(scene.store)


def test_a_prospect_removed_from_its_only_sequence_reads_not_active(scene: Scene) -> None:
    """No poll shows it; the round does, and the next pass brings it to the CRM."""
    peopled(scene, 3)
    gone(scene, "sequenceState", *scene.states_of(2))
    assert scene.sync().tally.updated == 0
    assert found(roll(scene)) == {Kind.STATE: (0, 1)}
    scene.sync()
    assert [scene.of(n)[STATE] for n in (1, 2, 3)] == ["Active – Running", "Not Active", "Active – Running"]
    assert sights_of(scene) == {"sequenceStates": 1}


def test_a_deleted_prospect_is_unlinked_with_all_that_was_its(scene: Scene) -> None:
    """Prospect and state are gone; its person stays, Not Active, and its link is a tombstone."""
    peopled(scene, 2)
    gone(scene, "prospect", 1)
    assert found(roll(scene)) == {Kind.STATE: (0, 1), Kind.PROSPECT: (0, 1)}
    scene.sync()
    assert scene.of(1)[STATE] == "Not Active"
    with scene.store.read() as db:
        assert links.load(db, Kind.PROSPECT, [1])[1].gone
    assert not links_gone(scene, 2)


def links_gone(scene: Scene, prospect: int) -> bool:
    """Tell whether a prospect's link is a tombstone."""
    with scene.store.read() as db:
        return links.load(db, Kind.PROSPECT, [prospect])[prospect].gone


def open_task(scene: Scene, prospect: int) -> int:
    """Make an open task for the state of a prospect, on its first step."""
    (state,) = scene.states_of(prospect)
    step = scene.outreach.world.dump()["sequenceState"][str(state)]["relations"]["sequenceStep"]
    related = {"prospect": prospect, "sequence": 1, "sequenceState": state, "sequenceStep": step}
    told = scene.edit_outreach(
        op="create", type="task", attributes={"action": "call", "state": "incomplete"}, relations=related
    )
    return int(told["changed"][0]["id"])


def test_an_open_task_that_is_gone_is_found(scene: Scene) -> None:
    """Its state moved on before: the poll had asked for it while it was there. Now it is gone, and was skipped."""
    for n in (1, 2):
        scene.prospect(n, 1)
    task, other = open_task(scene, 1), open_task(scene, 2)
    peopled(scene, 0)
    scene.edit_outreach(op="advance", state=scene.states_of(1)[0])
    scene.sync()
    assert scene.tasks() == []
    gone(scene, "task", task, other)
    assert found(roll(scene)) == {Kind.TASK: (0, 2)}
    scene.sync()
    assert [one["cf_task_outreach_id"] for one in scene.tasks()] == [str(task)]


def test_a_task_completed_unseen_is_no_removal(scene: Scene) -> None:
    """It is no longer among the open ones, but there by id: a missed change, and known as complete from then on."""
    scene.prospect(1, 1)
    task = open_task(scene, 1)
    peopled(scene, 0)
    open_task(scene, LATEST)
    scene.sync()
    done = {"state": "complete", "completed": True}
    scene.edit_outreach(op="set", type="task", id=task, attributes=done, touch=False)
    assert found(roll(scene)) == {Kind.TASK: (1, 0)}
    with scene.store.read() as db:
        assert mirror.load(db, Kind.TASK, [task])[task].fields["state"] == "complete"


@pytest.mark.parametrize(
    "type_, what, label",
    [
        ("sequenceState", {"state": "paused"}, "Active – Paused"),
        ("prospect", {"emailOptedOut": True}, "Opted Out"),
    ],
)
def test_a_change_that_moved_no_stamp_is_caught(scene: Scene, type_: str, what: dict[str, object], label: str) -> None:
    """A state, or an opt-out, that the vendor did not stamp: no poll, no overlap shows it; the round does."""
    peopled(scene, 2)
    record = scene.states_of(2)[0] if type_ == "sequenceState" else 2
    scene.edit_outreach(op="set", type=type_, id=record, attributes=what, touch=False)
    assert scene.sync().tally.updated == 0
    kind = Kind.STATE if type_ == "sequenceState" else Kind.PROSPECT
    assert found(roll(scene)) == {kind: (1, 0)}
    scene.sync()
    assert (scene.of(1)[STATE], scene.of(2)[STATE]) == ("Active – Running", label)


def test_a_record_that_no_poll_ever_showed_is_fetched(scene: Scene) -> None:
    """A prospect and its state that appear with old stamps, as after a permission was given."""
    peopled(scene, 2)
    old = "2026-11-01T09:00:00.000Z"
    scene.prospect(5, 1)
    scene.edit_outreach(op="set", type="prospect", id=5, attributes={"updatedAt": old})
    scene.edit_outreach(op="set", type="sequenceState", id=scene.states_of(5)[0], attributes={"updatedAt": old})
    scene.sync()
    assert found(roll(scene)) == {Kind.STATE: (1, 0), Kind.PROSPECT: (1, 0)}
    scene.sync()
    assert scene.of(5)[STATE] == "Active – Running"


def test_what_the_next_poll_will_show_is_left_to_it(scene: Scene) -> None:
    """Changed and created a moment ago: no poll has missed that, so nothing counts as caught only by the sweep."""
    peopled(scene, 2)
    scene.edit_outreach(op="pause", state=scene.states_of(1)[0])
    scene.prospect(7, 1)
    scene.wire.calls.clear()
    assert found(roll(scene)) == {}
    assert len(scene.wire.calls) == len(sweep.KINDS)
    scene.sync()
    assert (sights_of(scene), scene.of(1)[STATE]) == ({}, "Active – Paused")


def test_a_round_costs_a_call_a_slice_and_takes_a_day(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices are spread over the day; each id is listed once; the next round begins a day after the last began."""
    monkeypatch.setattr(sweep, "SLICE", 10)
    scene = peopled(quiet(make_scene), 24)
    scene.wire.calls.clear()
    read = {"sequenceStates": 0, "prospects": 0}
    began, hours = scene.now(), []
    while scene.now() - began < timedelta(hours=25):
        for one in roll(scene):
            read[one.kind.value] = read.get(one.kind.value, 0) + one.read
            if one.kind is Kind.STATE and one.read:
                hours.append(round((scene.now() - began).total_seconds() / HOUR))
        scene.later(HOUR)
    assert hours == [0, 8, 16, 24]
    assert read == {"sequenceStates": 25 + 10, "prospects": 25 + 10, "tasks": 0}
    assert len(scene.wire.calls) == 4 + 4 + 2


def test_the_slices_say_only_what_is_compared(scene: Scene) -> None:
    """Sorted by id from the place on, the open tasks alone, and of a prospect nothing but its opt-out."""
    peopled(scene, 1)
    scene.wire.calls.clear()
    roll(scene)
    asked = {call.path.rpartition("/")[2]: dict(parse_qsl(call.query)) for call in scene.wire.calls}
    assert all((one["sort"], one["filter[id]"]) == ("id", "1..inf") for one in asked.values())
    assert asked["tasks"]["filter[state]"] == "incomplete,pending"
    opt_outs = "emailOptedOut,emailsOptStatus,emailsOptedAt,optedOut,optedOutAt,updatedAt,trashedAt"
    assert asked["prospects"]["fields[prospect]"] == opt_outs


def hide(scene: Scene, *prospects: int, verb: str = "hide") -> None:
    """Take the permission to see prospects and all that is theirs away, or give it back."""
    scene.edit_outreach(op=verb, type="prospect", ids=list(prospects), hanging=True)


def test_a_lost_permission_trips_the_brake(make_scene: MakeScene) -> None:
    """More than twenty at once: one entry a kind, nobody is touched, until the permission is back; then it lifts itself."""
    scene = peopled(quiet(make_scene), 30)
    hide(scene, *range(1, 26))
    assert found(roll(scene)) == {}
    assert {(one.key, one.kind) for one in entries(scene)} == {
        ("brake:removals:sequenceStates", "brake"),
        ("brake:removals:prospects", "brake"),
    }
    assert scene.sync().tally.updated == 0
    assert {scene.of(n)[STATE] for n in range(1, 31)} == {"Active – Running"}
    scene.later(DAY)
    roll(scene)
    assert len(entries(scene)) == 2
    scene.edit_outreach(op="show")
    scene.later(DAY)
    assert found(roll(scene)) == {}
    assert entries(scene) == []
    assert scene.sync().tally.updated == 0


def test_an_approved_brake_lets_them_go_at_once(make_scene: MakeScene) -> None:
    """Somebody says they are really gone: the next pass takes them as removed without waiting for the next round."""
    scene = peopled(quiet(make_scene), 30)
    gone(scene, "prospect", *range(1, 26))
    roll(scene)
    held.approve(scene.store, entries(scene), scene.mapping, how=None, now=scene.now())
    report = scene.sync()
    assert report.tally.updated == 25
    assert {scene.of(n)[STATE] for n in range(1, 26)} == {"Not Active"}
    assert (entries(scene), roll(scene)) == ([], [])
    scene.later(DAY)
    assert found(roll(scene)) == {}


def test_removals_spread_over_a_day_add_up(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifteen now and fifteen in the next slice are thirty within a day: the first go, the second trip the brake."""
    monkeypatch.setattr(sweep, "SLICE", 25)
    scene = peopled(quiet(make_scene), 50)
    states = [scene.states_of(n)[0] for n in range(1, 51)]
    gone(scene, "sequenceState", *states[:15])
    assert found(roll(scene)) == {Kind.STATE: (0, 15)}
    scene.later(DAY / 2)
    gone(scene, "sequenceState", *states[35:50])
    assert found(roll(scene)) == {}
    assert [one.key for one in entries(scene)] == ["brake:removals:sequenceStates"]


@pytest.mark.parametrize("answer", ["empty", "short"])
def test_an_implausible_answer_is_never_all_gone(make_scene: MakeScene, answer: str) -> None:
    """A list that leaves most out, while each is there by id: nothing is removed or held; the slice is tried again."""
    scene = peopled(quiet(make_scene), 30)
    lists = {"data": [] if answer == "empty" else [{"type": "sequenceState", "id": 1, "attributes": {}}]}
    scene.outreach.faults.arm([list_of_states("status", code=200, body=lists)])
    told = roll(scene)
    assert [one.trouble for one in told if one.kind is Kind.STATE] == [
        "a list of sequenceStates leaves out most of what is there by id"
    ]
    assert (found(told), entries(scene)) == ({}, [])
    assert [one for one in roll(scene) if one.kind is Kind.STATE] == []
    scene.later(601)
    (again,) = roll(scene)
    assert (again.kind, again.read, again.removed, again.ended) == (Kind.STATE, 31, 0, True)


def test_a_few_left_out_that_are_there_by_id_stay(make_scene: MakeScene) -> None:
    """Some records may never be listed: they cost a look-up a round, and nothing is removed."""
    scene = peopled(quiet(make_scene), 5)
    scene.outreach.faults.arm([list_of_states("status", code=200, body={"data": []})])
    assert found(roll(scene)) == {}
    with scene.store.read() as db:
        assert mirror.extent(db, Kind.STATE)[0] == 6


@pytest.mark.parametrize("answer", ["refused", "out of order"])
def test_where_ids_cannot_be_listed_they_are_asked_for(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """That is unproven of Outreach. Each slice asks by id for what is known: the round finds what is gone or unseen."""
    monkeypatch.setattr(sweep, "SLICE", 4)
    scene = peopled(quiet(make_scene), 9)
    lists: dict[str, object] = {
        "data": [{"type": "sequenceState", "id": number, "attributes": {}} for number in (5, 3)]
    }
    told = {"code": 422} if answer == "refused" else {"code": 200, "body": lists}
    scene.outreach.faults.arm([{**list_of_states("status", **told), "times": None}])
    gone(scene, "sequenceState", *scene.states_of(2), *scene.states_of(9))
    scene.edit_outreach(
        op="set", type="sequenceState", id=scene.states_of(7)[0], attributes={"state": "paused"}, touch=False
    )
    sweep.begin_anew(scene.applier())
    scene.wire.calls.clear()
    told_all = list(sweep.walk(Kind.STATE, scene.applier(), sleep=scene.later))
    assert [(one.read, one.ended, one.trouble) for one in told_all] == [
        (3, False, None),
        (4, False, None),
        (1, True, None),
    ]
    assert found(told_all) == {Kind.STATE: (1, 2)}
    asked = [call.query for call in reads_of(scene.wire.calls, "api/v2/sequenceStates")]
    assert sum("sort=id" in query for query in asked) == 1
    scene.sync()
    labels = {n: scene.of(n)[STATE] for n in (1, 2, 7, 9)}
    assert labels == {1: RUNNING, 2: "Not Active", 7: "Active – Paused", 9: "Not Active"}


def test_a_walker_that_dies_loses_nothing(scene: Scene) -> None:
    """Killed at any point of a slice, the next one finds the same, once its lease has run out."""
    peopled(scene, 2)
    gone(scene, "sequenceState", *scene.states_of(1))
    for point in range(40):
        life = Life(point)
        on = scene.applier(life)
        try:
            list(sweep.roll(on, scene.now() + timedelta(minutes=1)))
        except Killed:
            scene.later(LEASE_S)
        else:
            break
    assert (point, found(roll(scene))) == (scene.slept.count(LEASE_S), {})
    assert point > len(sweep.KINDS)
    scene.sync()
    assert scene.of(1)[STATE] == "Not Active"


def test_a_full_pass_sweeps_at_once(scene: Scene) -> None:
    """What is gone is gone at the end of that very pass; an ordinary pass makes no call for it."""
    peopled(scene, 3)
    gone(scene, "sequenceState", *scene.states_of(2))
    scene.wire.calls.clear()
    scene.sync()
    assert not [call for call in reads_of(scene.wire.calls, "sequenceStates") if "sort=id" in call.query]
    report = scene.sync(full=True)
    assert (report.converged, scene.of(2)[STATE]) == (True, "Not Active")
    assert report.swept["sequenceStates"] == {"read": 3, "missed": 0, "removed": 1}
    with scene.store.read() as db:
        assert [one.last["removed"] for one in rounds.standings(db)] == [0, 1, 0]


def test_a_second_round_writes_nothing(scene: Scene) -> None:
    """Nothing changed: not a row of the mirror, no change, no sight."""
    peopled(scene, 3)
    roll(scene)
    scene.later(DAY)
    with scene.store.read() as db:
        before = [db.execute(sa.select(table)).all() for table in (mirror.MIRROR, outbox.CHANGE, sights.SIGHT)]
    assert len(roll(scene)) == len(sweep.KINDS)
    with scene.store.read() as db:
        assert [db.execute(sa.select(table)).all() for table in (mirror.MIRROR, outbox.CHANGE, sights.SIGHT)] == before


def test_a_change_counts_for_who_saw_it_first(scene: Scene) -> None:
    """The first load is no change; a pause that a poll brings is one, and is not counted again by the round."""
    scene.prospect(1, 1)
    scene.sync()
    scene.later(120)
    scene.edit_outreach(op="pause", state=scene.states_of(1)[0])
    scene.sync()
    roll(scene)
    with scene.store.read() as db:
        told = sights.told(db, scene.now() - timedelta(days=1))
    assert told[("sequenceStates", "poll")] == 1
    assert [channel for _, channel in told if channel != "poll"] == []
    assert ("prospects", "poll") not in told
