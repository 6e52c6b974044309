"""Whose organisation and whose database this store belongs to: remembered at first contact, and nothing goes to another.

A wrong key in the settings would otherwise pour one company's people into another's CRM. Each process asks each vendor once,
before its first other request; what it was told is compared again with every task, for the store may have been rebound.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from worker.core import errors
from worker.core.records import System
from worker.remote import base
from worker.store import meta

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    import sqlalchemy as sa

    from worker.store.database import Store

log = structlog.get_logger("outbook")
WHO = {System.OUTREACH: "Outreach's organisation", System.CRM: "the Workbooks database"}
PATIENCE = timedelta(seconds=5)
"""How soon a vendor that could not be asked is asked again."""


class WrongTenant(errors.Halt):
    """The credentials in the settings open somebody else's organisation or database."""


def known(db: sa.Connection) -> dict[System, str]:
    """Return whom the store belongs to, by side; nothing for a side that never told."""
    told = {system: meta.get(db, _key(system)) for system in System}
    return {system: text for system, text in told.items() if text is not None}


def rebind(db: sa.Connection, seen: Mapping[System, str | None]) -> None:
    """Let the store belong to whoever answered; a side that tells nothing is remembered at its next contact."""
    for system, identity in seen.items():
        meta.forget(db, _key(system))
        if identity is not None:
            meta.replace(db, _key(system), identity)


def _key(system: System) -> str:
    return f"tenant:{system.value}"


@dataclass(slots=True)
class Guard:
    """Stands before every request of a process. ``ask`` tells a vendor's identity, None where it tells none."""

    store: Store
    now: Callable[[], datetime]
    ask: Mapping[System, Callable[[], str | None]]
    _seen: dict[System, str | None] = field(default_factory=dict)
    _well: set[System] = field(default_factory=set)
    _failed: dict[System, tuple[datetime, errors.OutbookError]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def before_call(self, system: System) -> None:
        """Return only if requests may go to this vendor; raise WrongTenant, or why that cannot be known just now."""
        if system in self._well:
            return
        with self._lock:
            if system not in self._seen:
                self._seen[system] = self._asked(system)
        self.heed()
        self._well.add(system)

    def heed(self) -> None:
        """Raise WrongTenant if a vendor told this process another identity than the store has now."""
        told = {system: identity for system, identity in self._seen.items() if identity is not None}
        if not told:
            return
        with self.store.read() as db:
            bound = known(db)
        for system, identity in told.items():
            if bound.get(system, identity) != identity:
                self._well.clear()
                words = f"{WHO[system]} answers as {identity}, but this store belongs to {bound[system]}"
                advice = "nothing was written; mend the credentials, or accept the new one with `outbook db rebind`"
                raise WrongTenant(f"{words}: {advice}", system=system)

    def _asked(self, system: System) -> str | None:
        """Return whom a vendor says it is, remembered if it is the first to; None if it does not say.

        Whom a store belongs to already must be told before anything goes there. While it belongs to nobody, a vendor whose
        door for that question is shut is no reason to stop: nothing is remembered then.
        """
        with self.store.read() as db:
            bound = known(db).get(system)
        failed = self._failed.get(system)
        if failed and self.now() - failed[0] < PATIENCE:
            raise failed[1]
        try:
            identity = self.ask[system]()
        except errors.BudgetSpent:
            raise
        except errors.OutbookError as error:
            if bound is None:
                return None
            fault = error
            if isinstance(error, errors.Transient):
                fault = base.NotSent(f"it is not known yet whose it is: {error.words}", system=system)
            self._failed[system] = self.now(), fault
            raise fault from None
        if identity is not None:
            meta.remember(self.store, _key(system), identity)
        elif meta.first(self.store, f"untold_tenant:{system.value}"):
            log.warning(
                "tenant_untold", side=system.value, reason=f"{WHO[system]} tells no identity: it is not watched"
            )
        return identity
