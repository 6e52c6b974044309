"""What a bulk verb is about to cost: calls by vendor, counted from the mirror before the first is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.core.lanes import Used, share
from worker.core.records import Kind, System
from worker.store import cursors, mirror, outbox
from worker.store.budget import used_by
from worker.sync import identify, sweep

if TYPE_CHECKING:
    from datetime import datetime

    from worker.store.database import Store

PAGES = {System.OUTREACH: sweep.SLICE, System.CRM: identify.CRM_PAGE}
"""Records that a call reads."""
PER_SLICE = 3
"""Calls of Outreach for a slice of the comparison: prospects, their states, and what is looked up."""


@dataclass(frozen=True, slots=True)
class Cost:
    """About how many calls; ``most``: it may be fewer by far."""

    outreach: int
    workbooks: int
    most: bool = False


def of_everything(store: Store) -> Cost:
    """Return what it takes to read both sides whole, and to look for what is gone in Outreach."""
    made = dict.fromkeys(System, 0)
    with store.read() as db:
        for kind in cursors.STREAMS:
            made[kind.system] += mirror.extent(db, kind)[0] // PAGES[kind.system] + 1
        made[System.OUTREACH] += sum(mirror.extent(db, kind)[0] // sweep.SLICE + 1 for kind in sweep.KINDS)
    return Cost(made[System.OUTREACH], made[System.CRM])


def of_comparing(store: Store) -> Cost:
    """Return what comparing both sides in full takes."""
    with store.read() as db:
        slices = mirror.extent(db, Kind.PERSON)[0] // identify.CRM_PAGE + 1
    return Cost(PER_SLICE * slices, slices)


def of_looking_again(records: int) -> Cost:
    """Return what it takes at most to look at so many records again; one that is well costs nothing."""
    return Cost(records, 2 * -(-records // outbox.BATCH), most=True)


def words(cost: Cost, store: Store, *, hourly: int | None, yearly: int | None, now: datetime) -> str:
    """Return a cost as a sentence, with what share of the calls left of this hour and this year it is."""
    with store.read() as db:
        used = used_by(db, now).get(System.OUTREACH, Used())
    shares = [
        f"{100 * cost.outreach / left:.1f} % of what is left of the {span}"
        if left
        else f"nothing is left of the {span}"
        for span, limit, made in (("hour", hourly, used.hour), ("year", yearly, used.year))
        if limit is not None
        for left in [max(0, share(limit, "") - made)]
    ]
    about = "at most" if cost.most else "about"
    inside = f" ({', '.join(shares)})" if shares else ""
    return f"{about} {cost.outreach} calls of Outreach{inside} and {cost.workbooks} of Workbooks"
