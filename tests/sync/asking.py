"""Asking for sequence actions by hand, and reading the answers: what the tests of wishes share."""

from __future__ import annotations

from tests.sync.scene import Scene
from worker.core.records import System

ACTION, SEQUENCE, OUTCOME = "cf_person_outreach_action", "cf_person_outreach_sequence", "cf_person_outreach_outcome"
STATE = "cf_person_sequence_state"
ON = ("  enabled: false", "  enabled: true")
COLD, INBOUND, NOTICES, ARCHIVE = "Cold outreach", "Inbound follow-up", "Notices", "Archive"
WHEN = "20 Nov 2026 09:00"


def enabled(scene: Scene, *edits: tuple[str, str], without: str = "") -> Scene:
    """Give the CRM the three fields, and put a mapping in force that uses them."""
    for name in (ACTION, SEQUENCE, OUTCOME):
        if name != without:
            scene.edit_crm(op="add_field", field=name, data_type="string")
    scene.mapping = scene.mapped(ON, *edits)
    return scene


def ask(scene: Scene, action: str | None, sequence: str | None = None, *, prospect: int = 7) -> None:
    """Ask for something in the CRM, by hand."""
    scene.later(120)
    scene.edit_crm(op="set", type="person", id=scene.of(prospect)["id"], fields={ACTION: action, SEQUENCE: sequence})


def name_of(scene: Scene, sequence: int) -> str:
    """Return a seeded sequence's name."""
    told: str = scene.of_outreach("sequence", sequence)["name"]
    return told


def answer(scene: Scene, prospect: int = 7) -> str | None:
    """Return what stands beside the action, which must be blank by now."""
    person = scene.of(prospect)
    assert not person.get(ACTION), person
    told: str | None = person.get(OUTCOME)
    return told


def outreach_writes(scene: Scene) -> list[str]:
    """Return every write that reached Outreach, as method and path."""
    return [f"{call.method} {call.path}" for call in scene.wire.calls if call.writes and call.system is System.OUTREACH]


def settles(scene: Scene) -> None:
    """Make a pass that must find nothing to do."""
    scene.later(120)
    told = scene.sync().as_json()
    assert {**told["crm"], "unchanged": 0} == dict.fromkeys(told["crm"], 0), told
    assert told["outreach"] == dict.fromkeys(told["outreach"], 0), told
    assert told["queued"] == 0, told
