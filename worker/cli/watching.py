"""One look from outside, for a timer: it alerts as workers and web do, so that it is heard when none of them lives."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from worker import bootstrap, config
from worker.core.alerts import CRITICAL
from worker.core.checks import fail, ok, warn
from worker.store import alerts as memory
from worker.sync import alerts
from worker.sync import outlook as drawing

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.checks import Check


def looked(cwd: Path) -> list[Check]:
    """Return what stands by now, the critical as failures, and who could not be told; everybody else was told once."""
    settings = config.load(os.environ, cwd, credentials=False)
    store = bootstrap.open_store(settings)
    try:
        to = alerts.receivers_of(settings)
        alerts.tell(store, drawing.look(store, drawing.terms(settings, store), bootstrap.now()), to, bootstrap.now)
        with store.read() as db:
            known = [one for one in memory.standing(db) if one.firing and one.name in alerts.BY_NAME]
    finally:
        store.engine.dispose()
    due = [one for one in known if bootstrap.now() - one.since >= alerts.BY_NAME[one.name].patience]
    found: list[Check] = []
    for one in due:
        alert = alerts.BY_NAME[one.name]
        weigh = fail if alert.severity == CRITICAL else warn
        found.append(weigh(one.name, one.words, f"{alert.do}; {alert.runbook}"))
    deaf = sorted({who for who in to for one in due if who not in one.told})
    found += [fail(f"alert by {who}", "not told of all of it", "outbook doctor --alert-test") for who in deaf]
    if not to:
        found.append(warn("alerts", "nobody is named", "set OUTBOOK_ALERT_URL or OUTBOOK_ALERT_COMMAND"))
    return found or [ok("alerts", "none stands")]
