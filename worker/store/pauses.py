"""What somebody has paused, and whether this store has ever been let write: read with every claim, so it holds at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from worker.core.records import Kind
from worker.store import meta, outbox
from worker.store.database import upsert
from worker.store.links import HISTORY, LINK
from worker.store.meta import META
from worker.store.outbox import CHANGE
from worker.store.tables import PauseRow

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from worker.store.database import Store

PAUSE: sa.Table = PauseRow.__table__  # type: ignore[attr-defined]

ALL, TO_CRM, TO_OUTREACH = "all", "to-crm", "to-outreach"
SCOPES = (ALL, TO_CRM, TO_OUTREACH, *(kind.value for kind in Kind))
LIVE = "live"
"""The fact that this store has been let write: by its history, or by the first `outbook resume`."""
NOT_LIVE = "not live yet: outbook plan, then outbook resume"


@dataclass(frozen=True, slots=True)
class Paused:
    """One thing that is paused, since when, and what was said about it."""

    scope: str
    since: datetime
    words: str = ""

    def __str__(self) -> str:
        """Return it as a person reads it."""
        return f"paused: {self.scope}" + (f", {self.words}" if self.words else "")


def standing(db: sa.Connection) -> list[Paused]:
    """Return everything that is paused, oldest first."""
    rows = db.execute(sa.select(PAUSE).order_by(PAUSE.c.since, PAUSE.c.scope))
    return [Paused(row.scope, row.since, row.words) for row in rows]


def pause(db: sa.Connection, scope: str, words: str, now: datetime) -> bool:
    """Pause a scope; return whether it was not paused before. What stands keeps its date and takes the new words."""
    known = {one.scope for one in standing(db)}
    row = {"scope": scope, "since": now, "words": words}
    upsert(db, PAUSE, [row], key=("scope",), update=("words",) if words else ())
    return scope not in known


def resume(db: sa.Connection, scopes: Iterable[str] | None = None) -> list[str]:
    """Take pauses away, every one unless told which; what was held back is due again, and the store is live from now on.

    What somebody claimed while it was still paused is looked at once more when given back.
    """
    wanted = set(SCOPES if scopes is None else scopes)
    gone = [one.scope for one in standing(db) if one.scope in wanted]
    db.execute(sa.delete(PAUSE).where(PAUSE.c.scope.in_(gone)))
    outbox.unkeep(db)
    claimed = CHANGE.c.lease_until.is_not(None)
    db.execute(sa.update(CHANGE).where(claimed).values(generation=CHANGE.c.generation + 1))
    meta.replace(db, LIVE, "1")
    return gone


def begin(store: Store, now: datetime) -> None:
    """Pause a store that has never written, unless somebody has let it; one that knows costs a read."""
    with store.read() as db:
        if meta.get(db, LIVE) is not None or any(one.scope == ALL for one in standing(db)):
            return
        written = any(db.execute(sa.select(table.c.id).limit(1)).first() for table in (HISTORY, LINK))
    with store.write() as db:
        if written:
            upsert(db, META, [{"key": LIVE, "value": "1"}], key=("key",), update=())
        elif meta.get(db, LIVE) is None:
            pause(db, ALL, NOT_LIVE, now)
