"""The shadow after a write: what both sides hold now, field by field, and what has not travelled yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core import transforms
from worker.core.plan import PENDING, UNSHADOWED
from worker.core.records import Shadow
from worker.core.transforms import ABSENT, Absent

if TYPE_CHECKING:
    from collections.abc import Mapping as Dict

    from worker.core.mapping import Mapping
    from worker.core.plan import PersonPlan, PersonView
    from worker.core.records import Value


def agreed(
    view: PersonView,
    mapping: Mapping,
    plan: PersonPlan,
    *,
    crm: Dict[str, Value],
    outreach: Dict[str, Value] | None,
    unwritten: frozenset[str] = frozenset(),
) -> Shadow:
    """Return the shadow after the writes: what both sides now hold.

    Fields that were stopped, asked about or ``unwritten`` stay as they were: their edits have not travelled yet, and what
    the CRM holds there is not what it made of a value of ours.
    """
    then = view.link.shadow if view.link else Shadow()
    halves: tuple[dict[str, Value], dict[str, Value]] = ({}, {})
    unsettled = unwritten | view.stopped | plan.asked
    pending = [line.crm for line in mapping.fields if line.crm in unsettled and line.computed not in UNSHADOWED]
    if pending:
        halves[1][PENDING] = sorted(pending)
    for line in mapping.fields:
        if line.crm in unsettled or line.computed in UNSHADOWED:
            _copy(line.crm, then, halves)
            continue
        if line.outreach:
            source = ABSENT if outreach is None else transforms.read(line.outreach, outreach)
        else:
            source = plan.values.get(line.crm, ABSENT)
        if isinstance(source, Absent) or line.crm not in crm:
            _copy(line.crm, then, halves)
            continue
        halves[0][line.crm] = source
        halves[1][line.crm] = crm[line.crm]
    return Shadow(*halves)


def _copy(name: str, then: Shadow, halves: tuple[dict[str, Value], dict[str, Value]]) -> None:
    for source, target in zip((then.outreach, then.crm), halves, strict=True):
        if name in source:
            target[name] = source[name]
