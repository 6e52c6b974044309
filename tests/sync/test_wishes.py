"""Sequence actions that people in the CRM ask for, carried out in Outreach and answered in words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sync.asking import SEQUENCE, STATE, answer, ask, enabled, name_of, outreach_writes, settles
from tests.sync.conftest import MakeScene
from tests.sync.scene import Scene, fault
from worker.sim.outreach_options import Options


@pytest.fixture
def on(scene: Scene) -> Scene:
    """Return a scene in which people in the CRM may ask for sequence actions; prospect 7 is known on both sides."""
    enabled(scene)
    scene.prospect(7, 1)
    assert scene.sync().converged
    return scene


def test_somebody_is_added_to_a_sequence(on: Scene) -> None:
    """The state is made, the CRM shows the new label and the words in the same pass, and the action is blank again."""
    on.prospect(8)
    on.person(**{"main_location[email]": "p8@people.example"})
    on.sync()
    on.wire.calls.clear()
    ask(on, "Add to sequence", name_of(on, 2), prospect=8)
    told = on.sync().as_json()
    assert (told["outreach"]["actions"], told["crm"]["updated"]) == (1, 1)
    assert outreach_writes(on) == ["POST /api/v2/sequenceStates"]
    (made,) = on.states_of(8)
    assert on.outreach.world.dump()["sequenceState"][str(made)]["relations"]["sequence"] == 2
    assert on.of(8)[STATE] == "Pending"
    assert answer(on, 8) == f"added to {name_of(on, 2)}, 20 Nov 2026 09:02"
    settles(on)


@pytest.mark.parametrize(
    "action, sequence, before, label, past",
    [
        ("Pause", "name", "active", "Active – Paused", "paused in"),
        ("pause ", None, "active", "Active – Paused", "paused in"),
        ("Resume", "name", "paused", "Active – Running", "resumed in"),
        ("Finish", "1", "active", "Finished", "finished in"),
        ("Remove", "name", "active", "Not Active", "removed from"),
        ("Remove", None, "finished", "Not Active", "removed from"),
    ],
)
def test_a_state_is_changed(on: Scene, action: str, sequence: str | None, before: str, label: str, past: str) -> None:
    """The action reaches the state, named by the sequence's name or number or the only one there is."""
    (state,) = on.states_of(7)
    if before != "active":
        on.edit_outreach(op={"paused": "pause", "finished": "finish"}[before], state=state)
    ask(on, action, name_of(on, 1).upper() if sequence == "name" else sequence)
    told = on.sync().as_json()
    assert told["outreach"]["actions"] == 1
    assert on.of(7)[STATE] == label
    assert answer(on) == f"{past} {name_of(on, 1)}, 20 Nov 2026 09:02"
    settles(on)


def test_the_latest_state_is_meant(make_scene: MakeScene) -> None:
    """Of several states in one sequence the latest is paused, whatever its number."""
    on = enabled(make_scene(options=Options(permit_duplicates=True)))
    on.prospect(7, 1, 1)
    first, second = on.states_of(7)
    on.sync()
    on.later(60)
    on.edit_outreach(op="pause", state=first)
    on.edit_outreach(op="resume", state=first)
    ask(on, "Pause", "1")
    on.sync()
    found = on.outreach.world.dump()["sequenceState"]
    assert [found[str(one)]["attributes"]["state"] for one in (first, second)] == ["paused", "active"]


REFUSALS = [
    ("Add to sequence", "1", "not added to {1}, {at}: Prospect has already been in this sequence."),
    ("Add to sequence", None, "not added, {at}: which sequence? cf_person_outreach_sequence is blank"),
    ("Add to sequence", "Warm outreach", "not added, {at}: Outreach has no sequence 'Warm outreach'"),
    ("Add to sequence", "99", "not added, {at}: Outreach has no sequence '99'"),
    ("Resume", None, "not resumed, {at}: there is no sequence that this could mean"),
    ("Resume", "1", "not resumed in {1}, {at}: Sequence state must be paused to be resumed, but is active."),
    ("Pause", "2", "not paused in {2}, {at}: never in this sequence"),
    ("Halt", "1", "not done, {at}: 'Halt' is none of Add to sequence, Pause, Resume, Finish, Remove"),
]


