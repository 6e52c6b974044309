"""Both simulated vendors as their users see them: what is done by hand there, and what can be seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from worker.sim.control import ControlApp


@dataclass(slots=True)
class Vendors:
    """Two simulators in this process."""

    outreach: ControlApp = field(init=False)
    crm: ControlApp = field(init=False)

    def edit_outreach(self, **document: object) -> dict[str, Any]:
        """Do something in Outreach, as a user would."""
        told: dict[str, Any] = self.outreach.world.edit(document)
        return told

    def edit_crm(self, **document: object) -> dict[str, Any]:
        """Do something in the CRM, as a user would."""
        told: dict[str, Any] = self.crm.world.edit(document)
        return told

    def prospect(self, id: int, *sequences: int, **attributes: object) -> int:
        """Make a prospect, active in some of the six seeded sequences."""
        told = {"firstName": f"First{id}", "lastName": f"Last{id}", "emails": [f"p{id}@people.example"], **attributes}
        self.edit_outreach(op="create", type="prospect", id=id, attributes=told)
        for sequence in sequences:
            self.edit_outreach(op="enrol", prospect=id, sequence=sequence, state="active")
        return id

    def person(self, **fields: object) -> int:
        """Make a person in the CRM and return its id."""
        told: int = self.edit_crm(op="create", type="person", fields=fields)["id"]
        return told

    def people(self) -> list[dict[str, Any]]:
        """Return every person in the CRM, deleted ones too."""
        found: list[dict[str, Any]] = self.crm.world.dump()["people"]
        return found

    def tasks(self) -> list[dict[str, Any]]:
        """Return every task in the CRM."""
        found: list[dict[str, Any]] = self.crm.world.dump()["tasks"]
        return found

    def of(self, prospect: int) -> dict[str, Any]:
        """Return the one living person that carries the prospect's id."""
        mine = [one for one in self.people() if one.get("cf_person_outreach_id") == str(prospect)]
        (living,) = [one for one in mine if not one["is_deleted"]]
        return living

    def of_outreach(self, type_: str, id: int) -> dict[str, Any]:
        """Return the attributes of one record in Outreach."""
        told: dict[str, Any] = self.outreach.world.dump()[type_][str(id)]["attributes"]
        return told

    def states_of(self, prospect: int) -> list[int]:
        """Return the ids of a prospect's sequence states."""
        found = self.outreach.world.dump().get("sequenceState", {}).values()
        return [one["id"] for one in found if one["relations"]["prospect"] == prospect]

    def writes(self, app: ControlApp) -> list[dict[str, Any]]:
        """Return every effect that our own writes had, in order; what users did by hand is not among them."""
        entries = [entry for entry in app.journal.entries() if not entry["path"].startswith("/_sim/")]
        return [effect for entry in entries for effect in entry["effect"]]

    def creates(self) -> list[str]:
        """Return the reference of every record that we created in the CRM: ``person 5``, ``task 12``."""
        references = {"person": "cf_person_outreach_id", "task": "cf_task_outreach_id"}
        return [
            f"{one['type']} {one['changes'][references[one['type']]][1]}"
            for one in self.writes(self.crm)
            if one["op"] == "create"
        ]
