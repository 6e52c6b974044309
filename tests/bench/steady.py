"""`steady`: how many calls of Outreach a steady stream of changes costs, by what beat rings for and by Outreach's own journal.

The tasks themselves run here, in the order of the beat table and of what they ring for; nothing but time is bent.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from unittest import mock

import structlog

from tests.bench.report import Findings
from tests.bench.site import Site, one_pass, site
from worker import bootstrap, tasks
from worker.app import app, beat_table
from worker.bootstrap import Runtime
from worker.core.records import Kind, System
from worker.remote import outreach_feeds
from worker.remote.outreach import Outreach
from worker.store.cursors import STREAMS

CHANGES, PAGE = 1000, 1000
"""A minute; half of them states, half prospects. Records a page."""
PEOPLE = 7000
"""More than change in the twelve minutes that the longest poll reads: nobody changes twice in it."""
SMALLER = 20
"""Changes, people and pages are all so many times fewer than that, which makes the same calls in less time."""
MINUTES, LEAST = 60, 10
"""At full size, and at least: the tenth poll of a stream looks back further than the others."""
WARM, LONG_AGO_S = 5, 10_800.0
"""Minutes that are not counted, for the feeds to have caught up; and how long ago everything was loaded."""
HOURLY = 10_000
POLL_S = 60.0
CALLING = ("outbook.poll", "outbook.round", "outbook.reconcile", "outbook.events")
"""What beat rings for and may call Outreach; applying is rung for by what they bring."""


@dataclass(slots=True)
class Bent:
    """A clock that skips what is left of each minute, here and at both vendors."""

    here: Site
    skipped_s: float = 0.0
    began: float = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.skipped_s)

    def minutes(self, count: int) -> Iterator[int]:
        for minute in range(count):
            self.began = time.monotonic()
            yield minute
            self.skip(60.0 - (time.monotonic() - self.began))

    def skip(self, seconds: float) -> None:
        for vendor in (self.here.outreach, self.here.crm):
            vendor.control("clock", {"shift": max(0.0, seconds)})
        self.skipped_s += max(0.0, seconds)


def run(scale: float) -> Findings:
    """Let a thousand changes come a minute, and count what is asked of Outreach."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    minutes = max(LEAST, round(MINUTES * scale))
    found = Findings({"changes a minute": CHANGES, "minutes": minutes})
    with site(PEOPLE // SMALLER) as here:
        bent = Bent(here)
        with mock.patch.object(bootstrap, "now", bent.now), _small_pages(), here.runtime() as on:
            one_pass(on)
            one_pass(on)
            asked, lanes = _lived(on, bent, minutes)
    an_hour = sum(asked.values()) * 60 / minutes
    found.tell("calls of Outreach an hour", an_hour)
    found.tell("share of the hourly limit", 100 * an_hour / HOURLY, "%", most=3.0)
    polled = sum(asked[f"GET {stream.value}"] for stream in (Kind.STATE, Kind.PROSPECT)) * 60 / minutes
    found.tell("of that, states and prospects", 100 * polled / HOURLY, "%")
    for name, calls in asked.most_common():
        found.tell(f"of these: {name}", calls * 60 / minutes)
    for name, calls in lanes.most_common():
        found.tell(f"in lane {name}", calls * 60 / minutes)
    found.notes.append(
        "500 changes a minute: a poll of a page, then one of two, which reads the overlap; each tenth six or seven"
    )
    found.notes.append("by Outreach's journal; the lanes by the budget")
    found.notes.append(f"pages, people and changes are {SMALLER} times fewer, which makes the same calls")
    return found


@contextlib.contextmanager
def _small_pages() -> Iterator[None]:
    """Let streams and feeds ask for pages as small as everything else is here."""
    size = PAGE // SMALLER
    paged = functools.partialmethod(Outreach.page, size=size)
    with mock.patch.object(Outreach, "page", paged), mock.patch.object(outreach_feeds, "SIZE", size):
        yield


def _lived(on: Runtime, bent: Bent, minutes: int) -> tuple[Counter[str], Counter[str]]:
    """Let so many minutes pass; return Outreach's calls by what they asked for, and by lane."""
    here, rung = bent.here, list[tuple[str, ...]]()
    edits = _edits(here)
    bent.skip(LONG_AGO_S)
    asked, before, budget = Counter[str](), Counter[str](), on.budgets[System.OUTREACH]
    with (
        mock.patch.object(tasks, "runtime", return_value=on),
        mock.patch.object(tasks, "ring", side_effect=lambda *told: rung.append(told)),
    ):
        for minute in bent.minutes(WARM + minutes):
            before = Counter(budget.spent()) if minute == WARM else before
            here.outreach.edit(*itertools.islice(edits, CHANGES // SMALLER))
            rung += _beat(minute)
            _work(rung)
            on.flush()
            told = Counter(_name(call) for call in here.outreach.calls())
            asked += told if minute >= WARM else Counter()
    return asked, Counter(budget.spent()) - before


def _beat(minute: int) -> list[tuple[str, ...]]:
    """Return what beat rings for in this minute."""
    due = [one for one in beat_table(POLL_S).values() if minute * 60 % one["schedule"].seconds < POLL_S]
    return [(one["task"], *one["args"]) for one in due if one["task"] in CALLING]


def _work(rung: list[tuple[str, ...]]) -> None:
    """Run what was rung for, and what that rings for, until all is quiet; one ring is as good as ten."""
    while rung:
        name, *args = rung.pop(0)
        rung[:] = [told for told in rung if told != (name, *args)]
        app.tasks[name].run(*args)


def _name(call: dict[str, object]) -> str:
    path = str(call["path"]).split("?", maxsplit=1)[0].rstrip("/").rpartition("/")[2]
    known = path in {stream.value for stream in STREAMS} | {"events", "emailAddresses"}
    return f"{call.get('method', '')} {path if known else 'others'}".strip()


def _edits(here: Site) -> Iterator[dict[str, object]]:
    """Yield edits without end: a state pauses or goes on, a prospect gets another title."""
    world = here.outreach.state()
    states, prospects = ([one["id"] for one in world[kind].values()] for kind in ("sequenceState", "prospect"))
    for number, (state, prospect) in enumerate(zip(itertools.cycle(states), itertools.cycle(prospects), strict=False)):
        told = {"state": ("paused", "active")[number // len(states) % 2]}
        yield {"op": "set", "type": "sequenceState", "id": state, "attributes": told, "touch": True}
        title = {"title": f"Chair {number}"}
        yield {"op": "set", "type": "prospect", "id": prospect, "attributes": title, "touch": True}
