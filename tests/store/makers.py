"""Short ways to make what the store is given, with a clock that stands at nine."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from worker.core import records
from worker.core.records import Kind, Ref, Snapshot, Value
from worker.store import backlog, database, mirror, outbox
from worker.store.outbox import Change, Lane

NOW = datetime(2026, 11, 20, 9, 0, 0, tzinfo=UTC)


def later(seconds: float) -> datetime:
    """Return the moment so many seconds after nine."""
    return NOW + timedelta(seconds=seconds)


def seen(
    kind: Kind,
    id: int,
    *,
    version: int | None = None,
    deleted: bool = False,
    at: datetime | None = NOW,
    addresses: Iterable[str] = (),
    reference: int | None = None,
    relations: dict[str, int | None] | None = None,
    **fields: Value,
) -> mirror.Seen:
    """Return a snapshot on its way into the mirror."""
    snapshot = Snapshot(Ref(kind, id), fields, at, version, deleted, relations or {})
    return mirror.Seen(snapshot, records.fingerprint(fields, relations), frozenset(addresses), reference)


def keep(store: database.Store, kind: Kind, *ones: mirror.Seen, now: datetime | None = None) -> list[mirror.Moved]:
    """Put them into the mirror and return what moved."""
    with store.write() as db:
        return mirror.save(db, kind, ones, now=now)


def opened(store: database.Store, *ids: int, kind: Kind = Kind.PROSPECT, lane: Lane = Lane.EDIT, at: float = 0) -> None:
    """Open a change for each of the records."""
    with store.write() as db:
        outbox.open_changes(db, kind, ids, lane=lane, now=later(at))


def claimed(
    store: database.Store,
    *,
    kind: Kind = Kind.PROSPECT,
    at: float = 0,
    lanes: Iterable[Lane] = tuple(Lane),
    limit: int = 100,
) -> list[Change]:
    """Claim what is due."""
    with store.write() as db:
        return outbox.claim(db, kind, now=later(at), lanes=lanes, limit=limit)


def counts(store: database.Store, at: float = 0) -> backlog.Counts:
    """Return how the outbox stands."""
    with store.read() as db:
        return backlog.count(db, later(at))


def ids(changes: Iterable[Change]) -> list[int]:
    """Return whose changes they are, in their order."""
    return [change.ref.id for change in changes]
