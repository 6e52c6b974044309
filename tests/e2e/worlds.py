"""Both vendors' worlds as a test sets them up and looks at them: through the simulators' own hands, never through ours."""

from __future__ import annotations

from typing import Any

from worker.sim.control import ControlApp

LABELS = (
    "Active – Running",
    "Active – Paused",
    "Opted Out",
    "Finished",
    "Pending",
    "Disabled",
    "Failed",
    "Bounced",
    "Not Active",
)
RUNNING, PAUSED, OPTED_OUT, FINISHED, PENDING, DISABLED, FAILED, BOUNCED, NOT_ACTIVE = LABELS
STATE = "cf_person_sequence_state"
SINCE = "cf_person_sequence_state_updated_at"
NAME = "cf_person_sequence_name"
STEP = "cf_person_sequence_step"
ALL = "cf_person_sequences"
ID = "cf_person_outreach_id"
ERROR = "cf_person_outreach_error"
NO_EMAIL = "no_email_soliciting"
EMAIL = "main_location[email]"
ALTERNATE = "main_location[alternate_email]"
PHONE = "main_location[telephone]"
MOBILE = "main_location[mobile]"
TITLE = "person_job_title"
FIVE = (STATE, SINCE, NAME, STEP, ALL)
COLD, INBOUND, NOTICES, ARCHIVE = 1, 2, 5, 6
"""Sequences of the seeded organisation: two enabled ones, the transactional one, the one that is switched off."""
Fields = dict[str, Any]


