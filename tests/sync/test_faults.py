"""Faults: what passes is tried again in time, what does not is a dead letter, and what stops us gives every row back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tests.sync.conftest import MakeScene
from tests.sync.scene import Call, Scene, fault, reads_of
from worker.core import errors
from worker.core.records import Kind
from worker.store import backlog, exchanges, outbox
from worker.store.outbox import Lane, Standing
from worker.sync import apply


def changes(scene: Scene) -> dict[int, sa.Row[Any]]:
    """Return the open changes of prospects."""
    with scene.store.read() as db:
        query = sa.select(outbox.CHANGE).where(outbox.CHANGE.c.kind == Kind.PROSPECT)
        return {row.record_id: row for row in db.execute(query)}


def polled(scene: Scene, *prospects: int) -> Scene:
    """Return the scene with prospects that were polled and not yet applied."""
    for n in prospects:
        scene.prospect(n, 1)
    scene.poll()
    scene.wire.calls.clear()
    return scene


def down(scene: Scene, *, reads: bool = True) -> None:
    """Let the CRM answer nothing but 503."""
    scene.crm.faults.arm([fault("status", op=None if reads else "write", times=None, code=503)])


def test_a_crm_that_is_down_is_tried_again_later(on_both: Scene) -> None:
    """Every row waits with the words and one attempt more, each time longer, and the pass goes on when it is back."""
    scene = polled(on_both, 1, 2)
    down(scene)
    waits = []
    for _ in range(4):
        at = scene.now()
        scene.apply()
        row = changes(scene)[1]
        waits.append((row.attempts, (row.next_at - at).total_seconds() > 0, row.lease_until, row.state))
        scene.later(max(0.0, (row.next_at - scene.now()).total_seconds()))
    assert waits == [(n, True, None, Standing.DUE) for n in range(1, 5)]
    assert "503" in changes(scene)[1].error
    scene.crm.faults.arm([])
    assert scene.sync(wait_s=60).converged
    assert sorted(scene.creates()) == ["person 1", "person 2"]


def test_transient_faults_are_forgiven_for_three_days(on_both: Scene) -> None:
    """A change is given up only after 72 hours without an answer; an opt-out is tried hourly for ever."""
    scene = polled(on_both, 1)
    scene.prospect(2, 1)
    scene.edit_outreach(op="opt_out", prospect=2, how="manual")
    scene.poll()
    down(scene)
    for _ in range(9):
        scene.apply()
        scene.later(8 * 3600)
    assert {n: row.state for n, row in changes(scene).items()} == {1: Standing.DUE, 2: Standing.DUE}
    scene.apply()
    rows = changes(scene)
    assert (rows[1].state, rows[2].state) == (Standing.DEAD, Standing.DUE)
    assert rows[2].next_at - scene.now() == timedelta(hours=1)
    scene.crm.faults.arm([])
    scene.later(3600)
    scene.apply()
    assert scene.of(2)["no_email_soliciting"] is True


def test_a_long_throttle_is_waited_for(on_both: Scene) -> None:
    """A vendor that asks for ten minutes gets them, and a little more."""
    scene = polled(on_both, 1)
    headers = {"Retry-After": "600"}
    scene.crm.faults.arm([fault("status", times=1, code=429, headers=headers)])
    at = scene.now()
    scene.apply()
    wait = (changes(scene)[1].next_at - at).total_seconds()
    assert 600 <= wait < 610
    assert scene.apply().claimed == 0
    scene.later(wait + 1)
    assert scene.apply().created == 1


@pytest.mark.parametrize("asked", [False, True], ids=["nobody was asked", "the vendor asked for it"])
def test_a_rest_counts_as_no_attempt(make_scene: MakeScene, asked: bool) -> None:
    """However long a vendor rests, the next failure costs no more than the last: nobody was asked, so nothing failed."""
    scene = polled(make_scene(), 1)
    error = (errors.Throttled if asked else errors.Resting)("not now", retry_after_s=15)

    def refuse(_: Call) -> None:
        raise error

    scene.wire.before.append(refuse)
    for _ in range(3):
        assert scene.apply().claimed == 1
        scene.later(60)
    assert changes(scene)[1].attempts == 3 * asked


def test_a_stale_version_is_planned_again_at_once(on_both: Scene) -> None:
    """Somebody saved the person between our read and our write: the next try starts from the newer copy, and both stay."""
    scene = polled(on_both, 1)
    scene.sync()
    scene.later(300)
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Ours"})

    def save_first(call: Call) -> None:
        if call.writes and call.path.endswith("people.api"):
            scene.wire.before.clear()
            scene.edit_crm(
                op="set", type="person", id=scene.of(1)["id"], fields={"main_location[mobile]": "+44 7700 900456"}
            )

    scene.wire.before.append(save_first)
    assert scene.sync().converged
    assert scene.of(1)["person_job_title"] == "Ours"
    assert scene.of(1)["main_location[mobile]"] == "+44 7700 900456"
    assert scene.of_outreach("prospect", 1)["mobilePhones"] == ["+44 7700 900456"]


def test_a_record_that_is_always_saved_by_somebody_else_backs_off(make_scene: MakeScene) -> None:
    """Overtaken eight times in a row, a change waits like any other instead of running in a circle."""
    scene = polled(make_scene(), 1)
    scene.sync()
    scene.later(300)
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Ours"})
    scene.poll(Kind.PROSPECT)

    def save_first(call: Call) -> None:
        if call.writes and call.path.endswith("people.api"):
            told = {"main_location[mobile]": f"+44 7700 90{len(scene.wire.calls):04d}"}
            scene.edit_crm(op="set", type="person", id=scene.of(1)["id"], fields=told)

    scene.wire.before.append(save_first)
    tries = 0
    while apply.apply_people(scene.applier()).claimed:
        tries += 1
        assert tries < 20
    row = changes(scene)[1]
    assert row.state == Standing.DUE
    assert row.next_at > scene.now()
    assert tries <= errors.GIVE_UP_AFTER


@pytest.mark.parametrize("shape", ["failures", "failure_words", "information", "errors2009"])
def test_a_refused_field_is_a_dead_letter_and_the_rest_is_written(make_scene: MakeScene, shape: str) -> None:
    """The state and the opt-out get through, the person shows the vendor's words, the change fails with them."""
    rules = [{"type": "person", "field": "person_job_title", "pattern": "Wizard", "message": "is not a job"}]
    scene = polled(make_scene(crm_options={"rules": rules, "failure_shape": shape}), 1)
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Wizard"})
    report = scene.sync()
    assert (report.counts.dead, report.tally.new_failed) == (1, 1)
    person = scene.of(1)
    assert person["cf_person_sequence_state"] == "Active – Running"
    assert "is not a job" in person["cf_person_outreach_error"]
    assert person.get("person_job_title") is None
    again = scene.sync()
    assert (again.counts.dead, again.tally.new_failed) == (1, 0)
    scene.later(300)
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Witch"})
    assert scene.sync().converged
    assert scene.of(1)["person_job_title"] == "Witch"
    assert scene.of(1).get("cf_person_outreach_error") is None


