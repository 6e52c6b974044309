"""The outbox: which records need attention, who holds them, and what became of each. One open row a record."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from worker.core.intents import UNCONFIRMED
from worker.core.records import Kind, Ref
from worker.store import clocks, meta, outbox_words
from worker.store.database import among, chunks, ids_told, list_of, new, texts_told, upsert
from worker.store.mirror import MIRROR
from worker.store.tables import ChangeRow, HoldRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

CHANGE: sa.Table = ChangeRow.__table__  # type: ignore[attr-defined]
HOLD: sa.Table = HoldRow.__table__  # type: ignore[attr-defined]

LEASE = timedelta(seconds=15)
"""Short, so that a killed holder's work goes on soon; a live holder renews it (``sync.case.kept_alive``)."""
BATCH = 100
_BLANK: dict[str, Any] = {"lease_until": None, "intent": None, "alone": False, "failed_at": None}


class Lane(IntEnum):
    """Who goes first."""

    OPT_OUT = 0
    EDIT = 1
    BULK = 2


class Standing(StrEnum):
    """Where a change stands.

    ``KEPT``: held back by a switch of this run, due again with the next. ``WAITING``: a task whose person is not there yet.
    """

    DUE = "due"
    WAITING = "waiting"
    HELD = "held"
    DEAD = "dead"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Change:
    """One claimed row.

    ``alone`` means that its last holder vanished: nothing else may ride with it; ``doomed`` that the one before did too.

    ``failing_since`` is when the first of the tries failed that have all failed since; None if the last one did not.
    ``due_at`` is since when it is due.

    ``wish`` is what became so far of a sequence action that somebody in the CRM asked for: unlike the intent it outlives
    retries, for what has been asked of Outreach once must not be asked again.
    """

    id: int
    ref: Ref
    lane: Lane
    generation: int
    fence: int
    attempts: int
    opened_at: datetime
    alone: bool = False
    doomed: bool = False
    hold_key: str | None = None
    intent: Mapping[str, Any] = field(default_factory=dict)
    wish: Mapping[str, Any] = field(default_factory=dict)
    failing_since: datetime | None = None
    due_at: datetime | None = None


def open_changes(db: sa.Connection, kind: Kind, ids: Iterable[int], *, lane: Lane, now: datetime) -> int:
    """Open a row for each record, or make the open one look again; return how many records that is."""
    wanted = sorted(set(ids))
    if wanted:
        told = list_of(db, wanted)
        open_rows(db, rows_for(kind, told.c.value, now, lane=lane).where(told.c.value.is_not(None)))
    return len(wanted)


def open_everyone_in(db: sa.Connection, relation: str, ids: Sequence[int], *, now: datetime) -> int:
    """Open a row for every prospect with a state in one of the sequences, or on one of the steps: one statement each.

    ``relation`` is ``sequence`` or ``sequenceStep``. Such rows stand behind single edits.
    """
    column = {"sequence": MIRROR.c.sequence_id, "sequenceStep": MIRROR.c.step_id}[relation]
    touched = 0
    for part in chunks(sorted(set(ids))):
        people = _everyone(now).where(
            MIRROR.c.kind == Kind.STATE,
            column.in_(part),
            MIRROR.c.deleted == sa.false(),
            MIRROR.c.prospect_id.is_not(None),
        )
        touched += open_rows(db, people.distinct())
    return touched


def open_all(db: sa.Connection, kind: Kind, *, now: datetime) -> int:
    """Open a row for every living record of a kind, behind single edits."""
    query = rows_for(kind, MIRROR.c.id, now).where(MIRROR.c.kind == kind, MIRROR.c.deleted == sa.false())
    return open_rows(db, query)


def _everyone(now: datetime) -> sa.Select[Any]:
    return rows_for(Kind.PROSPECT, MIRROR.c.prospect_id, now)


def rows_for(kind: Kind, record_id: sa.ColumnElement[Any], now: datetime, *, lane: Lane = Lane.BULK) -> sa.Select[Any]:
    """Return a query of fresh rows, behind single edits if nothing else is said, for the records that a column names."""
    blank = _fresh(kind, lane, now)
    told = [
        record_id.label(name) if name == "record_id" else sa.literal(value, CHANGE.c[name].type).label(name)
        for name, value in blank.items()
    ]
    return sa.select(*told)


