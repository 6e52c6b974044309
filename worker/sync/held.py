"""What waits for a person: shown, and let go on once somebody has decided. Each is looked at again before a write."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from worker.core import plan, transforms
from worker.core.records import Kind, Shadow
from worker.store import backlog, brakes, links, mirror, outbox
from worker.store.outbox import Lane
from worker.sync import brakes as sync_brakes
from worker.sync import breakers, fields, receipts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from worker.core.mapping import Mapping
    from worker.core.records import Link, Value
    from worker.store.database import Store
    from worker.store.selection import Chosen


class As(StrEnum):
    """How somebody decides what the mapping asks about: a person deleted in the CRM, or a field changed on both sides."""

    RECREATE = "recreate"
    UNLINK = "unlink"
    CRM = "crm"
    OUTREACH = "outreach"


DELETION, FIELD = frozenset({As.RECREATE, As.UNLINK}), frozenset({As.CRM, As.OUTREACH})
CHOICES = {receipts.ASK: DELETION, receipts.CONFLICT: FIELD}
"""Which decisions an entry of a kind takes; one of another kind takes none."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that waits, and how many records hang on it. Its words may name a CRM user: for people, not for a log."""

    key: str
    kind: str
    words: str
    since: datetime
    records: int

    @property
    def prospect(self) -> int | None:
        """The prospect it is about, None for what concerns many."""
        parts = self.key.split(":")
        at = parts.index(Kind.PROSPECT.value) + 1 if Kind.PROSPECT.value in parts else len(parts)
        return int(parts[at]) if at < len(parts) else None

    @property
    def told(self) -> str:
        """Its words, with whom it is about where they do not say so."""
        about = f"prospect {self.prospect}"
        return self.words if self.prospect is None or about in self.words else f"{about}: {self.words}"

    @property
    def field(self) -> str | None:
        """The CRM field it is about, None for what is about the whole record."""
        return self.key.split(":", 3)[3] if self.kind == receipts.CONFLICT else None

    @property
    def deletion(self) -> bool:
        """Whether somebody is to decide about people who were deleted or cannot be read."""
        one = self.kind in {receipts.ASK, receipts.UNREADABLE} and self.prospect is not None
        return one or self.key == sync_brakes.DELETED

    @property
    def instead(self) -> str:
        """What there is to be done about an entry that cannot be rejected."""
        told = {
            receipts.AMBIGUOUS: "say who it is with `outbook link --prospect ID --person ID`",
            receipts.CONFLICT: "say whose edit wins with `outbook held approve --as crm` or `--as outreach`",
            receipts.BRAKE: "it stays held as it is, until it is approved or what it asks for is taken back",
            receipts.UNREADABLE: "mend it in Outreach; it goes on by itself",
            breakers.BREAKER: "the field stays as it is, until it is approved",
            fields.FIELD: "mend it in the CRM or in the mapping; it goes on by itself",
            fields.LABEL: "mend it in the CRM or in the mapping; it goes on by itself",
            fields.DENIED: "let the key's user change it in the CRM; it goes on by itself within the hour",
        }
        return told.get(self.kind, "it can only be approved")


def entries(store: Store) -> list[Entry]:
    """Return everything that waits for a person, oldest first."""
    with store.read() as db:
        return [Entry(row.key, row.kind, _words(row), row.since, row.records) for row in outbox.holds(db)]


def _words(row: Any) -> str:  # noqa: ANN401 - a row of the driver
    return f"{row.words}; last saved in the CRM by {row.login}" if row.login else str(row.words)


def about(store: Store, found: Sequence[Entry], chosen: Chosen) -> tuple[list[Entry], list[Entry]]:
    """Return the entries that are about the chosen alone, and those on which some of them hang beside others.

    Whoever decides about one person must not let a tripped brake go for hundreds.
    """
    ids = {Kind.PROSPECT: set(chosen.prospects), Kind.PERSON: set(chosen.people), Kind.TASK: set(chosen.tasks)}
    with store.read() as db:
        hanging = backlog.hanging(db, [one.key for one in found])
    alone, partly = [], []
    for one in found:
        theirs = hanging.get(one.key, [])
        mine = [ref for ref in theirs if ref.id in ids.get(ref.kind, ())]
        if one.prospect in ids[Kind.PROSPECT] or (theirs and len(mine) == len(theirs)):
            alone.append(one)
        elif mine:
            partly.append(one)
    return alone, partly


def approve(store: Store, chosen: Sequence[Entry], mapping: Mapping, *, how: As | None, now: datetime) -> int:
    """Let entries go on and return how many records that were held are due again.

    A tripped brake on deletions takes those seen so far as meant; any other one is off for a day. An entry that the
    mapping asks about needs ``how``. An ambiguous match is only looked at again: approval never decides it.
    """
    with store.write() as db:
        for one in chosen:
            if one.kind == receipts.BRAKE:
                _release(db, one.key, now)
        breakers.approve(db, [one.key for one in chosen if one.kind == breakers.BREAKER], mapping, now)
        asked = [one.prospect for one in chosen if one.kind == receipts.ASK and one.prospect is not None]
        if how is As.UNLINK:
            _unlink(db, links.load(db, Kind.PROSPECT, asked).values(), now)
        elif how is As.RECREATE:
            gone = _gone(db, asked)  # nobody is made in Outreach again: that stays asked
            links.part(db, Kind.PROSPECT, [one for one in asked if one not in gone])
        elif how in FIELD:
            _decide(db, [one for one in chosen if one.kind == receipts.CONFLICT], mapping, how=how, now=now)
        return outbox.lift(db, [one.key for one in chosen], now)


