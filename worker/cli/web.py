"""`outbook web`: webhooks received, health and metrics."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from worker import bootstrap, config, telemetry
from worker.store import seal


def web() -> None:
    """Receive webhooks and serve health and metrics until told to stop."""
    from worker.web import app, server

    settings = config.load(os.environ, Path.cwd(), credentials=False, also=server.lacking)
    telemetry.configure()
    store = bootstrap.open_store(settings)
    seal.check_key(store, config.secret_key(settings))
    listening = server.bound(settings.console)
    with app.application(settings, store, bootstrap.now) as pages:
        code = server.serve(pages, listening, lambda: _say(f"listening on {server.url_of(listening)}"))
    store.engine.dispose()
    raise typer.Exit(code)


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()
