"""Opting people in as the command does, and seeing how both sides stand: what the tests of opt-ins share."""

from __future__ import annotations

from tests.sync.scene import Life, Scene
from worker.sync import opt_in
from worker.sync.case import Permit, Pilot
from worker.sync.opt_in import Receipt

FLAGS = ("optedOut", "emailOptedOut", "emailsOptStatus")
RUNNING, OUT, NOT_ACTIVE = "Active – Running", "Opted Out", "Not Active"


def lift(
    scene: Scene,
    *prospects: int,
    people: tuple[int, ...] = (),
    addresses: tuple[str, ...] = (),
    life: Life | None = None,
    permit: Permit | None = None,
) -> Receipt:
    """Opt people in as the command does."""
    on = scene.applier(life, permit=permit)
    wanted = Pilot(frozenset(prospects), frozenset(people), frozenset(addresses))
    return opt_in.opt_in(on, opt_in.choose(on, wanted), reason="she asked for it", sleep=scene.later)


def out(scene: Scene, prospect: int) -> tuple[bool, bool, str]:
    """Return how both sides stand: out in Outreach, No Email in the CRM, and the label there."""
    told, person = scene.of_outreach("prospect", prospect), scene.of(prospect)
    there = bool(told.get("optedOut") or told.get("emailOptedOut")) or told.get("emailsOptStatus") == "opted_out"
    return there, bool(person.get("no_email_soliciting")), person["cf_person_sequence_state"]


def settled(scene: Scene, *, full: bool = False) -> None:
    """Make a pass, which must write nothing."""
    scene.later(120)
    before = len(scene.writes(scene.crm)), len(scene.writes(scene.outreach))
    report = scene.sync(full=full)
    assert report.converged, report.as_json()
    assert (len(scene.writes(scene.crm)), len(scene.writes(scene.outreach))) == before


def opted_out(scene: Scene, prospect: int = 5, how: str = "outreach") -> int:
    """Make a prospect with a person, both opted out by what happened on one side."""
    scene.prospect(prospect, 1)
    scene.sync()
    if how == "outreach":
        scene.edit_outreach(op="opt_out", prospect=prospect, how="manual")
    else:
        scene.edit_crm(op="set", type="person", id=scene.of(prospect)["id"], fields={"no_email_soliciting": True})
    scene.later(60)
    scene.sync()
    assert out(scene, prospect) == (True, True, OUT)
    return prospect