@pytest.mark.parametrize("action, sequence, words", REFUSALS, ids=[f"{row[0]} {row[1]}" for row in REFUSALS])
def test_a_refusal_is_readable(on: Scene, action: str, sequence: str | None, words: str) -> None:
    """What cannot be done is said in words beside the action, which is blank again, and nothing fails."""
    ask(on, action, sequence)
    report = on.sync()
    told = report.as_json()
    assert (told["outreach"]["actions"], told["failed"], told["converged"]) == (0, 0, True)
    wanted = words.replace("{1}", name_of(on, 1)).replace("{2}", name_of(on, 2))
    assert answer(on) == wanted.replace("{at}", "20 Nov 2026 09:02")
    settles(on)


def test_a_locked_user_is_told_in_words(on: Scene) -> None:
    """Outreach lets a locked user send nothing: its words stand beside the blank action, and once unlocked it can be done."""
    on.edit_outreach(op="set", type="user", id=1, attributes={"locked": True})
    ask(on, "Add to sequence", "2")
    told = on.sync().as_json()
    assert (told["outreach"]["actions"], told["failed"], told["converged"]) == (0, 0, True)
    assert answer(on) == f"not added to {name_of(on, 2)}, 20 Nov 2026 09:02: User is locked."
    settles(on)
    on.edit_outreach(op="set", type="user", id=1, attributes={"locked": False})
    ask(on, "Add to sequence", "2")
    assert on.sync().tally.outreach_actions == 1
    assert (answer(on) or "").startswith(f"added to {name_of(on, 2)}, ")


def test_an_exclusive_sequence_refuses_in_words(make_scene: MakeScene) -> None:
    """The vendor's refusal of somebody who is in another exclusive sequence comes back."""
    on = enabled(make_scene(options=Options(exclusive_sequences=frozenset({1}))))
    on.prospect(7, 1)
    on.sync()
    ask(on, "Add to sequence", "2")
    on.sync()
    assert answer(on) == (
        f"not added to {name_of(on, 2)}, 20 Nov 2026 09:02: Prospect is active in another exclusive sequence."
    )


def test_a_missing_permission_is_told_and_holds_nobody_else_up(on: Scene) -> None:
    """A 403 on the action is words beside it; an edit of somebody else arrives in the same pass."""
    on.prospect(8, 2)
    on.sync()
    on.outreach.faults.arm([fault("status", path="sequenceStates", op="write", code=403)])
    ask(on, "Pause")
    on.edit_outreach(op="set", type="prospect", id=8, attributes={"title": "Buyer"})
    assert on.sync().halt is None
    assert (answer(on) or "").startswith(f"not paused in {name_of(on, 1)}, 20 Nov 2026 09:02: Outreach forbids it")
    assert on.of(8)["person_job_title"] == "Buyer"


def test_several_sequences_are_not_guessed_among(on: Scene) -> None:
    """With two running sequences and none named, both are named instead; of one that fits and one that does not, the first."""
    on.edit_outreach(op="enrol", prospect=7, sequence=2, state="active")
    ask(on, "Pause")
    on.sync()
    both = ", ".join(sorted([name_of(on, 1), name_of(on, 2)]))
    assert answer(on) == f"not paused, 20 Nov 2026 09:02: which sequence, of {both}? {SEQUENCE} is blank"
    ask(on, "Pause", "2")
    on.sync()
    ask(on, "Resume")
    on.sync()
    assert (answer(on) or "").startswith(f"resumed in {name_of(on, 2)}")


