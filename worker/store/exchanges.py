"""The last request about a record and the reply to it, redacted before they come here: one row a record and side."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from worker.core import transforms
from worker.core.records import Kind, System
from worker.store import meta
from worker.store.database import chunks, upsert
from worker.store.tables import ExchangeRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from worker.store.database import Store

EXCHANGE: sa.Table = ExchangeRow.__table__  # type: ignore[attr-defined]
LONGEST = 2000
"""Letters that are kept of a request, and of a reply."""
KEPT, DAILY = timedelta(days=90), timedelta(days=1)
PORTION = 2000
PRUNED = "exchanges_pruned"


@dataclass(frozen=True, slots=True)
class Exchange:
    """What was asked about one record and what came back; nothing personal in either."""

    kind: Kind
    record_id: int
    system: System
    request: str
    reply: str
    at: datetime | None = None


def keep(db: sa.Connection, exchanges: Sequence[Exchange], now: datetime) -> None:
    """Keep each as the last one about its record on its side."""
    rows = [
        {
            "kind": one.kind.value,
            "record_id": one.record_id,
            "system": one.system.value,
            "at": now,
            "request": _cut(one.request),
            "reply": _cut(one.reply),
        }
        for one in exchanges
    ]
    upsert(db, EXCHANGE, rows, key=("kind", "record_id", "system"), update=("at", "request", "reply"))


def load(db: sa.Connection, kind: Kind, ids: Iterable[int]) -> dict[int, list[Exchange]]:
    """Return the last exchanges about some records, at most one a side."""
    found: dict[int, list[Exchange]] = {}
    for part in chunks(sorted(set(ids))):
        query = sa.select(EXCHANGE).where(EXCHANGE.c.kind == kind, EXCHANGE.c.record_id.in_(part))
        for row in db.execute(query.order_by(EXCHANGE.c.record_id, EXCHANGE.c.system)):
            one = Exchange(Kind(row.kind), row.record_id, System(row.system), row.request, row.reply, row.at)
            found.setdefault(row.record_id, []).append(one)
    return found


def prune(store: Store, now: datetime) -> int:
    """Forget, once a day, what was asked long ago: portion by portion along the key; return how many rows that were."""
    with store.write() as db:
        last = transforms.parse_time(meta.get(db, PRUNED))
        if last is not None and timedelta(0) <= now - last < DAILY:
            return 0
        meta.replace(db, PRUNED, now.isoformat())
    gone, place = 0, ("", 0)
    record = sa.tuple_(EXCHANGE.c.kind, EXCHANGE.c.record_id)
    while True:
        query = sa.select(EXCHANGE.c.kind, EXCHANGE.c.record_id).where(record > place)
        with store.write() as db:
            row = db.execute(query.order_by(*record.clauses).offset(PORTION - 1).limit(1)).first()
            mine = record > place if row is None else sa.and_(record > place, record <= (row.kind, row.record_id))
            gone += db.execute(sa.delete(EXCHANGE).where(mine, EXCHANGE.c.at < now - KEPT)).rowcount
        if row is None:
            return gone
        place = (row.kind, row.record_id)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
