"""The seeded organisation: six sequences of three steps, and everybody :mod:`worker.sim.seed` places in Outreach.

The same seed, number of records and starting time give the same world, ids included; a prospect's id is its person's
number. ``updatedAt`` lies within the thirty days before the start, some on the same second.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from worker.sim import seed as people
from worker.sim.outreach_behaviour import STEP_TASK_TYPES, TASK_TYPES, task_relations
from worker.sim.outreach_store import Record, stamp

if TYPE_CHECKING:
    from datetime import datetime

    from worker.sim.outreach_store import Target
    from worker.sim.outreach_world import World

MONTH_S = 30 * 86_400
USERS = (("Orla", "Fenwick"), ("Milo", "Hartsby"), ("Tess", "Calder"))
STAGES = ("New", "Approaching", "Replied", "Engaged", "Do Not Contact", "Unresponsive", "Interested", "Not Interested")
SEQUENCES = ("Cold outreach", "Inbound follow-up", "Event guests", "Renewal", "Service notices", "Spring archive")
TRANSACTIONAL, DISABLED = 5, 6
"""Ids of the one transactional sequence and the one that is switched off."""
STEPS = (("auto_email", "Auto Email"), ("call", "Call"), ("task", "Generic Task"))
IN_NONE, IN_TWO = 0.08, 0.12
STATES = ("active", "paused", "pending", "failed", "bounced", "disabled", "finished")
WEIGHTS = (42, 12, 10, 5, 5, 3, 23)
MORE: dict[str, dict[str, Any]] = {
    "paused": {"pauseReason": "user"},
    "failed": {"errorReason": "Send failure", "failureCount": 1},
    "bounced": {"errorReason": "Address not found", "bounceCount": 1},
}
STARTED = frozenset({"active", "paused", "failed", "bounced", "disabled", "finished"})
AUTOSKIPPED = 0.3
"""Share of completed tasks that nobody completed."""


def fill(world: World, seed: str, records: int) -> None:
    """Put the seeded organisation into an empty world."""
    start = world.clock.now()
    _fixtures(world, stamp(start - timedelta(seconds=2 * MONTH_S)))
    for person in people.everyone(seed, records):
        if person.in_outreach:
            _Person(world, person, random.Random(f"{seed}/{person.n}"), start).settle()


def _put(world: World, type_: str, id_: int, attributes: dict[str, Any], relations: dict[str, Target | None]) -> Record:
    record = Record(type_, id_ or world.store[type_].new_id(), attributes, relations)
    world.store[type_].put(record)
    return record


def _fixtures(world: World, at: str) -> None:
    """Put in what does not depend on the number of people."""
    made = {"createdAt": at, "updatedAt": at}
    for n, (first, last) in enumerate(USERS, 1):
        email = f"{first}.{last}@seller.example".lower()
        named = {"firstName": first, "lastName": last, "name": f"{first} {last}", "email": email, "username": email}
        _put(world, "user", n, {**named, **made}, {})
        _put(world, "mailbox", n, {"email": email, "username": email, "userId": n, **made}, {"user": ("user", n)})
    for n, name in enumerate(STAGES, 1):
        _put(world, "stage", n, {"name": name, "order": n, **made}, {})
    _put(world, "account", 1, {"name": "Amberline", "domain": "amberline.example", "named": True, **made}, {})
    for n, name in enumerate(SEQUENCES, 1):
        told: dict[str, Any] = {"name": name, "enabled": n != DISABLED, "transactional": n == TRANSACTIONAL}
        told |= {"sequenceStepCount": len(STEPS), "enabledAt": at, "durationInDays": 7, "salesMotion": "outbound"}
        who: dict[str, Target | None] = {"owner": ("user", 1), "creator": ("user", 1)}
        _put(world, "sequence", n, {**told, **made}, who)
        for order, (kind, label) in enumerate(STEPS, 1):
            told = {"order": order, "stepType": kind, "displayName": f"Step #{order} ({label})", "interval": 86_400}
            told["taskNote"] = f"{label} of {name}" if kind != "auto_email" else None
            step = (n - 1) * len(STEPS) + order
            _put(world, "sequenceStep", step, {**told, **made}, {"sequence": ("sequence", n), "creator": ("user", 1)})


class _Person:
    """Puts one person with addresses, states and tasks into the world."""

    def __init__(self, world: World, person: people.Someone, chance: random.Random, start: datetime) -> None:
        self.world, self.person, self.chance, self.start = world, person, chance, start
        self.target: Target = ("prospect", person.n)
        self.owner: Target = ("user", person.n % len(USERS) + 1)

    def at(self, ago_s: float) -> str:
        """Return the stamp ``ago_s`` seconds before the start."""
        return stamp(self.start - timedelta(seconds=ago_s))

    def ago(self, most_s: float = MONTH_S) -> int:
        """Return some age in seconds; one in ten falls on a full hour, so that some are equal."""
        age = self.chance.randrange(60, max(61, int(most_s)))
        return age - age % 3_600 if self.chance.random() < 0.1 and age > 3_600 else age  # noqa: PLR2004

    def settle(self) -> None:
        """Put everything in."""
        person, age = self.person, self.ago()
        emails = [person.email] + ([person.alternate_email] if person.alternate_email else [])
        told: dict[str, Any] = {
            "firstName": person.first_name,
            "lastName": person.last_name,
            "name": f"{person.first_name} {person.last_name}",
            "title": person.title or None,
            "emails": emails,
            "workPhones": [person.work_phone] if person.work_phone else [],
            "mobilePhones": [person.mobile_phone] if person.mobile_phone else [],
            "createdAt": self.at(age + MONTH_S),
            "updatedAt": self.at(age),
        }
        if person.opted_out:
            at = self.at(age)
            told |= {"optedOut": True, "emailOptedOut": True, "callOptedOut": True, "optedOutAt": at}
            told |= {"emailsOptStatus": "opted_out", "emailsOptedAt": at}
            told |= {"callsOptStatus": "opted_out", "callsOptedAt": at}
        related: dict[str, Target | None] = {"owner": self.owner, "creator": self.owner, "stage": ("stage", 1)}
        _put(self.world, "prospect", person.n, told, related)
        for order, email in enumerate(emails):
            address = {"email": email, "order": order, "emailType": "work", "updatedAt": told["createdAt"]}
            address["createdAt"] = told["createdAt"]
            _put(self.world, "emailAddress", 0, address, {"prospect": self.target})
        if person.opted_out:
            event = {"name": "opt_out", "createdAt": self.at(age), "eventAt": self.at(age)}
            _put(self.world, "event", 0, event, {"prospect": self.target})
        for sequence in self.sequences():
            self.enrol(sequence)

    def sequences(self) -> list[int]:
        """Return the ids of the sequences this person is in."""
        wanted = self.world.options.states_per_prospect
        if wanted is None:
            draw = self.chance.random()
            wanted = 0 if draw < IN_NONE else 2 if draw < IN_NONE + IN_TWO else 1
        ids = list(range(1, len(SEQUENCES) + 1))
        self.chance.shuffle(ids)
        return [ids[n % len(ids)] for n in range(wanted)]

    def enrol(self, sequence: int) -> None:
        """Put in one state, on some step of ``sequence``, with the tasks of its steps so far."""
        state = self.chance.choices(STATES, WEIGHTS)[0]
        more = dict(MORE.get(state, {}))
        if self.person.opted_out and sequence != TRANSACTIONAL:
            state, more = self.world.options.opt_out_state, {"optOutCount": 1}
        started = state in STARTED
        order = self.chance.choices((1, 2, 3), (4, 4, 2))[0] if started else 1
        age = self.ago()
        changed = age + self.chance.choice((0, 0, 0, 600))
        told: dict[str, Any] = {
            "state": state,
            "createdAt": self.at(changed + 86_400),
            "stateChangedAt": self.at(changed),
        }
        told |= {"updatedAt": self.at(age), **more} | ({"activeAt": self.at(changed + 3_600)} if started else {})
        if started:
            told["deliverCount"] = 1
        step = self.world.store["sequenceStep"].rows[(sequence - 1) * len(STEPS) + order]
        related: dict[str, Target | None] = {
            "prospect": self.target,
            "sequence": ("sequence", sequence),
            "sequenceStep": (step.type, step.id),
            "mailbox": ("mailbox", self.owner[1]),
            "creator": self.owner,
            "user": self.owner,
        }
        enrolled = _put(self.world, "sequenceState", 0, told, related)
        for before in range(2, order):
            self.task(enrolled, self.world.store["sequenceStep"].rows[step.id - order + before], age, done=True)
        if order > 1 and started:
            self.task(enrolled, step, age, done=state == "finished")

    def task(self, state: Record, step: Record, age: int, *, done: bool) -> None:
        """Put in the task of a step: open, completed by its owner, or autoskipped by nobody."""
        kind = step.get("stepType")
        told: dict[str, Any] = {
            "action": TASK_TYPES[kind],
            "taskType": STEP_TASK_TYPES[kind],
            "note": step.get("taskNote"),
        }
        told |= {"dueAt": self.at(age), "scheduledAt": self.at(age + 600), "createdAt": self.at(age + 7_200)}
        told |= {
            "stateChangedAt": self.at(age),
            "updatedAt": self.at(age),
            "state": "complete" if done else "incomplete",
        }
        related = task_relations(self.world, state, step)
        if done:
            told |= {"completed": True, "completedAt": self.at(age)}
            skipped = self.chance.random() < AUTOSKIPPED
            related["completer"] = None if skipped else self.owner
            if skipped:
                told["autoskipAt"] = self.at(age + self.chance.choice((0, 60)))
        _put(self.world, "task", 0, told, related)
