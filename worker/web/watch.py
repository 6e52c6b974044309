"""The watch that every web keeps: alerts are told from here too, so that dead workers, beat or broker cannot silence them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

from worker.store import counters, vitals
from worker.store.counters import Counters
from worker.sync import alerts
from worker.sync.outlook import Lookout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from worker.config import Settings
    from worker.store.database import Store

log = structlog.get_logger("outbook.web")

EVERY_S = 30.0


class Watch:
    """Looks every half minute, in a thread of its own, and writes down how many webhooks came in meanwhile."""

    def __init__(
        self, settings: Settings, store: Store, received: Mapping[str, int], now: Callable[[], datetime]
    ) -> None:
        """Begin. ``received`` counts webhooks by what became of them, from nought on."""
        self._store = store
        self._now = now
        self._lookout = Lookout(settings, store, now)
        self._to = alerts.receivers_of(settings)
        self._received = received
        self._counted: dict[str, int] = {}
        self._counters = Counters(store)
        self._ticks = vitals.Ticks(store)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Look once."""
        self._tick()
        self._count()
        alerts.tell(self._store, self._lookout.look(), self._to, self._now)

    def stop(self, within_s: float = 5.0) -> None:
        """End, with what was counted written down if the database takes it."""
        self._ended.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        self._guarded(self._tick)
        while not self._ended.wait(EVERY_S):
            self._guarded(self.look)
        self._guarded(self._count)

    def _guarded(self, deed: Callable[[], None]) -> None:
        try:
            deed()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next look may be well again
            log.warning("watch_failed", reason=type(error).__name__)

    def _tick(self) -> None:
        """Note that somebody uses this store: it must not be moved meanwhile."""
        self._ticks.note(vitals.WEB, self._now())

    def _count(self) -> None:
        told = dict(self._received)
        for outcome, count in told.items():
            self._counters.add(counters.WEBHOOKS, outcome, by=count - self._counted.get(outcome, 0))
        self._counted = told
        self._counters.flush()
