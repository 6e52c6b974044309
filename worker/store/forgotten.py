"""People who were erased: everything about them deleted, only keyed hashes of their names kept, by which they stay away."""

from __future__ import annotations

import hashlib
import hmac
import re
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from worker.core.consent import Source
from worker.core.records import Kind, Ref
from worker.core.tasks import CONTACT
from worker.store import links
from worker.store.brakes import BRAKE
from worker.store.database import BUSY_TIMEOUT_MS, CHUNK, chunks, upsert
from worker.store.exchanges import EXCHANGE
from worker.store.liftings import LIFTING
from worker.store.links import DELETION, EXCLUSION, HISTORY, LATCH, LINK, Name
from worker.store.mirror import ADDRESS, MIRROR, REFERENCE
from worker.store.outbox import CHANGE, HOLD
from worker.store.tables import ForgottenRow
from worker.store.webhooks import WEBHOOK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from worker.store.database import Store
    from worker.store.links import Names

FORGOTTEN: sa.Table = ForgottenRow.__table__  # type: ignore[attr-defined]
AGAIN = "an opt-out remembered when the person was forgotten"
_LOCK = 0x6F757462_666F7267
"""Postgres: whoever stores a page holds it shared, whoever forgets holds it alone. SQLite has one writer at a time anyway."""
_ABOUT = re.compile(r"\b(prospects|people|tasks|sequenceStates|crmTasks):(\d+)")
_WIDEST = 10
"""How often the circle is drawn wider: by links, references and addresses in common."""


@dataclass(frozen=True, slots=True)
class Circle:
    """One person, or several: every record that is theirs on either side, and every address."""

    prospects: frozenset[int] = frozenset()
    people: frozenset[int] = frozenset()
    addresses: frozenset[str] = field(default=frozenset(), repr=False)

    def __or__(self, other: Circle) -> Circle:
        """Return both together."""
        return Circle(self.prospects | other.prospects, self.people | other.people, self.addresses | other.addresses)

    def names(self, names: Names) -> list[Name]:
        """Return every name that is remembered, ids as keyed hashes too."""
        told = [sealed(one, names) for one in names.of(prospect=None, person=None, addresses=self.addresses)]
        told += [sealed(Name("prospect", str(one)), names) for one in self.prospects]
        return told + [sealed(Name("person", str(one)), names) for one in self.people]


def sealed(name: Name, names: Names) -> Name:
    """Return the name as it is remembered: a keyed hash, which that of an address is already."""
    if name.kind == "address":
        return name
    text = f"{name.kind}:{name.key}".encode()
    return Name(name.kind, hmac.new(names.secret, text, hashlib.sha256).hexdigest())


def anybody(db: sa.Connection) -> bool:
    """Tell whether anybody was ever forgotten."""
    return db.scalar(sa.select(FORGOTTEN.c.key).limit(1)) is not None


def since(db: sa.Connection, called: Iterable[Name], names: Names) -> dict[Name, datetime]:
    """Return under which of the names somebody was erased, and when; one query for them all."""
    wanted = {sealed(one, names): one for one in called}
    if not wanted:
        return {}
    keys = [one.key for one in wanted]
    told: sa.ColumnElement[bool]
    if db.dialect.name == "sqlite":
        listed = sa.func.json_each(msgspec.json.encode(keys).decode()).table_valued("value")
        told = FORGOTTEN.c.key.in_(sa.select(listed.c.value))
    else:
        told = FORGOTTEN.c.key == sa.any_(sa.literal(keys, postgresql.ARRAY(sa.Text)))
    found = ((Name(row.key_kind, row.key), row.at) for row in db.execute(sa.select(FORGOTTEN).where(told)))
    return {wanted[name]: at for name, at in found if name in wanted}


def guard(db: sa.Connection, *, alone: bool = False) -> None:
    """Let nobody be forgotten between the look at who is and the end of this transaction."""
    if db.dialect.name == "postgresql":
        lock = sa.func.pg_advisory_xact_lock if alone else sa.func.pg_advisory_xact_lock_shared
        db.execute(sa.select(lock(_LOCK)))


def circle(db: sa.Connection, named: Circle) -> Circle:
    """Return everybody who is named, with all records and addresses that belong to them as far as the store knows.

    What is linked, what refers to one of the prospects, and whoever bears one of the addresses is taken for the same person.
    """
    for _ in range(_WIDEST):
        wider = named | _linked(db, named) | _bearing(db, named) | _borne(db, named)
        if wider == named:
            break
        named = wider
    return named


