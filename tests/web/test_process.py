"""`outbook web` as a process of its own: what it refuses to start with, and what is left when it is killed."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.web import flood

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.processes, pytest.mark.timeout(90)]


@dataclass(slots=True)
class Running:
    """A process, and its port once it listens."""

    process: subprocess.Popen[str]
    port: int
    data_dir: Path

    def stored(self) -> set[int]:
        """Return the numbers of the events in the store."""
        with closing(sqlite3.connect(self.data_dir / "outbook.db")) as db:
            return {int(row[0].partition(":")[0], 16) for row in db.execute("SELECT event FROM webhook")}


def begin(directory: Path, **settings: str) -> subprocess.Popen[str]:
    """Start `outbook web`."""
    ours = {name: text for name, text in os.environ.items() if not name.startswith("OUTBOOK_")}
    told = {"OUTBOOK_CONSOLE__PORT": "0", "OUTBOOK_OUTREACH__WEBHOOK_SECRET": flood.SECRET} | settings
    return subprocess.Popen(
        [sys.executable, "-m", "worker", "web"],
        env={**ours, "PYTHONPATH": str(ROOT), **told},
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


Start = Callable[[], Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the web as often as wanted over one store; in the end none is left."""
    processes: list[subprocess.Popen[str]] = []

    def started() -> Running:
        process = begin(tmp_path)
        processes.append(process)
        assert process.stderr is not None
        told = re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+)\n", process.stderr.readline())
        assert told is not None
        return Running(process, int(told[1]), tmp_path / ".data")

    yield started
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_it_listens_beyond_loopback_only_with_a_password(tmp_path: Path) -> None:
    """Exit 4 with a sentence that names the setting, before anything is opened."""
    process = begin(tmp_path, OUTBOOK_CONSOLE__HOST="0.0.0.0")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (4, "")
    assert err.startswith("outbook: OUTBOOK_CONSOLE__PASSWORD_HASH: missing")
    assert "Traceback" not in err
    assert not (tmp_path / ".data").exists()


def test_killed_after_any_byte_it_has_what_it_accepted(start: Start) -> None:
    """Part of a webhook and a kill leaves nothing, and nothing that keeps the next start from taking it whole."""
    text = flood.request(7, close=True)
    first = start()
    for cut in (1, 40, text.index(b"\r\n\r\n") + 4, len(text) - 1):
        with socket.create_connection(("127.0.0.1", first.port), 5) as wire:
            wire.sendall(text[:cut])
    with socket.create_connection(("127.0.0.1", first.port), 5) as wire:
        wire.sendall(text[:-1])
        time.sleep(0.1)
        first.process.kill()
        first.process.wait(60)
    assert first.stored() == set()
    second = start()
    with socket.create_connection(("127.0.0.1", second.port), 5) as wire:
        wire.sendall(text)
        assert wire.recv(100).startswith(b"HTTP/1.1 200 ")
        second.process.kill()
        second.process.wait(60)
    assert second.stored() == {7}


def test_killed_between_the_store_and_the_answer_it_has_it_once(start: Start) -> None:
    """Stored, and killed before anybody read a 200: the sender repeats it, as after any silence, and it is there once."""
    text, other = flood.request(7, close=True), flood.request(8, close=True)
    first = start()
    with socket.create_connection(("127.0.0.1", first.port), 5) as wire:
        wire.sendall(text)
        deadline = time.monotonic() + 60
        while 7 not in first.stored():
            assert time.monotonic() < deadline
        first.process.kill()
        first.process.wait(60)
    second = start()
    for one in (other, text, text):
        with socket.create_connection(("127.0.0.1", second.port), 5) as wire:
            wire.sendall(one)
            assert wire.recv(100).startswith(b"HTTP/1.1 200 ")
    with closing(sqlite3.connect(second.data_dir / "outbook.db")) as db:
        assert db.execute("SELECT count(*) FROM webhook").fetchone() == (2,)


def test_a_flood_is_stored_without_a_loss_and_what_got_200_survives_a_kill(start: Start) -> None:
    """Two thousand in a second, then SIGTERM: exit 143. Killed amidst another: whatever got a 200 is in the store."""
    web = start()
    told = flood.pour(web.port, 2000, 1.0)
    web.process.send_signal(signal.SIGTERM)
    assert (len(told.times), told.refused) == (2000, [])
    assert web.process.wait(60) == 143
    assert web.stored() == set(range(2000))
    again = start()
    threading.Timer(0.3, again.process.kill).start()
    cut_off = flood.pour(again.port, 1000, 1.0, first=2000)
    accepted = set(range(2000, 3000)) - set(cut_off.refused)
    assert 0 < len(accepted) < 1000
    assert accepted <= again.stored()
