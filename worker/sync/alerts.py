"""Alerts: told when a state begins and when it is over, once, to whoever the settings name; nothing between.

Who tells? Any process that looks: the task `outbook.alerts` every 30 s, and a thread of `outbook web` as often. One of both is
alive when workers, beat or broker are dead ("no progress" is then told by web), or when web is. The store remembers what was
told and to whom, and a lease lets one process tell at a time, so two never tell the same twice. Dying between the telling and
the remembering makes it come twice; ``id`` in the document tells a receiver so. If nothing of Outbook runs, or its database is
gone, nobody here can tell: watch `/readyz` or `/metrics` from outside for that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

import structlog

from worker.core import alerts
from worker.remote import receivers
from worker.store import alerts as memory
from worker.store.alerts import Known

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from worker.config import Settings
    from worker.core.alerts import Alert
    from worker.core.outlook import Outlook
    from worker.store.database import Store

log = structlog.get_logger("outbook")

BY_NAME = {alert.name: alert for alert in alerts.ALERTS}
URL, COMMAND = "url", "command"
TEST = "OutbookTest"

Send = Callable[[dict[str, Any]], None]
"""Hands a document over, or raises NotDelivered."""


@dataclass(frozen=True, slots=True)
class _News:
    """A state on its way to those who have not been told yet."""

    alert: Alert
    known: Known

    def as_json(self, now: datetime) -> dict[str, Any]:
        return {
            "id": f"{self.alert.name}:{_text(self.known.since)}",
            "alert": self.alert.name,
            "state": "firing" if self.known.firing else "resolved",
            "severity": self.alert.severity,
            "since": _text(self.known.since),
            "at": _text(now),
            "words": self.known.words,
            "do": self.alert.do,
            "runbook": self.alert.runbook,
        }


def receivers_of(settings: Settings) -> dict[str, Send]:
    """Return who is to be told, by name."""
    url, command = settings.alert_url.get_secret_value(), settings.alert_command.get_secret_value()
    found: dict[str, Send] = {}
    if url:
        found[URL] = lambda document: receivers.post(url, document)
    if command:
        found[COMMAND] = lambda document: receivers.run(command, document)
    return found


def tell(store: Store, outlook: Outlook, to: Mapping[str, Send], now: Callable[[], datetime]) -> int:
    """Remember how every state stands and tell what has changed to whoever does not know; return how many were told.

    Who cannot be told is told with the next look; a receiver that fails keeps no other from being told.
    """
    with store.write() as db:
        memory.note(db, alerts.states(outlook), now())
        standing = memory.standing(db)
    if not any(_wants(one, name, now()) for one in standing for name in to):
        return 0
    with store.write() as db:
        mine = memory.lease(db, [one.name for one in standing if any(_wants(one, who, now()) for who in to)], now())
        news = [_News(BY_NAME[one.name], one) for one in memory.standing(db) if one.name in mine]
    told = {one.known.name: one.known.told for one in news}
    for who, send in to.items():
        wanted = [one for one in news if _wants(one.known, who, now())]
        if wanted and _sent(who, send, _document([one.as_json(now()) for one in wanted])):
            for one in wanted:
                name = one.known.name
                told[name] = told[name] | {who} if one.known.firing else told[name] - {who}
    with store.write() as db:
        memory.settle(db, told, now())
    return sum(told[one.known.name] != one.known.told for one in news)


def try_out(to: Mapping[str, Send], now: datetime) -> dict[str, str | None]:
    """Send everybody an alert that is none; return by receiver what went wrong, None if nothing did."""
    alert = alerts.Alert(TEST, alerts.WARNING, "outbook status", lambda _outlook: None)
    known = Known(TEST, firing=True, since=now, words="this is a test: alerts arrive", told=frozenset())
    found: dict[str, str | None] = {}
    for who, send in to.items():
        try:
            send(_document([_News(alert, known).as_json(now)]))
            found[who] = None
        except receivers.NotDelivered as error:
            found[who] = str(error)
    return found


def _wants(one: Known, who: str, now: datetime) -> bool:
    """Tell whether somebody is to be told: it is so for long enough and they do not know, or it is over and they do not."""
    if one.name not in BY_NAME:
        return False
    if one.firing:
        return who not in one.told and now - one.since >= BY_NAME[one.name].patience
    return who in one.told


def _sent(who: str, send: Send, document: dict[str, Any]) -> bool:
    try:
        send(document)
    except receivers.NotDelivered as error:
        log.warning("alert_not_delivered", receiver=who, reason=str(error))
        return False
    return True


def _document(told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what is sent: the alerts, and ``text`` for receivers that show a line, such as chats."""
    lines = [f"Outbook: {one['state']}: {one['words']} ({one['alert']}; {one['do']})" for one in told]
    return {"product": "outbook", "text": "\n".join(lines), "alerts": list(told)}


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
