"""Hints: stored webhooks looked at. None is believed: the record it names is fetched by id and kept as a poll's page is.

So an old, doubled or overtaken webhook does nothing but cost a look-up. What is said to be destroyed and is not found by id is
gone; what is merely not found may be a lost permission, which the sweep looks into. What says nothing intelligible is closed
with a reason and holds nobody up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from worker.core.records import Kind
from worker.store import mirror
from worker.sync import streams

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from worker.core.records import Snapshot
    from worker.remote.outreach_feeds import Entry
    from worker.sync.case import Applier

ABOUT = {"sequence_state_": Kind.STATE, "task_": Kind.TASK, "prospect_": Kind.PROSPECT}
"""What the beginnings of an event's name say it is about (facts, outreach-api 6.6)."""
DESTROYED = "_destroyed"
SLACK = timedelta(seconds=2)
"""An event may be dated a little later than the change it tells; stamps are whole seconds."""


@dataclass(frozen=True, slots=True)
class Hints:
    """When, by the vendor's time, something last happened to a record, by its kind and id; and what of it says destroyed.

    Events do not name the sequence state they are about (facts, outreach-api 6.6): there the id is the prospect's.
    """

    at: dict[Kind, dict[int, datetime]] = field(default_factory=lambda: {kind: {} for kind in ABOUT.values()})
    destroyed: dict[Kind, set[int]] = field(default_factory=lambda: {kind: set() for kind in ABOUT.values()})

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return any(self.at.values())

    def without(self, known: Mapping[Kind, Mapping[int, Snapshot]], states: Mapping[int, Sequence[Snapshot]]) -> Hints:
        """Return the hints that tell more than is known: of records by id, and of all states by their prospect."""
        seen = {kind: {record_id: [one] for record_id, one in found.items()} for kind, found in known.items()}
        left = Hints()
        for kind, hinted in self.at.items():
            mine = states if kind is Kind.STATE else seen[kind]
            for record_id, at in hinted.items():
                if self._tells_more(kind, record_id, at, mine.get(record_id, ())):
                    left.at[kind][record_id] = at
            left.destroyed[kind].update(self.destroyed[kind] & set(left.at[kind]))
        return left

    def _tells_more(self, kind: Kind, record_id: int, at: datetime, seen: Sequence[Snapshot]) -> bool:
        if kind is not Kind.STATE and any(one.deleted for one in seen):
            return False
        if record_id in self.destroyed[kind]:
            return True
        return not any(one.updated_at is not None and one.updated_at >= at - SLACK for one in seen)


@dataclass(frozen=True, slots=True)
class Looked:
    """What the look-ups brought, by kind: records that are there, and ids of what was destroyed and is not."""

    found: dict[Kind, list[Snapshot]] = field(default_factory=dict)
    gone: dict[Kind, set[int]] = field(default_factory=dict)


def gathered(entries: Iterable[Entry]) -> Hints:
    """Return what a run of events hints at."""
    hints = Hints()
    for one in entries:
        kind = next((kind for start, kind in ABOUT.items() if one.name.startswith(start)), None)
        record_id = one.task if kind is Kind.TASK else one.prospect
        if kind is None or record_id is None:
            continue
        hints.at[kind][record_id] = max(one.entered, hints.at[kind].get(record_id, one.entered))
        if one.name.endswith(DESTROYED):
            hints.destroyed[kind].add(record_id)
    return hints


def look_up(on: Applier, hints: Hints) -> Looked:
    """Ask for what is hinted at, a batch a kind. Gone is only what was said to be destroyed and is not there by id."""
    looked = Looked()
    for kind, hinted in hints.at.items():
        if not hinted:
            continue
        if kind is Kind.STATE:
            looked.found[kind], looked.gone[kind] = _states(on, sorted(hinted), hints.destroyed[kind])
        else:
            looked.found[kind] = _by_id(on, kind, sorted(hinted))
            looked.gone[kind] = hints.destroyed[kind] - {one.ref.id for one in looked.found[kind]}
    return looked


def _by_id(on: Applier, kind: Kind, ids: Sequence[int]) -> list[Snapshot]:
    return on.remotes.outreach.by_ids(
        kind, ids, attributes=streams.attributes(kind, on.mapping), relations=streams.relations(kind)
    )


def _states(on: Applier, prospect_ids: Sequence[int], destroyed: set[int]) -> tuple[list[Snapshot], set[int]]:
    """Return the states of some prospects, and those of the ``destroyed`` ones that are not there by id either."""
    found = on.remotes.outreach.states_of(
        prospect_ids,
        attributes=streams.attributes(Kind.STATE, on.mapping),
        relations=streams.relations(Kind.STATE),
    )
    with on.store.read() as db:
        known = mirror.related(db, Kind.STATE, "prospect", destroyed)
    missing = {one.ref.id for mine in known.values() for one in mine} - {one.ref.id for one in found}
    there = _by_id(on, Kind.STATE, sorted(missing)) if missing else []
    return [*found, *there], missing - {one.ref.id for one in there}
