"""`outbook` as a process that kills itself at a point: before or after a commit, or an exchange with a vendor.

Between two of those nothing happens that anybody else could see, so they are all the places where dying can matter
(deploy/adr/0015). The product knows nothing of it: the hooks hang on the database's and the HTTP client's own doors.
As a command: ``CRASH_AT=12 CRASH_TOLD=points.tsv python -m tests.fault.crash_points sync --json``; without
``CRASH_AT`` nobody dies and every point is listed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import types
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType

import httpx
import sqlalchemy as sa

from worker import bootstrap
from worker.cli import app as front_door
from worker.cli import stopper

READING = ("poll", "feeds", "sweep", "intake", "backfill", "fields")
NOTICING = ("removals", "hints", "ahead", "overlap", "naming", "notice", "streams")
IDENTIFY = ("identify", "linking", "strangers", "adoption")
AROUND = ("run", "tenants", "in_force", "brakes", "resync", "finished")
STEPS = {f"worker.sync.{name}": "poll" for name in (*READING, *NOTICING)}
STEPS |= {f"worker.sync.{name}": "identify" for name in IDENTIFY}
STEPS |= {f"worker.sync.{name}": "around" for name in AROUND}
STEPS |= {"worker.store.vault": "refresh"}
"""Which of our rooms does what; every other one under ``worker.sync`` is part of applying."""


@dataclass(frozen=True, slots=True)
class Point:
    """One boundary: its number in the life of the process, whose step it is, where in our code, and what happens."""

    number: int
    step: str
    place: str
    what: str


class Life:
    """Counts the points of this process, tells each, and ends it at one of them, outright."""

    def __init__(self, told: Path, dies_at: int | None) -> None:
        self._told = told.open("a", encoding="utf-8")
        self._dies_at = dies_at
        self.number = 0

    def at(self, what: str) -> None:
        """Go through one point."""
        self.number += 1
        step, place = _where(sys._getframe(1))
        self._told.write(f"{self.number}\t{step}\t{place}\t{what}\n")
        self._told.flush()
        if self.number == self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)


def _where(frame: FrameType | None) -> tuple[str, str]:
    """Return the step and the place of the innermost of our rooms that decides what is done."""
    fallback = "outside"
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        place = f"{module}.{frame.f_code.co_name}"
        if module in STEPS or module.startswith("worker.sync."):
            return STEPS.get(module, "apply"), place
        if module.startswith("worker.") and fallback == "outside" and not module.startswith("worker.store.database"):
            fallback = place
        frame = frame.f_back
    return "around", fallback


def read(told: Path) -> list[Point]:
    """Return the points that a life went through."""
    lines = [line.split("\t") for line in told.read_text(encoding="utf-8").splitlines()] if told.exists() else []
    return [Point(int(number), step, place, what) for number, step, place, what in lines]


def hook(life: Life) -> None:
    """Let the process go through a point around every commit that may write, and around every exchange."""

    def before(db: sa.Connection, _cursor: object, statement: str, *_more: object) -> None:
        if statement == "COMMIT" and db.get_execution_options().get("outbook_writes"):
            life.at("before the commit")

    def after(db: sa.Connection, _cursor: object, statement: str, *_more: object) -> None:
        if statement == "COMMIT" and db.get_execution_options().get("outbook_writes"):
            life.at("after the commit")

    sa.event.listen(sa.Engine, "before_cursor_execute", before)
    sa.event.listen(sa.Engine, "after_cursor_execute", after)
    carry = httpx.HTTPTransport.handle_request

    def carried(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        writes = b"_method=PUT" in request.read() or request.method in {"PATCH", "DELETE"}
        call = f"{'write' if writes else 'ask'} {request.url.path}"
        life.at(f"before {call}")
        reply = carry(self, request)
        life.at(f"after {call}")
        return reply

    httpx.HTTPTransport.handle_request = carried  # type: ignore[method-assign]


def bend(start: str, vendors: Sequence[str]) -> None:
    """Let time stand still from ``start`` on; whoever waits moves every clock instead, the vendors' too."""
    began, waited = datetime.fromisoformat(start), 0.0

    def now() -> datetime:
        return began + timedelta(seconds=waited)

    def wait(seconds: float) -> None:
        nonlocal waited
        waited += seconds
        for url in vendors:
            told = urllib.request.Request(f"{url}/_sim/clock", json.dumps({"shift": seconds}).encode(), method="POST")
            urllib.request.urlopen(told, timeout=10).close()

    bootstrap.now = now
    vars(bootstrap)["time"] = types.SimpleNamespace(sleep=wait)
    stopper.Stopper.sleep = staticmethod(wait)  # type: ignore[assignment]
    random.seed(1)


def main() -> None:
    """Run the command as one life."""
    dies_at = os.environ.get("CRASH_AT")
    hook(Life(Path(os.environ["CRASH_TOLD"]), int(dies_at) if dies_at else None))
    front_door.main()


if __name__ == "__main__":
    main()
