"""How the store stands, in counts: what `status`, the probes and the metrics ask, cheap on a million records."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from worker.core import letters, transforms
from worker.core.outlook import Cause, Round, Webhooks
from worker.core.records import Kind, System
from worker.store.budget import CALL
from worker.store.links import EXCLUSION, HISTORY, LATCH, LINK
from worker.store.outbox import CHANGE, HOLD, Lane, Standing
from worker.store.tables import RoundRow, TokenRow, WebhookRow

ROUND: sa.Table = RoundRow.__table__  # type: ignore[attr-defined]
TOKEN: sa.Table = TokenRow.__table__  # type: ignore[attr-defined]
WEBHOOK: sa.Table = WebhookRow.__table__  # type: ignore[attr-defined]

SAMPLE = 20_000
"""Writes that a percentile is made of at most: the newest ones."""
REASONS = 20
"""Reasons and causes that are told one by one; the rest is in the totals."""
LOOKED_AT = 2000
"""Different words that are reduced to causes at most."""
OPT_OUTS_LOOKED_AT = 500
WEEK = timedelta(days=7)


def by_standing(db: sa.Connection, now: datetime) -> dict[tuple[Standing, bool, Lane], int]:
    """Return how many changes are open by standing, by whether their time has come, and by lane; from an index alone."""
    come = sa.case((CHANGE.c.next_at <= now, 1), else_=0).label("come")
    columns = (CHANGE.c.state, come, CHANGE.c.lane)
    rows = db.execute(sa.select(*columns, sa.func.count().label("records")).group_by(*columns))
    return {(Standing(row.state), bool(row.come), Lane(row.lane)): row.records for row in rows}


def oldest_due(db: sa.Connection, now: datetime) -> datetime | None:
    """Return since when the oldest change is due, whoever has it in hand; a seek in an index for each lane."""
    firsts = [
        db.scalar(
            sa.select(sa.func.min(CHANGE.c.next_at)).where(CHANGE.c.state == Standing.DUE, CHANGE.c.lane == int(lane))
        )
        for lane in Lane
    ]
    return min((first for first in firsts if first is not None and first <= now), default=None)


def leased(db: sa.Connection, now: datetime) -> int:
    """Return how many changes somebody has in hand."""
    query = sa.select(sa.func.count()).select_from(CHANGE)
    return int(db.execute(query.where(CHANGE.c.state == Standing.DUE, CHANGE.c.lease_until >= now)).scalar_one())


def oldest_opt_out(db: sa.Connection) -> datetime | None:
    """Return when the oldest opt-out that is still on its way was noticed; those a person must decide have been told."""
    waiting = CHANGE.c.state.in_([Standing.DUE.value, Standing.KEPT.value])
    query = sa.select(sa.func.min(CHANGE.c.opened_at)).where(CHANGE.c.lane == int(Lane.OPT_OUT), waiting)
    oldest: datetime | None = db.execute(query).scalar_one()
    return oldest


def failed_opt_outs(db: sa.Connection) -> list[int]:
    """Return prospects with a dead letter in the lane of opt-outs, at most 500; the opt-out itself may have got through."""
    query = sa.select(CHANGE.c.record_id).where(
        CHANGE.c.state == Standing.DEAD, CHANGE.c.lane == int(Lane.OPT_OUT), CHANGE.c.kind == Kind.PROSPECT
    )
    return list(db.execute(query.order_by(CHANGE.c.record_id).limit(OPT_OUTS_LOOKED_AT)).scalars())


def opted_out_since(db: sa.Connection, since: datetime) -> int:
    """Return how many people were first seen opted out since then; one known on both sides counts once."""
    query = sa.select(sa.func.count()).select_from(LATCH).where(LATCH.c.since >= since)
    told = [db.execute(query.where(LATCH.c.key_kind == kind)).scalar_one() for kind in ("prospect", "person")]
    return int(max(told))


def lags(db: sa.Connection, system: System, since: datetime) -> list[tuple[float, str | None]]:
    """Return for the newest writes to one side how many seconds lay between the vendor's change and our write, ascending.

    With each comes the stream that brought the change; None where nobody noted it.
    """
    query = sa.select(HISTORY.c.at, HISTORY.c.caused_at, HISTORY.c.caused_by).where(
        HISTORY.c.system == system, HISTORY.c.at >= since, HISTORY.c.caused_at.is_not(None)
    )
    rows = db.execute(query.order_by(HISTORY.c.at.desc()).limit(SAMPLE))
    told = [(max(0.0, (at - caused).total_seconds()), stream) for at, caused, stream in rows]
    return sorted(told, key=lambda one: one[0])


def unsettled_pairs(db: sa.Connection) -> int:
    """Return how many linked people have an open change: each change looks for its link, for there are fewer of them."""
    mine = sa.and_(LINK.c.kind == Kind.PROSPECT, LINK.c.outreach_id == CHANGE.c.record_id, LINK.c.gone == sa.false())
    query = sa.select(sa.func.count()).select_from(CHANGE).where(CHANGE.c.kind == Kind.PROSPECT)
    return int(db.execute(query.where(sa.exists().where(mine))).scalar_one())


def excluded_by_reason(db: sa.Connection) -> list[tuple[str, int]]:
    """Return why records are left out, each with how many are, the most first."""
    records = sa.func.count().label("records")
    query = sa.select(EXCLUSION.c.reason, records).group_by(EXCLUSION.c.reason)
    return [(row.reason, row.records) for row in db.execute(query.order_by(records.desc(), EXCLUSION.c.reason))]


def held_by_kind(db: sa.Connection) -> list[tuple[str, int, int]]:
    """Return what waits for a person by kind: how many entries, and how many records hang on them."""
    theirs = sa.select(HOLD.c.kind, sa.func.count().label("records")).join(CHANGE, CHANGE.c.hold_key == HOLD.c.key)
    hanging = {row.kind: row.records for row in db.execute(theirs.group_by(HOLD.c.kind))}
    rows = db.execute(sa.select(HOLD.c.kind, sa.func.count()).group_by(HOLD.c.kind).order_by(HOLD.c.kind))
    return [(kind, entries, hanging.get(kind, 0)) for kind, entries in rows]


def failed_by_cause(db: sa.Connection) -> list[Cause]:
    """Return the commonest causes of dead letters, the most first; like words count as one cause."""
    records = sa.func.count().label("records")
    query = sa.select(CHANGE.c.error, records, sa.func.max(CHANGE.c.failed_at).label("newest"))
    query = query.where(CHANGE.c.state == Standing.DEAD).group_by(CHANGE.c.error)
    rows = db.execute(query.order_by(records.desc(), CHANGE.c.error).limit(LOOKED_AT)).all()
    newest: dict[str, list[datetime]] = {}
    for row in rows:
        newest.setdefault(letters.cause_of(row.error), []).extend([row.newest] if row.newest else [])
    told = letters.grouped((row.error or "no reason was noted", row.records) for row in rows)
    told.sort(key=lambda one: (-one[1], one[0]))
    return [
        Cause(words, count, max(newest.get(letters.cause_of(words), ()), default=None))
        for words, count in told[:REASONS]
    ]


def calls_by_lane(db: sa.Connection) -> dict[tuple[str, str], int]:
    """Return how many calls were ever made, by system and lane, as far as they have been written down."""
    query = sa.select(CALL.c.system, CALL.c.lane, sa.func.sum(CALL.c.calls).label("calls"))
    return {(row.system, row.lane): int(row.calls) for row in db.execute(query.group_by(CALL.c.system, CALL.c.lane))}


def renewed_at(db: sa.Connection, system: System) -> datetime | None:
    """Return when a vendor's tokens were last renewed, without opening them; None if none were."""
    return db.execute(sa.select(TOKEN.c.minted_at).where(TOKEN.c.vendor == system)).scalar()


