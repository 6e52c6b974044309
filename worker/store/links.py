"""Links with their shadows, latches, exclusions, deletions and the history of what was written."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from worker.core.records import Kind, Link, Shadow, System
from worker.store.database import among, chunks, upsert
from worker.store.mirror import MIRROR
from worker.store.tables import DeletionRow, ExclusionRow, HistoryRow, LatchRow, LinkRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from worker.core.records import Value

LINK: sa.Table = LinkRow.__table__  # type: ignore[attr-defined]
LATCH: sa.Table = LatchRow.__table__  # type: ignore[attr-defined]
EXCLUSION: sa.Table = ExclusionRow.__table__  # type: ignore[attr-defined]
DELETION: sa.Table = DeletionRow.__table__  # type: ignore[attr-defined]
HISTORY: sa.Table = HistoryRow.__table__  # type: ignore[attr-defined]

BRAKE_WINDOW = timedelta(hours=24)


def load(db: sa.Connection, kind: Kind, outreach_ids: Iterable[int]) -> dict[int, Link]:
    """Return the links of some Outreach records, tombstones included. ``kind`` is PROSPECT or TASK."""
    return _load(db, kind, LINK.c.outreach_id, outreach_ids)


def of_crm(db: sa.Connection, kind: Kind, crm_ids: Iterable[int]) -> dict[int, Link]:
    """Return the links of some CRM records, by the CRM record's id."""
    return {link.crm_id: link for link in _load(db, kind, LINK.c.crm_id, crm_ids).values()}


def _load(db: sa.Connection, kind: Kind, column: sa.ColumnElement[Any], ids: Iterable[int]) -> dict[int, Link]:
    found: dict[int, Link] = {}
    for part in chunks(sorted(set(ids))):
        for row in db.execute(sa.select(LINK).where(LINK.c.kind == kind, among(db, column, part))):
            shadow = Shadow(msgspec.json.decode(row.outreach_then), msgspec.json.decode(row.crm_then))
            found[row.outreach_id] = Link(row.outreach_id, row.crm_id, shadow, row.written_version, row.gone)
    return found


def save(db: sa.Connection, kind: Kind, links: Sequence[Link], now: datetime) -> None:
    """Write links. Whose Outreach record is gone gives its CRM record up to a living one, stored or among these."""
    owners = {link.crm_id: link.outreach_id for link in links if not link.gone}
    links = [link for link in links if owners.get(link.crm_id, link.outreach_id) == link.outreach_id]
    _give_up(db, kind, links)
    tombs = {link.crm_id: link.outreach_id for link in links if link.gone}
    lost = {crm for crm, held in of_crm(db, kind, tombs).items() if held.outreach_id != tombs[crm]} if tombs else set()
    links = [link for link in links if not (link.gone and link.crm_id in lost)]
    rows = [
        {
            "kind": kind.value,
            "outreach_id": link.outreach_id,
            "crm_id": link.crm_id,
            "outreach_then": msgspec.json.encode(link.shadow.outreach).decode(),
            "crm_then": msgspec.json.encode(link.shadow.crm).decode(),
            "written_version": link.written_version,
            "gone": link.gone,
            "linked_at": now,
        }
        for link in links
    ]
    changed = ("crm_id", "outreach_then", "crm_then", "written_version", "gone")
    upsert(db, LINK, rows, key=("kind", "outreach_id"), update=changed)


def _give_up(db: sa.Connection, kind: Kind, links: Sequence[Link]) -> None:
    """Delete the links that others hold to these CRM records, theirs being gone: known, or just read and not yet worked on."""
    mine = [link.outreach_id for link in links]
    removed = sa.select(MIRROR.c.id).where(
        MIRROR.c.kind == kind, MIRROR.c.id == LINK.c.outreach_id, MIRROR.c.deleted == sa.true()
    )
    for part in chunks([link.crm_id for link in links]):
        theirs = (LINK.c.kind == kind, among(db, LINK.c.crm_id, part), sa.not_(among(db, LINK.c.outreach_id, mine)))
        db.execute(sa.delete(LINK).where(*theirs, sa.or_(LINK.c.gone, removed.exists())))


def part(db: sa.Connection, kind: Kind, outreach_ids: Iterable[int]) -> None:
    """Forget links altogether, as if the two had never met."""
    for part in chunks(sorted(set(outreach_ids))):
        db.execute(sa.delete(LINK).where(LINK.c.kind == kind, LINK.c.outreach_id.in_(part)))


