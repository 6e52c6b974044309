"""What must hold whatever went wrong (facts, delivery D.2), told from the simulators' states and journals and from the store.

I1 both sides agree in time · I2 nothing lost · I3 nobody and no task doubled · I4 no opt-out taken back · I5 calls per change ·
I6 no canary in what processes said or the broker kept · I7 nothing stuck · I8 the database is whole. Of I5 those calls
count that mean to write, whatever came of them; what polls and looks up does not, nor does asking for a token. I9 is part of
I2: what people typed is wanted too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.fault.edits import CANARY, TASKS, Plan, Wanted

REFERENCE, TASK_REFERENCE = "cf_person_outreach_id", "cf_task_outreach_id"
OUT = ("no_email_soliciting", "emailOptedOut", "optedOut")
CALM, STORMY = 1.3, 3.0
"""Calls that a change may cost, without faults and with them."""
TOKENS = "/oauth/token"


@dataclass(frozen=True, slots=True)
class Seen:
    """What both sides hold, and every call there since the scenario began."""

    people: list[dict[str, Any]]
    tasks: list[dict[str, Any]]
    prospects: dict[str, dict[str, Any]]
    journal: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Verdict:
    """What came of a scenario; ``violated`` says in words what did not hold, blank if all did."""

    lost: int = 0
    people: int = 0
    tasks: int = 0
    reverted: int = 0
    calls: float = 0.0
    seconds: float = 0.0
    violated: list[str] = field(default_factory=list)

    def note(self, invariant: str, broken: object, words: str = "") -> None:
        """Write an invariant down as violated if something broke it."""
        if broken:
            self.violated.append(f"{invariant} {words or broken}")


def missing(seen: Seen, wanted: list[Wanted]) -> list[Wanted]:
    """Return what does not stand where it must."""
    of_people = {str(one.get(REFERENCE)): one for one in seen.people if not one["is_deleted"]}
    of_tasks = {str(one.get(TASK_REFERENCE)): one for one in seen.tasks if not one["is_deleted"]}

    def is_there(one: Wanted) -> bool:
        if one.side == "outreach":
            found = seen.prospects.get(str(one.prospect), {}).get("attributes", {})
        elif one.side == "task":
            found = of_tasks.get(str(TASKS + one.prospect), {})
        else:
            found = of_people.get(str(one.prospect), {})
        return bool(found.get(one.field) == one.value)

    return [one for one in wanted if not is_there(one)]


def judged(seen: Seen, plan: Plan, *, calm: bool) -> Verdict:
    """Return what both sides tell about I2 to I5."""
    lost = missing(seen, plan.wanted)
    verdict = Verdict(lost=len(lost))
    verdict.note("I2", lost, f"{len(lost)} lost, such as {lost[0]}" if lost else "")
    mine = {str(prospect) for prospect in plan.everybody}
    verdict.people = _doubled(seen.people, REFERENCE, mine)
    verdict.note("I3", verdict.people, f"{verdict.people} people too many")
    verdict.tasks = _doubled(seen.tasks, TASK_REFERENCE, {str(TASKS + prospect) for prospect in plan.everybody})
    verdict.note("I3", verdict.tasks, f"{verdict.tasks} tasks too many")
    again = {one: times for one, times in _creates(seen.journal).items() if times > 1}
    verdict.note("I3", again, f"created more than once: {sorted(again)[:3]}")
    verdict.reverted = _taken_back(seen.journal)
    verdict.note("I4", verdict.reverted, f"{verdict.reverted} opt-outs taken back")
    verdict.calls = _calls(seen.journal) / max(1, plan.changes)
    limit = CALM if calm else STORMY
    verdict.note("I5", verdict.calls > limit, f"{verdict.calls:.2f} calls a change, above {limit}")
    return verdict


def _doubled(records: list[dict[str, Any]], reference: str, mine: set[str]) -> int:
    """Return how many living records there are beyond one for each reference."""
    living = Counter(str(one.get(reference)) for one in records if not one["is_deleted"])
    return sum(count - 1 for told, count in living.items() if told in mine and count > 1)


def _effects(journal: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what our own calls did; what people did by hand is not among it."""
    return [effect for entry in _ours(journal) for effect in entry["effect"]]


def _ours(journal: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for entry in journal if not entry["path"].startswith("/_sim/")]


def _creates(journal: list[dict[str, Any]]) -> Counter[str]:
    references = {"person": REFERENCE, "task": TASK_REFERENCE}
    made: Counter[str] = Counter()
    for one in _effects(journal):
        told = one.get("changes", {}).get(references.get(one["type"], ""))
        if one["op"] == "create" and told:
            made[f"{one['type']} {told[1]}"] += 1
    return made


def _taken_back(journal: list[dict[str, Any]]) -> int:
    changes = [one.get("changes", {}).get(name) for one in _effects(journal) for name in OUT]
    return sum(1 for told in changes if told and told[0] and not told[1])


def _calls(journal: list[dict[str, Any]]) -> int:
    return sum(1 for entry in _ours(journal) if entry.get("op") == "write" and entry["path"] != TOKENS)


def leaks(texts: dict[str, bytes]) -> list[str]:
    """Return the names of the texts in which the canary sings."""
    return [name for name, text in texts.items() if CANARY.lower().encode() in text.lower()]
