"""`read`: sequence states from Outreach's pages into local state, and what of that merely fetching the pages takes."""

from __future__ import annotations

import time

import httpx
import msgspec

from tests.bench.report import Findings
from tests.bench.site import Site, polled, seconds_of, site
from worker.core.records import Kind

STATES = 100_000
IN_SEEDED = 0.9
"""The share of the seeded people who are in Outreach."""


def run(scale: float) -> Findings:
    """Poll every stream of Outreach up to the states, which are measured; then read the same pages and do nothing."""
    wanted = round(STATES * scale)
    with site(round(wanted / IN_SEEDED), states=1) as here:
        with here.runtime() as on:
            for stream in (Kind.SEQUENCE, Kind.STEP):
                polled(on, stream)
            began = time.process_time()
            prospects = polled(on, Kind.PROSPECT).read
            prospects_s = seconds_of(began)
            began, at = time.process_time(), time.monotonic()
            states = polled(on, Kind.STATE).read
            states_s, wall_s = seconds_of(began), time.monotonic() - at
            began = time.process_time()
            again = polled(on, Kind.STATE).read
            again_s = seconds_of(began)
        bare_s = _bare(here)
    found = Findings({"sequence states": states})
    found.tell("CPU of reading them into the mirror", states_s, "s")
    found.tell("CPU per state", states_s / states * 1e6, "µs")
    found.tell("CPU per prospect, indexed by address", prospects_s / prospects * 1e6, "µs")
    found.tell("wall time, the simulator on the same cores", wall_s, "s")
    found.tell("CPU of fetching the same pages whole and decoding them, no more", bare_s, "s")
    found.tell("into the mirror against fetching alone", states_s / bare_s, "×")
    found.tell(f"CPU of a poll without news ({again} in the overlap)", again_s, "s")
    found.notes.append("not measured: singer's tap-outreach beside it (≥ 8× less CPU is wanted of that ratio)")
    return found


def _bare(here: Site) -> float:
    """Return the CPU of fetching every state, all attributes, with httpx and msgspec, storing nothing."""
    url: str | None = f"{here.outreach.url}/api/v2/sequenceStates?page[size]=1000&sort=id"
    began = time.process_time()
    with httpx.Client(headers={"Authorization": "Bearer sim-access"}, timeout=60) as http:
        while url:
            page = msgspec.json.decode(http.get(url).raise_for_status().content)
            url = (page.get("links") or {}).get("next")
    return seconds_of(began)
