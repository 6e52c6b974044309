"""Respites: how long a vendor has asked to be left alone, kept in the store so that every process heeds it.

A wait that one process is told binds all, for calls of that kind: reads or writes (facts, delivery F24). An opt-out is sent all
the same, now and then; whether it is taken nobody knows before.
"""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from worker.core import errors
from worker.store import circuits, meta
from worker.store.meta import META

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.records import System
    from worker.store.database import Store

KEY = "respite:"
"""Before the vendor and the kind of call: the key under which it stands from when to when."""
SLEPT_THROUGH_S = 5.0
"""A shorter one is slept through by whoever was told; the others hear it themselves."""
KINDS = frozenset({"read", "write"})
"""What is heeded; who asks for tokens has a patience of his own."""

Span = tuple[datetime, datetime]


class Respites:
    """Those of one vendor, as one process sees them. May be shared by threads; never inside a transaction."""

    def __init__(self, store: Store, system: System, now: Callable[[], datetime]) -> None:
        """Know nothing yet."""
        self._store = store
        self._system = system
        self._now = now
        self._known: dict[str, tuple[Span | None, datetime]] = {}

    def heed(self, operation: str) -> None:
        """Return if a call of this kind may go; raise Resting while the vendor wants none.

        A store in trouble holds nothing up.
        """
        if operation not in KINDS or circuits.is_urgent():
            return
        now, span = self._now(), None
        with contextlib.suppress(sa.exc.SQLAlchemyError):
            span = self._look(operation, now)
        if span is not None and _lasts(span, now):
            words = f"asked to wait until {span[1]:%Y-%m-%d %H:%M:%S} UTC: not called before (`outbook resume` calls at once)"
            raise errors.Resting(words, retry_after_s=(span[1] - now).total_seconds(), system=self._system)

    def asked(self, operation: str, wait_s: float) -> None:
        """Take down that the vendor wants no call of this kind for so many seconds."""
        if operation in KINDS and wait_s > SLEPT_THROUGH_S:
            now = self._now()
            span = now, now + timedelta(seconds=wait_s)
            with contextlib.suppress(sa.exc.SQLAlchemyError), self._store.write() as db:
                meta.replace(db, self._key(operation), " ".join(at.isoformat() for at in span))
            self._known[operation] = span, now

    def _look(self, operation: str, now: datetime) -> Span | None:
        span, at = self._known.get(operation, (None, None))
        # One that lasts is read each time: whoever is put off for long by one that was ended a moment ago is not woken again.
        lasts = span is not None and _lasts(span, now)
        if at is None or lasts or not timedelta(0) <= now - at < circuits.BELIEVED:
            with self._store.read() as db:
                span = _read(meta.get(db, self._key(operation)))
            self._known[operation] = span, now
        return span

    def _key(self, operation: str) -> str:
        return f"{KEY}{self._system.value}:{operation}"


def standing(db: sa.Connection, now: datetime) -> dict[tuple[str, str], Span]:
    """Return since when and until when which calls are not made, by vendor and kind of call."""
    told = {key: _read(value) for key, value in meta.under(db, KEY).items()}
    return {key: span for key, span in told.items() if span is not None and _lasts(span, now)}


def end(db: sa.Connection) -> None:
    """Call everybody again at once."""
    db.execute(sa.delete(META).where(META.c.key.startswith(KEY, autoescape=True)))


def _lasts(span: Span, now: datetime) -> bool:
    """Tell whether it is not over; one that begins in the time to come was told to a clock that has been set back."""
    return span[0] <= now < span[1]


def _read(text: str | None) -> Span | None:
    if text is None:
        return None
    since, until = text.split(" ")
    return datetime.fromisoformat(since), datetime.fromisoformat(until)