def test_one_bad_record_keeps_no_neighbour(make_scene: MakeScene) -> None:
    """Of a whole batch with a few refused fields everybody arrives."""
    rules = [{"type": "person", "field": "person_job_title", "pattern": "Wizard", "message": "is not a job"}]
    scene = make_scene(crm_options={"rules": rules})
    for n in range(1, 41):
        scene.prospect(n, 1, title="Wizard" if n % 10 == 0 else "Buyer")
    report = scene.sync()
    assert report.counts.dead == 4
    assert len(scene.creates()) == 40
    assert {scene.of(n)["cf_person_sequence_state"] for n in range(1, 41)} == {"Active – Running"}


def test_a_refusal_names_nobody_whom_the_mirror_knows(make_scene: MakeScene) -> None:
    """The CRM's words hold the person's name, which was not among what was sent: nothing that is kept has it."""
    words = "Quillfeather must not be a Wizard"
    rules = [{"type": "person", "field": "person_job_title", "pattern": "Wizard", "message": words}]
    scene = make_scene(crm_options={"rules": rules})
    scene.prospect(1, 1, lastName="Quillfeather")
    assert scene.sync().converged
    scene.later(300)
    scene.edit_outreach(op="set", type="prospect", id=1, attributes={"title": "Wizard"})
    assert scene.sync().counts.dead == 1
    kept = [str(changes(scene)[1].error), str(scene.of(1)["cf_person_outreach_error"])]
    with scene.store.read() as db:
        kept += [str(row) for row in db.execute(sa.select(exchanges.EXCHANGE))]
    assert len(kept) > 2
    assert [one for one in kept if "must not be a" not in one] == []
    assert [one for one in kept if "Quillfeather" in one] == []


