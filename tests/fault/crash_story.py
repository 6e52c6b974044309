"""What happens before and while a process dies (F08): a first load, then an edit of every kind; and what must stand then."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.fault.edits import LABEL, LAST, NO_EMAIL, OPTED_OUT, PAUSED, RUNNING, TASKS, TITLE, Wanted

if TYPE_CHECKING:
    from tests.fault.crash import World

REFERENCE, EMAIL = "cf_person_outreach_id", "main_location[email]"
HOURS_3 = 10_800
"""Longer than an access token lives."""


def _prospect(world: World, number: int, *, sequence: int | None = 1) -> None:
    told = {"firstName": f"First{number}", "lastName": f"Last{number}", "emails": [f"p{number}@people.example"]}
    world.outreach.world.edit({"op": "create", "type": "prospect", "id": number, "attributes": told})
    if sequence:
        world.outreach.world.edit({"op": "enrol", "prospect": number, "sequence": sequence, "state": "active"})


def _state(world: World, prospect: int) -> int:
    states = world.outreach.world.dump()["sequenceState"].values()
    return next(int(one["id"]) for one in states if one["relations"]["prospect"] == prospect)


def _skipped(world: World, prospect: int) -> None:
    about = {"state": "skipped", "action": "call", "note": "Ring again", "dueAt": "2026-11-21T10:00:00.000Z"}
    around = {"prospect": prospect, "sequenceState": _state(world, prospect), "sequence": 1, "sequenceStep": 2}
    told = {"op": "create", "type": "task", "id": TASKS + prospect, "attributes": about, "relations": around}
    world.outreach.world.edit(told)


def _person(world: World, prospect: int) -> int:
    mine = [one for one in world.crm.world.dump()["people"] if one.get(REFERENCE) == str(prospect)]
    return int(next(one["id"] for one in mine if not one["is_deleted"]))


def _typed(world: World, prospect: int, fields: dict[str, Any]) -> None:
    world.crm.world.edit({"op": "set", "type": "person", "id": _person(world, prospect), "fields": fields})


def arrive(world: World) -> None:
    """Five prospects are there: one new, one known in the CRM, one opted out, one with a skipped task, one bare."""
    for number in range(1, 5):
        _prospect(world, number)
    _prospect(world, 5, sequence=None)
    known = {"person_first_name": "First2", "person_last_name": "Last2", EMAIL: "P2@people.example"}
    world.crm.world.edit({"op": "create", "type": "person", "fields": known})
    world.outreach.world.edit({"op": "opt_out", "prospect": 3})
    _skipped(world, 4)


def edit(world: World) -> None:
    """Hours later everything is edited at once: each kind of edit on either side, a deletion, a newcomer, a wish."""
    world.later(HOURS_3)
    world.outreach.world.edit({"op": "pause", "state": _state(world, 1)})
    title = {"op": "set", "type": "prospect", "id": 2, "attributes": {"title": "Head of Crashes"}}
    world.outreach.world.edit(title)
    _typed(world, 2, {LAST: "Retyped"})
    _typed(world, 4, {NO_EMAIL: True})
    world.crm.world.edit({"op": "delete", "type": "person", "id": _person(world, 3)})
    _skipped(world, 2)
    _prospect(world, 6)
    wish = {"person_last_name": "Wished", EMAIL: "wished@people.example", "cf_person_sync_to_outreach": True}
    world.crm.world.edit({"op": "create", "type": "person", "fields": wish})
    for app in (world.outreach, world.crm):
        app.journal.clear()


STORIES: dict[str, tuple[Callable[[World], None], ...]] = {"first": (arrive,), "later": (arrive, edit)}
WANTED_OF: dict[str, list[Wanted]] = {
    "first": [
        Wanted(1, "crm", LABEL, RUNNING),
        Wanted(2, "crm", LABEL, RUNNING),
        Wanted(3, "crm", LABEL, OPTED_OUT),
        Wanted(3, "crm", NO_EMAIL, True),
        Wanted(4, "task", "activity_status", "Cancelled"),
    ],
    "later": [
        Wanted(1, "crm", LABEL, PAUSED),
        Wanted(2, "crm", TITLE, "Head of Crashes"),
        Wanted(2, "outreach", "lastName", "Retyped"),
        Wanted(2, "task", "activity_status", "Cancelled"),
        Wanted(3, "crm", LABEL, OPTED_OUT),
        Wanted(3, "crm", NO_EMAIL, True),
        Wanted(4, "outreach", "emailOptedOut", True),
        Wanted(4, "crm", LABEL, OPTED_OUT),
        Wanted(6, "crm", LABEL, RUNNING),
    ],
}
CHANGES = {"first": 5, "later": 8}
