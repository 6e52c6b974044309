"""The web over a store: as a WSGI application behind a real server in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from tests.web import flood
from worker import bootstrap, config
from worker.store import database, tables, webhooks
from worker.web import app, health, metrics, receiver, server

SECRET = "web-secret"


@dataclass(slots=True)
class Web:
    """A running web and the store behind it."""

    url: str
    store: database.Store
    http: httpx.Client

    def post(
        self, body: bytes, *, secret: str | None = SECRET, event: str = "e1", signature: str | None = None
    ) -> httpx.Response:
        """Deliver a webhook, signed with a secret, or with what is said instead."""
        told = signature if signature is not None else flood.signed(body, secret) if secret else None
        headers = {"Content-Type": "application/vnd.api+json", "Outreach-Webhook-Event-Id": event}
        headers |= {"Outreach-Webhook-Signature": told} if told is not None else {}
        return self.http.post("/webhooks/outreach", content=body, headers=headers)

    def stored(self) -> list[bytes]:
        """Return the bodies in the store, as they came in."""
        with self.store.read() as db:
            rows = db.execute(sa.select(webhooks.WEBHOOK.c.body).order_by(webhooks.WEBHOOK.c.id))
            return [row.body for row in rows]


MakeWeb = Callable[..., Web]


@pytest.fixture
def make_web(tmp_path: Path) -> Iterator[MakeWeb]:
    """Serve the web over a store, a new SQLite file if none is named."""
    with ExitStack() as stack:

        def make(
            secrets: str = SECRET,
            url: str | None = None,
            now: Callable[[], datetime] = bootstrap.now,
            tables_too: bool = True,
        ) -> Web:
            store = database.connect(url or f"sqlite:///{tmp_path / 'web.db'}")
            stack.callback(store.engine.dispose)
            if tables_too:
                tables.metadata.create_all(store.engine)
            environ = {"OUTBOOK_CONSOLE__PORT": "0"} | (
                {"OUTBOOK_OUTREACH__WEBHOOK_SECRET": secrets} if secrets else {}
            )
            settings = config.load(environ, tmp_path, credentials=False)
            pages = stack.enter_context(app.application(settings, store, now))
            base = stack.enter_context(server.running(pages, settings.console))
            return Web(base, store, stack.enter_context(httpx.Client(base_url=base, timeout=90)))

        yield make


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the web wait longer for its store than it may in life: on a busy machine a commit takes its time."""
    for module, name in ((receiver, "ANSWER_WITHIN_S"), (health, "WITHIN_S"), (metrics, "WITHIN_S")):
        monkeypatch.setattr(module, name, 60.0)


@pytest.fixture
def web(make_web: MakeWeb) -> Web:
    """Return the web over an empty SQLite file."""
    return make_web()
