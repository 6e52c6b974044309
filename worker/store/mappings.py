"""The mappings that were put in force, word for word, which of them is, and what of it was never read yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from worker.core.records import Kind
from worker.store import meta
from worker.store.database import upsert
from worker.store.tables import MappingRow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

MAPPING: sa.Table = MappingRow.__table__  # type: ignore[attr-defined]

IN_FORCE = "mapping"
"""The fact that tells the version in force."""
BEGUN = "mapping begun"
"""The fact that somebody has begun to write by a mapping. Until then the first start takes the file."""
UNREAD = "mapping unread"
"""The fact that tells, by stream, which columns and attributes no record has been read with yet."""
PLANS = "mapping plans"
"""The fact that keeps the last plans made for other mappings, each under its hash."""
KEPT_PLANS = 20

Names = dict[Kind, frozenset[str]]
_names = msgspec.json.Decoder(dict[Kind, frozenset[str]])
_plans: msgspec.json.Decoder[dict[str, dict[str, object]]] = msgspec.json.Decoder(dict[str, dict[str, object]])


@dataclass(frozen=True, slots=True)
class Kept:
    """A mapping as it was put in force: its version then, its text, and when."""

    version: str
    text: str
    applied_at: datetime


def version(db: sa.Connection) -> str | None:
    """Return the version in force; None in a store in which none was ever put in force. One look-up by key."""
    return meta.get(db, IN_FORCE)


def begun(db: sa.Connection) -> bool:
    """Tell whether anybody has begun to write by a mapping."""
    return meta.get(db, BEGUN) is not None


def begin(db: sa.Connection, now: datetime) -> None:
    """Note that somebody begins to write by the mapping in force."""
    if not begun(db):
        meta.replace(db, BEGUN, now.isoformat())


def in_force(db: sa.Connection) -> Kept | None:
    """Return the mapping in force; None where there is none, or an older program kept its version only."""
    query = sa.select(MAPPING).join(meta.META, meta.META.c.value == MAPPING.c.version)
    row = db.execute(query.where(meta.META.c.key == IN_FORCE)).one_or_none()
    return Kept(row.version, row.text, row.applied_at) if row else None


def put(db: sa.Connection, version: str, text: str, now: datetime) -> str | None:
    """Put a mapping in force and return the version that was; the same one again only brings its text up to date."""
    before = meta.replace(db, IN_FORCE, version)
    changed = ("text",) if before == version else ("text", "applied_at")
    row = {"version": version, "text": text, "applied_at": now}
    upsert(db, MAPPING, [row], key=("version",), update=changed)
    return before


def unread(db: sa.Connection) -> Names:
    """Return by stream what the mapping in force names and no record has been read with yet."""
    told = meta.get(db, UNREAD)
    return _names.decode(told) if told else {}


def set_unread(db: sa.Connection, names: Mapping[Kind, frozenset[str]]) -> None:
    """Write down what is still to be read; a stream without names is not kept."""
    told = {kind.value: sorted(found) for kind, found in names.items() if found}
    meta.replace(db, UNREAD, msgspec.json.encode(told).decode())


def plans(db: sa.Connection) -> dict[str, dict[str, object]]:
    """Return the last plans by their hash, oldest first."""
    told = meta.get(db, PLANS)
    return _plans.decode(told) if told else {}


def note_plan(db: sa.Connection, digest: str, told: Mapping[str, object]) -> None:
    """Remember what a plan came to, so that it can be told later what has moved since."""
    known = plans(db)
    known.pop(digest, None)
    known[digest] = dict(told)
    last = dict(list(known.items())[-KEPT_PLANS:])
    meta.replace(db, PLANS, msgspec.json.encode(last).decode())
