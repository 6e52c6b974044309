"""Outbook's own rooms at work in a process of their own, for `memory` (its peak) and `deliver` (several at once)."""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from pathlib import Path

from tests.bench import site
from worker import bootstrap, config
from worker.bootstrap import Runtime
from worker.sync import hands


def main(directory: str, work: str) -> None:
    """Take the settings as a line of JSON, do what is wanted and tell about it in one."""
    logging.disable(logging.WARNING)
    settings = config.load(dict(json.loads(sys.stdin.readline())), Path(directory))
    with bootstrap.runtime(settings, bootstrap.read_mapping(settings.mapping)) as on:
        told = _deliver(on) if work == "deliver" else _read(on)
    sys.stdout.write(json.dumps(told) + "\n")


def _read(on: Runtime) -> dict[str, float]:
    """Read everything for the first time; tell how many records that was, and the peak memory in MB before and after."""
    before = peak_mb()
    return {"read": site.poll_all(on), "before": before, "after": peak_mb()}


def _deliver(on: Runtime) -> dict[str, float]:
    """Say that everything is open, wait for a line, apply until nothing is due; tell the CPU seconds of that."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    began, claimed = time.process_time(), 0
    while more := hands.apply_people(on.applier(), lambda: None).claimed:
        claimed += more
    return {"claimed": claimed, "cpu": site.seconds_of(began)}


def peak_mb() -> float:
    """Return the most memory that this program has held; Linux' getrusage would count its parent's before the exec, too."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


if __name__ == "__main__":
    site.quiet()
    main(*sys.argv[1:3])
