from __future__ import annotations

from tests.e2e import worlds
from tests.e2e.rig import Stage
from tests.e2e.worlds import COLD, NAME, STATE


def test_a_sequence_switched_off_and_on_reaches_everyone_without_a_call_each(stage: Stage) -> None:
    """Everyone in it reads Disabled and then as before; Outreach gets as many calls as in an idle pass."""
    people = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(30)]
    stage.sync()
    stage.settled()
    idle = stage.outreach_calls()
    stage.forget_calls()
    stage.tell({"op": "disable_sequence", "sequence": COLD})
    assert stage.sync().crm == {"updated": 30}
    assert stage.outreach_calls() == idle
    assert {stage.person_of(one)[STATE] for one in people} == {worlds.DISABLED}
    stage.tell({"op": "enable_sequence", "sequence": COLD})
    assert stage.sync().crm == {"updated": 30}
    assert {stage.person_of(one)[STATE] for one in people} == {worlds.RUNNING}
    stage.settled()


def test_a_sequence_switched_off_without_its_updated_at_moving(stage: Stage) -> None:
    """Whether enabling moves `updatedAt` is unproven: seen all the same."""
    prospect = stage.enrolled("ada@example.com")
    stage.sync()
    stage.later(7_200)
    stage.sync()
    off = {"op": "set", "type": "sequence", "id": COLD, "attributes": {"enabled": False}, "touch": False}
    stage.tell(off)
    stage.sync()
    assert stage.person_of(prospect)[STATE] == worlds.DISABLED


def test_a_sequence_renamed_reaches_everyone(stage: Stage) -> None:
    """The new name stands in both fields that hold it."""
    prospect = stage.enrolled("ada@example.com")
    stage.sync()
    stage.tell({"op": "set", "type": "sequence", "id": COLD, "attributes": {"name": "Warm outreach"}})
    stage.sync()
    person = stage.person_of(prospect)
    assert [person[NAME], person[worlds.ALL]] == ["Warm outreach", "Warm outreach: Active – Running (step 1)"]


def test_a_step_moved_reaches_everyone_on_it(stage: Stage) -> None:
    """A step's new order is the new step number of whoever stands on it."""
    prospect = stage.enrolled("ada@example.com")
    stage.sync()
    step = stage.step(COLD, 1)
    stage.tell({"op": "set", "type": "sequenceStep", "id": step, "attributes": {"order": 7}})
    stage.sync()
    assert stage.person_of(prospect)[worlds.STEP] == 7


def test_a_sequence_made_transactional_reaches_everyone(stage: Stage) -> None:
    """Opted-out people's line of that sequence shows its own state again; they stay Opted Out."""
    prospect = stage.enrolled("ada@example.com", emailOptedOut=True)
    stage.sync()
    assert stage.person_of(prospect)[worlds.ALL] == "Cold outreach: Opted Out (step 1)"
    stage.tell({"op": "set", "type": "sequence", "id": COLD, "attributes": {"transactional": True}})
    stage.sync()
    person = stage.person_of(prospect)
    assert [person[STATE], person[worlds.ALL]] == [worlds.OPTED_OUT, "Cold outreach: Active – Running (step 1)"]
