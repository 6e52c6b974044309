"""The demo's script: what somebody does on one side, and what must then be seen on the other.

The expected values stand here by hand, as the contract has them; they are read from the simulators, never from our own store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BEARER = {"Authorization": "Bearer sim-access"}
TITLE, MOBILE = "Head of Demonstrations", "+44 7700 900123"
ACTION, OUTCOME = "cf_person_outreach_action", "cf_person_outreach_outcome"
THEIRS, OURS = "Title typed in Outreach", "Title typed in Workbooks"


@dataclass(frozen=True, slots=True)
class Scene:
    """One edit and its expected result. ``seen`` returns what is there now; it must become ``expected``."""

    what: str
    where: str
    edit: Callable[[], None]
    seen: Callable[[], object]
    expected: object


@dataclass(frozen=True, slots=True)
class World:
    """Both simulators, as an onlooker sees them."""

    outreach: str
    crm: str
    http: httpx.Client

    def edit(self, base: str, document: dict[str, Any]) -> None:
        """Do something on one side, as a user would."""
        self.http.post(f"{base}/_sim/edit", json=document).raise_for_status()

    def prepare(self) -> None:
        """Give the CRM the three fields by which people ask for sequence actions; the default mapping needs none of them."""
        for name in (ACTION, "cf_person_outreach_sequence", OUTCOME):
            self.edit(self.crm, {"op": "add_field", "type": "person", "field": name, "data_type": "string"})

    def edit_person(self, prospect_id: int, fields: dict[str, Any]) -> None:
        """Edit the person of a prospect in the CRM."""
        person = self.person(prospect_id)
        self.edit(self.crm, {"op": "set", "type": "person", "id": person["id"], "fields": fields})

    def of_outreach(self, path: str, **query: str) -> Any:  # noqa: ANN401 - a vendor's JSON
        """Return the data of one of Outreach's own routes."""
        return (
            self.http.get(f"{self.outreach}/api/v2/{path}", params=query, headers=BEARER)
            .raise_for_status()
            .json()["data"]
        )

    def people(self) -> list[dict[str, Any]]:
        """Return every person in the CRM, deleted ones too."""
        found: list[dict[str, Any]] = self.http.get(f"{self.crm}/_sim/state").raise_for_status().json()["people"]
        return found

    def tasks(self) -> list[dict[str, Any]]:
        """Return every task in the CRM."""
        found: list[dict[str, Any]] = self.http.get(f"{self.crm}/_sim/state").raise_for_status().json()["tasks"]
        return found

    def person(self, prospect_id: int) -> dict[str, Any]:
        """Return the living person of a prospect, as the CRM shows it; empty if there is none or more than one."""
        mine = [
            one
            for one in self.people()
            if one.get("cf_person_outreach_id") == str(prospect_id) and not one["is_deleted"]
        ]
        return mine[0] if len(mine) == 1 else {}


@dataclass(frozen=True, slots=True)
class Player:
    """A prospect on stage: active in just one sequence, which is enabled and not transactional."""

    prospect: int
    state: int
    task: int | None


def players(world: World) -> list[Player]:
    """Return prospects fit for the script, those with an open task first."""
    sequences = world.of_outreach("sequences", **{"page[size]": "100"})
    usable = {one["id"] for one in sequences if one["attributes"]["enabled"] and not one["attributes"]["transactional"]}
    states = world.of_outreach("sequenceStates", **{"page[size]": "1000"})
    owners = [one["relationships"]["prospect"]["data"]["id"] for one in states]
    tasks = world.of_outreach("tasks", **{"page[size]": "1000", "filter[state]": "incomplete,pending"})
    open_task = {
        one["relationships"]["sequenceState"]["data"]["id"]: one["id"]
        for one in tasks
        if one["relationships"]["sequenceState"]["data"]
    }
    opted_out = {
        one["id"]
        for one in world.of_outreach("prospects", **{"page[size]": "1000"})
        if one["attributes"]["optedOut"] or one["attributes"]["emailOptedOut"]
    }
    fit = [
        Player(owner, one["id"], open_task.get(one["id"]))
        for one, owner in zip(states, owners, strict=True)
        if one["attributes"]["state"] == "active"
        and one["relationships"]["sequence"]["data"]["id"] in usable
        and owners.count(owner) == 1
        and owner not in opted_out
    ]
    return sorted(fit, key=lambda player: (player.task is None, player.prospect))


