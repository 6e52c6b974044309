"""Wishes where things go wrong, are held back, or stand beside others."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from tests.points import some
from tests.sync.asking import ACTION, OUTCOME, SEQUENCE, STATE, answer, ask, enabled, name_of, outreach_writes, settles
from tests.sync.conftest import MakeScene
from tests.sync.scene import LEASE_S, Call, Killed, Life, Scene, fault
from worker.core import errors
from worker.core.records import System
from worker.sim.outreach_options import Options
from worker.store import outbox
from worker.sync import held
from worker.sync.case import Permit


@pytest.fixture
def on(scene: Scene) -> Scene:
    """Return a scene in which people in the CRM may ask for sequence actions; prospect 7 is known on both sides."""
    enabled(scene)
    scene.prospect(7, 1)
    assert scene.sync().converged
    return scene


def wishing(make_scene: MakeScene) -> Scene:
    """Return a scene in which prospect 7 is to be added to a sequence, by an Outreach that would do so twice."""
    on = enabled(make_scene(options=Options(permit_duplicates=True)))
    on.prospect(7, 1)
    on.sync()
    ask(on, "Add to sequence", "2")
    return on


def test_a_pass_that_adds_somebody_may_die_anywhere(make_scene: MakeScene, request: pytest.FixtureRequest) -> None:
    """Wherever it dies, in the end there is one new state, one answer and a blank action (some, all: ``tests.points``)."""
    whole = Life()
    wishing(make_scene).sync(whole)
    asked = whole.points.index("ask: write outreach /api/v2/sequenceStates")
    answered = whole.points.index("told: write crm /crm/people.api")
    # The two in the middle are where it would be asked twice.
    for at in sorted({asked, asked + 1, *some(request, range(asked - 4, answered + 3), 3)}):
        on = wishing(make_scene)
        with pytest.raises(Killed):
            on.sync(Life(at))
        on.later(LEASE_S)
        assert on.sync().converged
        assert len(on.states_of(7)) == 2, f"died at point {at}: {whole.points[at]}"
        assert (answer(on) or "").startswith(f"added to {name_of(on, 2)}, "), f"died at {at}: {whole.points[at]}"


def test_a_refused_answer_does_not_repeat_the_action(make_scene: MakeScene) -> None:
    """While the CRM cannot be written, what was carried out is remembered; the answer follows, and nothing is asked twice."""
    on = enabled(make_scene(options=Options(permit_duplicates=True)))
    on.prospect(7, 1)
    on.sync()
    ask(on, "Add to sequence", "2")
    on.crm.faults.arm([fault("status", path="people", op="write", times=None, code=503)])
    on.sync(wait_s=0)
    on.crm.faults.arm([])
    on.later(900)
    on.sync()
    assert len(on.states_of(7)) == 2
    assert (answer(on) or "").startswith(f"added to {name_of(on, 2)}, 20 Nov 2026 09:02")


def test_the_same_wish_again_is_a_new_one(on: Scene) -> None:
    """Paused, resumed in Outreach, paused from the CRM once more: both are carried out."""
    ask(on, "Pause", "1")
    on.sync()
    (state,) = on.states_of(7)
    on.edit_outreach(op="resume", state=state)
    ask(on, "Pause", "1")
    assert on.sync().as_json()["outreach"]["actions"] == 1
    assert on.of_outreach("sequenceState", state)["state"] == "paused"
    settles(on)


def test_the_same_wish_again_counts_where_the_record_fails(on: Scene) -> None:
    """A state that is not mapped makes the record fail, and the next wish in the same words is still carried out."""
    (state,) = on.states_of(7)
    on.edit_outreach(op="enrol", prospect=7, sequence=2, state="active")
    (other,) = set(on.states_of(7)) - {state}
    on.edit_outreach(op="set", type="sequenceState", id=other, attributes={"state": "snoozed"})
    for _ in range(2):
        ask(on, "Pause", "1")
        told = on.sync().as_json()
        assert (told["failed"], told["outreach"]["actions"]) == (1, 1)
        assert (answer(on) or "").startswith("paused in")
        on.edit_outreach(op="resume", state=state)


def test_wanted_in_outreach_and_in_a_sequence_at_once(on: Scene) -> None:
    """Somebody whom Outreach does not know is created there and added, both asked for in one edit."""
    fields: dict[str, object] = {
        "person_last_name": "New",
        "main_location[email]": "new@people.example",
        "cf_person_sync_to_outreach": True,
        ACTION: "Add to sequence",
        SEQUENCE: "2",
    }
    made = on.person(**fields)
    told = on.sync().as_json()
    assert (told["outreach"]["created"], told["outreach"]["actions"], told["converged"]) == (1, 1, True)
    (person,) = [one for one in on.people() if one["id"] == made]
    assert person[STATE] == "Pending"
    assert person[OUTCOME].startswith(f"added to {name_of(on, 2)}, ")
    settles(on)


def test_a_revoked_token_refuses_no_wish(make_scene: MakeScene) -> None:
    """Only a missing scope is told beside the action; with no valid token the wish waits."""
    on = enabled(make_scene(), ("  mailbox: none", "  mailbox: owner"))
    on.prospect(7, 1)
    on.edit_outreach(op="set", type="prospect", id=7, relations={"owner": 3})
    on.sync()
    ask(on, "Add to sequence", "2")
    on.poll()
    on.outreach.faults.arm([fault("status", path="mailboxes", times=None, code=401)])
    with pytest.raises(errors.AuthRevoked):
        on.apply()
    assert on.of(7)[ACTION] == "Add to sequence"
    on.outreach.faults.arm([fault("status", path="mailboxes", times=None, code=403)])
    on.apply()
    assert (answer(on) or "").endswith("Outreach lets Outbook see no mailboxes: its scope mailboxes.read is missing")


def test_an_action_of_somebody_just_recognised_counts(on: Scene) -> None:
    """Whoever is linked by address in this very pass has the wish carried out as well."""
    on.person(
        **{"main_location[email]": "p9@people.example", ACTION: "Add to sequence", SEQUENCE: "2", OUTCOME: "old words"}
    )
    on.prospect(9)
    assert on.sync().as_json()["outreach"]["actions"] == 1
    assert (answer(on, 9) or "").startswith("added to")


@pytest.mark.parametrize(
    "mailbox, prospect, sends_from",
    [("none", 7, None), ("bea.costa@seller.example", 7, "address"), ("owner", 7, "owner")],
)
def test_the_mailbox_is_the_mapping_s(
    make_scene: MakeScene, mailbox: str, prospect: int, sends_from: str | None
) -> None:
    """A new state sends from the mailbox with that address, from the owner's, or from what Outreach chooses."""
    scene = make_scene()
    boxes = scene.outreach.world.dump()["mailbox"]
    address = boxes["2"]["attributes"]["email"]
    on = enabled(scene, ("  mailbox: none", f"  mailbox: {address if sends_from == 'address' else mailbox}"))
    on.prospect(7, 1)
    on.edit_outreach(op="set", type="prospect", id=7, relations={"owner": 3})
    on.sync()
    ask(on, "Add to sequence", "2")
    on.wire.calls.clear()
    on.sync()
    (posted,) = [call for call in on.wire.calls if call.writes and call.system is System.OUTREACH]
    told = json.loads(posted.body)["data"]["relationships"]
    number = {None: None, "address": 2, "owner": 3}[sends_from]
    assert told.get("mailbox") == ({"data": {"type": "mailbox", "id": number}} if number else None)
    asked = [call.path for call in on.wire.calls if "mailboxes" in call.path]
    assert len(asked) == (0 if sends_from is None else 1)