def open_rows(db: sa.Connection, query: sa.Select[Any]) -> int:
    """Open the rows of a query in one statement; return how many records that is."""
    names = list(_fresh(Kind.PROSPECT, Lane.BULK, None))
    make = sqlite.insert if db.dialect.name == "sqlite" else postgresql.insert
    # Without the option SQLAlchemy does not ask Postgres how many rows an INSERT wrote.
    statement = _opening(make(CHANGE).from_select(names, query)).execution_options(preserve_rowcount=True)
    return int(db.execute(statement).rowcount)


def _fresh(kind: Kind, lane: Lane, now: datetime | None) -> dict[str, Any]:
    return {
        "kind": kind.value,
        "record_id": 0,
        "lane": int(lane),
        "state": Standing.DUE.value,
        "generation": 1,
        "fence": 0,
        "attempts": 0,
        "alone": False,
        "opened_at": now,
        "next_at": now,
    }


def _opening(statement: Any) -> Any:  # noqa: ANN401 - an insert of either dialect
    lane, opened_at, next_at = (new(CHANGE.c[name]) for name in ("lane", "opened_at", "next_at"))
    waiting = CHANGE.c.state != Standing.DUE
    return statement.on_conflict_do_update(
        index_elements=["kind", "record_id"],
        set_={
            "generation": CHANGE.c.generation + 1,
            "lane": sa.case((lane < CHANGE.c.lane, lane), else_=CHANGE.c.lane),
            "state": Standing.DUE.value,
            "attempts": sa.case((waiting, 0), else_=CHANGE.c.attempts),
            "failed_at": sa.case((waiting, sa.null()), else_=CHANGE.c.failed_at),
            "opened_at": sa.case((waiting, opened_at), else_=CHANGE.c.opened_at),
            "next_at": sa.case((CHANGE.c.next_at < next_at, CHANGE.c.next_at), else_=next_at),
        },
    )


def claim(
    db: sa.Connection,
    kind: Kind,
    *,
    now: datetime,
    lanes: Iterable[Lane] = tuple(Lane),
    limit: int = BATCH,
    only: Iterable[int] | None = None,
) -> list[Change]:
    """Lease up to ``limit`` due rows and return them, opt-outs first; with ``only``, none but those of these records.

    A row whose lease ran out without a receipt is claimed alone, and only then does its attempt count rise: one that kills
    its worker cannot bury its neighbours. What is leased as only a wrong clock can have it is dated anew and taken later.
    """
    wanted = None if only is None else sorted(only)
    query = outbox_words.claiming(db.dialect.name, tuple(int(lane) for lane in lanes), only=wanted is not None)
    told = {"of": kind.value, "now": now, "beyond": clocks.beyond(now, LEASE), "most": limit}
    if wanted is not None:
        told["ids"] = ids_told(db, wanted)
    rows = db.execute(query, told).all()
    if not rows:
        return []
    if odd := [row.id for row in rows if clocks.is_odd(row.lease_until, now, LEASE)]:
        db.execute(sa.update(CHANGE).where(among(db, CHANGE.c.id, odd)).values(lease_until=now + LEASE))
        return claim(db, kind, now=now, lanes=lanes, limit=limit, only=wanted)
    meta.note_claim(db, now)
    orphan = rows[0].lease_until is not None
    alone = orphan or rows[0].alone
    taken = rows[:1] if alone else [row for row in rows if row.lease_until is None and not row.alone]
    lease = {"ids": ids_told(db, [row.id for row in taken]), "until": now + LEASE}
    db.execute(outbox_words.leasing(db.dialect.name), {**lease, "vanished": int(orphan), "by_itself": alone})
    return [_change(kind, row, orphan=orphan) for row in taken]


def free(now: datetime) -> sa.ColumnElement[bool]:
    """Return whether nobody has a change in hand."""
    return clocks.free(CHANGE.c.lease_until, now, LEASE)


def _change(kind: Kind, row: Any, *, orphan: bool) -> Change:  # noqa: ANN401 - a row of the driver
    record_id, record, lane, generation, fence, attempts, opened_at, alone, hold_key, intent, wish, failed_at, *_ = row
    return Change(
        id=record_id,
        ref=Ref(kind, record),
        lane=Lane(lane),
        generation=generation,
        fence=fence + 1,
        attempts=attempts + int(orphan),
        opened_at=opened_at,
        alone=orphan or alone,
        doomed=orphan and alone,
        hold_key=hold_key,
        intent=msgspec.json.decode(intent) if intent else {},
        wish=msgspec.json.decode(wish) if wish else {},
        failing_since=failed_at,
        due_at=row.next_at,
    )