def script(world: World) -> list[Scene]:
    """Return the scenes, each with a player of its own."""
    cast = iter(players(world))
    return [*_of_outreach(world, cast), *_of_the_crm(world, cast), *_of_both(world, cast)]


def _of_outreach(world: World, cast: Iterator[Player]) -> list[Scene]:
    skipper, pauser, leaver, renamed = (next(cast) for _ in range(4))
    return [
        Scene(
            "paused in Outreach",
            "Workbooks: Sequence State",
            lambda: world.edit(world.outreach, {"op": "pause", "state": pauser.state}),
            lambda: world.person(pauser.prospect).get("cf_person_sequence_state"),
            "Active – Paused",
        ),
        Scene(
            "unsubscribed in Outreach",
            "Workbooks: state, No Email",
            lambda: world.edit(world.outreach, {"op": "opt_out", "prospect": leaver.prospect, "how": "unsubscribe"}),
            lambda: _pick(world.person(leaver.prospect), "cf_person_sequence_state", "no_email_soliciting"),
            ["Opted Out", True],
        ),
        Scene(
            "task skipped in Outreach",
            "Workbooks: one task",
            lambda: world.edit(world.outreach, {"op": "skip_task", "task": skipper.task, "how": "autoskip"}),
            lambda: [t["activity_status"] for t in world.tasks() if t.get("cf_task_outreach_id") == str(skipper.task)],
            ["Cancelled"],
        ),
        Scene(
            "job title edited in Outreach",
            "Workbooks: job title",
            lambda: world.edit(
                world.outreach,
                {"op": "set", "type": "prospect", "id": renamed.prospect, "attributes": {"title": TITLE}},
            ),
            lambda: world.person(renamed.prospect).get("person_job_title"),
            TITLE,
        ),
    ]


def _of_the_crm(world: World, cast: Iterator[Player]) -> list[Scene]:
    ghost, called = next(cast), next(cast)
    return [
        Scene(
            "person deleted in Workbooks",
            "Workbooks: back, once",
            lambda: world.edit(world.crm, {"op": "delete", "type": "person", "id": world.person(ghost.prospect)["id"]}),
            lambda: [
                one["is_deleted"] for one in world.people() if one.get("cf_person_outreach_id") == str(ghost.prospect)
            ],
            [True, False],
        ),
        Scene(
            "mobile edited in Workbooks",
            "Outreach: mobile phone",
            lambda: world.edit_person(called.prospect, {"main_location[mobile]": MOBILE}),
            lambda: world.of_outreach(f"prospects/{called.prospect}")["attributes"]["mobilePhones"][:1],
            [MOBILE],
        ),
    ]


def _of_both(world: World, cast: Iterator[Player]) -> list[Scene]:
    disputed, silenced, asked = (next(cast) for _ in range(3))
    return [
        Scene(
            "job title edited on both sides",
            "both: that of Workbooks",
            lambda: _dispute(world, disputed.prospect),
            lambda: [
                world.of_outreach(f"prospects/{disputed.prospect}")["attributes"]["title"],
                world.person(disputed.prospect).get("person_job_title"),
            ],
            [OURS, OURS],
        ),
        Scene(
            "No Email ticked in Workbooks",
            "Outreach: opted out; state",
            lambda: world.edit_person(silenced.prospect, {"no_email_soliciting": True}),
            lambda: [
                world.of_outreach(f"prospects/{silenced.prospect}")["attributes"]["emailOptedOut"],
                world.person(silenced.prospect).get("cf_person_sequence_state"),
            ],
            [True, "Opted Out"],
        ),
        Scene(
            "Pause chosen in Workbooks",
            "Outreach: paused; state, blank",
            lambda: world.edit_person(asked.prospect, {ACTION: "Pause"}),
            lambda: [
                world.of_outreach(f"sequenceStates/{asked.state}")["attributes"]["state"],
                *_pick(world.person(asked.prospect), "cf_person_sequence_state", ACTION),
            ],
            ["paused", "Active – Paused", None],
        ),
    ]


def _dispute(world: World, prospect_id: int) -> None:
    edit = {"op": "set", "type": "prospect", "id": prospect_id, "attributes": {"title": THEIRS}}
    world.edit(world.outreach, edit)
    world.edit_person(prospect_id, {"person_job_title": OURS})


def _pick(person: dict[str, Any], *names: str) -> list[object]:
    return [person.get(name) for name in names]
