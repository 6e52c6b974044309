"""Webhooks received: checked, stored, and only then answered with 200. Nothing else happens while the sender waits.

The vendor takes any answer for an acceptance and repeats only what was not answered at all (facts, outreach-api 7.2), so a
503 loses nothing but time: the polls bring the record. What could not be stored in time is stored when it can be.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from worker.remote import outreach_hints
from worker.store import webhooks
from worker.store.webhooks import Arrival
from worker.web.wire import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from worker.store.database import Store
    from worker.web.wire import Request

log = structlog.get_logger("outbook.web")

BODY_LIMIT = 1_000_000
ANSWER_WITHIN_S = 0.7
"""Always within a second (contract, section 7); the rest is for the way there and back."""
QUEUE = 20_000
"""Webhooks that may wait in memory for a database that does not take them."""
BATCH = 500
LINGER_S = 0.002
"""What comes so soon after another rides in the same commit: a flood costs a third less of the processor (measured)."""
AGAIN_S = 0.5
SELDOM_S = 10.0
SIGNATURE, EVENT = "Outreach-Webhook-Signature", "Outreach-Webhook-Event-Id"
LONGEST_ID = 80

UNSET = "no webhook secret is set, so nothing can be accepted; set OUTBOOK_OUTREACH__WEBHOOK_SECRET"


@dataclass(slots=True)
class _Pending:
    """A webhook on its way into the store, and whoever waits for that."""

    arrival: Arrival
    stored: threading.Event = field(default_factory=threading.Event)


class _Seldom:
    """Says the same thing at most every ten seconds, and how often it would have been said since."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self._lock = threading.Lock()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def say(self, event: str, reason: str) -> None:
        """Log it, or count it."""
        now = time.monotonic()
        with self._lock:
            last, unsaid = self._said.get((event, reason), (float("-inf"), 0))
            quiet = now - last < SELDOM_S
            self._said[event, reason] = (last, unsaid + 1) if quiet else (now, 0)
        if not quiet:
            log.warning(event, reason=reason, times=unsaid + 1)


class Writer:
    """Stores what has queued up, one transaction for all of it, then lets everybody go who waited for that."""

    def __init__(self, store: Store) -> None:
        """Start the one thread that writes."""
        self._store = store
        self._queue: queue.Queue[_Pending | None] = queue.Queue(QUEUE)
        self._batch: list[_Pending] = []
        self._ended = False
        self._seldom = _Seldom()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
        self._thread.start()

    def stored(self, arrival: Arrival, within_s: float) -> bool:
        """Tell whether the webhook was stored in time. If not, it may still be later; False at once if too many wait."""
        pending = _Pending(arrival)
        try:
            self._queue.put_nowait(pending)
        except queue.Full:
            return False
        return pending.stored.wait(within_s)

    def stop(self, within_s: float = 5.0) -> None:
        """Store what is still queued, as far as that takes no longer than this."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=within_s)
        self._thread.join(within_s)

    def _run(self) -> None:
        while self._take():
            try:
                with self._store.engine.connect() as connection:
                    self._write(connection.execution_options(outbook_writes=True))
            except Exception as error:  # noqa: BLE001 - whatever it is, this thread must not end
                self._seldom.say("webhooks_not_stored", type(error).__name__)
                time.sleep(AGAIN_S)

    def _write(self, db: sa.Connection) -> None:
        """Write until the end, over one connection as long as that lasts: opening one costs more than a commit."""
        while self._take():
            with db.begin():
                webhooks.keep(db, [one.arrival for one in self._batch])
            for one in self._batch:
                one.stored.set()
            self._batch = []

    def _take(self) -> bool:
        """Take up what has queued up, waiting for it; tell whether that is anything, for in the end nothing more comes."""
        block = not self._batch
        while not self._ended and len(self._batch) < BATCH:
            try:
                one = self._queue.get(block=block)
            except queue.Empty:
                break
            if one is None:
                self._ended = True
                break
            self._batch.append(one)
            if block:
                time.sleep(LINGER_S)
            block = False
        return bool(self._batch)


class Receiver:
    """Answers the vendor. ``counts`` tells what became of everything that came, for whoever measures."""

    def __init__(self, secrets: Sequence[str], writer: Writer, now: Callable[[], datetime]) -> None:
        """Accept what is signed with any of the secrets; with none, nothing."""
        self._secrets = tuple(secret.encode() for secret in secrets)
        self._writer = writer
        self._now = now
        self._seldom = _Seldom()
        self._lock = threading.Lock()
        self.counts = dict.fromkeys(("stored", "forged", "too_large", "no_secret", "not_stored"), 0)

    def answer(self, request: Request) -> Answer:
        """Answer 200 once the webhook is in the store, or why it is not; always within a second."""
        if not self._secrets:
            return self._refused("no_secret", 503, UNSET)
        length = request.length()
        if length is None or length > BODY_LIMIT:
            return self._refused("too_large", 413, f"a webhook of more than {BODY_LIMIT} bytes is none")
        body = request.body()
        if not outreach_hints.is_signed(body, request.header(SIGNATURE), self._secrets):
            return self._refused("forged", 401, "not signed with a secret that is known here")
        urgent = outreach_hints.may_opt_out(body)
        arrival = Arrival(_name(request.header(EVENT), body), body, self._now(), urgent)
        if not self._writer.stored(arrival, ANSWER_WITHIN_S):
            return self._refused("not_stored", 503, "the database does not take it just now")
        self._count("stored")
        return Answer(200, b"stored\n")

    def _refused(self, why: str, status: int, words: str) -> Answer:
        self._count(why)
        self._seldom.say("webhook_refused", words)
        return Answer(status, f"{words}\n".encode())

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1


def _name(event_id: str, body: bytes) -> str:
    """Return what a repetition is known by: the vendor's id of the event, which nobody signed, and the body, which is."""
    readable = "".join(letter for letter in event_id[:LONGEST_ID] if letter.isascii() and letter.isprintable())
    return f"{readable}:{hashlib.blake2b(body, digest_size=16).hexdigest()}"
