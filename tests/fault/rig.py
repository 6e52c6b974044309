"""The whole deployment as real processes on loopback: both simulators, broker, workers, beat, web; hurt by id, ended by id.

Whatever it starts is put on a leash: the kernel ends it if the rig is killed outright.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import redis
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from tests.celery.rig import Process, children, is_alive
from tests.fault import postgres, wires
from tests.fault.disk import Disk
from tests.fault.invariants import Seen
from tests.fault.postgres import Postgres
from tests.fault.wires import Wires
from worker import embedded
from worker.store import backlog, cursors, database, outbox, tables

ROOT = Path(__file__).parents[2]
START_S, LOOK_S = 120.0, 0.3
WEBHOOK_SECRET = "an invented webhook secret"
ARGUMENTS = {
    "outreach": ("sim", "outreach", "--port", "0", "--records", "1"),
    "workbooks": ("sim", "workbooks", "--port", "0", "--records", "1"),
    "worker": ("worker", "--queues", "apply,poll,slow"),
    "optout": ("worker", "--queues", "optout"),
    "beat": ("beat",),
    "web": ("web",),
    "sync": ("sync", "--json", "--wait", "5"),
    "retry": ("failures", "retry", "--all"),
    "resync": ("resync", "--all"),
    "publisher": (),
}
"""How each process is started; ``beat2`` is a second ``beat``, which ends with the faults."""
MODULES = {"publisher": "tests.fault.publisher"}
"""What is run where it is not the product itself."""
OURS = ("broker", "worker", "optout", "beat", "web")
CLOCKS = ("outbook", *OURS)
VENDORS = ("outreach", "workbooks")


class Unsettled(AssertionError):
    """It did not come true in time."""


def _last_words(log: Path) -> list[str]:
    lines = log.read_text(errors="replace").splitlines()
    return [line.partition('"exception"')[0][:300] for line in lines if line.strip()][-5:]


@dataclass(slots=True)
class Rig:
    """What runs, and the hands that hurt and mend it."""

    directory: Path
    database_url: str
    http: httpx.Client
    broker: embedded.Broker
    postgres: Postgres | None = None
    wires: Wires = field(default_factory=Wires)
    disks: list[Disk] = field(default_factory=list)
    processes: dict[str, Process] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)
    """What the commands that did not end with 0 said, the newest last."""
    runs: int = 0

    # processes

    def start(self, *names: str) -> None:
        """Start processes that do not run, the broker until it answers."""
        for name in names:
            if name == "broker":
                self._spawn(name, self.broker.child.argv)
                self.wait_for(self.broker.answers, START_S)
            elif name == "postgres":
                self._start_postgres()
            elif name == "proxy":
                self._spawn(name, (sys.executable, "-I", "-S", str(wires.SCRIPT), *self._ends()))
                self.wait_for(lambda: self.wires.heard(self.processes["proxy"].log), START_S)
            else:
                kind = name.rstrip("0123456789")
                self._spawn(name, (sys.executable, "-m", MODULES.get(kind, "worker"), *ARGUMENTS[kind]))

    def _start_postgres(self) -> None:
        self.wait_for(self._postgres_runs, START_S)

    def _postgres_runs(self) -> bool:
        """Tell whether Postgres answers; it does not start while a child of one that was killed still holds its memory."""
        assert self.postgres is not None
        process = self.processes.get("postgres")
        if process is None or process.popen.poll() is not None:
            log = self._log("postgres")
            self.processes["postgres"] = Process("postgres", self.postgres.spawn(log), log)
        return self.postgres.answers()

    def _ends(self) -> list[str]:
        """Return where the proxy's wires lead."""
        ports = {vendor: make_url(self.urls[vendor]).port for vendor in VENDORS} | {
            "broker": make_url(self.broker.url).port
        }
        if self.postgres is not None:
            ports["store"] = self.postgres.port
        return [f"{name}={port}" for name, port in ports.items()]

    def _log(self, name: str) -> Path:
        self.runs += 1
        return self.directory / ("theirs" if name in VENDORS else "logs") / f"{self.runs:03}-{name}.log"

    def _settings(self, name: str) -> dict[str, str]:
        ours = {key: text for key, text in os.environ.items() if not key.startswith("OUTBOOK_")}
        return {**ours, "PYTHONPATH": str(ROOT), "CHAOS_CLOCK": str(self._clock(name)), **self.environ}

    def _clock(self, name: str) -> Path:
        return self.directory / "clocks" / name

    def _spawn(self, name: str, argv: tuple[str, ...]) -> None:
        log = self._log(name)
        leash = [sys.executable, "-I", "-S", "-c", embedded._LEASH, str(os.getpid())]
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [*leash, *argv],
                env=self._settings(name),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        self.processes[name] = Process(name, popen, log)

    def kill(self, *names: str) -> None:
        """Kill processes outright, with what they started: all are struck before the first is waited for."""
        for name in names:
            if self.processes[name].popen.returncode is None:  # once reaped, the number may be somebody else's
                postgres.slay(self.processes[name].pid)
        for name in names:
            self.processes.pop(name).popen.wait(60)
            self.stopped.discard(name)

    def kill_parent(self, name: str, *, down_s: float) -> None:
        """Kill a worker and not its children, as the kernel does; what is left of them ends when it comes again."""
        os.kill(self.processes[name].pid, signal.SIGKILL)
        time.sleep(down_s)
        self.kill(name)  # not reaped before: until then the group's number is surely ours

    def kill_child(self, name: str, which: int) -> bool:
        """Kill one of a worker's pool; False if it has none just now."""
        pool = children(self.processes[name].pid)
        if pool:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pool[which % len(pool)], signal.SIGKILL)
        return bool(pool)

    def end(self, name: str) -> float:
        """End a process by SIGTERM and return after how many seconds it was gone."""
        process = self.processes.pop(name)
        try:
            return process.stop(within_s=60)
        except subprocess.TimeoutExpired:
            self.processes[name] = process
            raise Unsettled(f"{name} did not end within 60 s of SIGTERM") from None

    def freeze(self, name: str) -> None:
        """Stop a process and its pool as they stand."""
        self.stopped.add(name)
        os.killpg(self.processes[name].pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let it go on."""
        self.stopped.discard(name)
        os.killpg(self.processes[name].pid, signal.SIGCONT)

    def mend(self) -> None:
        """End all faults: the vendors behave, what is frozen goes on, what has died runs again, alone of its kind."""
        self.wires.heal()
        self.set_clocks(0, *CLOCKS)
        self.free()
        for vendor in VENDORS:
            self.control(vendor, "faults", [])
        for name in sorted(self.stopped):
            self.thaw(name)
        for name in [name for name in self.processes if name[-1].isdigit()]:
            self.kill(name)
        self.supervise()

    def free(self) -> None:
        """Let there be room on every disk again."""
        for disk in self.disks:
            disk.free()

    def supervise(self) -> None:
        """Start again what has died, as whoever supervises a deployment does."""
        for name in (*(["postgres"] if self.postgres else []), *OURS):
            process = self.processes.get(name)
            if process is not None and process.popen.poll() is not None:
                del self.processes[name]
            if name not in self.processes:
                self.start(name)

    def close(self) -> None:
        """Leave nothing running."""
        for name in [*self.processes]:
            with contextlib.suppress(Exception):
                self.kill(name)
        self.broker.close()
        for disk in self.disks:
            disk.unmount()
        if self.postgres is not None:
            self.postgres.remove()

    def set_clocks(self, seconds: float, *names: str) -> None:
        """Let the clocks of processes of ours be off from now on, those that run and those to come (``tests.fault.clock``)."""
        for name in names:
            made = self._clock(f".{name}")
            made.parent.mkdir(exist_ok=True)
            made.write_text(str(seconds), encoding="ascii")
            made.replace(self._clock(name))  # nobody reads half of it

    def outbook(self, *arguments: str, within_s: float = 600.0) -> tuple[int, str]:
        """Run a verb to its end; return its exit code and stdout. What it says beside that is kept, as a process' words are."""
        log, argv = self._log("outbook"), [sys.executable, "-m", "worker", *arguments]
        words = f"outbook {' '.join(arguments)}"
        try:
            with log.open("wb") as said:
                done = subprocess.run(
                    argv,
                    env=self._settings("outbook"),
                    cwd=self.directory,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    text=True,
                    check=False,
                    timeout=within_s,
                )
        except subprocess.TimeoutExpired:
            raise Unsettled(f"{words} does not end within {within_s:.0f} s: {_last_words(log)}"[:900]) from None
        if done.returncode:
            told = " | ".join(_last_words(log)) or done.stdout[-300:]
            self.said.append(f"{words} ended with {done.returncode}: {told}"[:900])
        return done.returncode, done.stdout

    def must(self, *arguments: str) -> None:
        """Run a verb that has to be understood and to end well; failures it finds (3) are no failure of its own."""
        code, _ = self.outbook(*arguments)
        if code not in {0, 3}:
            raise Unsettled(f"outbook {' '.join(arguments)} ends with {code}")

    # vendors

    def control(self, vendor: str, name: str, document: object = None) -> Any:  # noqa: ANN401 - a simulator's JSON
        """Use a control of a simulator: read it, or post a document to it."""
        url = f"{self.urls[vendor]}/_sim/{name}"
        reply = self.http.get(url) if document is None else self.http.post(url, json=document)
        assert reply.status_code == 200, reply.text[:500]
        return reply.json()

    def edit(self, vendor: str, documents: list[dict[str, Any]]) -> None:
        """Let people do something on one side."""
        if documents:
            self.control(vendor, "edit", documents)

    def fault(self, *documents: dict[str, Any], vendors: tuple[str, ...] = VENDORS) -> None:
        """Arm faults, in place of those that were."""
        for vendor in vendors:
            self.control(vendor, "faults", list(documents))

    def mark(self) -> dict[str, int]:
        """Return how far both journals have come."""
        return {vendor: self.control(vendor, "journal?path=^$")["last"] for vendor in VENDORS}

    def seen(self, since: dict[str, int] | None = None) -> Seen:
        """Return what both sides hold, with the journals from a mark on."""
        crm, outreach = self.control("workbooks", "state"), self.control("outreach", "state")
        calls = [
            entry
            for vendor, number in (since or {}).items()
            for entry in self.control(vendor, f"journal?since={number}")["entries"]
        ]
        return Seen(crm["people"], crm["tasks"], outreach.get("prospect", {}), calls)

    # broker and store

    @contextlib.contextmanager
    def messages(self) -> Iterator[redis.Redis]:
        """Look into the broker, and reach into it."""
        with redis.Redis.from_url(self.broker.url, socket_timeout=5) as db:
            yield db

    def forget_messages(self) -> None:
        """Throw the dead broker's data away."""
        shutil.rmtree(self.broker.directory / "appendonlydir", ignore_errors=True)

    @contextlib.contextmanager
    def store(self) -> Iterator[sa.Connection]:
        """Look into the store."""
        opened = database.connect(self.database_url)
        try:
            with opened.read() as db:
                yield db
        finally:
            opened.engine.dispose()

    def is_quiet(self, *, but_failed: bool = False) -> bool:
        """Tell whether every stream was read to its end and nothing is left to do, or nothing ``but_failed``."""
        with contextlib.suppress(sa.exc.OperationalError, sa.exc.ProgrammingError), self.store() as db:
            webhook = tables.metadata.tables["webhook"]
            waiting = db.execute(sa.select(sa.func.count()).where(webhook.c.done_at.is_(None))).scalar_one()
            counts = backlog.count(db, datetime.now(UTC))
            left = counts.open - (counts.dead if but_failed else 0)
            return not cursors.unprimed(db) and not waiting and left == 0
        return False

    def stuck(self) -> str:
        """Return how the outbox stands if anything is left in it, with the reasons; else blank (I7)."""
        with self.store() as db:
            counts = backlog.count(db, datetime.now(UTC))
            reasons = [*(row.words for row in outbox.holds(db)), *backlog.dead_letters(db), *backlog.put_off(db)]
        return f"{counts} {reasons}"[:600] if counts.open or counts.holds else ""

    def broken(self) -> str:
        """Return what the database says about its own integrity if it is not whole (I8)."""
        if self.postgres is not None:
            with self.store() as db:  # the server checks the sum of every page that it reads
                for table in tables.metadata.tables.values():
                    db.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            return ""
        with self.store() as db:
            told = [str(row[0]) for row in db.exec_driver_sql("PRAGMA integrity_check")]
            told += [str(row) for row in db.exec_driver_sql("PRAGMA foreign_key_check")]
        return "" if told == ["ok"] else "; ".join(told)[:300]

    def texts(self) -> dict[str, bytes]:
        """Return what our processes said and what the broker keeps on disk, by name (I6)."""
        logs = (self.directory / "logs").iterdir()
        kept = [path for path in self.broker.directory.rglob("*") if path.is_file()]
        return {path.name: path.read_bytes() for path in (*logs, *kept)}

    def words(self) -> str:
        """Return the last words of every process of ours, without tracebacks, and whether it lives; and of failed commands."""
        told = self.said[-8:]
        for one in self.processes.values():
            told += [f"--- {one.name}, {'alive' if is_alive(one.pid) else 'dead'}", *_last_words(one.log)]
        return "\n".join(told)

    def wait_for(self, claim: Callable[[], bool], within_s: float) -> float:
        """Return after how many seconds the claim held; Unsettled if it did not in time."""
        began = looked = time.monotonic()
        while not claim():
            now = time.monotonic()
            if now - began > within_s:
                raise Unsettled(f"not within {within_s:.0f} s")
            time.sleep(max(LOOK_S, 2 * (now - looked)))  # looking must not be what keeps the machine busy
            looked = time.monotonic()
        return time.monotonic() - began


def heard(rig: Rig, name: str) -> bool:
    """Tell whether a process has said where it listens, and keep it."""
    found = re.search(r"listening on (http://\S+)", rig.processes[name].log.read_text(errors="replace"))
    if found is not None:
        rig.urls[name] = found[1]
    return found is not None


def listens(rig: Rig, name: str = "web") -> str:
    """Return where a process listens, once it does."""
    rig.wait_for(lambda: heard(rig, name), START_S)
    return rig.urls[name]
