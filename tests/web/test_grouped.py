"""Webhooks that come together are stored together: as many as come while one commit lasts, and none is answered before it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from tests.web import flood
from tests.web.conftest import SECRET, Web
from worker.store import webhooks
from worker.web import receiver

MANY = 100


def post_all(web: Web, count: int) -> None:
    """Post webhooks at the same moment, each over a connection of its own; all are accepted."""

    def one(number: int) -> int:
        body = flood.body(number)
        headers = {"Outreach-Webhook-Signature": flood.signed(body, SECRET), "Outreach-Webhook-Event-Id": f"e{number}"}
        return web.http.post("/webhooks/outreach", content=body, headers=headers).status_code

    with ThreadPoolExecutor(count) as pool:
        assert list(pool.map(one, range(count))) == [200] * count


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
        everybody.wait(60)
        keep(db, arrivals)

    monkeypatch.setattr(receiver.Writer, "stored", counted)
    monkeypatch.setattr(webhooks, "keep", slow)
    post_all(web, MANY)
    assert everybody.is_set()
    assert len(sizes) <= 3
    assert len(web.stored()) == MANY


def test_nobody_hears_200_before_the_commit(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody in a group is let go while it is being committed, nor when that fails; the next try stores it."""
    waiting: dict[str, threading.Event] = {}
    under_way, early, failures = list[str](), list[str](), [OSError("disk full")]
    pending, keep = receiver._Pending, webhooks.keep

    def noted(arrival: webhooks.Arrival) -> receiver._Pending:
        one = pending(arrival)
        waiting[arrival.event] = one.stored
        return one

    def kept(db: sa.Connection, arrivals: Sequence[webhooks.Arrival]) -> None:
        under_way[:] = [one.event for one in arrivals]
        keep(db, arrivals)

    def commit(_connection: sa.Connection) -> None:
        early.extend(name for name in under_way if waiting[name].is_set())
        if under_way and failures:
            raise failures.pop()
        under_way.clear()

    monkeypatch.setattr(receiver, "_Pending", noted)
    monkeypatch.setattr(webhooks, "keep", kept)
    monkeypatch.setattr(receiver, "ANSWER_WITHIN_S", 20)
    sa.event.listen(web.store.engine, "commit", commit, insert=True)
    try:
        post_all(web, 10)
    finally:
        sa.event.remove(web.store.engine, "commit", commit)
    assert (early, failures) == ([], [])
    assert len(web.stored()) == 10
