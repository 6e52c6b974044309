"""Whether the process lives, and whether work goes on: the database answers, and what is due is taken up."""

from __future__ import annotations

import json
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooSlow
from typing import TYPE_CHECKING

import sqlalchemy as sa

from worker.store import progress
from worker.web.wire import JSON, Answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from worker.store.database import Store
    from worker.web.wire import Request

WITHIN_S = 2.0
"""An answer later than this is none to whoever asks for health."""
UNREACHABLE = "the database cannot be reached"


def alive(_request: Request) -> Answer:
    """Answer that this process serves requests; it asks nobody."""
    return Answer(200, b"ok\n")


class Readiness:
    """Answers whether work goes on. One look at the database at a time, however many ask and however long it takes."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        """Ask nothing yet."""
        self._store = store
        self._now = now
        self._lock = threading.Lock()
        self._look: Future[list[str]] | None = None

    def answer(self, _request: Request) -> Answer:
        """Answer 200, or 503 with the reasons; within two seconds even if the database does not answer at all."""
        with self._lock:
            if self._look is None or self._look.done():
                self._look = Future()
                # A thread that nobody waits for in the end: the look may hang as long as the network lets it.
                threading.Thread(target=self._see, args=(self._look,), name="readiness", daemon=True).start()
            look = self._look
        try:
            troubles = look.result(timeout=WITHIN_S)
        except TooSlow:
            troubles = [UNREACHABLE]
        told = json.dumps({"ready": not troubles, "troubles": troubles}).encode()
        return Answer(503 if troubles else 200, told + b"\n", kind=JSON)

    def _see(self, look: Future[list[str]]) -> None:
        try:
            with self._store.read() as db:
                look.set_result(progress.troubles(db, self._now()))
        except sa.exc.SQLAlchemyError:
            look.set_result([UNREACHABLE])
        except BaseException as error:
            look.set_exception(error)
            raise
