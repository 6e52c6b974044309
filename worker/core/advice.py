"""What to do next: from how everything stands, the most pressing first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core.outlook import Advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.core.outlook import Outlook

EXPIRY_DAYS = 14
"""So long ahead somebody is told that a key runs out."""
TOKEN_DAYS = 4.0
EVERYTHING = "all"


def advice(outlook: Outlook) -> tuple[Advice, ...]:
    """Return what there is to do; nothing if all is well."""
    return (*_safety(outlook), *_people(outlook), *_movement(outlook), *_upkeep(outlook))


def _safety(outlook: Outlook) -> Iterator[Advice]:
    safe = outlook.safe
    if safe.opt_outs.failed:
        yield Advice(f"{safe.opt_outs.failed} opt-outs could not be delivered", "outbook failures list")
    if outlook.mapping.problem:
        yield Advice("the mapping's file cannot be used", f"outbook mapping check {outlook.mapping.path}")
    for pause in safe.pauses:
        scope = "" if pause.scope == EVERYTHING else f" {pause.scope}"
        yield Advice(f"paused: {pause.scope}", f"outbook resume{scope}")
    if safe.opt_outs.alarm:
        yield Advice(
            f"{safe.opt_outs.last_hour} people opted out within an hour", "outbook explain --since 1h --limit 20"
        )


def _movement(outlook: Outlook) -> Iterator[Advice]:
    fresh = outlook.fresh
    if not any(one.polled_at or one.reading for one in fresh.streams):
        yield Advice("nothing has been read yet", "outbook sync")
        return
    if any(one.trouble for one in fresh.streams):
        yield Advice("a stream cannot be read", "outbook doctor")
    elif not fresh.ok:
        yield Advice("nobody has read the streams lately", "outbook up")
    elif outlook.safe.opt_outs.undelivered and not outlook.safe.ok and not outlook.safe.kept_back.opt_outs:
        yield Advice("an opt-out waits for long", "outbook sync")


def _people(outlook: Outlook) -> Iterator[Advice]:
    stuck = outlook.stuck
    entries = sum(one.entries for one in stuck.held)
    if entries:
        yield Advice(f"{entries} entries wait for a person to decide", "outbook held list")
    if stuck.open.failed:
        yield Advice(f"{stuck.open.failed} records failed", "outbook failures list")


def _upkeep(outlook: Outlook) -> Iterator[Advice]:
    keys, budget = outlook.credentials, outlook.budget
    if keys.workbooks_key_days_left is not None and keys.workbooks_key_days_left <= EXPIRY_DAYS:
        yield Advice(f"the Workbooks key runs out on {keys.workbooks_key_expires}", "outbook doctor")
    if keys.outreach_days_left is not None and keys.outreach_days_left <= TOKEN_DAYS:
        yield Advice("nobody has renewed the Outreach token for days", "outbook auth outreach")
    if not budget.ok:
        yield Advice("the calls will not last", "outbook doctor")
    if outlook.mapping.differs:
        yield Advice("the mapping's file is not what is in force", f"outbook plan --mapping {outlook.mapping.path}")
