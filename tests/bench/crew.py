"""A real broker and real workers around one store, for the benches that measure what messages cost and workers bring."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import kombu.pools
import redis

from tests.bench import spent
from tests.bench.site import ROOT
from tests.celery.rig import Process, children, family
from worker import app as front
from worker import embedded
from worker.embedded import BrokerHandle

PATIENCE_S = 300.0


@dataclass(slots=True)
class Crew:
    """Workers that share a broker. ``environ`` are their settings."""

    broker: BrokerHandle
    directory: Path
    environ: Mapping[str, str]
    workers: list[Process] = field(default_factory=list)

    def worker(self, *arguments: str, module: str = "worker") -> Process:
        """Start a worker and return it once it takes tasks."""
        log = self.directory / f"worker-{time.monotonic_ns()}.log"
        env = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), **self.environ, "OUTBOOK_BROKER_URL": self.broker.url}
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [sys.executable, "-m", module, "worker", *arguments],
                env=env,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
            )
        made = Process(log.stem, popen, log)
        self.workers.append(made)
        self.wait_for(lambda: made.said("[tasks]") and bool(children(made.pid)))
        return made

    def dismiss(self) -> None:
        """End every worker after the batch it has in hand."""
        for one in self.workers:
            if one.popen.poll() is None:
                one.stop()
        self.workers.clear()

    def wait_for(self, claim: Callable[[], bool], *, within_s: float = PATIENCE_S) -> float:
        """Return after how many seconds the claim held."""
        began = time.monotonic()
        while not claim():
            gone = [one for one in self.workers if one.popen.poll() is not None]
            if gone or time.monotonic() - began > within_s:
                words = "\n".join(one.log.read_text(errors="replace")[-1500:] for one in gone or self.workers)
                raise SystemExit(f"bench: the workers did not get there: {words}")
            time.sleep(0.02)
        return time.monotonic() - began

    def ring(self, task: str, *arguments: str, times: int = 1) -> None:
        """Send a message, as a sweep does."""
        for _ in range(times):
            front.app.send_task(task, args=arguments)

    def hush(self) -> None:
        """Drop whatever messages are left."""
        with redis.Redis.from_url(self.broker.url) as db:
            db.flushdb()

    def messages(self) -> int:
        """Return how many messages the broker was ever given."""
        with redis.Redis.from_url(self.broker.url) as db:
            told = db.info("commandstats")
        return int(told.get("cmdstat_lpush", {}).get("calls", 0))

    def cpu_s(self) -> tuple[float, float]:
        """Return the processor seconds so far of the workers, and of the broker."""
        pids = [pid for one in self.workers for pid in family(one.pid)]
        return spent.cpu_s(pids), spent.cpu_s([self.broker.pid])


@contextlib.contextmanager
def crew(environ: Mapping[str, str]) -> Iterator[Crew]:
    """Stand a broker up; in the end nothing of it and of its workers is left running."""
    place = Path(tempfile.mkdtemp(prefix="outbook-bench-"))
    with Path(os.devnull).open("w") as nowhere:
        broker = embedded.start_broker(place, out=nowhere)
    made, before = Crew(broker, place, environ), front.app.conf.broker_url
    try:
        _bind(broker.url)
        yield made
    finally:
        made.dismiss()
        _bind(before)
        broker.stop()
        shutil.rmtree(place, ignore_errors=True)


def _bind(url: str | None) -> None:
    """Let this process' own messages go to a broker."""
    kombu.pools.reset()
    front.app.conf.update(broker_url=url)
    front.app._after_fork()  # type: ignore[attr-defined]


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Stand a Postgres up, as the tests do; yields the URL of its one database."""
    from tests import conftest

    place = Path(tempfile.mkdtemp(prefix="outbook-bench-pg-"))
    try:
        place.chmod(0o755)
        with conftest._postgres(place) as url:
            yield f"{url}/postgres".replace("postgresql://", "postgresql+psycopg://")
    finally:
        shutil.rmtree(place, ignore_errors=True)
