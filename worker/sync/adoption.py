"""`mapping apply`: put a mapping in force, if need be only while everything is as it was when its plan was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.store import mappings
from worker.sync import in_force, planning

if TYPE_CHECKING:
    from datetime import datetime

    from worker.store.database import Store
    from worker.sync.case import Applier
    from worker.sync.in_force import TakenUp
    from worker.sync.planning import Plan

LISTED = 10
"""So many differences are told."""


def remember(store: Store, plan: Plan, now: datetime) -> None:
    """Keep what a plan came to, so that it can be told what has moved since."""
    told = {
        "mapping": plan.mapping.version,
        "before": plan.before,
        "scope": plan.scope,
        "at": now.isoformat(),
        "counts": plan.counts(),
    }
    with store.write() as db:
        mappings.note_plan(db, plan.digest, told)


def apply(on: Applier) -> TakenUp:
    """Put the mapping in force; workers take it up with their next task, and everyone is looked at again in the background."""
    with on.store.write() as db:
        return in_force.take_up(db, on.mapping, on.now())


def moved(on: Applier, digest: str) -> list[str]:
    """Return in words what is not as it was when the plan was made; empty if it can be carried out as it was shown."""
    with on.store.read() as db:
        known, version = mappings.plans(db).get(digest), mappings.version(db)
    if known is None:
        return [f"no plan {digest} is known here: make one with outbook plan --mapping FILE"]
    if known["scope"] != planning.EVERYONE:
        return ["that plan was made for a selection, and a mapping is put in force for everybody"]
    told = []
    if known["mapping"] != on.mapping.version:
        told.append(f"the mapping: {known['mapping']} was planned, the file is {on.mapping.version} now")
    if known["before"] != version:
        told.append(f"the mapping in force: it was {known['before']}, and is {version} now")
    return told or _data(on, digest, known)


def _data(on: Applier, digest: str, known: dict[str, object]) -> list[str]:
    now = planning.plan_all(on)
    if now.digest == digest:
        return []
    before, after = known["counts"], now.counts()
    counted = before if isinstance(before, dict) else {}
    differing = [name for name in sorted({*counted, *after}) if counted.get(name, 0) != after.get(name, 0)]
    told = [f"the data: {name}: {counted.get(name, 0)} planned, {after.get(name, 0)} now" for name in differing]
    return told[:LISTED] or ["the data: as many records, but other ones or other values"]
