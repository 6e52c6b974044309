"""Webhooks that come together are stored together: as many as come while one commit lasts, and none is answered before it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from tests.web import flood
from tests.web.conftest import SECRET, Web
from worker.store import webhooks
from worker.web import receiver

MANY = 100


def post_all(web: Web, count: int, then: Callable[[str], object]) -> list[object]:
    """Post webhooks at the same moment, each over a connection of its own; return what ``then`` made of each event's name."""

    def one(number: int) -> object:
        event, body = f"e{number}", flood.body(number)
        headers = {"Outreach-Webhook-Signature": flood.signed(body, SECRET), "Outreach-Webhook-Event-Id": event}
        reply = web.http.post("/webhooks/outreach", content=body, headers=headers)
        assert reply.status_code == 200
        return then(event)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_a_slow_commit_takes_all_that_came_meanwhile(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first commit lasts a hundred more get in, and the next one stores them all: nobody waits for a third."""
    inside, everybody, sizes = [0], threading.Event(), list[int]()
    stored, keep = receiver.Writer.stored, webhooks.keep

    def counted(writer: receiver.Writer, arrival: webhooks.Arrival, _within_s: float) -> bool:
        inside[0] += 1
        if inside[0] == MANY:
            everybody.set()
        return stored(writer, arrival, 20)

    def slow(db: sa.Connection, arrivals: Sequence[webhooks.Arrival]) -> None:
        sizes.append(len(arrivals))
        everybody.wait(10)
        keep(db, arrivals)

    monkeypatch.setattr(receiver.Writer, "stored", counted)
    monkeypatch.setattr(webhooks, "keep", slow)
    post_all(web, MANY, lambda _event: None)
    assert everybody.is_set()
    assert len(sizes) <= 3
    assert len(web.stored()) == MANY


def test_nobody_hears_200_before_the_commit(web: Web) -> None:
    """The commit takes its time, and the first one fails: whoever is told 200 finds the row, though others hang on it, too."""
    failed = [True]

    def commit(_connection: sa.Connection) -> None:
        time.sleep(0.05)
        if failed.pop(0) if failed else False:
            raise sa.exc.OperationalError("COMMIT", None, OSError("disk full"))

    def is_there(event: str) -> bool:
        with web.store.read() as db:
            return (
                db.scalar(sa.select(webhooks.WEBHOOK.c.id).where(webhooks.WEBHOOK.c.event.startswith(f"{event}:")))
                is not None
            )

    sa.event.listen(web.store.engine, "commit", commit, insert=True)
    try:
        assert post_all(web, 10, is_there) == [True] * 10
    finally:
        sa.event.remove(web.store.engine, "commit", commit)
    assert failed == []
