"""Somebody erased here on request (`outbook forget`): everything kept about them goes, and only keyed hashes stay.

One transaction does it, while nobody works on them. What polls, webhooks, loads and look-ups tell of them later is dropped
at the door (``sync.door``). The two systems themselves are not touched: who still exists there is told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worker.core import errors, transforms
from worker.core.mapping import PERSON_ADDRESSES
from worker.core.records import Kind, Ref
from worker.remote import outreach_hints
from worker.store import backlog, forgotten, selection
from worker.store.forgotten import Circle
from worker.sync import identify
from worker.sync.tenants import WrongTenant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import sqlalchemy as sa

    from worker.core.records import Snapshot
    from worker.sync.case import Applier

PATIENCE_S, BUSY_S = 60.0, 0.25
ROUNDS = 5
"""How often the two systems are asked again because of what they answered."""
_BORNE: dict[Kind, tuple[str, ...]] = {Kind.PROSPECT: ("emails",), Kind.PERSON: PERSON_ADDRESSES}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the two systems answered: who is still there (None: could not be asked), ``whom`` with all that this showed."""

    whom: Circle
    prospects: tuple[int, ...] | None = None
    people: tuple[int, ...] | None = None
    troubles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """Who was forgotten, and how many rows that erased, by table."""

    whom: Circle
    erased: dict[str, int]


def choose(on: Applier, named: Circle) -> Circle:
    """Return everybody who is named, with all that belongs to them as far as the store knows."""
    with on.store.read() as db:
        return forgotten.circle(db, named)


def look_up(on: Applier, whom: Circle) -> Seen:
    """Ask both systems, by id and by address, who still exists; nothing of the answer is stored. Raise WrongTenant alone.

    What is found there of their records and addresses is theirs too, and asked for in turn.
    """
    seen = Seen(whom)
    for _ in range(ROUNDS):
        troubles: list[str] = []
        prospects = _asked("Outreach", _prospects, on, whom, troubles)
        people = _asked("Workbooks", _people, on, whom, troubles)
        found = [*(prospects or ()), *(people or ())]
        addresses = {text for one in found for text in transforms.addresses(one, _BORNE[one.ref.kind])}
        here, there = (_ids(told) for told in (prospects, people))
        seen = Seen(whom, here, there, tuple(troubles))
        wider = choose(on, whom | Circle(frozenset(here or ()), frozenset(there or ()), frozenset(addresses)))
        if wider == whom:
            break
        whom = wider
    return replace(seen, whom=whom)


def _asked(
    where: str, ask: Callable[[Applier, Circle], list[Snapshot]], on: Applier, whom: Circle, troubles: list[str]
) -> list[Snapshot] | None:
    try:
        return ask(on, whom)
    except WrongTenant:
        raise
    except errors.OutbookError as error:
        troubles.append(f"{where} could not be asked who still exists there: {error.words}")
        return None


def _ids(found: list[Snapshot] | None) -> tuple[int, ...] | None:
    """Return the ids of those who are there; one that the CRM shows as deleted is not."""
    return None if found is None else tuple(sorted({one.ref.id for one in found if not one.deleted}))


def _prospects(on: Applier, whom: Circle) -> list[Snapshot]:
    outreach, names = on.remotes.outreach, ("emails",)
    found = outreach.by_ids(Kind.PROSPECT, sorted(whom.prospects), attributes=names, relations=())
    return found + _bearing(whom, outreach.prospects_by_email(sorted(whom.addresses), attributes=names))


def _people(on: Applier, whom: Circle) -> list[Snapshot]:
    columns = ("id", *PERSON_ADDRESSES)
    found: list[Snapshot] = []
    ids, texts = sorted(whom.people), sorted(whom.addresses)
    for start in range(0, len(ids), identify.CRM_PAGE):
        part = ids[start : start + identify.CRM_PAGE]
        found += identify.read_by_id(on.remotes.crm, Kind.PERSON, part, columns).values()
    for start in range(0, len(texts), identify.CRM_PAGE):
        found += _bearing(whom, identify.bearing(on.remotes.crm, texts[start : start + identify.CRM_PAGE], columns))
    return found


def _bearing(whom: Circle, found: Iterable[Snapshot]) -> list[Snapshot]:
    """Return who truly bears one of the addresses: a filter that was not heeded must not have everybody erased."""
    return [one for one in found if transforms.addresses(one, _BORNE[one.ref.kind]) & whom.addresses]


def forget(on: Applier, whom: Circle, *, sleep: Callable[[float], None]) -> Receipt:
    """Erase them and remember keyed hashes of their names. Doing it again finds nothing left and changes nothing.

    Raise :class:`errors.StaleVersion` if somebody goes on working on one of them.
    """
    waited = 0.0
    while True:
        with on.store.write() as db:
            forgotten.guard(db, alone=True)
            whom = forgotten.circle(db, whom)
            busy = _busy(db, on, whom)
            if not busy:
                forgotten.remember(db, whom, on.names, on.now())
                # Before the mirror goes: a webhook may name a state or a task of theirs.
                emptied = forgotten.empty_webhooks(db, _concerning(db, whom), on.now())
                erased = forgotten.erase(db, whom)
                return Receipt(whom, erased | ({"webhook": emptied} if emptied else {}))
        if waited >= PATIENCE_S:
            raise errors.StaleVersion(f"another process is working on {busy[0]}; try again")
        sleep(BUSY_S)
        waited += BUSY_S


def _busy(db: sa.Connection, on: Applier, whom: Circle) -> list[Ref]:
    """Return which of their records somebody has in hand: what is written just now would come back with its receipt."""
    theirs = {
        Kind.PROSPECT: whom.prospects,
        Kind.PERSON: whom.people,
        Kind.TASK: selection.tasks_of(db, whom.prospects),
    }
    return [Ref(kind, one) for kind, ids in theirs.items() for one in backlog.leased(db, kind, sorted(ids), on.now())]


def _concerning(db: sa.Connection, whom: Circle) -> Callable[[bytes], bool]:
    """Return what tells whether a webhook's body is about them: by the record it names, or by an address in it."""
    theirs = {Ref(Kind.PROSPECT, one) for one in whom.prospects} | forgotten.hanging(db, whom)
    texts = [address.encode() for address in whom.addresses]

    def concerns(body: bytes) -> bool:
        low = body.lower()
        if any(text in low for text in texts):
            return True
        try:
            return outreach_hints.read(body).ref in theirs
        except outreach_hints.Unintelligible:
            return False

    return concerns
