"""Many records at once: how they stand in the mirror, what it refers to and never saw, and new ones poured in quickly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from worker.core.records import Kind
from worker.store import outbox
from worker.store.database import chunks
from worker.store.mirror import MIRROR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from worker.store.mirror import Seen

_COLUMN = {Kind.PROSPECT: MIRROR.c.prospect_id, Kind.SEQUENCE: MIRROR.c.sequence_id, Kind.STEP: MIRROR.c.step_id}
_STATE_COLUMNS = (
    "kind id fields relations moved_at fingerprint updated_at deleted prospect_id sequence_id step_id".split()
)
_json = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Known:
    """How the mirror's copy of a record stands."""

    updated_at: datetime | None
    deleted: bool


def known(db: sa.Connection, kind: Kind, ids: Sequence[int]) -> dict[int, Known]:
    """Return how those of the records stand that the mirror holds, tombstones included."""
    found: dict[int, Known] = {}
    for part in chunks(ids):
        query = sa.select(MIRROR.c.id, MIRROR.c.updated_at, MIRROR.c.deleted)
        rows = db.execute(query.where(MIRROR.c.kind == kind, MIRROR.c.id.in_(part)))
        found.update((row.id, Known(row.updated_at, row.deleted)) for row in rows)
    return found


def unknown(db: sa.Connection, kind: Kind) -> list[int]:
    """Return the ids of prospects, sequences or steps that living sequence states name and the mirror never saw."""
    named = _COLUMN[kind]
    seen = MIRROR.alias("seen")
    there = sa.exists().where(seen.c.kind == kind, seen.c.id == named)
    query = sa.select(named).distinct()
    query = query.where(MIRROR.c.kind == Kind.STATE, MIRROR.c.deleted == sa.false(), named.is_not(None), ~there)
    return list(db.execute(query.order_by(named)).scalars())


def add_states(db: sa.Connection, seen: Sequence[Seen]) -> None:
    """Add sequence states that the mirror does not hold yet; what it holds already stays as it is.

    Past SQLAlchemy's row by row work, for a million rows would spend most of their time there.
    """
    statement, order = _adding(db.dialect.name)
    moment = _moment(db.dialect)
    rows = [
        (
            Kind.STATE.value,
            one.snapshot.ref.id,
            _json.encode(one.snapshot.fields).decode(),
            _json.encode(one.snapshot.relations).decode(),
            "{}",
            one.fingerprint,
            moment(one.snapshot.updated_at),
            one.snapshot.deleted,
            one.snapshot.relations.get("prospect"),
            one.snapshot.relations.get("sequence"),
            one.snapshot.relations.get("sequenceStep"),
        )
        for one in seen
    ]
    if rows:
        db.exec_driver_sql(statement, rows if order else [dict(zip(_STATE_COLUMNS, row, strict=True)) for row in rows])


def open_owners(db: sa.Connection, state_ids: Sequence[int], *, now: datetime) -> int:
    """Open a change, behind single edits, for the prospect of each of these sequence states."""
    owner = MIRROR.c.prospect_id + 0  # or SQLite looks through the index of all prospects
    touched = 0
    for part in chunks(state_ids):
        rows = outbox.rows_for(Kind.PROSPECT, owner, now).where(MIRROR.c.kind == Kind.STATE, MIRROR.c.id.in_(part))
        touched += outbox.open_rows(db, rows.where(MIRROR.c.deleted == sa.false(), owner.is_not(None)).distinct())
    return touched


@lru_cache(maxsize=2)
def _adding(dialect: str) -> tuple[str, bool]:
    """Return the statement in a driver's own words, and whether it takes its values by position."""
    of = sqlite.dialect() if dialect == "sqlite" else postgresql.psycopg.dialect()
    make = sqlite.insert if dialect == "sqlite" else postgresql.insert
    values = {name: sa.bindparam(name, type_=MIRROR.c[name].type) for name in _STATE_COLUMNS}
    compiled = make(MIRROR).values(**values).on_conflict_do_nothing(index_elements=["kind", "id"]).compile(dialect=of)
    positions = list(compiled.positiontup or [])
    if positions and positions != _STATE_COLUMNS:
        raise AssertionError("the columns are not in their order")
    return str(compiled), bool(positions)


def _moment(dialect: sa.Dialect) -> Callable[[Any], Any]:
    """Return what makes of a moment the driver's own value."""
    return MIRROR.c.updated_at.type.dialect_impl(dialect).bind_processor(dialect) or (lambda value: value)
