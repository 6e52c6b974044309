"""`grow`: what a changed person costs, from the poll to the receipt, beside a small mirror and a ten times larger one."""

from __future__ import annotations

import time

import sqlalchemy as sa

from tests.bench.report import Findings
from tests.bench.site import poll_all, polled, seconds_of, site
from worker.core.records import Kind, Link
from worker.store import links, mirror, outbox
from worker.sync import apply

SIZES = (10_000, 100_000)
CHANGED, ROUNDS = 500, 3
FAR = 50_000_000
"""Where the invented ids of everybody else's people in the CRM begin."""


def run(scale: float) -> Findings:
    """Let as many people change in a mirror of either size, and compare the best of three."""
    sizes = [max(2 * CHANGED, round(size * scale)) for size in SIZES]
    found = Findings({"changed people": CHANGED})
    told = [_one(size) for size in sizes]
    for size, (mirrored, read_s, apply_s) in zip(sizes, told, strict=True):
        found.tell(f"{size} people: mirrored records", mirrored)
        found.tell(f"{size} people: CPU of a poll per changed person", read_s / CHANGED * 1e6, "µs")
        found.tell(f"{size} people: CPU of applying per changed person", apply_s / CHANGED * 1e6, "µs")
    (_, small_read_s, small_s), (_, large_read_s, large_s) = told
    found.tell("a poll in the larger against the smaller", large_read_s / small_read_s, "×")
    found.tell("applying in the larger against the smaller", large_s / small_s, "×")
    found.notes.append("a million mirrored records are not measured")
    return found


def _one(people: int) -> tuple[int, float, float]:
    """Return how many records are mirrored, and the CPU seconds of reading and of applying the changes."""
    with site(people) as here, here.runtime() as on:
        poll_all(on)
        with on.store.write() as db:
            everybody = mirror.living(db, Kind.PROSPECT)
            states = mirror.every(db, Kind.STATE).values()
            chosen = sorted({one.relations["prospect"] or 0 for one in states})[:CHANGED]
            db.execute(sa.delete(outbox.CHANGE))  # the others stand as if they had been brought over long ago
            others = sorted(set(everybody) - set(chosen))
            links.save(db, Kind.PROSPECT, [Link(one, FAR + one) for one in others], on.applier().now())
            mirrored = sum(mirror.extent(db, kind)[0] for kind in Kind)
        best_read = best_apply = float("inf")
        for number in range(ROUNDS + 1):
            told = {"title": f"Chair {number}"}
            here.outreach.edit(*({"op": "set", "type": "prospect", "id": one, "attributes": told} for one in chosen))
            began = time.process_time()
            polled(on, Kind.PROSPECT)
            read_s = seconds_of(began)
            began = time.process_time()
            while apply.apply_people(on.applier()).claimed:
                pass
            if number:  # the first round links them
                best_read, best_apply = min(best_read, read_s), min(best_apply, seconds_of(began))
    return mirrored, best_read, best_apply
