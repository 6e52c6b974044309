"""The second net of a foreground pass, under its polls: the feeds, and what is gone as far as somebody waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.sync import feeds, sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.sync.run import Pass, Report
    from worker.sync.sweep import Swept


def cast(this: Pass, report: Report, *, heed: Callable[[], None]) -> None:
    """Listen to the feeds, and look for what is gone: everywhere in a full pass, else where a brake was just let go.

    A feed that cannot be read is no trouble of the pass. ``heed`` is asked between two steps whether to go on.
    """
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


def _note(this: Pass, report: Report, told: Swept) -> None:
    counts = report.swept.setdefault(told.kind.value, {"read": 0, "missed": 0, "removed": 0})
    for name, more in (("read", told.read), ("missed", told.missed), ("removed", told.removed)):
        counts[name] += more
    if told.trouble:
        report.troubles.append(f"what is gone of {told.kind.value}: {told.trouble}")
    this.on_sweep(told.kind.value, counts["read"])
