"""All that the store knows of a few records, for whoever asks why one is as it is: set-based, nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from worker.core.records import Kind, System
from worker.store.database import chunks
from worker.store.links import EXCLUSION, HISTORY, LATCH, LINK, Name
from worker.store.outbox import CHANGE, HOLD
from worker.store.tables import LiftingRow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from worker.core.consent import Key
    from worker.core.records import Value

LIFTING: sa.Table = LiftingRow.__table__  # type: ignore[attr-defined]
PAST = 20
"""Writes that are told of one record: the newest ones."""


@dataclass(frozen=True, slots=True)
class Past:
    """One write: ``before`` and ``after`` by CRM field or Outreach attribute."""

    at: datetime
    caused_at: datetime | None
    system: System
    action: str
    before: Mapping[str, Value]
    after: Mapping[str, Value]
    why: str
    mapping_version: str


def changes(db: sa.Connection, kind: Kind, ids: Iterable[int]) -> dict[int, Any]:
    """Return the open change of each of the records that has one."""
    return {row.record_id: row for row in _rows(db, CHANGE, CHANGE.c.record_id, ids, CHANGE.c.kind == kind)}


def exclusions(db: sa.Connection, kind: Kind, ids: Iterable[int]) -> dict[int, str]:
    """Return why some records are left out."""
    rows = _rows(db, EXCLUSION, EXCLUSION.c.record_id, ids, EXCLUSION.c.kind == kind)
    return {row.record_id: row.reason for row in rows}


def linked_at(db: sa.Connection, kind: Kind, ids: Iterable[int]) -> dict[int, datetime]:
    """Return since when some Outreach records have been linked."""
    return {row.outreach_id: row.linked_at for row in _rows(db, LINK, LINK.c.outreach_id, ids, LINK.c.kind == kind)}


def holds(db: sa.Connection, kind: Kind, ids: Iterable[int], keys: Iterable[str]) -> list[Any]:
    """Return the entries that are about one of the records, and those under the keys."""
    about = [HOLD.c.key.like(f"%{kind.value}:{one}{rest}") for one in sorted(set(ids)) for rest in ("", ":%")]
    query = sa.select(HOLD).where(sa.or_(HOLD.c.key.in_(sorted(set(keys))), *about))
    return list(db.execute(query.order_by(HOLD.c.since, HOLD.c.key)))


def latches(db: sa.Connection, names: Collection[Name]) -> dict[Name, tuple[datetime, str]]:
    """Return since when, and on what evidence, an opt-out is remembered under some names."""
    return _by_name(db, LATCH, names, lambda row: (row.since, row.evidence))


def _by_name(db: sa.Connection, table: sa.Table, names: Collection[Name], told: Any) -> dict[Name, Any]:  # noqa: ANN401
    found: dict[Name, Any] = {}
    for kind in {name.kind for name in names}:
        keys = sorted(name.key for name in names if name.kind == kind)
        for start in range(0, len(keys), 500):
            query = sa.select(table).where(table.c.key_kind == kind, table.c.key.in_(keys[start : start + 500]))
            found.update((Name(kind, row.key), told(row)) for row in db.execute(query))
    return found


def liftings(db: sa.Connection, keys: Iterable[Key]) -> dict[Key, tuple[datetime, str]]:
    """Return when somebody lifted some signs, and for what reason."""
    wanted = set(keys)
    rows = _rows(db, LIFTING, LIFTING.c.record_id, {record for _, record in wanted}, sa.true())
    return {(row.source, row.record_id): (row.at, row.reason) for row in rows if (row.source, row.record_id) in wanted}


def history(db: sa.Connection, kind: Kind, ids: Iterable[int]) -> dict[int, list[Past]]:
    """Return the last twenty writes of each of some records, the newest first."""
    place = sa.func.row_number().over(partition_by=HISTORY.c.outreach_id, order_by=HISTORY.c.id.desc())
    found: dict[int, list[Past]] = {}
    for part in chunks(sorted(set(ids))):
        ranked = sa.select(HISTORY, place.label("place")).where(HISTORY.c.kind == kind, HISTORY.c.outreach_id.in_(part))
        newest = ranked.subquery()
        for row in db.execute(sa.select(newest).where(newest.c.place <= PAST).order_by(newest.c.id.desc())):
            one = Past(
                at=row.at,
                caused_at=row.caused_at,
                system=System(row.system),
                action=row.action,
                before=msgspec.json.decode(row.before),
                after=msgspec.json.decode(row.after),
                why=row.why,
                mapping_version=row.mapping_version,
            )
            found.setdefault(row.outreach_id, []).append(one)
    return found


def _rows(
    db: sa.Connection, table: sa.Table, column: sa.ColumnElement[Any], ids: Iterable[int], which: sa.ColumnElement[bool]
) -> list[Any]:
    found: list[Any] = []
    for part in chunks(sorted(set(ids))):
        found += db.execute(sa.select(table).where(which, column.in_(part)))
    return found
