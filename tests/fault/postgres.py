"""A Postgres that can be killed: a server of the rig's own, which loses nothing that it has confirmed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from tests.celery.rig import family
from tests.conftest import NOBODY, _end_with_parent, _reachable_binaries

NAME = "chaos"
OPTIONS = ("synchronous_commit=on", "fsync=off", "full_page_writes=off", "shared_buffers=32MB", "jit=off")
"""The machine itself stays up, so what was handed to the kernel is safe, flushed or not."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server's data and programs. As root it runs as nobody: it refuses to be root."""

    directory: Path
    binaries: Path
    port: int

    @classmethod
    def made(cls, on: Callable[[Path], object] | None = None) -> Postgres:
        """Lay a new server's data down, in a directory that nobody can get at; ``on`` may mount a disk there first."""
        directory = Path(tempfile.mkdtemp(prefix="outbook-chaos-pg-"))
        directory.chmod(0o755)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            one = cls(directory, _reachable_binaries(directory), probe.getsockname()[1])
        one.data.mkdir(mode=0o700)
        if on is not None:
            on(one.data)
        if os.getuid() == 0:
            os.chown(one.data, NOBODY, NOBODY)
        init: list[Any] = [
            one.binaries / "initdb",
            "-D",
            one.data,
            "-U",
            "outbook",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        subprocess.run([*init, "--no-sync"], check=True, capture_output=True, **one.who)
        return one

    @property
    def data(self) -> Path:
        """Where its data is."""
        return self.directory / "data"

    @property
    def who(self) -> dict[str, Any]:
        """How its programs are run."""
        drop = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        return {"cwd": self.data, "env": {"PATH": os.defpath, "LC_ALL": "C", "HOME": str(self.data)}, **drop}

    def spawn(self, log: Path) -> subprocess.Popen[bytes]:
        """Start the server, in a process group of its own."""
        where = (f"port={self.port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={self.data}")
        options = [part for option in (*where, *OPTIONS) for part in ("-c", option)]
        with log.open("wb") as output:
            return subprocess.Popen(
                [self.binaries / "postgres", "-D", self.data, *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - no thread of ours runs
                **self.who,
            )

    def url(self, name: str = NAME, *, port: int = 0) -> str:
        """Return the URL of a database of its, straight or by way of a port."""
        return f"postgresql+psycopg://outbook@127.0.0.1:{port or self.port}/{name}"

    def answers(self) -> bool:
        """Tell whether it answers."""
        try:
            self.run("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements, each by itself, and return the rows of the last."""
        rows: list[tuple[Any, ...]] = []
        url = make_url(self.url("postgres")).set(drivername="postgresql")
        with psycopg.connect(url.render_as_string(), autocommit=True, connect_timeout=20) as db:
            for statement in statements:
                done = db.execute(statement.encode())
                rows = done.fetchall() if done.description else []
        return rows

    def remove(self) -> None:
        """Remove its data; it must have been stopped."""
        shutil.rmtree(self.directory, ignore_errors=True)


def slay(pid: int) -> None:
    """Kill a process, its group and all that descends from it: a server's processes are groups of their own each."""
    descended = family(pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    for one in descended:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
