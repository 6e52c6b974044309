"""How long an opt-out takes while twenty thousand ordinary changes wait: a measurement, not run by default.

``./dev test tests/celery/test_backlog.py -m slow -s`` prints the figures. ``BACKLOG`` is another number of people.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import pytest

from tests.celery.rig import Rig
from worker.cli.processes import processes
from worker.store import backlog
from worker.store.outbox import Lane

pytestmark = [pytest.mark.broker, pytest.mark.processes, pytest.mark.slow, pytest.mark.timeout(3600)]

PEOPLE = int(os.environ.get("BACKLOG", "20000"))
POLL_S, LATENCY_S = 5.0, 0.15
ROUNDS = 3
"""How often each way is measured."""


def say(words: str) -> None:
    """Tell how far it has come."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {words}\n")


def waiting(rig: Rig) -> int:
    """Return how many ordinary changes wait."""
    with rig.store() as db:
        due = backlog.claimable(db, rig.outreach.clock.now())
    return due.get(Lane.EDIT, 0) + due.get(Lane.BULK, 0)


def populate(rig: Rig) -> None:
    """Put everybody into Outreach and, by one pass without latency, into the CRM."""
    for number in range(1, PEOPLE + 1):
        rig.prospect(number, 1, title="Engineer")
    say(f"{PEOPLE} prospects made")
    first = rig.start("sync", "--json", "--wait", "60")
    assert first.popen.wait(3000) == 0, rig.words()
    say(f"{len(rig.people())} people in the CRM")


def from_outreach(rig: Rig, prospect: int, person: int) -> float:
    """Opt somebody out in Outreach and return after how many seconds No Email is set in the CRM."""
    world: Any = rig.crm.world
    held = world.tables["person"].rows[person]
    rig.edit_outreach(op="opt_out", prospect=prospect, how="manual")
    return rig.wait_for(lambda: held.values.get("no_email_soliciting") is True, within_s=300)


def from_the_crm(rig: Rig, prospect: int, person: int) -> float:
    """Set No Email in the CRM and return after how many seconds the prospect is opted out."""
    world: Any = rig.outreach.world
    held = world.store.find(("prospect", prospect))
    rig.edit_crm(op="set", type="person", id=person, fields={"no_email_soliciting": True})
    return rig.wait_for(lambda: held.get("emailOptedOut") is True, within_s=300)


def test_an_opt_out_overtakes_everything(rig: Rig) -> None:
    """Delivered within one poll interval and 5 s, whichever side it comes from."""
    populate(rig)
    pairs = {int(one["cf_person_outreach_id"]): one["id"] for one in rig.people()}
    rig.outreach.latency_s = rig.crm.latency_s = LATENCY_S
    rig.environ["OUTBOOK_POLL_SECONDS"] = str(POLL_S)
    for one in processes({}):
        if one.argv[3] == "worker":
            rig.worker(*one.argv[4:])
    for prospect in pairs:
        rig.edit_outreach(op="set", type="prospect", id=prospect, attributes={"title": f"Chair {prospect}"})
    rig.start("beat")
    rig.wait_for(lambda: waiting(rig) > 0.7 * PEOPLE, within_s=600)
    told: dict[str, list[float]] = {"Outreach → CRM": [], "CRM → Outreach": []}
    for number in range(ROUNDS):
        first, second = PEOPLE - 2 * number, PEOPLE - 2 * number - 1
        told["Outreach → CRM"].append(from_outreach(rig, first, pairs[first]))
        told["CRM → Outreach"].append(from_the_crm(rig, second, pairs[second]))
        words = ", ".join(f"{way} {seconds[-1]:.1f} s" for way, seconds in told.items())
        say(f"{words}; {waiting(rig)} ordinary changes wait")
    left = waiting(rig)
    assert left > 0, "the backlog was gone before the measurement was over: take more people"
    assert max(seconds for way in told.values() for seconds in way) <= POLL_S + 5, told