@pytest.mark.parametrize("partial", [[0], [0, 3], [1, 2, 3]])
def test_a_batch_of_which_some_were_refused_for_once(make_scene: MakeScene, partial: list[int]) -> None:
    """What the CRM refuses without a reason is tried again by itself; nobody is created twice."""
    scene = polled(make_scene(), 1, 2, 3, 4)
    scene.crm.faults.arm([fault("partial_outcome", op="write", indices=partial)])
    scene.sync()
    assert sorted(scene.creates()) == ["person 1", "person 2", "person 3", "person 4"]


def test_a_reply_that_leaves_somebody_out(make_scene: MakeScene) -> None:
    """Who is not answered for is looked up: there, linked, and not created again."""
    scene = polled(make_scene(), 1, 2, 3)
    scene.crm.faults.arm([fault("omit_object", op="write", index=1)])
    assert scene.sync().converged
    assert sorted(scene.creates()) == ["person 1", "person 2", "person 3"]


def test_a_lagging_index_makes_no_second_person(make_scene: MakeScene) -> None:
    """A reply lost while the CRM's lists lag: the next look comes late enough to find what was made."""
    scene = polled(make_scene(crm_options={"search_lag": 8.0}), 1)
    scene.crm.faults.arm([fault("lost_reply", op="write")])
    assert scene.sync(wait_s=60).converged
    assert scene.creates() == ["person 1"]


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_key_halts_and_gives_every_row_back(on_both: Scene, code: int) -> None:
    """Nothing is blamed on a record: no attempt counts, no row waits, and all go on once the key is mended."""
    scene = polled(on_both, 1, 2)
    scene.crm.faults.arm([fault("status", times=None, code=code)])
    with pytest.raises(errors.AuthRevoked):
        apply.apply_people(scene.applier())
    rows = changes(scene)
    told = [(row.attempts, row.state, row.lease_until) for row in rows.values()]
    assert told == [(0, Standing.DUE, None)] * 2
    assert all(row.next_at <= scene.now() for row in rows.values())
    scene.crm.faults.arm([])
    assert scene.sync().converged


def test_a_halt_in_the_middle_keeps_what_was_done(on_both: Scene) -> None:
    """Outreach refuses us after the CRM has taken a batch: its receipts are written down, nothing is created again."""
    scene = on_both
    scene.prospect(1, 1)
    scene.prospect(2, 1)
    scene.person(person_last_name="Quiet", no_email_soliciting=True, **{"main_location[email]": "p2@people.example"})
    scene.poll()
    scene.outreach.faults.arm([fault("status", path="prospects/2$", times=None, code=403)])
    report = scene.sync()
    assert isinstance(report.halt, errors.AuthRevoked)
    scene.outreach.faults.arm([])
    assert scene.sync().converged
    assert scene.creates() == ["person 1"]
    assert scene.of_outreach("prospect", 2)["emailOptedOut"] is True


