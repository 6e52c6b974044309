"""What a comparison of both sides finds: who disagrees in what, who is right and why. Values are never part of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from worker.core.plan import Action
from worker.core.transforms import Absent

if TYPE_CHECKING:
    from collections.abc import Mapping as Dict

    from worker.core.plan import Decision, PersonPlan, PersonView


class Sort(StrEnum):
    """What kind of disagreement it is."""

    FIELDS = "fields"
    NOT_LINKED = "not_linked"
    NO_PERSON = "no_person"
    PERSON_DELETED = "person_deleted"
    PROSPECT_GONE = "prospect_gone"
    ASKED = "asked"
    AMBIGUOUS = "ambiguous"
    UNREADABLE = "unreadable"
    ORPHAN = "orphan"
    SAME_REFERENCE = "same_reference"
    SAME_ADDRESS = "same_address"


MENDED = frozenset({Sort.FIELDS, Sort.NOT_LINKED, Sort.NO_PERSON, Sort.PERSON_DELETED, Sort.PROSPECT_GONE})
"""What the ordinary change of the prospect mends; the others are for a person to decide."""
HARMLESS = frozenset({Sort.SAME_ADDRESS})
"""What is worth knowing and no disagreement of the two sides: people may well share an address."""
OUTREACH, CRM, BOTH, NOBODY = "outreach", "workbooks", "both", "nobody"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One field that differs: whose value would be written to the other side, and by which rule."""

    field: str
    right: str
    why: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement. ``people`` are ids of the CRM: one, or all who bear the same; ``prospect`` None where none is told."""

    sort: Sort
    prospect: int | None
    people: tuple[int, ...]
    why: str
    fields: tuple[Verdict, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        told = [{"field": one.field, "right": one.right, "why": one.why} for one in self.fields]
        return {
            "kind": self.sort.value,
            "prospect": self.prospect,
            "people": list(self.people),
            "why": self.why,
            "fields": told,
        }


def covered(compared: int, pairs: int) -> float:
    """Return how many per cent of the pairs were read on both sides and compared; all of none is all."""
    return min(100.0, round(100 * compared / pairs, 2)) if pairs else 100.0


def disagreements(found: Dict[str, int]) -> int:
    """Return how many of the findings, by kind, say that the two sides disagree."""
    return sum(count for sort, count in found.items() if sort not in HARMLESS)


def of_plan(view: PersonView, told: PersonPlan) -> Finding | None:
    """Return what a plan over fresh copies of both sides would write, as a disagreement; None if they agree."""
    people = (view.person.ref.id,) if view.person else ()
    writes = bool(told.writes_crm or told.outreach)
    if told.asked and not writes:
        verdicts = tuple(_verdict(one) for one in told.decisions if one.asks)
        return Finding(
            Sort.ASKED, view.prospect_id, people, "both sides were edited, and somebody is to say who wins", verdicts
        )
    if told.action is Action.HOLD:
        return Finding(Sort.ASKED, view.prospect_id, people, told.why)
    apart = view.link is None and view.person is not None
    if not (writes or apart or told.action is Action.UNLINK):
        return None
    verdicts = tuple(_verdict(one) for one in told.decisions if one.asks or _is_written(one, told))
    why = told.why if view.link or view.person is None else "the same person, and not linked yet"
    return Finding(_sort(view, told), view.prospect_id, people, why, verdicts)


def _sort(view: PersonView, told: PersonPlan) -> Sort:
    if view.prospect is None:
        return Sort.PROSPECT_GONE
    if told.action is Action.CREATE:
        return Sort.NO_PERSON
    if told.action in {Action.RECREATE, Action.UNLINK}:
        return Sort.PERSON_DELETED
    return Sort.FIELDS if view.link else Sort.NOT_LINKED


def _is_written(one: Decision, told: PersonPlan) -> bool:
    to_crm = told.writes_crm and not isinstance(one.to_crm, Absent)
    return to_crm or not isinstance(one.to_outreach, Absent)


def _verdict(one: Decision) -> Verdict:
    if one.asks:
        return Verdict(one.field, NOBODY, one.why)
    to_crm, to_outreach = not isinstance(one.to_crm, Absent), not isinstance(one.to_outreach, Absent)
    return Verdict(one.field, BOTH if to_crm and to_outreach else OUTREACH if to_crm else CRM, one.why)