def _mine(change: Change) -> sa.ColumnElement[bool]:
    return sa.and_(CHANGE.c.id == change.id, CHANGE.c.fence == change.fence)


def _ours(db: sa.Connection, changes: Sequence[Change]) -> sa.ColumnElement[bool]:
    # Asked for the pairs alone SQLite looks through the whole table.
    pairs = sa.tuple_(CHANGE.c.id, CHANGE.c.fence).in_([(change.id, change.fence) for change in changes])
    return sa.and_(among(db, CHANGE.c.id, [change.id for change in changes]), pairs)


def intend(db: sa.Connection, changes: Sequence[tuple[Change, Mapping[str, Any]]], now: datetime) -> list[Change]:
    """Write down what is about to be done, renew the leases, and return those of the changes that are still ours."""
    if not changes:
        return []
    mine = ours(db, [change for change, _ in changes])
    told = {change.id: msgspec.json.encode(intent).decode() for change, intent in changes if change.id in mine}
    if told:
        db.execute(outbox_words.intending(db.dialect.name), {"texts": texts_told(told), "until": now + LEASE})
    return [change for change, _ in changes if change.id in mine]


def note_wish(db: sa.Connection, change: Change, wish: Mapping[str, Any], now: datetime) -> bool:
    """Write down how a wish stands (empty: there is none any more), renew the lease, and return whether it is still ours."""
    told = msgspec.json.encode(wish).decode() if wish else None
    noted = sa.update(CHANGE).where(_mine(change)).values(wish=told, lease_until=now + LEASE)
    return bool(db.execute(noted).rowcount)


def ours(db: sa.Connection, changes: Sequence[Change]) -> set[int]:
    """Return the ids of those changes that nobody else has claimed since, and keep them so for this transaction."""
    return set(_read(db, changes))


def _read(db: sa.Connection, changes: Sequence[Change]) -> dict[int, int]:
    """Return the generations of those changes that are still ours, and lock them."""
    if not changes:
        return {}
    rows = db.execute(outbox_words.reading(db.dialect.name), {"ids": ids_told(db, [one.id for one in changes])}).all()
    fences = {one.id: one.fence for one in changes}
    return {change_id: generation for change_id, fence, generation in rows if fences[change_id] == fence}


def scatter(db: sa.Connection, changes: Sequence[Change], now: datetime) -> None:
    """Let the leases of a batch have run out, so that each of them is next claimed alone."""
    db.execute(sa.update(CHANGE).where(_ours(db, changes)).values(lease_until=now - timedelta(seconds=1)))


def renew(db: sa.Connection, changes: Sequence[Change], now: datetime) -> None:
    """Keep the leases of a holder that is still alive; what it has settled meanwhile stays settled."""
    held = sa.update(CHANGE).where(_ours(db, changes), CHANGE.c.lease_until.is_not(None))
    db.execute(held.values(lease_until=now + LEASE))


def settle(db: sa.Connection, changes: Sequence[Change]) -> None:
    """Close what was read and done; a row that an edit has reached meanwhile stays open, with a clean slate."""
    found = _read(db, changes)
    done = [one.id for one in changes if found.get(one.id) == one.generation]
    db.execute(outbox_words.closing(db.dialect.name), {"ids": ids_told(db, done)})
    if reached := sorted(set(found) - set(done)):
        again = {**_BLANK, "attempts": 0, "hold_key": None, "error": None, "wish": None}
        db.execute(sa.update(CHANGE).where(among(db, CHANGE.c.id, reached)).values(**again))
    for key in {change.hold_key for change in changes if change.hold_key}:
        _unhook(db, key)


def retry(
    db: sa.Connection,
    change: Change,
    *,
    at: datetime,
    error: str,
    counted: bool = True,
    doubtful: bool = False,
    failing_since: datetime | None = None,
) -> None:
    """Try again at ``at``, or at once if woken; counted unless the fault was nobody's; ``doubtful``: perhaps it was done."""
    woken = CHANGE.c.next_at != change.due_at  # meanwhile (``waking.wake_put_off``); an edit moves no due change
    values = {
        **_BLANK,
        "failed_at": failing_since,
        "next_at": sa.case((woken, CHANGE.c.next_at), else_=sa.literal(at, CHANGE.c.next_at.type)),
        "error": error,
        "attempts": sa.case((woken, int(counted)), else_=change.attempts + int(counted)),
    }
    values["alone"] = change.alone and UNCONFIRMED in change.intent  # it may still be what kills its holders
    if doubtful:
        del values["intent"]
    db.execute(sa.update(CHANGE).where(_mine(change)).values(**values))