def test_a_spent_budget_halts_before_any_request(on_both: Scene) -> None:
    """The calls of the hour are used up: nothing is sent, nothing is blamed."""
    scene = polled(on_both, 1)

    def spent(_: Call) -> None:
        raise errors.BudgetSpent("the calls of this hour are used up")

    scene.wire.before.append(spent)
    with pytest.raises(errors.BudgetSpent):
        apply.apply_people(scene.applier())
    assert changes(scene)[1].attempts == 0
    assert scene.wire.calls == []


def test_a_gone_prospect_is_no_fault(on_both: Scene) -> None:
    """Deleted in Outreach between the poll and our write, a prospect is seen as gone and its person stays."""
    scene = polled(on_both, 1)
    scene.sync()
    scene.later(300)
    scene.edit_crm(op="set", type="person", id=scene.of(1)["id"], fields={"person_job_title": "Theirs"})
    scene.poll()
    scene.edit_outreach(op="delete", type="prospect", id=1)
    assert scene.sync().counts.dead == 0
    assert scene.of(1)["cf_person_sequence_state"] == "Not Active"


def test_an_opt_out_gets_through_whatever_else_is_refused(make_scene: MakeScene) -> None:
    """Outreach refuses every other attribute: the opt-out is written all the same."""
    scene = polled(make_scene(), 1)
    scene.sync()
    scene.later(300)
    person = scene.of(1)["id"]
    told = {"no_email_soliciting": True, "person_job_title": "Theirs"}
    scene.edit_crm(op="set", type="person", id=person, fields=told)

    def refuse_titles(call: Call) -> None:
        if call.writes and '"title"' in call.body:
            raise errors.InvalidField("title is too bold", field="title")

    scene.wire.before.append(refuse_titles)
    report = scene.sync()
    assert scene.of_outreach("prospect", 1)["emailOptedOut"] is True
    assert report.counts.dead == 1
    assert changes(scene)[1].error == "title is too bold"


def test_unprimed_nothing_is_written_but_opt_outs(on_both: Scene) -> None:
    """Until every stream was read once, only opt-outs of linked pairs are claimed, and the rest stays due."""
    scene = on_both
    scene.prospect(1, 1)
    scene.poll(Kind.SEQUENCE, Kind.STEP, Kind.PROSPECT, Kind.STATE)
    assert scene.apply().claimed == 0
    assert scene.creates() == []
    assert changes(scene)[1].lane == Lane.EDIT
    scene.poll(Kind.PERSON, Kind.TASK, Kind.CRM_TASK)
    assert scene.apply().created == 1


def test_an_ambiguous_match_waits_with_its_candidates(on_both: Scene) -> None:
    """Nothing is created, nothing linked, all are named; a merge in the CRM answers the question by itself."""
    scene = on_both
    one, two = (scene.person(person_last_name="A", **{"main_location[email]": "p1@people.example"}) for _ in range(2))
    scene.prospect(1, 1)
    report = scene.sync()
    assert (report.counts.holds, report.counts.dead) == (1, 0)
    assert scene.creates() == []
    assert f"person {one}, person {two}" in changes(scene)[1].error
    scene.later(300)
    scene.edit_crm(op="merge", winner=one, loser=two)
    assert scene.sync().converged
    assert scene.of(1)["id"] == one
    with scene.store.read() as db:
        assert backlog.count(db, scene.now()).holds == 0


def test_no_read_before_a_write(make_scene: MakeScene) -> None:
    """Twenty linked people change: one write to the CRM, and not one read of theirs before it."""
    scene = make_scene()
    for n in range(1, 21):
        scene.prospect(n, 1)
    scene.sync()
    scene.later(300)
    for n in range(1, 21):
        scene.edit_outreach(op="set", type="prospect", id=n, attributes={"title": "New"})
    scene.poll(Kind.PROSPECT)
    scene.wire.calls.clear()
    assert scene.apply().updated == 20
    assert [str(call) for call in scene.wire.calls] == ["write crm /crm/people.api"]
    assert reads_of(scene.wire.calls, "people") == []
