"""Three-way merge of one field: what each side held when they last agreed, what each holds now, and who wins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from worker.core import transforms
from worker.core.mapping import Direction, FirstSight, Winner
from worker.core.transforms import ABSENT, Absent

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.mapping import Field
    from worker.core.records import Value


CLOSE = timedelta(seconds=2)
"""Edits no further apart than this count as made at once: both vendors keep whole seconds, each by its own clock."""


@dataclass(frozen=True, slots=True)
class Sides:
    """One field seen four ways: both halves of the shadow, and both sides now; Outreach's in Outreach's own form.

    ``outreach_at`` and ``crm_at`` say when each side's value was last seen to change, None if that is not known.
    """

    outreach_then: Value | Absent
    crm_then: Value | Absent
    outreach: Value | Absent
    crm: Value | Absent
    outreach_at: datetime | None = None
    crm_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """What to write where (``ABSENT``: nothing) and why.

    ``overwritten`` marks a hand edit that is put back, ``asks`` a conflict that a person has to decide.
    """

    to_crm: Value | Absent = ABSENT
    to_outreach: Value | Absent = ABSENT
    why: str = "both sides agree"
    overwritten: bool = False
    asks: bool = False


def merge(field: Field, sides: Sides, first_sight: FirstSight) -> Merged:
    """Return what becomes of one field."""
    if field.direction is Direction.TO_OUTREACH:
        return _to_outreach(field, sides)
    if isinstance(sides.outreach, Absent):
        return Merged(why="Outreach did not tell a value")
    if field.direction is Direction.TO_CRM:
        return _one_way(field, sides.outreach_then, sides.outreach, sides.crm_then, sides.crm)
    if isinstance(sides.crm, Absent):
        return Merged(why="the CRM did not tell a value")
    return _two_way(field, sides, first_sight)


def _to_outreach(field: Field, sides: Sides) -> Merged:
    if isinstance(sides.crm, Absent):
        return Merged(why="the CRM did not tell a value")
    if isinstance(sides.outreach, Absent) and field.outreach != field.attribute:
        return Merged(why="Outreach did not tell the list, whose other elements are to stay")
    return _mirrored(_one_way(field, sides.crm_then, sides.crm, sides.outreach_then, sides.outreach))


def _mirrored(merged: Merged) -> Merged:
    return Merged(merged.to_outreach, merged.to_crm, merged.why, merged.overwritten)


def _one_way(
    field: Field, source_then: Value | Absent, source: Value, target_then: Value | Absent, target: Value | Absent
) -> Merged:
    """The source rules; what the target made of its value on save is left alone. The result is told as if to the CRM."""
    convert = transforms.to_outreach if field.direction is Direction.TO_OUTREACH else transforms.to_crm
    wanted = convert(field.compare, source)
    if transforms.same(field.compare, wanted, target):
        return Merged()
    source_moved = not transforms.same(field.compare, source_then, source)
    target_moved = not isinstance(target, Absent) and not transforms.same(field.compare, target_then, target)
    if source_moved or isinstance(target_then, Absent):
        return Merged(to_crm=wanted, why="the value changed at its source")
    if target_moved:
        return Merged(to_crm=wanted, why="edited by hand where it is only shown: put back", overwritten=True)
    return Merged(why="this is what was made of our value on save")


def _two_way(field: Field, sides: Sides, first_sight: FirstSight) -> Merged:
    if transforms.same(field.compare, sides.outreach, sides.crm):
        return Merged()
    if isinstance(sides.outreach_then, Absent) or isinstance(sides.crm_then, Absent):
        return _never_agreed(field, sides, first_sight)
    outreach_moved = not transforms.same(field.compare, sides.outreach_then, sides.outreach)
    crm_moved = not transforms.same(field.compare, sides.crm_then, sides.crm)
    if outreach_moved and crm_moved:
        return _decided(field, sides, "both sides changed it")
    if outreach_moved:
        return _take(Winner.OUTREACH, field, sides, "changed in Outreach")
    if crm_moved:
        return _take(Winner.CRM, field, sides, "changed in the CRM")
    return Merged(why="neither side changed it since they last agreed")


def _never_agreed(field: Field, sides: Sides, first_sight: FirstSight) -> Merged:
    if transforms.is_blank(sides.crm):
        return _take(Winner.OUTREACH, field, sides, "first sight: blank in the CRM")
    if transforms.is_blank(sides.outreach):
        return _take(Winner.CRM, field, sides, "first sight: blank in Outreach")
    if first_sight is FirstSight.FILL_BLANKS:
        return Merged(why="first sight: the sides differ, both values stay until somebody edits one")
    return _decided(field, sides, "first sight: the sides differ")


def _decided(field: Field, sides: Sides, what: str) -> Merged:
    """Return what the policy makes of a conflict."""
    policy = field.on_conflict
    if policy is Winner.ASK:
        return Merged(why=f"{what}; somebody has to decide", asks=True)
    if policy is not Winner.NEWEST:
        return _take(policy, field, sides, f"{what}; {policy} wins")
    known = sides.outreach_at is not None and sides.crm_at is not None
    if sides.outreach_at and sides.crm_at and sides.outreach_at - sides.crm_at > CLOSE:
        return _take(Winner.OUTREACH, field, sides, f"{what}; Outreach's edit is the newer")
    why = "the CRM's edit is the newer, or about as new" if known else "nothing tells which is newer: the CRM's stays"
    return _take(Winner.CRM, field, sides, f"{what}; {why}")


def _take(winner: Winner, field: Field, sides: Sides, why: str) -> Merged:
    if winner is Winner.OUTREACH and not isinstance(sides.outreach, Absent):
        return Merged(to_crm=transforms.to_crm(field.compare, sides.outreach), why=why)
    if winner is Winner.CRM and not isinstance(sides.crm, Absent):
        return Merged(to_outreach=transforms.to_outreach(field.compare, sides.crm), why=why)
    return Merged(why=why)  # pragma: no cover - merge() has turned away what was not told