def _linked(db: sa.Connection, one: Circle) -> Circle:
    pairs = sa.select(LINK.c.outreach_id, LINK.c.crm_id)
    mine = sa.select(REFERENCE.c.outreach_id, REFERENCE.c.record_id.label("crm_id"))
    found: list[Any] = []
    for column, ids in ((LINK.c.outreach_id, one.prospects), (LINK.c.crm_id, one.people)):
        for part in chunks(sorted(ids)):
            found += db.execute(pairs.where(LINK.c.kind == Kind.PROSPECT, column.in_(part)))
    for column, ids in ((REFERENCE.c.outreach_id, one.prospects), (REFERENCE.c.record_id, one.people)):
        for part in chunks(sorted(ids)):
            found += db.execute(mine.where(REFERENCE.c.kind == Kind.PERSON, column.in_(part)))
    people = frozenset(row.crm_id for row in found if row.crm_id is not None)
    return Circle(frozenset(row.outreach_id for row in found), people)


def _bearing(db: sa.Connection, one: Circle) -> Circle:
    found: dict[str, set[int]] = {Kind.PROSPECT: set(), Kind.PERSON: set()}
    ordered = sorted(one.addresses)
    for start in range(0, len(ordered), CHUNK):
        for row in db.execute(sa.select(ADDRESS).where(ADDRESS.c.address.in_(ordered[start : start + CHUNK]))):
            found.setdefault(row.kind, set()).add(row.record_id)
    return Circle(frozenset(found[Kind.PROSPECT]), frozenset(found[Kind.PERSON]))


def _borne(db: sa.Connection, one: Circle) -> Circle:
    texts: set[str] = set()
    for kind, ids in ((Kind.PROSPECT, one.prospects), (Kind.PERSON, one.people)):
        for part in chunks(sorted(ids)):
            theirs = sa.select(ADDRESS.c.address).where(ADDRESS.c.kind == kind, ADDRESS.c.record_id.in_(part))
            texts.update(db.execute(theirs).scalars())
    return Circle(addresses=frozenset(texts))


def remember(db: sa.Connection, one: Circle, names: Names, now: datetime) -> None:
    """Remember that these are forgotten; an opt-out known under any name stays latched, under their addresses alone."""
    rows = [{"key_kind": name.kind, "key": name.key, "at": now} for name in one.names(names)]
    upsert(db, FORGOTTEN, rows, key=("key_kind", "key"), update=())
    ids = [Name("prospect", str(pid)) for pid in one.prospects] + [Name("person", str(crm)) for crm in one.people]
    addresses = names.of(prospect=None, person=None, addresses=one.addresses)
    if links.latched(db, [*ids, *addresses]):
        links.latch(db, [(name, AGAIN) for name in addresses], now)


def erase(db: sa.Connection, one: Circle) -> dict[str, int]:
    """Delete everything that is kept about these, in the caller's transaction, and return how many rows, by table.

    The history goes as a whole: what was written is theirs, and rows without it would explain nothing.
    """
    found = hanging(db, one)
    tasks = {ref.id for ref in found if ref.kind is Kind.TASK}
    theirs: dict[Kind, set[int]] = {
        Kind.PROSPECT: set(one.prospects),
        Kind.PERSON: set(one.people),
        Kind.STATE: {ref.id for ref in found if ref.kind is Kind.STATE},
        Kind.TASK: tasks,
        Kind.CRM_TASK: _crm_tasks(db, tasks, one.people),
    }
    gone: dict[str, int] = {}
    _holds(db, theirs, gone)
    for kind, ids in theirs.items():
        for table, column in (
            (MIRROR, MIRROR.c.id),
            (ADDRESS, ADDRESS.c.record_id),
            (REFERENCE, REFERENCE.c.record_id),
            (CHANGE, CHANGE.c.record_id),
            (EXCLUSION, EXCLUSION.c.record_id),
            (EXCHANGE, EXCHANGE.c.record_id),
            (HISTORY, HISTORY.c.outreach_id),
            (LINK, LINK.c.outreach_id),
        ):
            _delete(db, gone, table, column, ids, table.c.kind == kind)
    _delete(db, gone, LINK, LINK.c.crm_id, one.people, LINK.c.kind == Kind.PROSPECT)
    _delete(db, gone, HISTORY, HISTORY.c.crm_id, one.people, HISTORY.c.kind != Kind.TASK)
    _delete(db, gone, DELETION, DELETION.c.crm_id, one.people)
    _delete(db, gone, DELETION, DELETION.c.outreach_id, one.prospects)
    _delete(db, gone, BRAKE, BRAKE.c.record_id, one.prospects | one.people)
    _delete(db, gone, LIFTING, LIFTING.c.prospect_id, one.prospects)
    _delete(db, gone, LIFTING, LIFTING.c.record_id, one.people, LIFTING.c.source == Source.PERSON)
    for word, latched in (("prospect", one.prospects), ("person", one.people)):
        ordered = [str(number) for number in sorted(latched)]
        for start in range(0, len(ordered), CHUNK):
            these = sa.and_(LATCH.c.key_kind == word, LATCH.c.key.in_(ordered[start : start + CHUNK]))
            _count(gone, LATCH, db.execute(sa.delete(LATCH).where(these)).rowcount)
    return gone


