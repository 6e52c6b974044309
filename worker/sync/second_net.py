"""The second net of a foreground pass, under its polls: the feeds, and what is gone as far as somebody waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from worker.core import errors, lanes
from worker.sync import feeds, sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.sync.run import Pass, Report
    from worker.sync.sweep import Swept

log = structlog.get_logger("outbook")


def cast(this: Pass, report: Report, *, heed: Callable[[], None]) -> None:
    """Listen to the feeds, and look for what is gone: everywhere in a full pass, else where a brake was just let go.

    A feed that cannot be read is no trouble of the pass. ``heed`` is asked between two steps whether to go on.
    """
    with this.lane(lanes.POLLS):
        feeds.listen(this.on)
    heed()
    if this.full:
        sweep.begin_anew(this.on)
    for kind in sweep.approved(this.on):
        with this.lane(sweep.LANE):
            for told in sweep.walk(kind, this.on, sleep=this.sleep):
                _note(this, report, told)
                heed()
        this.flush()


def take_due(this: Pass, report: Report, *, heed: Callable[[], None]) -> bool:
    """Take the slices of the rolling sweep that no worker seems to take; tell whether that left anything to apply.

    Whoever only ever runs passes has nobody else to notice what is gone. A slice that fails is no trouble of the pass, nor a
    budget that allows none just now: the round remembers where it is and goes on another time.
    """
    found = False
    try:
        with this.lane(sweep.LANE):
            for told in sweep.catch_up(this.on, this.rate(sweep.LANE)):
                found = _is_news(this, report, told) or found
                heed()
    except errors.BudgetSpent as spent:
        log.warning("put_off", stream="sweep", reason=spent.words)
    this.flush()
    return found


def _is_news(this: Pass, report: Report, told: Swept) -> bool:
    if told.trouble:
        log.warning("put_off", stream=told.kind, reason=told.trouble)
    else:
        _note(this, report, told)
    return bool(told.missed or told.removed)


def _note(this: Pass, report: Report, told: Swept) -> None:
    counts = report.swept.setdefault(told.kind.value, {"read": 0, "missed": 0, "removed": 0})
    for name, more in (("read", told.read), ("missed", told.missed), ("removed", told.removed)):
        counts[name] += more
    if told.trouble:
        report.troubles.append(f"what is gone of {told.kind.value}: {told.trouble}")
    this.on_sweep(told.kind.value, counts["read"])
