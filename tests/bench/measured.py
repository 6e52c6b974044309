"""Polls everything once in a process of its own, whose peak memory whoever started it reads: `memory`."""

from __future__ import annotations

import json
import logging
import resource
import sys
from pathlib import Path

from tests.bench import site
from worker import bootstrap, config


def main(directory: str, work: str) -> None:
    """Print how many records were read, and the peak memory in MB before and after."""
    logging.disable(logging.WARNING)
    settings = config.load(dict(json.loads(sys.stdin.read())), Path(directory))
    with bootstrap.runtime(settings, bootstrap.read_mapping(settings.mapping)) as on:
        before = peak_mb()
        read = site.poll_all(on)
        if work == "apply":
            site.one_pass(on)
    sys.stdout.write(json.dumps({"read": read, "before": before, "after": peak_mb()}))


def peak_mb() -> float:
    """Return the most memory that this program has held; Linux' getrusage would count its parent's before the exec, too."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


if __name__ == "__main__":
    site.quiet()
    main(*sys.argv[1:3])
