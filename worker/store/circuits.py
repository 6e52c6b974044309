"""The circuits to one vendor, one for each kind of call: counted in every process, judged together, kept over restarts.

While all is well nothing is written, and what others know is read once a second. Once a call has failed, whoever makes calls
tells of them, for others' answered calls count as much as one's own failed ones. With the answer that ends an outage, what
was put off falls due, in the same transaction; how many go at once is bounded by the workers, as with any other backlog.
"""

from __future__ import annotations

import contextlib
import threading
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from worker.core import circuit, errors
from worker.core.circuit import Circuit, Counted
from worker.store import meta, waking
from worker.store.database import upsert
from worker.store.meta import META

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.core.records import System
    from worker.store.database import Store

KEY = "circuit:"
"""Before the vendor and the kind of call: the key under which a circuit is kept."""
BELIEVED = timedelta(seconds=1)
"""So long what others know is not asked for again."""
WORDS = "most calls of this kind failed just now: one finds out every 15 s whether the vendor is back"
_CLOSED = Circuit()
_urgent: ContextVar[bool] = ContextVar("urgent", default=False)


@contextlib.contextmanager
def urgently() -> Iterator[None]:
    """Let the calls of the block go through an open circuit: an opt-out is never held by one."""
    token = _urgent.set(True)
    try:
        yield
    finally:
        _urgent.reset(token)


def is_urgent() -> bool:
    """Tell whether the calls at hand are an opt-out's."""
    return _urgent.get()


class Circuits:
    """Those of one vendor, as one process sees them. May be shared by threads; never inside a transaction."""

    def __init__(self, store: Store, system: System, now: Callable[[], datetime]) -> None:
        """Know nothing yet."""
        self._store = store
        self._system = system
        self._now = now
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Circuit, datetime]] = {}
        self._untold: dict[str, Counted] = {}

    def heed(self, operation: str) -> None:
        """Return if a call of this kind may go; raise Resting while its circuit is open and somebody else finds out.

        A store in trouble holds nothing up: what it takes to count is not worth a call.
        """
        rests_s = 0.0
        if is_urgent():
            return
        with contextlib.suppress(sa.exc.SQLAlchemyError):
            now = self._now()
            known = self._look(operation, now)
            if known.opened_at is not None:
                rests_s = circuit.rests_s(known, now) or self._through(operation, now)
        if rests_s:
            raise errors.Resting(WORDS, retry_after_s=rests_s, system=self._system)

    def note(self, operation: str, outcome: str, seconds: float) -> None:
        """Count a call that has ended, whoever made it, and judge the circuit by it."""
        now, failed = self._now(), outcome in circuit.FAILED
        with self._lock:
            mine = circuit.within(self._untold.get(operation, {}), now)
            at = circuit.slice_of(now)
            before = mine.get(at, (0, 0))
            mine[at] = before[0] + (not failed), before[1] + failed
            self._untold[operation] = mine
            known = self._known.get(operation, (_CLOSED, now))[0]
        if failed or known.failing:
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                self._tell(operation, now, None if failed else now - timedelta(seconds=seconds))

    def _look(self, operation: str, now: datetime) -> Circuit:
        known, at = self._known.get(operation, (_CLOSED, None))
        if at is not None and timedelta(0) <= now - at < BELIEVED and known.opened_at is None:
            return known
        with self._store.read() as db:
            known = _read(db.scalar(sa.select(META.c.value).where(META.c.key == self._key(operation))))
        self._known[operation] = known, now
        return known

    def _through(self, operation: str, now: datetime) -> float:
        """Take the call that finds out if it is due and nobody else has; return for how long to wait otherwise."""
        with self._store.write() as db:
            known = self._locked(db, operation)
            rests_s = circuit.rests_s(known, now)
            if known.opened_at is not None and not rests_s:
                known = circuit.probing(known, now)
                self._keep(db, operation, known)
        self._known[operation] = known, now
        return rests_s

    def _tell(self, operation: str, now: datetime, answered: datetime | None) -> None:
        """Add what was counted to what all know; ``answered`` is when a call began that has been, if one has."""
        with self._lock:
            mine, self._untold[operation] = self._untold.get(operation, {}), {}
        with self._store.write() as db:
            before = self._locked(db, operation)
            known = circuit.counting(before, mine, now)
            if answered is not None and circuit.ends_outage(before, answered):
                known = _CLOSED
                waking.wake_put_off(db, now)
            if known != before:
                self._keep(db, operation, known)
        self._known[operation] = known, now

    def _locked(self, db: sa.Connection, operation: str) -> Circuit:
        """Return a circuit, and keep others from changing it before this transaction ends."""
        row = {"key": self._key(operation), "value": _told(_CLOSED)}
        upsert(db, META, [row], key=("key",), update=())
        return _read(db.scalar(sa.select(META.c.value).where(META.c.key == row["key"]).with_for_update()))

    def _keep(self, db: sa.Connection, operation: str, known: Circuit) -> None:
        db.execute(sa.update(META).where(META.c.key == self._key(operation)).values(value=_told(known)))

    def _key(self, operation: str) -> str:
        return f"{KEY}{self._system.value}:{operation}"


def standing(db: sa.Connection) -> dict[tuple[str, str], datetime]:
    """Return since when which circuits are open, by vendor and kind of call."""
    told = {key: _read(value).opened_at for key, value in meta.under(db, KEY).items()}
    return {key: opened_at for key, opened_at in told.items() if opened_at is not None}


def _read(text: str | None) -> Circuit:
    try:
        return msgspec.json.decode(text, type=Circuit) if text else _CLOSED
    except msgspec.DecodeError:
        return _CLOSED


def _told(known: Circuit) -> str:
    return msgspec.json.encode(known).decode()
