"""Either simulator as a process of its own, so that its work is not counted."""

from __future__ import annotations

import sys

from worker.sim import outreach, server, workbooks


def main(which: str, people: str, states: str, latency_ms: str) -> None:
    """Serve until SIGTERM; ``states`` is how many sequences everybody is in, ``-`` leaves it to the seed."""
    if which == "crm":
        server.serve(workbooks.build("bench", int(people)), port=0, latency_ms=float(latency_ms))
        return
    wanted = outreach.Options(states_per_prospect=None if states == "-" else int(states), hourly_calls=None)
    server.serve(outreach.build("bench", int(people), options=wanted), port=0, latency_ms=float(latency_ms))


if __name__ == "__main__":
    main(*sys.argv[1:5])
