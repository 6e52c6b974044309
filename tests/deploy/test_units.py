"""The systemd units: systemd itself reads them, and the watch looks on whatever has stopped."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.test_topology import unit

SYSTEMD = Path(__file__).parents[2] / "deploy" / "systemd"
ANALYSE = shutil.which("systemd-analyze")


@pytest.mark.skipif(ANALYSE is None, reason="systemd-analyze is not installed here")
def test_systemd_reads_every_unit(tmp_path: Path) -> None:
    """No unknown key, no value that it cannot read, no unit that wants another that is not there."""
    assert ANALYSE is not None
    for path in SYSTEMD.iterdir():
        text = path.read_text(encoding="utf-8").replace("/opt/outbook/bin/outbook", sys.executable)
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    units = sorted(str(one) for one in tmp_path.iterdir())
    assert len(units) == 9
    done = subprocess.run([ANALYSE, "verify", *units], capture_output=True, text=True, check=False, timeout=90)
    ours = [line for line in done.stderr.splitlines() if "outbook" in line]
    assert (done.returncode, ours) == (0, [])


def test_the_watch_stands_apart() -> None:
    """Stopping everything does not stop it, nor does it wait for a store that is ready."""
    watch = unit(SYSTEMD / "outbook-watch.service")
    assert "PartOf" not in watch["Unit"]
    assert "Requires" not in watch["Unit"]
    assert "outbook-watch" not in (SYSTEMD / "outbook.target").read_text(encoding="utf-8").partition("[Unit]")[2]
    assert unit(SYSTEMD / "outbook-watch.timer")["Install"]["WantedBy"] == "timers.target"


class _Switch(http.server.BaseHTTPRequestHandler):
    """Takes heartbeats, those at /sick badly."""

    def do_GET(self) -> None:
        """Count one."""
        self.server.beats.append(self.path)  # type: ignore[attr-defined]
        self.send_response(500 if self.path == "/sick" else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def switch() -> Iterator[http.server.HTTPServer]:
    """A dead-man's switch on loopback."""
    with http.server.HTTPServer(("127.0.0.1", 0), _Switch) as server:
        server.beats = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed here")
@pytest.mark.parametrize("path, code, beats", [("/well", 0, 1), ("/sick", 22, 1), (None, 0, 0)])
def test_the_heartbeat_is_sent(switch: http.server.HTTPServer, path: str | None, code: int, beats: int) -> None:
    """The unit's own line: one call; a switch that refuses fails the unit; without an address nothing is called."""
    line = unit(SYSTEMD / "outbook-watch.service")["Service"]["ExecStartPost"]
    shell, script = line.split(" -c ")
    environ = {"HEARTBEAT_URL": f"http://127.0.0.1:{switch.server_port}{path}"} if path else {}
    command = [shell, "-c", script.strip("'").replace("$$", "$")]
    done = subprocess.run(
        command, env={"PATH": "/usr/bin:/bin", **environ}, check=False, capture_output=True, timeout=90
    )
    assert done.returncode == code
    assert len(switch.beats) == beats  # type: ignore[attr-defined]