def hasten(db: sa.Connection, changes: Sequence[Change]) -> None:
    """Put changes into the lane of opt-outs: only once they were planned did it show that they are some."""
    if changes:
        db.execute(sa.update(CHANGE).where(_ours(db, changes)).values(lane=int(Lane.OPT_OUT)))


def release(db: sa.Connection, changes: Sequence[Change], *, standing: Standing = Standing.DUE) -> None:
    """Give rows back untouched, or set them aside; what an edit has reached meanwhile is due all the same."""
    if changes:
        read = sa.tuple_(CHANGE.c.id, CHANGE.c.generation).in_([(one.id, one.generation) for one in changes])
        state = sa.case((read, standing.value), else_=Standing.DUE.value)
        db.execute(sa.update(CHANGE).where(_ours(db, changes)).values(lease_until=None, state=state))


def bury(db: sa.Connection, change: Change, error: str, now: datetime) -> bool:
    """Make it a dead letter, unless an edit has reached it meanwhile; return whether it is one now."""
    dead = sa.update(CHANGE).where(_mine(change), CHANGE.c.generation == change.generation)
    values = {**_BLANK, "error": error, "hold_key": None}
    death = {"state": Standing.DEAD.value, "attempts": change.attempts + 1, "failed_at": now}
    died = bool(db.execute(dead.values(**(values | death))).rowcount)
    if not died:
        db.execute(sa.update(CHANGE).where(_mine(change)).values(**values))
    if change.hold_key:
        _unhook(db, change.hold_key)
    return died


def hold(db: sa.Connection, change: Change, *, key: str, kind: str, words: str, now: datetime) -> None:
    """Let a change wait for a person under the entry ``key``."""
    values = {**_BLANK, "hold_key": key, "error": words}
    read = CHANGE.c.generation == change.generation
    held = sa.case((read, Standing.HELD.value), else_=Standing.DUE.value)
    if db.execute(sa.update(CHANGE).where(_mine(change)).values(**values, state=held)).rowcount:
        post_hold(db, key=key, kind=kind, words=words, now=now)
    if change.hold_key and change.hold_key != key:
        _unhook(db, change.hold_key)


def _unhook(db: sa.Connection, key: str) -> None:
    """Drop an entry on which no record hangs any more."""
    hanging = sa.select(CHANGE.c.id).where(CHANGE.c.hold_key == key)
    db.execute(sa.delete(HOLD).where(HOLD.c.key == key, sa.not_(hanging.exists())))


def post_hold(db: sa.Connection, *, key: str, kind: str, words: str, now: datetime, login: str | None = None) -> None:
    """Put an entry before the people who decide; one that is there keeps its date, and the user behind it."""
    row = {"key": key, "kind": kind, "words": words, "since": now, "login": login}
    upsert(db, HOLD, [row], key=("key",), update=("words", "login") if login else ("words",))


def holds(db: sa.Connection, kind: str | None = None) -> list[Any]:
    """Return the entries that wait for a person, oldest first, each with ``records``, how many hang on it."""
    hanging = sa.select(sa.func.count()).where(CHANGE.c.hold_key == HOLD.c.key).scalar_subquery()
    query = sa.select(HOLD, hanging.label("records")).order_by(HOLD.c.since, HOLD.c.key)
    return list(db.execute(query if kind is None else query.where(HOLD.c.kind == kind)))


def hanging(db: sa.Connection, kind: Kind, keys: Sequence[str]) -> list[int]:
    """Return the records of a kind that hang on some entries."""
    query = sa.select(CHANGE.c.record_id).where(CHANGE.c.kind == kind, CHANGE.c.hold_key.in_(keys))
    return list(db.execute(query).scalars())


def lift(db: sa.Connection, keys: Iterable[str], now: datetime) -> int:
    """Take entries away and make what hung on them due; return how many records that is."""
    wanted = list(keys)
    if not wanted:
        return 0
    freed = sa.update(CHANGE).where(CHANGE.c.hold_key.in_(wanted), CHANGE.c.state == Standing.HELD)
    count = db.execute(freed.values(state=Standing.DUE.value, next_at=now, hold_key=None)).rowcount
    db.execute(sa.delete(HOLD).where(HOLD.c.key.in_(wanted)))
    return count


def unkeep(db: sa.Connection) -> None:
    """Make due again what an earlier run was told to hold back."""
    db.execute(
        sa.update(CHANGE).where(CHANGE.c.state == Standing.KEPT).values(state=Standing.DUE.value, failed_at=None)
    )
