"""Vitals: what processes leave behind for whoever looks on. That they tick, and that one side is halted.

Each is a fact about the store that is written seldom, whoever notes it however often.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from worker.core import errors
from worker.store import meta
from worker.store.meta import META

if TYPE_CHECKING:
    import sqlalchemy as sa

    from worker.store.database import Store

BEAT, WEB = "beat", "web"
TICK, HALT = "tick:", "halt:"
REASONS = ("authorisation", "budget", "contract", "other")
"""Why a side can be halted."""
NOTED_EVERY = timedelta(seconds=15)
FORGOTTEN_AFTER = timedelta(minutes=5)
"""A halt that lasts is met again within a poll interval; one that was not met for so long is over."""


@dataclass(frozen=True, slots=True)
class Halted:
    """One side that cannot be worked with, why, since when, and when that was last met."""

    system: str
    reason: str
    since: datetime
    at: datetime


class Ticks:
    """Notes that one process, or one queue, gets on with its work; as often as one likes, for it seldom writes."""

    def __init__(self, store: Store) -> None:
        """Nothing was noted yet."""
        self._store = store
        self._noted: dict[str, datetime] = {}

    def note(self, who: str, now: datetime) -> None:
        """Write the tick down, unless this process did so a moment ago."""
        last = self._noted.get(who)
        if last is not None and timedelta(0) <= now - last < NOTED_EVERY:
            return
        with self._store.write() as db:
            meta.replace(db, f"{TICK}{who}", now.astimezone(UTC).isoformat(timespec="seconds"))
        self._noted[who] = now


def ticks(db: sa.Connection) -> dict[str, datetime]:
    """Return who has ever ticked, and when last, to within a quarter of a minute."""
    return {name: datetime.fromisoformat(text) for name, text in _facts(db, TICK)}


def note_halt(store: Store, halt: errors.Halt, now: datetime) -> None:
    """Write down that one side is halted, and since when; met again within seconds it costs a read."""
    system, reason = halt.system.value if halt.system else "unknown", _reason(halt)
    key = f"{HALT}{system}:{reason}"
    with store.read() as db:
        text = meta.get(db, key)
    known = msgspec.json.decode(text, type=dict[str, datetime]) if text else None
    if known and timedelta(0) <= now - known["at"] < NOTED_EVERY:
        return
    since = known["since"] if known and now - known["at"] < FORGOTTEN_AFTER else now
    with store.write() as db:
        meta.replace(db, key, msgspec.json.encode({"since": since, "at": now}).decode())


def halts(db: sa.Connection, now: datetime) -> list[Halted]:
    """Return what is halted at this moment."""
    found = []
    for name, text in _facts(db, HALT):
        system, _, reason = name.partition(":")
        told = msgspec.json.decode(text, type=dict[str, datetime])
        if now - told["at"] < FORGOTTEN_AFTER:
            found.append(Halted(system, reason, told["since"], told["at"]))
    return found


def _reason(halt: errors.Halt) -> str:
    if isinstance(halt, errors.AuthRevoked):
        return "authorisation"
    if isinstance(halt, errors.BudgetSpent):
        return "budget"
    return "contract" if isinstance(halt, errors.ContractBroken) else "other"


def _facts(db: sa.Connection, prefix: str) -> list[tuple[str, str]]:
    rows = db.execute(META.select().where(META.c.key.startswith(prefix, autoescape=True)).order_by(META.c.key))
    return [(row.key.removeprefix(prefix), row.value) for row in rows]
