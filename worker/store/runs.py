"""Foreground passes and their reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from worker.store.tables import RunRow

if TYPE_CHECKING:
    from datetime import datetime

RUN: sa.Table = RunRow.__table__  # type: ignore[attr-defined]
KEPT = 1000
"""Reports that are kept; the oldest go."""


def begin(db: sa.Connection, run_id: str, mapping_version: str, now: datetime) -> None:
    """Write down that a pass has begun."""
    db.execute(sa.insert(RUN).values(id=run_id, began_at=now, mapping_version=mapping_version, report="{}"))
    newest = sa.select(RUN.c.id).order_by(RUN.c.began_at.desc()).limit(KEPT)
    db.execute(sa.delete(RUN).where(RUN.c.id.not_in(newest)))


def end(db: sa.Connection, run_id: str, now: datetime, report: dict[str, Any]) -> None:
    """Write down how it ended."""
    text = msgspec.json.encode(report).decode()
    db.execute(sa.update(RUN).where(RUN.c.id == run_id).values(ended_at=now, report=text))


def newest(db: sa.Connection) -> datetime | None:
    """Return when the last foreground pass ended."""
    ended: datetime | None = db.execute(sa.select(sa.func.max(RUN.c.ended_at))).scalar_one()
    return ended
