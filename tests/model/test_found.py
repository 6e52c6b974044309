"""What the machine has found, each story as short as it gets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.model import stage as stages
from tests.model.ledger import LEFT, RIGHT
from tests.model.machine import Machine
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