@pytest.mark.parametrize(
    "mailbox, words",
    [
        ("nobody@seller.example", "there is no mailbox nobody@seller.example in Outreach"),
        ("owner", "the prospect has no owner in Outreach whose mailbox could send"),
    ],
)
def test_without_the_mailbox_nobody_is_added(make_scene: MakeScene, mailbox: str, words: str) -> None:
    """E-mail from an unexpected sender is worse than none."""
    on = enabled(make_scene(), ("  mailbox: none", f"  mailbox: {mailbox}"))
    on.prospect(7, 1)
    on.sync()
    ask(on, "Add to sequence", "2")
    on.sync()
    assert answer(on) == f"not added to {name_of(on, 2)}, 20 Nov 2026 09:02: {words}"
    assert len(on.states_of(7)) == 1


def test_actions_are_held_back_by_the_permit(on: Scene) -> None:
    """Without leave to write to Outreach the wish waits, and is carried out by the next pass that has it."""
    ask(on, "Pause")
    on.poll()
    on.apply(on.applier(permit=Permit(to_outreach=False)))
    person = on.of(7)
    assert person[ACTION] == "Pause"
    assert not person.get(OUTCOME)
    with on.store.read() as db:
        assert db.execute(sa.select(outbox.CHANGE.c.state)).scalars().all() == ["kept"]
    assert on.sync().as_json()["outreach"]["actions"] == 1
    assert (answer(on) or "").startswith("paused in")


def test_an_answer_is_held_back_by_the_permit(on: Scene) -> None:
    """Without leave to write to the CRM it is carried out once, and answered by the next pass that may."""
    ask(on, "Pause")
    on.poll()
    for _ in range(3):
        on.apply(on.applier(permit=Permit(to_crm=False)))
    assert len([w for w in outreach_writes(on) if w.endswith("/actions/pause")]) == 1
    assert on.of(7)[ACTION] == "Pause"
    on.wire.calls.clear()
    on.sync()
    assert outreach_writes(on) == []
    assert (answer(on) or "").startswith("paused in")
    settles(on)


