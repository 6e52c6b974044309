"""`calls`: requests per 1,000 changed people, beside what a poll costs anyway and the pages that show our own echo."""

from __future__ import annotations

import itertools
from collections import Counter
from urllib.parse import unquote

import httpx

from tests.bench.report import Findings
from tests.bench.site import Site, one_pass, site
from worker.bootstrap import Runtime

CHANGED = 10_000
FIRST_NEW = 10_000_000
"""The id of the first prospect that is made on the way."""


def run(scale: float) -> Findings:
    """Change linked people on the Outreach side; then add prospects of whom the CRM knows half already."""
    changed = max(100, round(CHANGED * scale))
    found = Findings({"changed people": changed})
    with site(round(changed * 1.35)) as here, here.runtime() as on:
        one_pass(on)
        one_pass(on)
        states = here.outreach.state()["sequenceState"].values()
        of = {one["relations"]["prospect"]: one["id"] for one in states if not one["attributes"].get("optOutCount")}
        prospects = sorted(of)[:changed]
        found.size["changed people"] = len(prospects)
        idle = _asked(on)
        _retitle(here, prospects)
        _tell(found, "linked, a field changed", _asked(on), idle, len(prospects), most=12)
        _pause(here, [of[one] for one in prospects])
        _tell(found, "linked, a state changed", _asked(on), idle, len(prospects), most=12)
        idle = _asked(on)
        new = min(changed, 400)
        _strangers(here, new)
        _tell(found, f"not linked, {new} of them", _asked(on), idle, new, most=22)
    found.notes.append(f"fixed: an idle pass over the same overlap makes {sum(idle.values())} requests: {dict(idle)}")
    found.notes.append("not linked: half of them are in the CRM under their address, half have to be made")
    return found


def _retitle(here: Site, prospects: list[int]) -> None:
    here.outreach.edit(
        *({"op": "set", "type": "prospect", "id": one, "attributes": {"title": f"Chair {one}"}} for one in prospects)
    )


def _pause(here: Site, states: list[int]) -> None:
    told = {"state": "paused", "stateChangedAt": "2026-11-20T09:00:00.000Z"}
    here.outreach.edit(*({"op": "set", "type": "sequenceState", "id": one, "attributes": told} for one in states))


def _strangers(here: Site, count: int) -> None:
    for number, half in zip(range(FIRST_NEW, FIRST_NEW + count), itertools.cycle((True, False)), strict=False):
        address = f"new.{number}@driftwood.example"
        told = {"firstName": "New", "lastName": f"Number{number}", "emails": [address]}
        if half:
            named = {"person_first_name": "New", "person_last_name": f"Number{number}", "main_location[email]": address}
            here.crm.control("edit", {"op": "create", "type": "person", "fields": named})
        state = {"state": "active", "stateChangedAt": "2026-11-20T09:00:00.000Z"}
        placed = {"prospect": number, "sequence": 1, "sequenceStep": 1}
        here.outreach.edit(
            {"op": "create", "type": "prospect", "id": number, "attributes": told},
            {"op": "create", "type": "sequenceState", "attributes": state, "relations": placed},
        )


def _asked(on: Runtime) -> Counter[str]:
    """Make a pass and return its requests by what they are for."""
    told: Counter[str] = Counter()

    def note(request: httpx.Request) -> None:
        told[_purpose(request)] += 1

    for client in (on.remotes.outreach.client, on.remotes.crm.client):
        client._http.event_hooks = {"request": [note]}
    one_pass(on)
    return told


def _purpose(request: httpx.Request) -> str:
    """Return writes, look-ups or reads: a page of a stream, and what is asked of every pass."""
    if not request.url.path.endswith(".api"):
        looked = "filter[id]" in unquote(str(request.url.query))
        return "writes" if request.method != "GET" else "look-ups" if looked else "reads"
    body = unquote(request.content.decode())
    if "_method=PUT" in body:
        return "writes"
    people = request.url.path.endswith(("people.api", "tasks.api"))
    return "look-ups" if people and "updated_at" not in body.partition("_select_columns")[0] else "reads"


def _tell(found: Findings, what: str, asked: Counter[str], idle: Counter[str], changed: int, *, most: float) -> None:
    per = 1000 / changed
    writes, looked = asked.get("writes", 0), asked.get("look-ups", 0)
    found.tell(f"{what}: writes and look-ups per 1,000", (writes + looked) * per, most=most)
    found.tell(f"{what}: of these, look-ups per 1,000", looked * per)
    extra = asked.get("reads", 0) - idle.get("reads", 0)
    found.tell(f"{what}: pages read beyond an idle pass, per 1,000", extra * per)