def _delete(
    db: sa.Connection,
    gone: dict[str, int],
    table: sa.Table,
    column: sa.ColumnElement[Any],
    ids: Iterable[int],
    *which: sa.ColumnElement[bool],
) -> None:
    for part in chunks(sorted(ids)):
        _count(gone, table, db.execute(sa.delete(table).where(column.in_(part), *which)).rowcount)


def _count(gone: dict[str, int], table: sa.Table, rows: int) -> None:
    if rows:
        gone[table.name] = gone.get(table.name, 0) + rows


def _ids(db: sa.Connection, kind: Kind, column: sa.ColumnElement[Any], ids: Iterable[int]) -> set[int]:
    found: set[int] = set()
    for part in chunks(sorted(ids)):
        found.update(db.execute(sa.select(MIRROR.c.id).where(MIRROR.c.kind == kind, column.in_(part))).scalars())
    return found


def _crm_tasks(db: sa.Connection, tasks: set[int], people: Iterable[int]) -> set[int]:
    """Return the CRM's tasks of these: linked, referring to one of the Outreach tasks, or about one of the people."""
    found: set[int] = set()
    for part in chunks(sorted(tasks)):
        linked = sa.select(LINK.c.crm_id).where(LINK.c.kind == Kind.TASK, LINK.c.outreach_id.in_(part))
        found.update(number for number in db.execute(linked).scalars() if number is not None)
        refer = sa.select(REFERENCE.c.record_id).where(REFERENCE.c.kind == Kind.CRM_TASK)
        found.update(db.execute(refer.where(REFERENCE.c.outreach_id.in_(part))).scalars())
    wanted = {str(one) for one in people}
    every = sa.select(MIRROR.c.id, MIRROR.c.fields).where(MIRROR.c.kind == Kind.CRM_TASK)
    for row in db.execute(every.execution_options(yield_per=CHUNK)):
        if wanted and str(msgspec.json.decode(row.fields).get(CONTACT)) in wanted:
            found.add(row.id)
    return found


def _holds(db: sa.Connection, theirs: dict[Kind, set[int]], gone: dict[str, int]) -> None:
    """Take away what waits for a person because of these, and only of these."""
    every = {(kind.value, number) for kind, ids in theirs.items() for number in ids}
    waiting = db.execute(sa.select(HOLD.c.key)).scalars()
    keys = [key for key in waiting if any((kind, int(number)) in every for kind, number in _ABOUT.findall(key))]
    for start in range(0, len(keys), CHUNK):
        these = HOLD.c.key.in_(keys[start : start + CHUNK])
        _count(gone, HOLD, db.execute(sa.delete(HOLD).where(these)).rowcount)


def hanging(db: sa.Connection, one: Circle) -> set[Ref]:
    """Return the sequence states and tasks of some prospects."""
    states = _ids(db, Kind.STATE, MIRROR.c.prospect_id, one.prospects)
    tasks = _ids(db, Kind.TASK, MIRROR.c.prospect_id, one.prospects) | _ids(db, Kind.TASK, MIRROR.c.state_id, states)
    return {Ref(Kind.STATE, number) for number in states} | {Ref(Kind.TASK, number) for number in tasks}


def empty_webhooks(db: sa.Connection, concerns: Callable[[bytes], bool], now: datetime) -> int:
    """Empty the bodies of waiting webhooks that concern somebody; the polls tell what else they told."""
    waiting = sa.select(WEBHOOK.c.id, WEBHOOK.c.body).where(WEBHOOK.c.done_at.is_(None))
    ids = [row.id for row in db.execute(waiting.execution_options(yield_per=CHUNK)) if concerns(row.body)]
    for part in chunks(ids):
        db.execute(sa.update(WEBHOOK).where(WEBHOOK.c.id.in_(part)).values(body=b"", lease_until=None, done_at=now))
    return len(ids)


def sweep_away(store: Store, *, wait_ms: int = BUSY_TIMEOUT_MS) -> bool:
    """Overwrite what deleted rows left in a SQLite file and its log; False if that was kept from ending.

    Postgres does so by itself in time (autovacuum); there nothing is done here.
    """
    if store.engine.dialect.name != "sqlite":
        return True
    with store.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.execute(f"PRAGMA busy_timeout={wait_ms:d}")
        try:
            driver.execute("VACUUM")
            busy, _, _ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError:
            return False  # locked, or no room for a second copy
        return not busy