def test_a_claim_asks_for_forty_seconds(on: Scene) -> None:
    """With 15 s a request three fit; the rest is given back and done by the next claims."""
    for number in range(11, 16):
        on.prospect(number, 1)
    on.sync()
    for number in range(11, 16):
        on.edit_crm(op="set", type="person", id=on.of(number)["id"], fields={ACTION: "Pause"})
    on.later(120)
    on.poll()
    on.wire.calls.clear()

    def slow(call: Call) -> None:
        if "/actions/" in call.path:
            on.later(15)

    on.wire.after.append(slow)
    tallies = [on.apply().outreach_actions for _ in range(2)]
    assert tallies == [3, 2]
    assert len(outreach_writes(on)) == 5


def test_opt_outs_go_first(on: Scene) -> None:
    """In a claim with an opt-out nobody else's wish is carried out; the next claim does that."""
    on.prospect(8, 1)
    on.sync()
    ask(on, "Pause")
    on.edit_outreach(op="opt_out", prospect=8, how="manual")
    on.poll()
    first = on.apply()
    assert (first.crm_opted_out, first.outreach_actions) == (1, 0)
    assert on.apply().outreach_actions == 1


@pytest.mark.parametrize("lacking", [ACTION, SEQUENCE, OUTCOME])
def test_a_field_that_the_crm_lacks_is_one_entry(make_scene: MakeScene, lacking: str) -> None:
    """It is held for everybody, the rest flows; only the words go missing where it is just these."""
    on = enabled(make_scene(), without=lacking)
    on.prospect(7, 1)
    on.sync()
    (entry,) = held.entries(on.store)
    assert (entry.key, entry.words.startswith(f"the CRM has no field '{lacking}' on people")) == (
        f"field:{lacking}",
        True,
    )
    on.later(120)
    wanted = {ACTION: "Pause", SEQUENCE: "1"}
    told = {name: text for name, text in wanted.items() if name != lacking}
    on.edit_crm(op="set", type="person", id=on.of(7)["id"], fields=told)
    assert on.sync().as_json()["outreach"]["actions"] == int(lacking == OUTCOME)
    on.edit_crm(op="add_field", field=lacking, data_type="string")
    on.edit_crm(op="set", type="person", id=on.of(7)["id"], fields=wanted)
    on.later(120)
    on.sync()
    assert answer(on)
    assert held.entries(on.store) == []


def test_a_word_that_the_picklist_lacks_is_one_entry(make_scene: MakeScene) -> None:
    """A picklist without an entry of the mapping is told; what can be picked is carried out."""
    scene = make_scene()
    for label in ("Add to sequence", "Pause", "Resume", "Finish"):
        scene.edit_crm(op="add_label", label=label)
    scene.edit_crm(op="add_field", field=ACTION, data_type="picklist", title="Outreach Action")
    on = enabled(scene, without=ACTION)
    on.prospect(7, 1)
    on.sync()
    (entry,) = held.entries(on.store)
    assert (entry.key, entry.words) == (f"label:{ACTION}", "'Remove' is not in Outreach Action; did you mean 'Resume'?")
    ask(on, "Pause")
    on.sync()
    assert (answer(on) or "").startswith("paused in")


def test_a_prospect_that_is_gone_is_told(on: Scene) -> None:
    """The person stays and reads why nothing can be done."""
    (state,) = on.states_of(7)

    def remove(call: Call) -> None:
        if call.writes and call.system is System.OUTREACH:
            on.wire.before.clear()
            on.edit_outreach(op="delete", type="sequenceState", id=state)

    ask(on, "Pause", "1")
    on.wire.before.append(remove)
    on.sync()
    assert answer(on) == f"not paused in {name_of(on, 1)}, 20 Nov 2026 09:02: no longer in this sequence"
    assert on.of(7)[STATE] == "Not Active"


def test_by_default_nothing_is_read_or_written_of_it(scene: Scene) -> None:
    """With the default mapping a filled action field is no column of any read and leads to no request."""
    for name in (ACTION, SEQUENCE, OUTCOME):
        scene.edit_crm(op="add_field", field=name, data_type="string")
    scene.prospect(7, 1)
    scene.sync()
    scene.wire.calls.clear()
    ask(scene, "Pause", "1")
    told = scene.sync().as_json()
    assert (told["outreach"]["actions"], told["queued"]) == (0, 0)
    assert scene.of(7)[ACTION] == "Pause"
    assert not [call for call in scene.wire.calls if "outreach_action" in call.body + call.query]
    assert outreach_writes(scene) == []


def test_a_dry_run_tells_the_wish(on: Scene) -> None:
    """What somebody asks for is among what would be done, and nothing is."""
    from worker.sync import run

    ask(on, "Pause", "1")
    on.wire.calls.clear()
    told = run.run(run.Pass(on=on.applier(), sleep=on.later, calls=dict, dry_run=True)).would_write
    assert [(one["prospect"], one["wish"], one["sequence"]) for one in told or []] == [(7, "Pause", "1")]
    assert outreach_writes(on) == []