def reject(store: Store, chosen: Sequence[Entry], *, now: datetime) -> int:
    """Unlink whoever was deleted instead of creating them again, and return how many that are.

    Only entries about deletions can be rejected (``Entry.deletion``). Both records stay as they are, and apart.
    """
    keys = [one.key for one in chosen if one.deletion]
    with store.write() as db:
        hanging = outbox.hanging(db, Kind.PROSPECT, keys)
        known = {pid: link for pid, link in links.load(db, Kind.PROSPECT, hanging).items() if not link.gone}
        _unlink(db, known.values(), now)
        links.approve_missing(db, [link.crm_id for link in known.values()])
        outbox.lift(db, keys, now)
    return len(known)


def _unlink(db: sa.Connection, known: Iterable[Link], now: datetime) -> None:
    """End links; where the prospect is gone, the next pass does so, with what the CRM is to show of that."""
    mine = {link.outreach_id: link for link in known}
    gone = _gone(db, mine)
    let_go = [
        replace(link, shadow=Shadow({**link.shadow.outreach, plan.LET_GO: True}, link.shadow.crm))
        if link.outreach_id in gone
        else replace(link, gone=True)
        for link in mine.values()
    ]
    links.save(db, Kind.PROSPECT, let_go, now)


def _gone(db: sa.Connection, prospect_ids: Iterable[int]) -> set[int]:
    return {pid for pid, one in mirror.load(db, Kind.PROSPECT, prospect_ids).items() if one.deleted}


def sides(store: Store, mapping: Mapping, conflicts: Sequence[Entry]) -> dict[str, tuple[str, str]]:
    """Return by an entry's key what Outreach and the CRM hold in the field it is about, to be shown to a person only."""
    told: dict[str, tuple[str, str]] = {}
    ids = {one.prospect for one in conflicts if one.field and one.prospect is not None}
    with store.read() as db:
        known, prospects = links.load(db, Kind.PROSPECT, ids), mirror.load(db, Kind.PROSPECT, ids)
        people = mirror.load(db, Kind.PERSON, [link.crm_id for link in known.values()])
    for one in conflicts:
        line, link = mapping.by_crm.get(one.field or ""), known.get(one.prospect or 0)
        if line is None or link is None or one.prospect not in prospects or link.crm_id not in people:
            continue
        left = transforms.read(line.outreach or "", prospects[one.prospect].fields)
        right = people[link.crm_id].fields.get(line.crm)
        told[one.key] = ("" if isinstance(left, transforms.Absent) else _shown(left), _shown(right))
    return told


def _shown(value: Value) -> str:
    return "" if value is None else ", ".join(value) if isinstance(value, list) else str(value)


def _release(db: sa.Connection, key: str, now: datetime) -> None:
    if key == sync_brakes.DELETED:
        links.approve_missing(db)
        return
    counted = brakes.approve(db, key, now)
    if key.startswith(sync_brakes.EMPTIED):
        outbox.open_changes(db, Kind.PROSPECT, counted, lane=Lane.BULK, now=now)


def _decide(db: sa.Connection, conflicts: Sequence[Entry], mapping: Mapping, *, how: As | None, now: datetime) -> None:
    """Let one side's edit count as not made: the half of the shadow that loses takes what its side holds now."""
    ids = {one.prospect for one in conflicts if one.prospect is not None}
    known, prospects = links.load(db, Kind.PROSPECT, ids), mirror.load(db, Kind.PROSPECT, ids)
    people = mirror.load(db, Kind.PERSON, [link.crm_id for link in known.values()])
    for one in conflicts:
        line, link = mapping.by_crm.get(one.field or ""), known.get(one.prospect or 0)
        if line is None or line.outreach is None or link is None:
            continue
        outreach, crm = dict(link.shadow.outreach), dict(link.shadow.crm)
        source = transforms.read(line.outreach, prospects[link.outreach_id].fields)
        if how is As.CRM and not isinstance(source, transforms.Absent):
            outreach[line.crm] = source
            crm.setdefault(line.crm, None)
        elif how is As.OUTREACH:
            crm[line.crm] = people[link.crm_id].fields.get(line.crm)
            outreach.setdefault(line.crm, None)
        known[link.outreach_id] = replace(link, shadow=Shadow(outreach, crm))
    links.save(db, Kind.PROSPECT, list(known.values()), now)
    outbox.open_changes(db, Kind.PROSPECT, known, lane=Lane.EDIT, now=now)
