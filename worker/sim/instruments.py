"""The instruments both simulators share: a clock, a journal of calls, and faults."""

from __future__ import annotations

import random
import re
import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

JOURNAL_KEEPS = 200_000
Json = Any
"""Whatever ``json.loads`` returns: a simulator takes a document as it comes."""


class Clock:
    """The simulator's own time: the machine's plus an offset, or standing still."""

    def __init__(self, start: datetime | None = None) -> None:
        """Run from ``start`` (aware), or from the machine's time."""
        self._offset = timedelta()
        self._frozen: datetime | None = None
        if start is not None:
            self._offset = start - datetime.now(UTC)

    def now(self) -> datetime:
        """Return the simulated time, aware UTC."""
        return self._frozen if self._frozen is not None else datetime.now(UTC) + self._offset

    def shift(self, seconds: float) -> None:
        """Move on (or back) by ``seconds``; a frozen clock stays frozen at the new time."""
        if self._frozen is not None:
            self._frozen += timedelta(seconds=seconds)
        self._offset += timedelta(seconds=seconds)

    def set(self, iso: str) -> None:
        """Make it now ``iso`` (ISO 8601; without an offset it counts as UTC). Raises ValueError."""
        at = datetime.fromisoformat(iso)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        if self._frozen is not None:
            self._frozen = at.astimezone(UTC)
        self._offset = at - datetime.now(UTC)

    def freeze(self, *, on: bool = True) -> None:
        """Stand still, or with ``on=False`` run on from where it stood."""
        if on:
            self._frozen = self.now()
        elif self._frozen is not None:
            self._offset = self._frozen - datetime.now(UTC)
            self._frozen = None

    def reset(self) -> None:
        """Go back to the machine's time."""
        self._offset, self._frozen = timedelta(), None


class Journal:
    """Every call and its effect, newest last, the newest ``JOURNAL_KEEPS`` of them.

    An entry is ``{"n", "at", "method", "path", "query", "status", "effect": [...], "fault": name | None}``, n from 1.
    """

    def __init__(self, keeps: int = JOURNAL_KEEPS) -> None:
        """Start empty."""
        self._entries: deque[dict[str, Any]] = deque(maxlen=keeps)
        self._last = 0
        self._lock = threading.Lock()

    def record(self, entry: dict[str, Any]) -> None:
        """Append ``entry``, numbered."""
        with self._lock:
            self._last += 1
            self._entries.append({"n": self._last, **entry})

    def entries(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the entries numbered above ``since``, oldest first."""
        with self._lock:
            first = self._last - len(self._entries)
            return list(islice(self._entries, max(0, since - first), None))

    def clear(self) -> None:
        """Forget all; numbering starts again."""
        with self._lock:
            self._entries.clear()
            self._last = 0


@dataclass(slots=True)
class Fault:
    """One armed fault. ``times`` left, ``after`` matches still to be let through.

    ``path`` is searched in the path, ``query`` in the decoded query string; ``op`` is ``read`` or ``write``.
    """

    kind: str
    args: dict[str, Any] = field(default_factory=dict)
    method: str | None = None
    path: re.Pattern[str] | None = None
    query: re.Pattern[str] | None = None
    op: str | None = None
    times: int | None = None
    after: int = 0
    probability: float = 1.0

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Fault:
        """Return the fault that ``{"match", "kind", "times", "after", "probability", "args"}`` asks for."""
        match = document.get("match") or {}
        method = match.get("method")
        return cls(
            kind=str(document["kind"]),
            args=dict(document.get("args") or {}),
            method=str(method).upper() if method else None,
            path=re.compile(match["path"]) if match.get("path") else None,
            query=re.compile(match["query"]) if match.get("query") else None,
            op=match.get("op"),
            times=document.get("times"),
            after=int(document.get("after") or 0),
            probability=float(document.get("probability", 1.0)),
        )

    def fits(self, method: str, path: str, op: str, query: str) -> bool:
        """Return whether a call is one this fault may hit."""
        return (
            self.times != 0
            and self.method in (None, method)
            and self.op in (None, op)
            and (self.path is None or self.path.search(path) is not None)
            and (self.query is None or self.query.search(unquote(query)) is not None)
        )

    def document(self) -> dict[str, Any]:
        """Return it as ``GET /_sim/faults`` tells it."""
        patterns = {name: found.pattern for name, found in (("path", self.path), ("query", self.query)) if found}
        match = {"method": self.method, **patterns, "op": self.op}
        told = {"kind": self.kind, "times": self.times, "after": self.after, "probability": self.probability}
        return {"match": {name: value for name, value in match.items() if value}, **told, "args": self.args}


class Faults:
    """The armed faults. Chance is drawn from a fixed seed, so that a run can be repeated."""

    def __init__(self, seed: int = 1) -> None:
        """Arm nothing."""
        self._armed: list[Fault] = []
        self._seed = seed
        self._chance = random.Random(seed)
        self._lock = threading.Lock()

    def arm(self, documents: list[dict[str, Any]]) -> None:
        """Replace what is armed. ``[]`` clears. Raises KeyError, ValueError or re.error on a malformed one."""
        armed = [Fault.of(document) for document in documents]
        with self._lock:
            self._armed = armed
            self._chance = random.Random(self._seed)

    def take(self, method: str, path: str, op: str, query: str = "") -> Fault | None:
        """Return the first armed fault that hits this call, and count it as used."""
        if not self._armed:
            return None
        with self._lock:
            for fault in self._armed:
                if fault.fits(method, path, op, query) and self._hits(fault):
                    return fault
        return None

    def _hits(self, fault: Fault) -> bool:
        if fault.after > 0:
            fault.after -= 1
            return False
        if fault.probability < 1.0 and self._chance.random() >= fault.probability:
            return False
        if fault.times is not None:
            fault.times -= 1
        return True

    def documents(self) -> list[dict[str, Any]]:
        """Return what is armed, used-up faults included."""
        with self._lock:
            return [fault.document() for fault in self._armed]
