"""The web put together: which page answers what, and what the pages touch.

A page is added in :func:`routes`, by method and path. A path that ends in ``/*`` stands for everything below it; the longest
that fits is taken.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.web import health
from worker.web.metrics import Metrics
from worker.web.receiver import Receiver, Writer
from worker.web.watch import Watch
from worker.web.wire import Application

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from worker.config import Settings
    from worker.store.database import Store
    from worker.web.wire import Routes


@dataclass(frozen=True, slots=True)
class Site:
    """What the pages touch."""

    settings: Settings
    store: Store
    receiver: Receiver
    now: Callable[[], datetime]


def routes(site: Site) -> Routes:
    """Return who answers what: method and path → handler."""
    return {
        ("POST", "/webhooks/outreach"): site.receiver.answer,
        ("GET", "/healthz"): health.alive,
        ("GET", "/readyz"): health.Readiness(site.store, site.now).answer,
        ("GET", "/metrics"): Metrics(site.settings, site.store, site.now).answer,
    }


@contextmanager
def application(settings: Settings, store: Store, now: Callable[[], datetime]) -> Iterator[Application]:
    """Hold the web's application ready to be served; in the end what came in last is stored."""
    secrets = [secret.get_secret_value() for secret in settings.outreach.webhook_secrets]
    writer = Writer(store)
    receiver = Receiver(secrets, writer, now)
    watch = Watch(settings, store, receiver.counts, now)
    try:
        yield Application(routes(Site(settings, store, receiver, now)))
    finally:
        writer.stop()
        watch.stop()
