"""What catches the unseen, as the end-to-end tests handle it: the simulated Outreach's courier, and a day of the sweep."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import httpx

from tests.e2e.rig import Stage
from worker import bootstrap, config, tasks
from worker.core.records import System
from worker.store.rounds import standings
from worker.sync import sweep
from worker.web import app, server

SECRET = "an e2e secret"
ALONE = frozenset(
    f"{plural}.all"
    for plural in ("prospects", "sequences", "sequenceSteps", "sequenceStates", "tasks", "users", "webhooks")
)
"""Scopes of a token that may read neither events nor addresses."""


@contextlib.contextmanager
def listening(stage: Stage) -> Iterator[None]:
    """Let Outreach deliver to `outbook web`, set up by the verb, while the block lasts."""
    stage.environ["OUTBOOK_OUTREACH__WEBHOOK_SECRET"] = SECRET
    settings = config.load(stage.environ | {"OUTBOOK_CONSOLE__PORT": "0"}, stage.directory)
    store = bootstrap.open_store(settings)
    with app.application(settings, store, stage.now) as pages, server.running(pages, settings.console) as url:
        made = stage.outbook("webhooks", "setup", "--url", url, "--json")
        assert made.code == 0, made.err
        assert made.report["url"] == f"{url}/webhooks/outreach"
        yield
    store.engine.dispose()


def courier(stage: Stage, **document: object) -> dict[str, Any]:
    """Tell the simulator how to deliver, or what; without a word ask how it stands."""
    url = f"{stage.servers.outreach_url}/_sim/webhooks"
    reply = httpx.post(url, json=document) if document else httpx.get(url)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def delivered(stage: Stage) -> list[dict[str, Any]]:
    """Wait until everything has been delivered, and return what was."""
    deadline = time.monotonic() + 90
    while (told := courier(stage))["pending"]:
        assert time.monotonic() < deadline, told
        time.sleep(0.02)
    return list(told["deliveries"])


def one_round(stage: Stage) -> dict[str, int]:
    """What the rolling sweep takes away in the day to come, as a worker's task does it hour by hour, and nothing else."""
    rung: list[str] = []
    settings = config.load(stage.environ, stage.directory)
    with stage.monkeypatch.context() as patch, bootstrap.runtime(settings) as runtime:
        patch.setattr(bootstrap, "now", stage.now)
        patch.setattr(tasks, "ring", rung.append)
        patch.setattr(tasks, "runtime", lambda: runtime)
        for _ in range(23):
            tasks.take_round.run()
            stage.later(3600)
        with runtime.store.read() as db:
            told = {one.name.removeprefix("sweep:"): one.last["removed"] for one in standings(db)}
        assert runtime.budgets[System.OUTREACH].spent().keys() == {sweep.LANE}
    assert ("outbook.apply" in rung) is any(told.values())
    return told