def forget_fields(db: sa.Connection, names: Iterable[str], outreach_ids: Iterable[int] | None = None) -> None:
    """Forget what people and prospects agreed upon in some fields: of these pairs, or of every pair.

    One statement a field, whatever the number of pairs; a pair that never agreed on it is not written.
    """
    wanted = sa.true() if outreach_ids is None else LINK.c.outreach_id.in_(sorted(outreach_ids))
    for name in sorted(names):
        there = [column.contains(msgspec.json.encode(name).decode(), autoescape=True) for column in _HALVES]
        forgotten = {column.name: _without(db, column, name) for column in _HALVES}
        db.execute(sa.update(LINK).where(LINK.c.kind == Kind.PROSPECT, wanted, sa.or_(*there)).values(forgotten))


_HALVES = (LINK.c.outreach_then, LINK.c.crm_then)


def _without(db: sa.Connection, column: sa.Column[str], name: str) -> sa.ColumnElement[str]:
    if db.dialect.name == "sqlite":
        return sa.func.json_remove(column, f'$."{name}"')
    return sa.cast(sa.cast(column, postgresql.JSONB).op("-")(sa.literal(name, sa.Text)), sa.Text)


def count(db: sa.Connection, kind: Kind) -> int:
    """Return how many living links there are: all less the tombstones, so that two indexes tell it."""
    every = sa.select(sa.func.count()).select_from(LINK).where(LINK.c.kind == kind)
    whole, gone = (db.execute(query).scalar_one() for query in (every, every.where(LINK.c.gone == sa.true())))
    return int(whole) - int(gone)


@dataclass(frozen=True, slots=True)
class Name:
    """One name of a person under which an opt-out is remembered; addresses only as a keyed hash."""

    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class Names:
    """Makes the names. ``secret`` keys the hashes, so that the store alone gives no address away."""

    secret: bytes = field(repr=False)

    def of(self, *, prospect: int | None, person: int | None, addresses: Iterable[str]) -> list[Name]:
        """Return every name under which one person may be remembered."""
        names = [Name("address", self._hash(text)) for text in sorted(set(addresses))]
        if prospect is not None:
            names.append(Name("prospect", str(prospect)))
        if person is not None:
            names.append(Name("person", str(person)))
        return names

    def _hash(self, text: str) -> str:
        return hmac.new(self.secret, text.encode(), hashlib.sha256).hexdigest()


def latched(db: sa.Connection, names: Iterable[Name]) -> set[Name]:
    """Return those of the names under which an opt-out is remembered."""
    wanted: dict[str, set[str]] = {}
    for name in names:
        wanted.setdefault(name.kind, set()).add(name.key)
    found: set[Name] = set()
    for kind, keys in wanted.items():
        ordered = sorted(keys)
        for start in range(0, len(ordered), 500):
            query = sa.select(LATCH.c.key).where(
                LATCH.c.key_kind == kind, LATCH.c.key.in_(ordered[start : start + 500])
            )
            found.update(Name(kind, row.key) for row in db.execute(query))
    return found


def latch(db: sa.Connection, names: Iterable[tuple[Name, str]], now: datetime) -> None:
    """Remember an opt-out under each name, with its evidence; what is remembered already stays as it is."""
    rows = [{"key_kind": n.kind, "key": n.key, "since": now, "evidence": why} for n, why in dict(names).items()]
    upsert(db, LATCH, rows, key=("key_kind", "key"), update=())


def exclude(db: sa.Connection, kind: Kind, reasons: Mapping[int, str], included: Iterable[int]) -> None:
    """Remember which records the mapping leaves out and why, and forget those it no longer does."""
    for part in chunks(sorted(set(included))):
        db.execute(sa.delete(EXCLUSION).where(EXCLUSION.c.kind == kind, among(db, EXCLUSION.c.record_id, part)))
    rows = [{"kind": kind.value, "record_id": record, "reason": reason} for record, reason in reasons.items()]
    upsert(db, EXCLUSION, rows, key=("kind", "record_id"), update=("reason",))


def excluded(db: sa.Connection) -> int:
    """Return how many records the mapping leaves out."""
    return int(db.execute(sa.select(sa.func.count()).select_from(EXCLUSION)).scalar_one())


def missing(db: sa.Connection, rows: Mapping[int, tuple[int, datetime]]) -> None:
    """Remember linked people that went missing: CRM id → (prospect id, when by the vendor's time)."""
    told = [{"crm_id": crm, "outreach_id": pid, "at": at, "approved": False} for crm, (pid, at) in rows.items()]
    upsert(db, DELETION, told, key=("crm_id",), update=())


