"""`GET /metrics`: how everything stands, as Prometheus reads it. All is drawn from the store, so every web tells the same.

Counters are the store's as well. However many ask, the store is looked at once in a few seconds, by one thread; while it does
not answer, `outbook_store_reachable` is 0 and nothing else is told but which Outbook this is.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooSlow
from dataclasses import dataclass
from typing import TYPE_CHECKING

import prometheus_client
import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from worker import release
from worker.store import counters, sights
from worker.store import outlook as counts
from worker.sync.outlook import WEEK, Lookout
from worker.web import families
from worker.web.wire import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from prometheus_client.core import Metric

    from worker.config import Settings
    from worker.store.database import Store
    from worker.web.wire import Request

log = structlog.get_logger("outbook.web")

FRESH_S = 5.0
WITHIN_S = 5.0
"""An answer later than this is none: a scrape gives up after ten seconds."""


@dataclass(frozen=True, slots=True)
class _Page:
    """What was told, and when by the process' own clock."""

    body: bytes
    at: float


class Metrics:
    """Answers scrapes."""

    def __init__(self, settings: Settings, store: Store, now: Callable[[], datetime]) -> None:
        """Look at nothing yet."""
        self._store = store
        self._now = now
        self._lookout = Lookout(settings, store, now)
        self._lock = threading.Lock()
        self._page: Future[_Page] | None = None

    def answer(self, _request: Request) -> Answer:
        """Answer with what is known by now, at most a few seconds old."""
        with self._lock:
            if self._page is None or self._is_old(self._page):
                self._page = Future()
                threading.Thread(target=self._see, args=(self._page,), name="metrics", daemon=True).start()
            page = self._page
        try:
            body = page.result(timeout=WITHIN_S).body
        except TooSlow:
            body = rendered(_release(reachable=False))
        return Answer(200, body, kind=prometheus_client.CONTENT_TYPE_LATEST)

    def _is_old(self, page: Future[_Page]) -> bool:
        return page.done() and time.monotonic() - page.result().at > FRESH_S

    def _see(self, page: Future[_Page]) -> None:
        began = time.monotonic()
        try:
            told = [*families.of(self._facts()), _took(time.monotonic() - began)]
            body = rendered([*_release(reachable=True), *told])
        except Exception as error:  # noqa: BLE001 - whatever it is, a scrape must be told that it is
            log.warning("metrics_not_drawn", reason=type(error).__name__)
            body = rendered(_release(reachable=False))
        page.set_result(_Page(body, time.monotonic()))

    def _facts(self) -> families.Facts:
        outlook = self._lookout.look()
        with self._store.read() as db:
            return families.Facts(
                outlook=outlook,
                counted=counters.told(db),
                calls=counts.calls_by_lane(db),
                seen=sights.told(db, self._now() - WEEK),
            )


def _release(*, reachable: bool) -> Iterator[Metric]:
    told = GaugeMetricFamily("outbook_build_info", "Which Outbook this is; always 1.", labels=("version", "commit"))
    told.add_metric([release.version(), release.commit()], 1)
    yield told
    yield GaugeMetricFamily("outbook_store_reachable", "Whether the database answers.", value=float(reachable))


def _took(seconds: float) -> Metric:
    return GaugeMetricFamily("outbook_scrape_seconds", "How long it took to draw what is told here.", value=seconds)


class _Told(Collector):
    """Hands over what is there already."""

    def __init__(self, told: list[Metric]) -> None:
        self._told = told

    def collect(self) -> Iterable[Metric]:
        return self._told


def rendered(told: Iterable[Metric]) -> bytes:
    """Return metrics in Prometheus' text format."""
    registry = prometheus_client.CollectorRegistry(auto_describe=False)
    registry.register(_Told(list(told)))
    return prometheus_client.generate_latest(registry)
