"""What a process has cost, from its start to its end: processor seconds, wall time, its most memory."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOOK_S = 0.02
WELL = (0, 2, 3)
"""Exit codes of a program that did what it was to do; ours with 2 if a dry run found something, 3 if anybody is held."""


class Failed(Exception):
    """A process ended otherwise than well, or did not end in time; the message is its last words."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one process took, with whatever it had started and waited for; the memory is its own alone."""

    cpu_s: float
    wall_s: float
    peak_mb: float


def spent(command: Sequence[str], *, env: Mapping[str, str], place: Path, out: Path, within_s: float) -> Spent:
    """Run a program to its end in ``place``, its output in ``out``; Failed where it does not end well."""
    words = out.with_suffix(".err")
    began, peak = time.monotonic(), 0.0
    with out.open("wb") as told, words.open("wb") as said:
        popen = subprocess.Popen(command, env=env, cwd=place, stdin=subprocess.DEVNULL, stdout=told, stderr=said)
        while True:
            peak = max(peak, memory_mb(popen.pid))
            pid, status, usage = os.wait4(popen.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - began > within_s:
                popen.kill()
                popen.wait()
                raise Failed(f"it was not done after {within_s:.0f} s")
            time.sleep(LOOK_S)
    popen.returncode = os.waitstatus_to_exitcode(status)
    if popen.returncode not in WELL:
        raise Failed(words.read_text(errors="replace").strip()[-600:])
    return Spent(usage.ru_utime + usage.ru_stime, time.monotonic() - began, peak)


def memory_mb(pid: int) -> float:
    """Return the most memory that a process has held so far; getrusage would count its parent's before the exec, too."""
    try:
        told = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    _, found, rest = told.partition("VmHWM:")
    return int(rest.split()[0]) / 1024 if found else 0.0


def cpu_s(pids: Sequence[int]) -> float:
    """Return the processor seconds of living processes, and of those children of theirs that have ended."""
    told = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15] for pid in pids)
    return sum(int(ticks) for one in told for ticks in one) / os.sysconf("SC_CLK_TCK")
