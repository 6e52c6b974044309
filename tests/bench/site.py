"""Where a bench runs: both simulators as processes of their own, and Outbook's own rooms in this process, to be measured."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from worker import bootstrap, config
from worker.bootstrap import Runtime
from worker.core.records import Kind
from worker.store import cursors
from worker.sync import run
from worker.sync.poll import Polled, poll

ROOT = Path(__file__).parents[2]
PATIENCE_S = 600.0
COUNTED = ("mirror", "change", "history", "link", "exchange")
"""Tables whose written rows a bench may count."""


@dataclass(slots=True)
class Vendor:
    """One simulator as a process: its place, and its journal from where it was last read."""

    url: str
    http: httpx.Client
    last: int = 0

    def edit(self, *edits: Mapping[str, Any]) -> None:
        """Let its users do something, a thousand things a call."""
        for start in range(0, len(edits), 1000):
            self.control("edit", list(edits[start : start + 1000]))

    def control(self, name: str, document: object) -> None:
        """Use one of its controls."""
        self.http.post(f"{self.url}/_sim/{name}", json=document).raise_for_status()

    def state(self) -> Any:  # noqa: ANN401 - whatever the simulator keeps
        """Return everything it holds."""
        return self.http.get(f"{self.url}/_sim/state").json()

    def calls(self) -> list[dict[str, Any]]:
        """Return the vendor's own calls since this was last asked."""
        told = self.http.get(f"{self.url}/_sim/journal", params={"since": self.last}).json()
        self.last = told["last"]
        return [one for one in told["entries"] if not one["path"].startswith("/_sim/")]


@dataclass(slots=True)
class Site:
    """Both vendors, a data directory, and how Outbook is told of them."""

    outreach: Vendor
    crm: Vendor
    directory: Path

    @property
    def environ(self) -> dict[str, str]:
        """The settings, as variables."""
        return {
            "OUTBOOK_OUTREACH__BASE_URL": self.outreach.url,
            "OUTBOOK_OUTREACH__ACCESS_TOKEN": "sim-access",
            "OUTBOOK_OUTREACH__HOURLY_CALLS": "1000000",
            "OUTBOOK_WORKBOOKS__BASE_URL": self.crm.url,
            "OUTBOOK_WORKBOOKS__API_KEY": "sim-key",
            "OUTBOOK_ALLOW_INSECURE_HOSTS": "1",
            "OUTBOOK_DATA_DIR": str(self.directory / "data"),
            "OUTBOOK_MAPPING": str(config.shipped_mapping()),
            "OUTBOOK_SECRET_KEY": "0123456789abcdef0123456789abcdef",
        }

    @contextlib.contextmanager
    def runtime(self, **more: str) -> Iterator[Runtime]:
        """Hold Outbook open in this process, with more settings than its ordinary ones."""
        settings = config.load(self.environ | more, self.directory)
        with bootstrap.runtime(settings, bootstrap.read_mapping(settings.mapping)) as opened:
            yield opened


@contextlib.contextmanager
def site(people: int, *, states: int | None = None, people_in_crm: int | None = None) -> Iterator[Site]:
    """Start both simulators over the same seeded people; in the end nothing of it is left running."""
    sizes = {"outreach": people, "crm": people if people_in_crm is None else people_in_crm}
    in_sequences = "-" if states is None else str(states)
    with tempfile.TemporaryDirectory(prefix="outbook-bench-") as name, contextlib.ExitStack() as stack:
        place = Path(name)
        urls = [
            stack.enter_context(_process(which, (str(size), in_sequences), place / f"{which}.log"))
            for which, size in sizes.items()
        ]
        http = stack.enter_context(httpx.Client(timeout=PATIENCE_S))
        outreach, crm = (_listening(place / f"{which}.log", popen, http) for which, popen in urls)
        yield Site(outreach, crm, place)


@contextlib.contextmanager
def _process(which: str, told: tuple[str, ...], log: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with log.open("wb") as output:
        command = [sys.executable, "-m", "tests.bench.vendor", which, *told]
        popen = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        yield which, popen
    finally:
        popen.terminate()
        popen.wait(20)


def _listening(log: Path, popen: subprocess.Popen[bytes], http: httpx.Client) -> Vendor:
    deadline = time.monotonic() + PATIENCE_S
    while "listening on " not in (said := log.read_text(errors="replace")):
        if popen.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"bench: a simulator did not start: {said[-500:]}")
        time.sleep(0.05)
    return Vendor(said.rpartition("listening on ")[2].split()[0], http)


def one_pass(on: Runtime, **how: Any) -> dict[str, Any]:  # noqa: ANN401 - a pass's own options
    """Make one pass in this process and return its report."""
    report = run.run(run.Pass(on=on.applier(), sleep=time.sleep, calls=on.calls, flush=on.flush, **how))
    if report.halt is not None or report.troubles:
        raise SystemExit(f"bench: a pass was not made: {report.troubles}")
    return report.as_json()


def polled(on: Runtime, stream: Kind) -> Polled:
    """Poll one stream to its end."""
    told = poll(stream, **on.reading())
    assert told.ended
    return told


def poll_all(on: Runtime) -> int:
    """Poll every stream once, as a pass does, and return how many records were read."""
    return sum(polled(on, stream).read for stream in cursors.STREAMS)


def seconds_of(began: float) -> float:
    """Return the processor seconds of this process, threads included, since ``began``."""
    return time.process_time() - began


def count_rows(on: Runtime) -> None:
    """Let SQLite itself count from now on every row that is written to the counted tables."""
    with on.store.write() as db:
        db.execute(sa.text("CREATE TABLE bench_rows (name TEXT PRIMARY KEY, n INTEGER)"))
        for table in COUNTED:
            db.execute(sa.text("INSERT INTO bench_rows VALUES (:name, 0)"), {"name": table})
            for verb in ("INSERT", "UPDATE", "DELETE"):
                counting = f"UPDATE bench_rows SET n = n + 1 WHERE name = '{table}'"
                db.execute(
                    sa.text(f'CREATE TRIGGER bench_{table}_{verb} AFTER {verb} ON "{table}" BEGIN {counting}; END')
                )


def rows_counted(on: Runtime) -> dict[str, int]:
    """Return how many rows were written to each counted table since :func:`count_rows`, or since this was last asked."""
    with on.store.write() as db:
        told = {str(name): int(n) for name, n in db.execute(sa.text("SELECT name, n FROM bench_rows"))}
        db.execute(sa.text("UPDATE bench_rows SET n = 0"))
    return told


def quiet() -> None:
    """Let nothing of this machine's settings reach a bench."""
    for name in [name for name in os.environ if name.startswith("OUTBOOK_")]:
        del os.environ[name]