class World:
    """What stands in both vendors' systems. ``outreach`` and ``crm`` are the simulators."""

    outreach: ControlApp
    crm: ControlApp

    # Outreach

    def tell(self, *edits: Fields) -> list[Fields]:
        """Do something in Outreach, as its users would; return the records changed."""
        changed: list[Fields] = self.outreach.world.edit(list(edits))["changed"]
        return changed

    def make(self, type_: str, attributes: Fields, **relations: int | None) -> int:
        """Put a record into Outreach."""
        edit = {"op": "create", "type": type_, "attributes": attributes, "relations": relations}
        return int(self.tell(edit)[0]["id"])

    def sequence(self, name: str, *, enabled: bool = True, transactional: bool = False, steps: int = 3) -> int:
        """A sequence with its steps."""
        made = self.make("sequence", {"name": name, "enabled": enabled, "transactional": transactional})
        for order in range(1, steps + 1):
            self.make("sequenceStep", {"order": order, "stepType": "call"}, sequence=made)
        return made

    def step(self, sequence: int, order: int) -> int:
        """The id of a step."""
        steps = self.outreach.world.dump()["sequenceStep"].values()
        wanted = (sequence, order)
        return next(int(s["id"]) for s in steps if (s["relations"]["sequence"], s["attributes"]["order"]) == wanted)

    def prospect(self, *emails: str, first: str | None = "Ada", last: str | None = "Ashby", **more: object) -> int:
        """Somebody in Outreach."""
        named = {"firstName": first, "lastName": last, "emails": list(emails)}
        return self.make("prospect", {**named, **more})

    def state(
        self,
        prospect: int,
        sequence: int = COLD,
        word: str = "active",
        *,
        step: int | None = 1,
        at: str = "2026-01-05T10:00:00.000Z",
        active_at: str | None = "2026-01-02T09:00:00.000Z",
    ) -> int:
        """A prospect's state in a sequence."""
        told = {"state": word, "stateChangedAt": at} | ({"activeAt": active_at} if active_at else {})
        on = None if step is None else self.step(sequence, step)
        return self.make("sequenceState", told, prospect=prospect, sequence=sequence, sequenceStep=on)

    def enrolled(
        self,
        *emails: str,
        word: str = "active",
        sequence: int = COLD,
        first: str | None = "Ada",
        last: str | None = "Ashby",
        **more: object,
    ) -> int:
        """Somebody in Outreach who is in a sequence."""
        made = self.prospect(*emails, first=first, last=last, **more)
        self.state(made, sequence, word)
        return made

    def task(self, of_state: int, *, order: int = 1, **more: object) -> int:
        """A task of a sequence state."""
        of = self.outreach.world.dump()["sequenceState"][str(of_state)]["relations"]
        told = {"action": "call", "taskType": "sequence_step_call", "state": "incomplete", **more}
        related = {
            "prospect": of["prospect"],
            "subject": of["prospect"],
            "sequence": of["sequence"],
            "sequenceState": of_state,
            "sequenceStep": self.step(of["sequence"], order),
        }
        return self.make("task", told, **related)

    def set_prospect(self, prospect: int, **attributes: object) -> None:
        """Write a prospect's attributes, without anything that follows from them."""
        self.tell({"op": "set", "type": "prospect", "id": prospect, "attributes": attributes})

    def set_state(self, state_id: int, **attributes: object) -> None:
        """Write a sequence state's attributes."""
        self.tell({"op": "set", "type": "sequenceState", "id": state_id, "attributes": attributes})

    def of_prospect(self, prospect: int) -> Fields:
        """A prospect's stored attributes."""
        found: Fields = self.outreach.world.dump()["prospect"][str(prospect)]["attributes"]
        return found

    # the CRM

    def hand(self, op: str, **document: object) -> int:
        """Do something in the CRM by hand; return the id of what was changed."""
        made: int = self.crm.world.edit({"op": op, **document})["id"]
        return made

    def person(self, **fields: object) -> int:
        """Somebody in the CRM."""
        return self.hand("create", type="person", fields=_spelt(fields))

    def set_person(self, person: int, **fields: object) -> None:
        """Edit a person in the CRM by hand."""
        self.hand("set", type="person", id=person, fields=_spelt(fields))

    def delete_person(self, person: int) -> None:
        """Delete a person in the CRM by hand."""
        self.hand("delete", type="person", id=person)

    def people(self, *, deleted: bool = False) -> list[Fields]:
        """Everybody in the CRM, the deleted ones only if wanted."""
        found: list[Fields] = self.crm.world.dump()["people"]
        return [one for one in found if deleted or not one["is_deleted"]]

    def of_person(self, person: int) -> Fields:
        """One person of the CRM, deleted or not."""
        return next(one for one in self.people(deleted=True) if one["id"] == person)

    def person_of(self, prospect: int) -> Fields:
        """The one living person who bears a prospect's id."""
        found = [one for one in self.people() if one.get(ID) == str(prospect)]
        assert len(found) == 1, f"{len(found)} people bear the id of prospect {prospect}"
        return found[0]

    def cancelled(self, task: int | None = None) -> list[Fields]:
        """The living tasks of the CRM, only those of an Outreach task if wanted."""
        found: list[Fields] = self.crm.world.dump()["tasks"]
        living = [one for one in found if not one["is_deleted"]]
        return [one for one in living if task is None or one.get("cf_task_outreach_id") == str(task)]

    # what we did to them

    def forget_calls(self) -> None:
        """Empty both journals."""
        self.outreach.journal.clear()
        self.crm.journal.clear()

    def crm_writes(self, type_: str | None = None) -> list[Fields]:
        """Every effect that we had in the CRM, in order."""
        return _effects(self.crm, type_)

    def outreach_writes(self, type_: str | None = None) -> list[Fields]:
        """Every effect that we had in Outreach, in order."""
        return _effects(self.outreach, type_)

    def crm_calls(self, path: str = "") -> int:
        """How many calls the CRM got on a path."""
        return sum(path in entry["path"] for entry in self.crm.journal.entries())

    def outreach_calls(self, path: str = "") -> int:
        """How many calls Outreach got on a path."""
        return sum(path in entry["path"] for entry in self.outreach.journal.entries())

    def break_crm(
        self, kind: str, *, times: int | None = 1, after: int = 0, args: Fields | None = None, **match: object
    ) -> None:
        """Arm one fault in the CRM; a write on people unless told otherwise."""
        matched = {"path": "people", "op": "write"} | match
        self.crm.faults.arm([{"match": matched, "kind": kind, "times": times, "after": after, "args": args or {}}])

    def break_outreach(
        self, kind: str, *, times: int | None = 1, after: int = 0, args: Fields | None = None, **match: object
    ) -> None:
        """Arm one fault in Outreach; a read unless told otherwise."""
        matched = {"op": "read"} | match
        self.outreach.faults.arm([{"match": matched, "kind": kind, "times": times, "after": after, "args": args or {}}])

    def mend(self) -> None:
        """Disarm every fault."""
        self.outreach.faults.arm([])
        self.crm.faults.arm([])


SHORT = {"email": EMAIL, "alternate": ALTERNATE, "phone": PHONE, "mobile": MOBILE, "title": TITLE, "no_email": NO_EMAIL}
SHORT |= {"first": "person_first_name", "last": "person_last_name", "reference": ID}


def _spelt(fields: Fields) -> Fields:
    """Return fields under the CRM's own names."""
    return {SHORT.get(name, name): value for name, value in fields.items()}


def _effects(app: ControlApp, type_: str | None) -> list[Fields]:
    found = [effect for entry in app.journal.entries() for effect in entry["effect"]]
    return [effect for effect in found if type_ is None or effect["type"] == type_]
