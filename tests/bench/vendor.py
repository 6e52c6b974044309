"""Either simulator as a process of its own, so that its work is not counted."""

from __future__ import annotations

import sys
from typing import Any

from worker.sim import outreach, server, workbooks
from worker.sim.control import ControlApp


def main(which: str, people: str, states: str) -> None:
    """Serve until SIGTERM; ``states`` is how many sequences everybody is in, ``-`` leaves it to the seed."""
    if which == "crm":
        app = workbooks.build("bench", int(people))
    else:
        wanted = outreach.Options(states_per_prospect=None if states == "-" else int(states), hourly_calls=None)
        app = outreach.build("bench", int(people), options=wanted)
    _slowable(app)
    server.serve(app, port=0)


def _slowable(app: ControlApp) -> None:
    """Let ``POST /_sim/latency`` set how many seconds each answer takes at least."""

    def slowed(document: dict[str, Any], *, posted: bool) -> dict[str, float]:
        app.latency_s = float(document["seconds"])
        return {"seconds": app.latency_s}

    app.more["latency"] = slowed


if __name__ == "__main__":
    main(*sys.argv[1:4])
