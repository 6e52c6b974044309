"""What the machine has found, each story as short as it gets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.model import stage as stages
from tests.model.ledger import LEFT, RIGHT
from tests.model.machine import Machine
from tests.sync.scene import Killed, Life
from worker.core.records import System


@pytest.fixture
def machine(prepared_store: Path) -> Iterator[Machine]:
    """Return a machine that looks at everything once more in the end."""
    Machine.template = prepared_store
    made = Machine()
    yield made
    made.teardown()


def test_an_edit_that_a_reply_shows_first_still_travels(machine: Machine) -> None:
    """An edit in Outreach that no poll has brought yet, but the reply to our own write shows, reaches the CRM."""
    machine.begin(known=False, more=0)
    machine.settle()
    person = machine.stage.links()[1]
    machine.model.edit(RIGHT, person, "last", "Cole")
    machine.overtakes(edit=("first", "Bea"), n=0, nth=None, side=LEFT, system=System.OUTREACH)
    machine.sync(wait_s=5)
    machine.settle()
    assert stages.held_by_crm(machine.stage.living()[person], "first") == "Bea"


def test_an_edit_after_a_write_whose_reply_was_lost_still_travels(machine: Machine) -> None:
    """What somebody saves in the CRM between our write and the look at what became of it is no echo of ours."""
    machine.begin(known=False, more=0)
    machine.settle()
    person = machine.stage.links()[1]
    machine.model.edit(LEFT, 1, "title", "Clerk")
    machine.breaks(after=0, which=("crm", {"kind": "lost_reply", "op": "write"}))

    calls = machine.stage.wire.calls
    calls.clear()
    after_the_write = stages.Tripwire(
        lambda call: any(one.writes for one in calls), 0, lambda: machine.model.edit(RIGHT, person, "last", "Cole")
    )
    machine.stage.wire.before.append(after_the_write)
    machine.sync(wait_s=5)
    machine.settle()
    assert stages.held_by_outreach(machine.stage.prospects()[1], "last") == "Cole"


def test_a_write_that_nobody_lived_to_see_is_no_edit_of_the_crm(machine: Machine) -> None:
    """Who dies between a write and its receipt leaves our own value in the CRM: it wins over no later edit in Outreach."""
    machine.begin(known=False, more=0)
    machine.settle()
    person = machine.stage.links()[1]
    machine.model.edit(LEFT, 1, "title", "Clerk")
    life = Life()
    machine.stage.later(5)
    machine.stage.wire.after.append(lambda call: setattr(life, "dies_at", len(life.points)) if call.writes else None)
    with pytest.raises(Killed):
        machine.stage.sync(life)
    machine.model.edit(LEFT, 1, "title", "Head of Tea")
    machine.settle()
    assert stages.held_by_crm(machine.stage.living()[person], "title") == "Head of Tea"


def test_an_edit_after_a_person_was_made_and_nobody_lived_to_see_it_travels(machine: Machine) -> None:
    """Who dies between making a person and the receipt leaves no stranger: the pair is not met for the first time."""
    machine.begin(known=False, more=0)
    life = Life()
    machine.stage.wire.after.append(lambda call: setattr(life, "dies_at", len(life.points)) if call.writes else None)
    with pytest.raises(Killed):
        machine.stage.sync(life)
    machine.model.ledger.turn += 1
    machine.model.edit(LEFT, 1, "last", "Cole")
    machine.clean = False
    machine.settle()
    assert stages.held_by_crm(machine.stage.of(1), "last") == "Cole"
