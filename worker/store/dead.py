"""Dead letters: what will not be tried again until somebody asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from worker.core.records import Kind, Ref
from worker.store.database import chunks
from worker.store.links import HISTORY, LATCH
from worker.store.outbox import CHANGE, Lane, Standing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

_WORDS = {Kind.PROSPECT: "prospect", Kind.PERSON: "person", Kind.TASK: "task"}
KINDS = {word: kind for kind, word in _WORDS.items()}


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. ``urgent``: it rode in the lane of opt-outs. ``failed_at`` is None where nobody noted it."""

    id: int
    ref: Ref
    words: str
    attempts: int
    urgent: bool
    opened_at: datetime
    failed_at: datetime | None

    @property
    def record(self) -> str:
        """The record as SELECTION names it: ``prospect:7``."""
        return f"{_WORDS.get(self.ref.kind, self.ref.kind.value)}:{self.ref.id}"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a record's history, without the values: they are somebody's own."""

    at: datetime
    system: str
    action: str
    fields: tuple[str, ...]
    why: str


def letters(db: sa.Connection, ids: Collection[int] | None = None) -> list[Letter]:
    """Return the dead letters, the oldest first; with ``ids`` those of these numbers."""
    query = sa.select(CHANGE).where(CHANGE.c.state == Standing.DEAD).order_by(CHANGE.c.failed_at, CHANGE.c.id)
    if ids is None:
        return [_letter(row) for row in db.execute(query)]
    found = (db.execute(query.where(CHANGE.c.id.in_(part))) for part in chunks(sorted(ids)))
    return [_letter(row) for rows in found for row in rows]


def opt_outs(db: sa.Connection, *, before: datetime) -> list[Letter]:
    """Return the dead letters of opt-outs that died before a moment: by the index, for this is asked all the time."""
    query = sa.select(CHANGE).where(
        CHANGE.c.state == Standing.DEAD,
        CHANGE.c.kind == Kind.PROSPECT,
        CHANGE.c.lane == int(Lane.OPT_OUT),
        CHANGE.c.failed_at <= before,
    )
    return [_letter(row) for row in db.execute(query.order_by(CHANGE.c.id))]


def revive(db: sa.Connection, ids: Iterable[int], now: datetime) -> int:
    """Make dead letters due once more, their tries not forgotten; return how many."""
    count = 0
    for part in chunks(sorted(set(ids))):
        dead = sa.update(CHANGE).where(CHANGE.c.id.in_(part), CHANGE.c.state == Standing.DEAD)
        count += db.execute(dead.values(state=Standing.DUE.value, next_at=now, failed_at=None)).rowcount
    return count


def of_record(db: sa.Connection, ref: Ref) -> Letter | None:
    """Return the dead letter of a record, if it is one."""
    query = sa.select(CHANGE).where(
        CHANGE.c.kind == ref.kind, CHANGE.c.record_id == ref.id, CHANGE.c.state == Standing.DEAD
    )
    row = db.execute(query).first()
    return _letter(row) if row else None


def _letter(row: Any) -> Letter:  # noqa: ANN401 - a row of the driver
    ref = Ref(Kind(row.kind), row.record_id)
    urgent = row.lane == Lane.OPT_OUT
    return Letter(row.id, ref, row.error or "", row.attempts, urgent, row.opened_at, row.failed_at)


def drop(db: sa.Connection, ids: Iterable[int]) -> int:
    """Close dead letters for good and return how many; one that is due again meanwhile stays."""
    count = 0
    for part in chunks(sorted(set(ids))):
        gone = sa.delete(CHANGE).where(CHANGE.c.id.in_(part), CHANGE.c.state == Standing.DEAD)
        count += db.execute(gone).rowcount
    return count


def latched(db: sa.Connection, prospect_ids: Iterable[int]) -> set[int]:
    """Return which prospects an opt-out is remembered under."""
    found: set[int] = set()
    for part in chunks(sorted(set(prospect_ids))):
        query = sa.select(LATCH.c.key).where(
            LATCH.c.key_kind == "prospect", LATCH.c.key.in_([str(one) for one in part])
        )
        found.update(int(key) for key in db.execute(query).scalars())
    return found


def history(db: sa.Connection, ref: Ref, *, limit: int = 10) -> list[Line]:
    """Return the newest writes about a record, the newest first."""
    column = HISTORY.c.crm_id if ref.kind is Kind.PERSON else HISTORY.c.outreach_id
    kinds = (Kind.PROSPECT, Kind.PERSON) if ref.kind is Kind.PERSON else (ref.kind,)
    query = sa.select(HISTORY).where(HISTORY.c.kind.in_(kinds), column == ref.id).order_by(HISTORY.c.id.desc())
    return [
        Line(row.at, row.system, row.action, tuple(sorted(_names(row.after))), row.why)
        for row in db.execute(query.limit(limit))
    ]


def _names(text: str) -> Iterable[str]:
    told = msgspec.json.decode(text)
    return told if isinstance(told, dict) else ()
