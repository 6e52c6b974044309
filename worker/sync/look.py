"""What a dry run tells: each record that would be written now, why, and which of its fields; no values."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from worker.core import plan, tasks, wishes
from worker.core.intents import MAKING
from worker.core.records import Kind
from worker.store import backlog, mappings, mirror, outbox
from worker.sync import breakers, fields, finished, gather, in_force, skips

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from worker.store.selection import Chosen
    from worker.sync.case import Applier


def look(on: Applier, chosen: Chosen | None = None) -> list[dict[str, Any]]:
    """Return what would be written for everything that is due now, or for the chosen, due or not.

    Of the vendors only open tasks are asked for. By a mapping that is not in force, that is for everybody.
    """
    with on.store.read() as db:
        due = backlog.due_ids(db, Kind.PROSPECT, on.now())
        if mappings.version(db) not in {None, on.mapping.version}:
            due = sorted({*due, *mirror.living(db, Kind.PROSPECT)})
        wanted = backlog.due_ids(db, Kind.PERSON, on.now())
        skipped = backlog.due_ids(db, Kind.TASK, on.now())
        if chosen is not None:
            wanted = sorted(set(wanted) & set(chosen.people))
            due, skipped = list(chosen.prospects), list(chosen.tasks)
        stops = breakers.standing(db)
        stopped = stops.everybody.union(fields.unwritable(db), in_force.waiting(db, on.mapping))
    found: list[dict[str, Any]] = [
        {"person": one, "action": "look up in Outreach", "why": "wanted in the CRM", "crm": [], "outreach": []}
        for one in wanted
    ]
    for start in range(0, len(due), outbox.BATCH):
        ids = due[start : start + outbox.BATCH]
        batch = gather.known(ids, store=on.store, names=on.names, stopped=stopped)
        for prospect_id, view in batch.views.items():
            match = batch.matches.get(prospect_id)
            if match is not None and match.held:
                continue
            told = plan.plan_person(replace(view, stopped=view.stopped | stops.of(prospect_id)), on.mapping)
            wish = wishes.wish_of(view.person, on.mapping.actions) if on.mapping.actions else None
            if told.writes_crm or told.outreach or wish:
                asked = {"wish": wish.action, "sequence": wish.sequence} if wish else {}
                found.append(
                    {
                        **asked,
                        "prospect": prospect_id,
                        "person": view.person.ref.id if view.person else None,
                        "action": told.action.value,
                        "why": told.why,
                        "crm": sorted(told.crm) if told.writes_crm else [],
                        "outreach": sorted(told.outreach),
                    }
                )
    expected = {one["prospect"] for one in found if one["action"] in MAKING}
    for start in range(0, len(skipped), outbox.BATCH):
        found += _tasks(on, skipped[start : start + outbox.BATCH], expected)
    return found


def _tasks(on: Applier, ids: Sequence[int], expected: Collection[int]) -> list[dict[str, Any]]:
    written, backs = skips.foresee(on, ids, expected=expected)
    return [finished.told(back) for back in backs] + [
        {
            "task": one.task,
            "person": one.fields.get(tasks.CONTACT),
            "action": f"{one.action} task",
            "why": "skipped in Outreach",
            "crm": sorted(one.fields),
            "outreach": [],
        }
        for one in written
    ]
