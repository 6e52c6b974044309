"""What somebody is alerted about, and whether it is so: names, sentences and patience, from how everything stands.

Each name is that of a Prometheus alert in `deploy/alerts.yaml` and of a heading in `deploy/runbook.md`. Nothing personal is
in any sentence: counts, spans, and words of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.outlook import Outlook

CRITICAL, WARNING = "critical", "warning"
OPT_OUT_S = 900.0
SILENT_S = 300.0
"""A queue is rung for at least once a minute; so long without an answer nobody serves it."""
TOKEN_DAYS, KEY_DAYS = 3.0, 14
BRAKES = frozenset({"brake", "breaker"})
BEAT = "beat"
RUNG = frozenset({"optout", "poll", "slow"})
"""Queues that beat rings for by the clock, whether there is work or not."""
MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Alert:
    """One state to alert about. ``words`` of an outlook are None when it is not so; ``do`` is what to type first.

    ``patience``: how long it must have been so before anybody is told.
    """

    name: str
    severity: str
    do: str
    words: Callable[[Outlook], str | None]
    patience: timedelta = timedelta(0)

    @property
    def runbook(self) -> str:
        """Where the runbook tells what it means."""
        return f"deploy/runbook.md#{self.name.lower()}"


def _opt_out_late(outlook: Outlook) -> str | None:
    opt_outs, kept = outlook.safe.opt_outs, outlook.safe.kept_back.opt_outs
    if opt_outs.oldest_age_s is None or opt_outs.oldest_age_s <= OPT_OUT_S:
        return None
    held = f", {kept} of them kept back by {', '.join(outlook.safe.kept_back.because)}" if kept else ""
    return (
        f"an opt-out is on its way for {opt_outs.oldest_age_s / MINUTE:.0f} minutes; {opt_outs.undelivered} are{held}"
    )


def _opt_out_failed(outlook: Outlook) -> str | None:
    failed = outlook.safe.opt_outs.failed
    return f"{failed} opt-outs could not be delivered: one side does not show them" if failed else None


def _opt_outs_unusual(outlook: Outlook) -> str | None:
    opt_outs = outlook.safe.opt_outs
    return f"{opt_outs.last_hour} people opted out within an hour" if opt_outs.alarm else None


def _no_progress(outlook: Outlook) -> str | None:
    return "; ".join(outlook.work.troubles) or None


def _polling_stopped(outlook: Outlook) -> str | None:
    ages = [one.polled_age_s for one in outlook.fresh.streams if one.polled_age_s is not None]
    if not ages or min(ages) <= outlook.fresh.patience_s or any(one.reading for one in outlook.fresh.streams):
        return None
    return f"no stream was read for {min(ages) / MINUTE:.0f} minutes"


def _workers_down(outlook: Outlook) -> str | None:
    ages = {one.who: one.age_s for one in outlook.work.ticks}
    silent = sorted(who for who in RUNG if ages.get(who, 0.0) > SILENT_S)
    rung = ages.get(BEAT, SILENT_S) < SILENT_S
    return f"nobody serves the queues {', '.join(silent)}" if silent and rung else None


def _beat_down(outlook: Outlook) -> str | None:
    age = next((one.age_s for one in outlook.work.ticks if one.who == BEAT), 0.0)
    return f"beat has rung for nothing in {age / MINUTE:.0f} minutes" if age > SILENT_S else None


def _halted(outlook: Outlook, *reasons: str) -> str | None:
    told = sorted(f"{one.system}: {one.reason}" for one in outlook.work.halted if one.reason in reasons)
    return f"halted: {'; '.join(told)}" if told else None


def _authorisation_needed(outlook: Outlook) -> str | None:
    told = sorted(one.system for one in outlook.work.halted if one.reason == "authorisation")
    return f"the credentials are not accepted, or lack a permission: {', '.join(told)}" if told else None


def _authorisation_due(outlook: Outlook) -> str | None:
    left = outlook.credentials.outreach_days_left
    due = left is not None and left <= TOKEN_DAYS
    return f"nobody renews the Outreach token; it is good for {left:.1f} more days" if due else None


def _key_expiring(outlook: Outlook) -> str | None:
    left = outlook.credentials.workbooks_key_days_left
    due = left is not None and left <= KEY_DAYS
    return f"the Workbooks key runs out on {outlook.credentials.workbooks_key_expires}" if due else None


def _budget_spent(outlook: Outlook) -> str | None:
    spent = outlook.budget.outreach
    if any(one.reason == "budget" for one in outlook.work.halted) or spent.hour_left == 0 or spent.year_left == 0:
        return "the calls are used up; what is left is kept for opt-outs"
    return f"at this pace the year's calls are used up on {spent.runs_out_on}" if spent.runs_out_on else None


def _brake(outlook: Outlook) -> str | None:
    found = [one for one in outlook.stuck.held if one.kind in BRAKES]
    told = f"{sum(one.entries for one in found)} brakes or breakers have tripped"
    return f"{told}; {sum(one.records for one in found)} records wait" if found else None


def _held(outlook: Outlook) -> str | None:
    found = [f"{one.entries} {one.kind}" for one in outlook.stuck.held if one.kind not in BRAKES]
    return f"entries wait for a person: {', '.join(found)}" if found else None


def _dead_letters(outlook: Outlook) -> str | None:
    fresh = any(one.newest and outlook.at - one.newest < timedelta(hours=1) for one in outlook.stuck.failed)
    return f"records failed within the last hour; {outlook.stuck.open.failed} have by now" if fresh else None


def _mapping_refused(outlook: Outlook) -> str | None:
    return "the mapping's file cannot be used; the one in force goes on" if outlook.mapping.problem else None


def _mapping_differs(outlook: Outlook) -> str | None:
    return "the mapping's file is not what is in force" if outlook.mapping.differs else None


ALERTS = (
    Alert("OutbookOptOutLate", CRITICAL, "outbook status", _opt_out_late),
    Alert("OutbookOptOutFailed", CRITICAL, "outbook failures list", _opt_out_failed),
    Alert("OutbookOptOutsUnusual", WARNING, "outbook explain --since 1h --limit 20", _opt_outs_unusual),
    Alert("OutbookNoProgress", CRITICAL, "outbook status", _no_progress),
    Alert("OutbookPollingStopped", CRITICAL, "outbook status", _polling_stopped),
    Alert("OutbookWorkersDown", CRITICAL, "outbook status", _workers_down),
    Alert("OutbookBeatDown", CRITICAL, "outbook status", _beat_down),
    Alert("OutbookHalted", CRITICAL, "outbook doctor", lambda outlook: _halted(outlook, "contract", "other")),
    Alert("OutbookAuthorisationNeeded", CRITICAL, "outbook doctor", _authorisation_needed),
    Alert("OutbookAuthorisationDue", WARNING, "outbook auth outreach", _authorisation_due),
    Alert("OutbookKeyExpiring", WARNING, "outbook doctor", _key_expiring),
    Alert("OutbookBudgetSpent", WARNING, "outbook status", _budget_spent),
    Alert("OutbookBrake", WARNING, "outbook held list", _brake),
    Alert("OutbookHeld", WARNING, "outbook held list", _held),
    Alert("OutbookDeadLettersGrowing", WARNING, "outbook failures list", _dead_letters),
    Alert("OutbookMappingRefused", WARNING, "outbook mapping check", _mapping_refused),
    Alert("OutbookMappingDiffers", WARNING, "outbook plan", _mapping_differs, timedelta(days=1)),
)


def states(outlook: Outlook) -> dict[str, str | None]:
    """Return by the name of each alert why it is so; None if it is not."""
    return {alert.name: alert.words(outlook) for alert in ALERTS}
