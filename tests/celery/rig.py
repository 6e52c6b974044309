"""Real processes around two simulators: workers, beats, the whole of `outbook up`, each known by its id and ended by it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.sync.vendors import Vendors
from worker.sim import outreach, workbooks
from worker.sim.control import ControlApp
from worker.sim.server import running
from worker.store import backlog, cursors, database

ROOT = Path(__file__).parents[2]
PATIENCE_S = 90.0
"""How long anything may take on a busy machine. Nothing waits this long where all is well."""
QUEUES = ("optout", "apply", "poll", "slow")


def wait_for(claim: Callable[[], bool], *, within_s: float = PATIENCE_S, words: Callable[[], str] = str) -> float:
    """Return after how many seconds the claim held; fail with ``words`` if it did not in time."""
    began = time.monotonic()
    while not claim():
        assert time.monotonic() - began < within_s, f"it did not come true in {within_s:.0f} s: {words()}"
        time.sleep(0.05)
    return time.monotonic() - began


def children(pid: int) -> list[int]:
    """Return the ids of a process' living children."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(text) for text in (task / "children").read_text().split()]
    return found


def family(pid: int) -> dict[int, str]:
    """Return a process and all that descends from it: id → command line."""
    told = {pid: command(pid)}
    for child in children(pid):
        told |= family(child)
    return told


def command(pid: int) -> str:
    """Return the command line of a process, blank if there is none."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    return ""


def is_alive(pid: int) -> bool:
    """Tell whether a process of that id runs; one that is dead but not reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass(slots=True)
class Process:
    """One `outbook …` that was started here; what it says goes into a file."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Its id."""
        return self.popen.pid

    def said(self, words: str) -> bool:
        """Tell whether it has said something."""
        return words in self.log.read_text(errors="replace")

    def stop(self, number: signal.Signals = signal.SIGTERM, *, within_s: float = PATIENCE_S) -> float:
        """Send a signal and return after how many seconds the process was gone."""
        began = time.monotonic()
        self.popen.send_signal(number)
        self.popen.wait(within_s)
        return time.monotonic() - began


@dataclass(slots=True)
class Rig(Vendors):
    """Two simulators on loopback, a store in a file, a broker, and processes."""

    directory: Path
    environ: dict[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    to_hold_up: int = 0

    def start(self, *arguments: str) -> Process:
        """Start `outbook …` in a process group of its own."""
        name = f"{len(self.processes)}-{arguments[0]}"
        log = self.directory / f"{name}.log"
        ours = {key: text for key, text in os.environ.items() if not key.startswith("OUTBOOK_")}
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [sys.executable, "-m", "worker", *arguments],
                env={**ours, "PYTHONPATH": str(ROOT), **self.environ},
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        self.processes.append(Process(name, popen, log))
        return self.processes[-1]

    def worker(self, *arguments: str) -> Process:
        """Start a worker and return it once it takes tasks."""
        process = self.start("worker", *arguments)
        wait_for(lambda: process.said("[tasks]") and bool(children(process.pid)), words=self.words)
        return process

    def end(self) -> None:
        """End whatever of it still runs, each by its id, with what it has started."""
        for process in self.processes:
            if process.popen.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.popen.wait(60)

    def words(self) -> str:
        """Return the last words of every process, for a failure's message."""
        return "\n".join(f"--- {one.name}\n{one.log.read_text(errors='replace')[-1500:]}" for one in self.processes)

    def wait_for(self, claim: Callable[[], bool], *, within_s: float = PATIENCE_S) -> float:
        """Wait, with all processes' words in the failure."""
        return wait_for(claim, within_s=within_s, words=self.words)

    @contextlib.contextmanager
    def store(self) -> Iterator[sa.Connection]:
        """Look into the store."""
        opened = database.connect(f"sqlite:///{self.directory / 'data' / 'outbook.db'}")
        try:
            with opened.read() as db:
                yield db
        finally:
            opened.engine.dispose()

    def primed(self) -> bool:
        """Tell whether every stream was read to its end and nothing is left to do."""
        with contextlib.suppress(sa.exc.OperationalError), self.store() as db:
            counts = backlog.count(db, self.outreach.clock.now())
            return not cursors.unprimed(db) and counts.open == 0
        return False

    def label(self, prospect: int) -> object:
        """Return the Sequence State of a prospect's living person; None while there is none."""
        mine = [one for one in self.people() if one.get("cf_person_outreach_id") == str(prospect)]
        living = [one.get("cf_person_sequence_state") for one in mine if not one["is_deleted"]]
        return living[0] if len(living) == 1 else None

    def hold_up_writes(self, seconds: float, *, times: int = 1) -> None:
        """Let the CRM take its time before it carries the next writes out."""
        self.crm.faults.arm([{"match": {"op": "write"}, "kind": "delay", "times": times, "args": {"seconds": seconds}}])
        self.to_hold_up = times

    def held_up(self) -> int:
        """Return how many writes have been held up since."""
        (told,) = self.crm.faults.documents()
        return self.to_hold_up - int(told["times"])


@contextlib.contextmanager
def rig(directory: Path, broker_url: str = "", *, crm_app: ControlApp | None = None) -> Iterator[Rig]:
    """Set everything up but the processes; in the end nothing of it is left running."""
    made = Rig(directory)
    made.outreach = outreach.build("rig", 0)
    made.crm = crm_app or workbooks.build("rig", 0)
    with running(made.outreach) as outreach_url, running(made.crm) as crm_url:
        told: dict[str, Any] = {
            "OUTBOOK_OUTREACH__BASE_URL": outreach_url,
            "OUTBOOK_OUTREACH__ACCESS_TOKEN": "sim-access",
            "OUTBOOK_WORKBOOKS__BASE_URL": crm_url,
            "OUTBOOK_WORKBOOKS__API_KEY": "sim-key",
            "OUTBOOK_ALLOW_INSECURE_HOSTS": "1",
            "OUTBOOK_DATA_DIR": str(directory / "data"),
            "OUTBOOK_CONSOLE__PORT": "0",
            "OUTBOOK_POLL_SECONDS": "1",
            "OUTBOOK_LOG_LEVEL": "INFO",
        }
        made.environ = told | ({"OUTBOOK_BROKER_URL": broker_url} if broker_url else {})
        try:
            yield made
        finally:
            made.end()
