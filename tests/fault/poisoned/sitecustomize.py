"""Where this directory stands in front, Python reads this first: a poisoned record kills the worker that plans it.

``Poison kill`` in a title is the kernel's way out of memory: SIGKILL. ``Poison memory`` takes memory up to RLIMIT_AS.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

ROOM = 64 * 1024 * 1024


def _poisoned() -> None:
    from worker.core import plan

    computed = plan._computed

    def deadly(view: Any, *rest: Any) -> Any:  # noqa: ANN401 - whatever the real one takes
        told = repr(view.prospect)
        if "Poison kill" in told:
            os.kill(os.getpid(), signal.SIGKILL)
        if "Poison memory" in told:
            _eat()
        return computed(view, *rest)

    plan._computed = deadly  # type: ignore[assignment]


def _eat() -> None:
    """Take all the memory that there is. Raises MemoryError."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, before[1]))
    eaten = []
    try:
        while True:
            eaten.append(bytearray(ROOM // 8))
    finally:
        eaten.clear()
        resource.setrlimit(resource.RLIMIT_AS, before)


if sys.orig_argv[2:4] == ["worker", "worker"]:
    _poisoned()