def restored(db: sa.Connection, crm_ids: Iterable[int]) -> None:
    """Forget that people were missing: somebody brought them back."""
    for part in chunks(sorted(set(crm_ids))):
        db.execute(sa.delete(DELETION).where(DELETION.c.crm_id.in_(part)))


def missing_lately(db: sa.Connection) -> int:
    """Return how many went missing within the last day that nobody has approved or restored.

    The day ends at the newest of them: it is the vendor's time that counts, and our clock may be wrong.
    """
    open_ones = DELETION.c.approved == sa.false()
    newest = db.execute(sa.select(sa.func.max(DELETION.c.at)).where(open_ones)).scalar_one()
    if newest is None:
        return 0
    query = sa.select(sa.func.count()).select_from(DELETION)
    return int(db.execute(query.where(open_ones, DELETION.c.at >= newest - BRAKE_WINDOW)).scalar_one())


def approve_missing(db: sa.Connection, crm_ids: Iterable[int] | None = None) -> None:
    """Take deletions as meant: of these people, or every one seen so far."""
    meant = sa.update(DELETION).values(approved=True)
    if crm_ids is None:
        db.execute(meant)
        return
    for part in chunks(sorted(set(crm_ids))):
        db.execute(meant.where(DELETION.c.crm_id.in_(part)))


@dataclass(frozen=True, slots=True)
class Written:
    """One write for the history. ``caused_at``: when the vendor's record was saved that it carries over, if that is known.

    ``caused_by`` is the stream that brought that record.
    """

    kind: Kind
    outreach_id: int
    crm_id: int | None
    system: System
    action: str
    before: Mapping[str, Value]
    after: Mapping[str, Value]
    why: str
    caused_at: datetime | None = None
    caused_by: Kind | None = None


def remember(db: sa.Connection, writes: Sequence[Written], *, now: datetime, mapping_version: str) -> None:
    """Add writes to the history."""
    if writes:
        db.execute(
            sa.insert(HISTORY),
            [
                {
                    "at": now,
                    "caused_at": one.caused_at,
                    "caused_by": one.caused_by.value if one.caused_by else None,
                    "kind": one.kind.value,
                    "outreach_id": one.outreach_id,
                    "crm_id": one.crm_id,
                    "system": one.system.value,
                    "action": one.action,
                    "before": msgspec.json.encode(one.before).decode(),
                    "after": msgspec.json.encode(one.after).decode(),
                    "why": one.why,
                    "mapping_version": mapping_version,
                }
                for one in writes
            ],
        )


@dataclass(frozen=True, slots=True)
class Past:
    """One write as the history tells it."""

    at: datetime
    outreach_id: int
    system: System
    action: str
    before: Mapping[str, Value]
    after: Mapping[str, Value]


def busy(db: sa.Connection, kind: Kind, outreach_ids: Iterable[int], since: datetime, *, more_than: int) -> set[int]:
    """Return which of the records were written more than so many times since then."""
    found: set[int] = set()
    for part in chunks(sorted(set(outreach_ids))):
        query = sa.select(HISTORY.c.outreach_id).where(
            HISTORY.c.kind == kind, among(db, HISTORY.c.outreach_id, part), HISTORY.c.at >= since
        )
        query = query.group_by(HISTORY.c.outreach_id).having(sa.func.count() > more_than)
        found.update(db.execute(query).scalars())
    return found


def last_written(db: sa.Connection, kind: Kind, outreach_ids: Iterable[int]) -> dict[int, datetime]:
    """Return when each of some records was written last, on either side; one that never was is left out."""
    found: dict[int, datetime] = {}
    for part in chunks(sorted(set(outreach_ids))):
        query = sa.select(HISTORY.c.outreach_id, sa.func.max(HISTORY.c.at).label("at"))
        query = query.where(HISTORY.c.kind == kind, among(db, HISTORY.c.outreach_id, part)).group_by(
            HISTORY.c.outreach_id
        )
        found.update((row.outreach_id, row.at) for row in db.execute(query))
    return found


def past(db: sa.Connection, kind: Kind, outreach_ids: Iterable[int], since: datetime) -> list[Past]:
    """Return the writes of some records since then, oldest first."""
    found: list[Past] = []
    for part in chunks(sorted(set(outreach_ids))):
        query = sa.select(HISTORY).where(
            HISTORY.c.kind == kind, among(db, HISTORY.c.outreach_id, part), HISTORY.c.at >= since
        )
        for row in db.execute(query.order_by(HISTORY.c.id)):
            before, after = msgspec.json.decode(row.before), msgspec.json.decode(row.after)
            found.append(Past(row.at, row.outreach_id, System(row.system), row.action, before, after))
    return found
