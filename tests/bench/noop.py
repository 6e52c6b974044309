"""`noop`: a second pass over unchanged people: nothing is written, queued or asked for beyond what the overlap takes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.bench.report import Findings
from tests.bench.site import Site, count_rows, one_pass, rows_counted, site
from worker.core.records import Feed
from worker.sync.ahead import FEW

PEOPLE = 100_000
PAGES = {"people": 100, "crmTasks": 100}
"""Records a page; a thousand where nothing else is said."""
FEEDS = len(Feed)
"""What tells of opt-outs and deletions is read from its overlap too, a page each while nothing happens."""
AHEAD = ("prospects", "people")
"""Where an overlap of many pages is looked through for opt-outs, once, before it is read to its end."""


def run(scale: float) -> Findings:
    """Make a first pass over everybody, then a second one, and count."""
    found = Findings({"people": round(PEOPLE * scale)})
    with site(round(PEOPLE * scale)) as here, here.runtime() as on:
        one_pass(on)
        one_pass(on)  # what the first one's own writes show has been seen by now
        count_rows(on)
        here.outreach.calls(), here.crm.calls()
        report = one_pass(on)
        _tell(found, report, rows_counted(on), here)
    return found


def _tell(found: Findings, report: dict[str, Any], rows: dict[str, int], here: Site) -> None:
    paths = Counter(one["path"].rsplit("/", 1)[-1] for one in here.outreach.calls())
    effects = 0
    for one in here.crm.calls():
        paths[one["path"].rsplit("/", 1)[-1]] += 1
        effects += len(one["effect"])
    written = sum(report["crm"].values()) + sum(report["outreach"].values())
    found.tell("counts in the report, both sides", written, most=0)
    found.tell("effects that the CRM saw", effects, most=0)
    found.tell("changes queued", report["queued"], most=0)
    for table in ("mirror", "change", "history", "link"):
        found.tell(f"rows written to {table}", rows[table], most=0)
    read = {stream: count for stream, count in report["polled"].items() if count}
    pages = {name: max(1, -(-count // PAGES.get(name, 1000))) for name, count in report["polled"].items()}
    ahead = sum(pages[name] > FEW for name in AHEAD)
    needed = sum(pages.values()) + FEEDS
    asked = sum(paths.values())
    found.tell("requests that reading the overlap takes", needed)
    found.tell("requests made", asked)
    found.tell("looks ahead of it for opt-outs", ahead)
    found.tell("requests beyond the overlap", asked - needed - ahead)
    found.notes.append(f"read in the overlap: {read or 'nothing'}")
    found.notes.append("the overlap is that of the seven streams, and a page of each of the two feeds")
    found.notes.append(f"requests: {dict(sorted(paths.items()))}")