@pytest.mark.parametrize("side", ["outreach", "crm", "remembered"])
def test_nobody_who_opted_out_is_added(on: Scene, side: str) -> None:
    """Opted out on either side or ever: refused in words, and Outreach is not even asked."""
    if side == "crm":
        on.edit_crm(op="set", type="person", id=on.of(7)["id"], fields={"no_email_soliciting": True})
    else:
        on.edit_outreach(op="opt_out", prospect=7, how="manual")
    on.sync()
    if side == "remembered":
        taken_back: dict[str, Any] = {"optedOut": False, "emailOptedOut": False, "emailsOptStatus": "opted_in"}
        on.edit_outreach(op="set", type="prospect", id=7, attributes=taken_back)
    on.wire.calls.clear()
    ask(on, "Add to sequence", "2")
    on.sync()
    assert answer(on) == f"not added to {name_of(on, 2)}, 20 Nov 2026 09:02: opted out of e-mail"
    assert not [call for call in on.wire.calls if call.writes and "sequenceStates" in call.path]


def test_nobody_who_opted_out_is_resumed(on: Scene) -> None:
    """Resuming would send e-mail as adding would."""
    (state,) = on.states_of(7)
    on.edit_outreach(op="opt_out", prospect=7, how="manual")
    on.edit_outreach(op="set", type="sequenceState", id=state, attributes={"state": "paused"})
    on.sync()
    ask(on, "Resume", "1")
    on.sync()
    assert answer(on) == f"not resumed in {name_of(on, 1)}, 20 Nov 2026 09:02: opted out of e-mail"
    assert on.of_outreach("sequenceState", state)["state"] == "paused"


def test_a_transactional_sequence_takes_whoever_opted_out(on: Scene) -> None:
    """Notices that must arrive are no soliciting."""
    on.edit_outreach(op="opt_out", prospect=7, how="manual")
    on.sync()
    ask(on, "Add to sequence", "5")
    on.sync()
    assert answer(on) == f"added to {name_of(on, 5)}, 20 Nov 2026 09:02"


def test_a_lost_reply_enrols_once(make_scene: MakeScene) -> None:
    """Where Outreach would take somebody twice, the second try looks first and finds the state."""
    on = enabled(make_scene(options=Options(permit_duplicates=True)))
    on.prospect(7, 1)
    on.sync()
    on.outreach.faults.arm([fault("lost_reply", path="sequenceStates", op="write")])
    ask(on, "Add to sequence", "2")
    on.wire.calls.clear()
    told = on.sync().as_json()
    assert (told["converged"], told["outreach"]["actions"]) == (True, 1)
    assert len(on.states_of(7)) == 2
    assert (answer(on) or "").startswith(f"added to {name_of(on, 2)}, ")
    looks = [call.query for call in on.wire.calls if call.method == "GET" and "filter%5Bsequence%5D" in call.query]
    assert len(looks) == 1
    assert "filter%5Bprospect%5D%5Bid%5D=7" in looks[0]
    settles(on)


def test_a_request_that_never_arrived_is_made_again(make_scene: MakeScene) -> None:
    """The look-up finds only what was there before, so it is asked once more; a second state is what was wished for."""
    on = enabled(make_scene(options=Options(permit_duplicates=True)))
    on.prospect(7, 1)
    on.sync()
    on.outreach.faults.arm([fault("drop", path="sequenceStates", op="write")])
    ask(on, "Add to sequence", "1")
    assert on.sync().converged
    assert len(on.states_of(7)) == 2


@pytest.mark.parametrize("action, word", [("Pause", "paused"), ("Finish", "finished"), ("Remove", None)])
def test_a_lost_reply_to_an_action_is_no_refusal(on: Scene, action: str, word: str | None) -> None:
    """What stands as it was wished for was done: it is not asked again only to be refused."""
    on.outreach.faults.arm([fault("lost_reply", path="sequenceStates", op="write")])
    ask(on, action)
    on.wire.calls.clear()
    assert on.sync().converged
    assert "not" not in (answer(on) or "not").split()
    assert len(outreach_writes(on)) == 1
    states = on.states_of(7)
    assert [on.of_outreach("sequenceState", one)["state"] for one in states] == ([word] if word else [])
