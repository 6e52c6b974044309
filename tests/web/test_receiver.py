from __future__ import annotations

import hashlib
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import structlog

from tests.web import flood
from tests.web.conftest import SECRET, MakeWeb, Web
from worker.store import webhooks
from worker.store.database import BUSY_TIMEOUT_MS
from worker.store.webhooks import Arrival
from worker.web import receiver

SHIPPED_S = receiver.ANSWER_WITHIN_S
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
BODY = flood.body(1)


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_signed_webhook_is_stored_as_it_came(
    database: str, make_web: MakeWeb, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """200 means that the very bytes are in the store, whatever version they are of and whatever they say."""
    web = make_web(url=None if database == "sqlite" else request.getfixturevalue("postgres_url"))
    bodies = [
        flood.body(1),
        flood.body(2, version=2),
        flood.body(3, resource="sequenceState", action="destroyed"),
        b'{"data": {"id": "\\u00e9", "typ',
        "ü\x00ß".encode(),
        b"",
    ]
    for number, body in enumerate(bodies):
        assert web.post(body, event=f"e{number}").status_code == 200
        assert web.stored() == bodies[: number + 1]


def test_what_may_tell_of_an_opt_out_is_marked_as_urgent(web: Web) -> None:
    """An unsubscribe is; an edit is not, nor what nobody can read."""
    opt_out = BODY.replace(b'"title": "Title 1"', b'"optedOut": true')
    for number, body in enumerate((BODY, opt_out, b'{"data": {"attributes": {"optedOut": tr')):
        assert web.post(body, event=f"e{number}").status_code == 200
    with web.store.read() as db:
        rows = db.execute(sa.select(webhooks.WEBHOOK.c.urgent).order_by(webhooks.WEBHOOK.c.id))
        assert [row.urgent for row in rows] == [False, True, False]


def test_a_header_may_be_spelt_in_any_case(web: Web) -> None:
    """Captured headers are partly in small letters, the signature in capitals is the same number."""
    told = flood.signed(BODY, SECRET)
    for name, text in (("outreach-webhook-signature", told), ("OUTREACH-WEBHOOK-SIGNATURE", told.upper())):
        reply = web.http.post("/webhooks/outreach", content=BODY, headers={name: text})
        assert reply.status_code == 200


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param("", id="none"),
        pytest.param(flood.signed(BODY, "another secret"), id="another secret"),
        pytest.param(flood.signed(BODY + b" ", SECRET), id="another body"),
        pytest.param(flood.signed(BODY, SECRET)[:-1], id="cut"),
        pytest.param(hashlib.sha256(SECRET.encode() + BODY).hexdigest(), id="a plain hash"),
        pytest.param("é" * 64, id="no hexadecimal"),
        pytest.param(flood.signed(BODY, ""), id="an empty secret"),
    ],
)
def test_a_forgery_has_no_effect(web: Web, signature: str) -> None:
    """What is not signed with our secret is refused, and nothing of it is stored."""
    headers = {b"Outreach-Webhook-Signature": signature.encode("utf-8")} if signature else {}
    reply = web.http.post("/webhooks/outreach", content=BODY, headers=headers)
    assert reply.status_code == 401
    assert web.stored() == []


def test_while_rotating_each_secret_is_good(make_web: MakeWeb) -> None:
    """Two secrets, with blanks between: both are taken, a third is not, nor is the setting as a whole."""
    web = make_web(secrets="new one, old one ,")
    told = [web.post(BODY, secret=secret, event=secret).status_code for secret in ("old one", "new one")]
    assert told == [200, 200]
    assert [web.post(BODY, secret=secret).status_code for secret in ("one", "new one, old one ,", " ")] == [
        401,
        401,
        401,
    ]
    assert len(web.stored()) == 2


def test_without_a_secret_nothing_is_accepted(make_web: MakeWeb) -> None:
    """Not even what is signed with an empty secret; the answer and the log say what is missing, the log once."""
    web = make_web(secrets="")
    with structlog.testing.capture_logs() as logs:
        replies = [web.post(BODY, signature=flood.signed(BODY, "")) for _ in range(5)]
    assert {reply.status_code for reply in replies} == {503}
    assert "OUTBOOK_OUTREACH__WEBHOOK_SECRET" in replies[0].text
    assert [line["event"] for line in logs] == ["webhook_refused"]
    assert web.stored() == []


def test_a_duplicate_is_accepted_and_does_nothing(web: Web) -> None:
    """The same delivery again is one row; another body under the same id is another, for nobody signs the id."""
    assert [web.post(BODY).status_code for _ in range(3)] == [200, 200, 200]
    assert web.stored() == [BODY]
    other = flood.body(2)
    assert web.post(other).status_code == 200
    assert web.stored() == [BODY, other]
    with web.store.write() as db:
        db.exec_driver_sql("UPDATE webhook SET body = X'', done_at = '2026-11-20 09:00:00.000000'")
    assert web.post(BODY).status_code == 200
    assert web.stored() == [b"", b""]


@pytest.mark.parametrize("chunked", [False, True])
def test_what_is_too_large_is_refused(web: Web, chunked: bool) -> None:
    """One byte over a million is refused, told beforehand or not; a hundred less are taken, and so is the next webhook."""
    for size, code in ((receiver.BODY_LIMIT + 1, 413), (10_000_000, 413), (999_900, 200)):
        body = b"x" * size
        headers = {"Outreach-Webhook-Signature": flood.signed(body, SECRET), "Connection": "close"}
        content: Any = iter([body[: size // 2], body[size // 2 :]]) if chunked else body
        try:
            told = web.http.post("/webhooks/outreach", content=content, headers=headers).status_code
        except httpx.WriteError:
            told = 413  # the server had said so and hung up before all of it was sent
        assert told == code
    assert [len(body) for body in web.stored()] == [999_900]
    assert web.post(BODY).status_code == 200


def test_a_busy_database_is_no_reason_to_keep_the_sender_waiting(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a second there is an answer, and it is not 200; once the database is free again the webhook is stored."""
    assert SHIPPED_S < 1.0
    monkeypatch.setattr(receiver, "ANSWER_WITHIN_S", SHIPPED_S)
    with ExitStack() as stack:
        stack.enter_context(web.store.write())
        began = time.monotonic()
        reply = web.post(BODY)
        assert time.monotonic() - began < BUSY_TIMEOUT_MS / 1000 / 2
        assert reply.status_code == 503
        assert web.stored() == []
    monkeypatch.setattr(receiver, "ANSWER_WITHIN_S", 60.0)
    deadline = time.monotonic() + 60
    while web.stored() != [BODY]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert web.post(flood.body(2)).status_code == 200


def test_a_store_that_does_not_answer_at_all_fills_no_memory(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """When too many wait for the database the next is refused; those that waited are stored in the end, it is not."""
    monkeypatch.setattr(receiver, "QUEUE", 1)
    writer = receiver.Writer(web.store)
    webhooks = [Arrival(str(number), str(number).encode(), NOON) for number in range(4)]
    with web.store.write():
        assert [writer.stored(one, 0.1) for one in webhooks] == [False, False, False, False]
    writer.stop()
    assert web.stored() in ([b"0"], [b"0", b"1"])  # the one in hand, and the one in the queue