def rounds(db: sa.Connection) -> list[Round]:
    """Return the sweep and the reconciliation, as far as they have come; of what they counted the numbers, not the lists."""
    return [_round(row) for row in db.execute(sa.select(ROUND).order_by(ROUND.c.name))]


def _round(row: sa.Row[Any]) -> Round:
    """Return a round. Its slices are spread evenly, so the one next in turn is as old as it was far into the last round."""
    now, last = msgspec.json.decode(row.told), _numbers(row.last)
    # Only the comparison counts its slices beforehand; the sweep's are those it has taken.
    part = min(1.0, now["done"] / now["slices"]) if row.began_at and "done" in now and now["slices"] else None
    began, oldest = transforms.parse_time(last.get("began_at")), None
    if "coverage" in last and began and row.ended_at:
        oldest = began + (row.ended_at - began) * (part or 0.0)
    return Round(row.name, row.began_at, row.ended_at, row.next_at, last, part, oldest)


def _numbers(last: str) -> dict[str, Any]:
    return {name: value for name, value in msgspec.json.decode(last).items() if not isinstance(value, list)}


def webhooks(db: sa.Connection) -> Webhooks:
    """Return how the receiver fares."""
    last = db.execute(sa.select(WEBHOOK.c.at).order_by(WEBHOOK.c.id.desc()).limit(1)).scalar()
    waiting = sa.select(sa.func.count()).select_from(WEBHOOK).where(WEBHOOK.c.done_at.is_(None))
    return Webhooks(last, int(db.execute(waiting).scalar_one()))
