"""What plans come to: one record's effect as before and after, and the sum of many. Nothing here is written anywhere."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from worker.core import transforms
from worker.core.intents import MAKING
from worker.core.mapping import Computed
from worker.core.plan import Action

if TYPE_CHECKING:
    from collections.abc import Mapping as Dict

    from worker.core.mapping import Mapping
    from worker.core.plan import PersonPlan, PersonView
    from worker.core.records import Value

CRM, OUTREACH, TASKS = "workbooks", "outreach", "workbooks tasks"
A_FIELD = 2
"""So many records are shown for each field and for each action."""
MANY = 1 << 256
_encode = msgspec.json.Encoder(order="sorted").encode

Cells = dict[str, tuple["Value", "Value"]]
"""Values before and after, by CRM field or Outreach attribute."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What would be written about one prospect and its person, or one task (``task``), on either side."""

    prospect: int | None
    person: int | None
    action: str
    crm: Cells = field(default_factory=dict)
    outreach: Cells = field(default_factory=dict)
    task: int | None = None

    @property
    def number(self) -> int:
        """Return the hash of what would be written: what stands there before is not part of it."""
        after = [{name: new for name, (_, new) in cells.items()} for cells in (self.crm, self.outreach)]
        told = _encode([self.prospect, self.person, self.task, self.action, *after])
        return int.from_bytes(hashlib.sha256(told).digest())


def effect_of(view: PersonView, told: PersonPlan, without: PersonPlan | None = None) -> Effect | None:
    """Return what a plan would write that ``without`` it would not be; None if that is nothing."""
    crm = told.crm if told.writes_crm else {}
    outreach = told.outreach
    if without is not None and without.action == told.action:
        crm = _news(crm, without.crm if without.writes_crm else {})
        outreach = _news(outreach, without.outreach)
    elif without is not None:
        outreach = _news(outreach, without.outreach)
    if not crm and not outreach:
        return None
    person = view.person if view.person and not view.person.deleted else None
    return Effect(
        prospect=view.prospect_id,
        person=view.person.ref.id if view.person else None,
        action=told.action.value if crm else "update",
        crm={name: (person.fields.get(name) if person else None, value) for name, value in crm.items()},
        outreach={
            name: (view.prospect.fields.get(name) if view.prospect else None, value) for name, value in outreach.items()
        },
    )


def _news(now: Dict[str, Value], before: Dict[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in now.items() if name not in before or before[name] != value}


@dataclass(slots=True)
class Sum:
    """Many effects added up; two sums of different records add up as well, in any order.

    ``fields`` counts by side and field how many records change, ``cleared`` how many of them lose what stands there;
    ``new`` are the prospects who would get a person.
    """

    crm: Counter[str] = field(default_factory=Counter)
    outreach: Counter[str] = field(default_factory=Counter)
    fields: Counter[tuple[str, str]] = field(default_factory=Counter)
    cleared: Counter[tuple[str, str]] = field(default_factory=Counter)
    aside: Counter[str] = field(default_factory=Counter)
    samples: list[Effect] = field(default_factory=list)
    new: set[int] = field(default_factory=set)
    digest: int = 0
    _shown: Counter[str] = field(default_factory=Counter)

    def add(self, one: Effect, mapping: Mapping) -> None:
        """Add one effect."""
        self.digest = (self.digest + one.number) % MANY
        flag = mapping.field_of(Computed.OPTED_OUT)
        if one.task is not None:
            self.crm["tasks_cancelled"] += one.action in {"create task", "recreate task"}
            self.crm["tasks_moved"] += one.action == "update task"
        elif one.crm:
            self.crm[{Action.CREATE: "created", Action.RECREATE: "recreated"}.get(Action(one.action), "updated")] += 1
            if one.action in MAKING and one.prospect is not None:
                self.new.add(one.prospect)
            self.crm["opted_out"] += flag is not None and one.crm.get(flag.crm, (None, None))[1] is True
        if one.outreach:
            self.outreach["updated" if one.task is None else "tasks_finished"] += 1
            self.outreach["opted_out"] += one.outreach.get("emailOptedOut", (None, None))[1] is True
        here = CRM if one.task is None else TASKS
        for side, cells, counts in ((here, one.crm, self.crm), (OUTREACH, one.outreach, self.outreach)):
            emptied = [name for name, (old, new) in cells.items() if _empties(old, new)]
            self.fields.update((side, name) for name in cells)
            self.cleared.update((side, name) for name in emptied)
            counts["cleared"] += bool(emptied)
        self._sample(one)

    def join(self, other: Sum) -> None:
        """Add another sum."""
        for mine, theirs in ((self.crm, other.crm), (self.outreach, other.outreach), (self.aside, other.aside)):
            mine.update(theirs)
        for counts, others in ((self.fields, other.fields), (self.cleared, other.cleared)):
            counts.update(others)
        self.new |= other.new
        self.digest = (self.digest + other.digest) % MANY
        for one in other.samples:
            self._sample(one)

    def _sample(self, one: Effect) -> None:
        """Keep the first records of each action, and of each field that is updated."""
        keys = [one.action]
        if one.action == Action.UPDATE:
            keys += [f"{side}.{name}" for side, cells in ((CRM, one.crm), (OUTREACH, one.outreach)) for name in cells]
        if any(self._shown[key] < A_FIELD for key in keys):
            self.samples.append(one)
            self._shown.update(keys)

    @property
    def anything(self) -> bool:
        """Tell whether anything would be written or asked for."""
        return bool(self.fields) or self.outreach["looked_up"] > 0


def _empties(old: Value, new: Value) -> bool:
    if new is False and old is True:
        return False
    return transforms.is_blank(new) and not transforms.is_blank(old)


def digest_of(total: Sum, mapping_version: str, scope: str) -> str:
    """Return the plan's hash: over the mapping's version, whom it was made for, and everything that would be written."""
    told = f"{mapping_version}\n{scope}\n{total.digest:x}\n{total.outreach['looked_up']}"
    return "plan:" + hashlib.sha256(told.encode()).hexdigest()[:32]
