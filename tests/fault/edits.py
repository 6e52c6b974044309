"""What people do on both sides while things go wrong, drawn from a seed; and what must stand there in the end, by hand.

Each record has one story of one or two edits, spread over the waves. The expected values are the contract's (sections 5 and 6),
never asked of the product. Whatever personal there is holds the canary, so that a leak can be found by looking for one word.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

CANARY = "Canaryquill"
COLD = 1
"""The seeded organisation's first sequence: enabled, not transactional."""
STATES, TASKS = 10_000_000, 20_000_000
"""What is added to a prospect's id to make the ids of its state and its task."""
RUNNING, PAUSED, FINISHED, OPTED_OUT = "Active – Running", "Active – Paused", "Finished", "Opted Out"
LABEL, NO_EMAIL, TITLE, LAST = (
    "cf_person_sequence_state",
    "no_email_soliciting",
    "person_job_title",
    "person_last_name",
)
THEN = "2026-01-05T10:00:00.000Z"
KINDS = ("title", "title in the CRM", "both", "pause", "flip", "finish", "opt out", "no email", "skip")
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One value that must stand on one side in the end: ``crm``, ``outreach`` or, of the record's task, ``task``."""

    prospect: int
    side: str
    field: str
    value: object


@dataclass(slots=True)
class Wave:
    """Edits made at once: documents for Outreach, and by prospect what is set on the person in the CRM."""

    outreach: list[Document] = field(default_factory=list)
    crm: list[tuple[int, Document]] = field(default_factory=list)


@dataclass(slots=True)
class Plan:
    """The whole of it. ``old`` are there before anything goes wrong, ``new`` come in between."""

    old: range
    new: range
    waves: list[Wave]
    wanted: list[Wanted] = field(default_factory=list)
    changes: int = 0

    @property
    def everybody(self) -> range:
        """All prospects that have a part in it."""
        return range(self.old.start, self.new.stop)


def draw(seed: str, records: int, *, first: int, waves: int) -> Plan:
    """Return the plan of a seed: of the records two thirds are old, the others new; the ids count from ``first``."""
    chance = random.Random(seed)
    border = first + records * 2 // 3
    plan = Plan(range(first, border), range(border, first + records), [Wave() for _ in range(waves)])
    for number, prospect in enumerate(plan.old):
        _old(plan, prospect, KINDS[number % len(KINDS)], sorted(chance.sample(range(waves), 2)))
    for number, prospect in enumerate(plan.new):
        _new(plan, prospect, sorted(chance.sample(range(waves), 2)), leaves=number % 5 == 0)
    for wave in plan.waves:
        chance.shuffle(wave.crm)
    plan.changes = sum(len(_told(wave.outreach)) + len(wave.crm) for wave in plan.waves)
    return plan


def _told(documents: list[Document]) -> list[Document]:
    """Return the edits that somebody must hear of: a newcomer and the state that comes with it are one."""
    return [one for one in documents if one.get("type") != "sequenceState"]


def _old(plan: Plan, prospect: int, kind: str, at: list[int]) -> None:
    early, late = (plan.waves[wave] for wave in at)
    state = STATES + prospect
    wanted: list[tuple[str, str, object]] = [("crm", LABEL, RUNNING)]
    if kind == "title":
        early.outreach.append(_titled(prospect, "Early"))
        late.outreach.append(_titled(prospect, "Late"))
        wanted.append(("crm", TITLE, f"Late {prospect}"))
    elif kind == "title in the CRM":
        early.crm.append((prospect, {TITLE: f"Typed {prospect}"}))
        wanted += [("outreach", "title", f"Typed {prospect}"), ("crm", TITLE, f"Typed {prospect}")]
    elif kind == "both":
        early.outreach.append(_titled(prospect, "Early"))
        early.crm.append((prospect, {LAST: f"{CANARY}son{prospect}"}))
        wanted += [("crm", TITLE, f"Early {prospect}"), ("outreach", "lastName", f"{CANARY}son{prospect}")]
    elif kind == "flip":
        early.outreach.append({"op": "pause", "state": state})
        late.outreach.append({"op": "resume", "state": state})
    elif kind in {"pause", "finish"}:
        early.outreach.append({"op": kind, "state": state})
        wanted = [("crm", LABEL, PAUSED if kind == "pause" else FINISHED)]
    elif kind == "opt out":
        early.outreach.append({"op": "opt_out", "prospect": prospect})
        wanted = _out()
    elif kind == "no email":
        early.crm.append((prospect, {NO_EMAIL: True}))
        wanted = _out()
    else:
        early.outreach.append(_skipped(prospect))
        wanted.append(("task", "activity_status", "Cancelled"))
    plan.wanted += [Wanted(prospect, *one) for one in wanted]


def _new(plan: Plan, prospect: int, at: list[int], *, leaves: bool) -> None:
    early, late = (plan.waves[wave] for wave in at)
    early.outreach += newcomer(prospect)
    if leaves:
        late.outreach.append({"op": "opt_out", "prospect": prospect})
    wanted = _out() if leaves else [("crm", LABEL, RUNNING), ("crm", LAST, f"{CANARY}{prospect}")]
    plan.wanted += [Wanted(prospect, *one) for one in wanted]


def _out() -> list[tuple[str, str, object]]:
    return [("crm", LABEL, OPTED_OUT), ("crm", NO_EMAIL, True), ("outreach", "emailOptedOut", True)]


def newcomer(prospect: int) -> list[Document]:
    """Return the edits by which somebody comes into Outreach and into a sequence."""
    about = {
        "firstName": "First",
        "lastName": f"{CANARY}{prospect}",
        "emails": [f"p{prospect}@{CANARY}.example".lower()],
    }
    state = {"state": "active", "activeAt": THEN, "stateChangedAt": THEN}
    related = {"prospect": prospect, "sequence": COLD}
    return [
        {"op": "create", "type": "prospect", "id": prospect, "attributes": about},
        {
            "op": "create",
            "type": "sequenceState",
            "id": STATES + prospect,
            "attributes": state,
            "relations": related,
        },
    ]


def _titled(prospect: int, word: str) -> Document:
    return {"op": "set", "type": "prospect", "id": prospect, "attributes": {"title": f"{word} {prospect}"}}


def _skipped(prospect: int) -> Document:
    about = {"action": "call", "taskType": "sequence_step_call", "state": "skipped"}
    related = {"prospect": prospect, "subject": prospect, "sequence": COLD, "sequenceState": STATES + prospect}
    return {"op": "create", "type": "task", "id": TASKS + prospect, "attributes": about, "relations": related}
