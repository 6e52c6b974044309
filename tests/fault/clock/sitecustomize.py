"""Where this directory stands in front, Python reads this first: the process' clock is off by what a file says.

The file is named by ``CHAOS_CLOCK`` and holds seconds; it may change while the process runs, and the clock then jumps. Steady
time (``time.monotonic``) goes on as it is, as it does where somebody sets a real clock.

Not libfaketime: that has to be installed on the machine first, and shifts what threads wait for and files are dated by as
well. All that we and Celery, kombu and redis-py read the clock by is Python's own: these few functions.
"""

from __future__ import annotations

import ctypes
import datetime as dt
import gc
import os
import time
from collections.abc import Callable
from typing import Any

LOOK_S = 0.02
"""How long what the file said counts: it is asked for often."""


def _shift(path: str) -> None:
    """Let the clock of this process be off by what the file says, whatever reads it later on."""
    now, time_s, time_ns = dt.datetime.now, time.time, time.time_ns
    gmtime, localtime, steady = time.gmtime, time.localtime, time.monotonic
    looked: list[float] = [-1.0, 0.0]

    def off() -> float:
        if steady() - looked[0] > LOOK_S:
            try:
                with open(path, encoding="ascii") as told:  # noqa: PTH123 - before anything else is imported
                    looked[:] = [steady(), float(told.read() or "0")]
            except (OSError, ValueError):
                looked[0] = steady()  # it is just being written
        return looked[1]

    def shifted(kind: type[dt.datetime], tz: dt.tzinfo | None = None) -> dt.datetime:
        at = now(tz) + dt.timedelta(seconds=off())
        return at if kind is dt.datetime else kind.fromtimestamp(at.timestamp(), tz)

    def of(broken_down: Callable[[float], time.struct_time]) -> Callable[..., time.struct_time]:
        return lambda seconds=None: broken_down(time_s() + off() if seconds is None else seconds)

    replaced: dict[str, Any] = {
        "time": lambda: time_s() + off(),
        "time_ns": lambda: time_ns() + round(off() * 1e9),
        "gmtime": of(gmtime),
        "localtime": of(localtime),
    }
    for name, function in replaced.items():
        setattr(time, name, function)
    # A class of C's own lets nobody set its attributes; its dictionary does. A subclass would not be what drivers look for.
    (names,) = [one for one in gc.get_referents(dt.datetime.__dict__) if isinstance(one, dict)]
    names["now"] = classmethod(shifted)
    names["utcnow"] = classmethod(lambda kind: shifted(kind, dt.UTC).replace(tzinfo=None))
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(dt.datetime))


if "CHAOS_CLOCK" in os.environ:
    _shift(os.environ["CHAOS_CLOCK"])
