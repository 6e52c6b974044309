"""Many records at once: how they stand in the mirror, what it refers to and never saw, and new ones poured in quickly."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from worker.core.records import Kind
from worker.store import outbox
from worker.store.database import EASED, among
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
    if not ids:
        return {}
    query = sa.select(MIRROR.c.id, MIRROR.c.updated_at, MIRROR.c.deleted)
    rows = db.execute(query.where(MIRROR.c.kind == kind, among(db, MIRROR.c.id, ids)))
    return {row.id: Known(row.updated_at, row.deleted) for row in rows}


def highest(db: sa.Connection, kind: Kind) -> int:
    """Return the highest id of a kind that the mirror holds, tombstones included; 0 if it holds none."""
    return int(db.execute(sa.select(sa.func.max(MIRROR.c.id)).where(MIRROR.c.kind == kind)).scalar() or 0)


def unknown(db: sa.Connection, kind: Kind) -> array[int]:
    """Return the ids of prospects, sequences or steps that sequence states name and the mirror never saw: maybe very many."""
    named = _COLUMN[kind]
    every = sa.select(named.label("id")).where(MIRROR.c.kind == Kind.STATE, named.is_not(None)).distinct().subquery()
    seen = MIRROR.alias("seen")
    there = sa.exists().where(seen.c.kind == kind, seen.c.id == every.c.id)
    query = sa.select(every.c.id).where(~there).order_by(every.c.id).execution_options(yield_per=10_000)
    return array("q", db.execute(query).scalars())


def ease(db: sa.Connection) -> None:
    """Let SQLite carry its log over into the file less often until this transaction is over; a crash loses nothing by it."""
    if db.dialect.name == "sqlite":
        db.info[EASED] = True
        db.exec_driver_sql("PRAGMA wal_autocheckpoint=8000")


def add_states(db: sa.Connection, seen: Sequence[Seen]) -> None:
    """Add sequence states that the mirror does not hold yet; what it holds already stays as it is.

    Past SQLAlchemy's row by row work, for a million rows would spend most of their time there.
    """
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
    if not rows:
        return
    if db.dialect.name == "sqlite":
        db.exec_driver_sql(_adding(), rows)
    else:
        _copy(db, rows)


def _copy(db: sa.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add rows by COPY, which takes half the time of as many INSERTs, through a table of this transaction's own.

    Straight into the mirror would not do: there one row that somebody else was quicker with fails all of them.
    """
    names = ", ".join(_STATE_COLUMNS)
    raw: Any = db.connection.driver_connection
    with raw.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE IF NOT EXISTS poured (LIKE mirror) ON COMMIT DROP")
        with cursor.copy(f"COPY poured ({names}) FROM STDIN") as copy:
            copy.write("".join(map(_line, rows)))
        adding = f"INSERT INTO mirror ({names}) SELECT {names} FROM poured ON CONFLICT (kind, id) DO NOTHING"  # noqa: S608
        cursor.execute(adding)
        cursor.execute("TRUNCATE poured")


def _line(row: tuple[Any, ...]) -> str:
    """Return a row as a line of COPY's text format."""
    return "\t".join(["\\N" if value is None else _escaped(value) for value in row]) + "\n"


def _escaped(value: object) -> str:
    text = str(value)
    if text.isprintable() and "\\" not in text:
        return text
    return text.translate(_ESCAPES)


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def open_owners(db: sa.Connection, state_ids: Sequence[int], *, now: datetime) -> int:
    """Open a change, behind single edits, for the prospect of each of these sequence states."""
    if not state_ids:
        return 0
    owner = MIRROR.c.prospect_id + 0  # or SQLite looks through the index of all prospects
    rows = outbox.rows_for(Kind.PROSPECT, owner, now).where(
        MIRROR.c.kind == Kind.STATE, among(db, MIRROR.c.id, state_ids)
    )
    return outbox.open_rows(
        db, rows.where(MIRROR.c.deleted == sa.false(), owner.is_not(None)).distinct().order_by(owner)
    )


@lru_cache(maxsize=1)
def _adding() -> str:
    """Return SQLite's statement in the driver's own words, its values by position."""
    of = sqlite.dialect()
    values = {name: sa.bindparam(name, type_=MIRROR.c[name].type) for name in _STATE_COLUMNS}
    made = sqlite.insert(MIRROR).values(**values).on_conflict_do_nothing(index_elements=["kind", "id"])
    compiled = made.compile(dialect=of)
    if compiled.positiontup != _STATE_COLUMNS:
        raise AssertionError("the columns are not in their order")
    return str(compiled)


def _moment(dialect: sa.Dialect) -> Callable[[Any], Any]:
    """Return what makes of a moment the driver's own value."""
    return MIRROR.c.updated_at.type.dialect_impl(dialect).bind_processor(dialect) or (lambda value: value)
