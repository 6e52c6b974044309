"""What applying touches, and one change on its way through a batch."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from worker.core import masks, transforms
from worker.core.mapping import PERSON_ADDRESSES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Mapping as Dict
    from datetime import datetime

    from worker.core import errors
    from worker.core.mapping import Mapping
    from worker.core.plan import PersonPlan, PersonView
    from worker.core.records import Snapshot
    from worker.store.database import Store
    from worker.store.links import Names
    from worker.store.outbox import Change
    from worker.sync.deliver import Receipt
    from worker.sync.streams import Remotes
    from worker.sync.tally import Tally

ACTIONS_S = timedelta(seconds=40)
"""How long a claim may go on with actions that cost a request each; what is left is given back for the next one."""
BEAT_S = 5.0
"""How often a lease is renewed: a third of what it lasts."""


@dataclass(frozen=True, slots=True)
class Pilot:
    """The people who alone may be written, by any of their names."""

    prospects: frozenset[int] = frozenset()
    people: frozenset[int] = frozenset()
    addresses: frozenset[str] = frozenset()

    def has(self, prospect_id: int | None, person: Snapshot | None, prospect: Snapshot | None) -> bool:
        """Tell whether one of the two records is named, by its id or by an address."""
        borne = transforms.addresses(prospect, ("emails",)) if prospect else frozenset()
        if person is not None:
            borne |= transforms.addresses(person, PERSON_ADDRESSES)
        named = prospect_id in self.prospects or (person is not None and person.ref.id in self.people)
        return named or bool(borne & self.addresses)


@dataclass(frozen=True, slots=True)
class Permit:
    """Which side may be written just now, and if not everybody, whom; what may not be written stays queued."""

    to_crm: bool = True
    to_outreach: bool = True
    only: Pilot | None = None

    def to(self, prospect_id: int | None, person: Snapshot | None, prospect: Snapshot | None) -> Permit:
        """Return the permit for one person."""
        if self.only is None or self.only.has(prospect_id, person, prospect):
            return Permit(self.to_crm, self.to_outreach)
        return Permit(to_crm=False, to_outreach=False)


@dataclass(frozen=True, slots=True)
class Applier:
    """What applying touches: the store, both vendors, the mapping in force, the clock, chance, and who counts what was done.

    ``turn`` is held by whoever writes to the CRM just now (``sync.hands``).
    """

    store: Store
    remotes: Remotes
    mapping: Mapping
    names: Names
    now: Callable[[], datetime]
    jitter: Callable[[], float]
    permit: Permit = Permit()
    count: Callable[[Tally], None] = lambda _tally: None
    turn: threading.RLock = field(default_factory=threading.RLock)

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Hold the turn; tell whether somebody else had it, so that what was read before may be out of date."""
        waited = not self.turn.acquire(blocking=False)
        if waited:
            self.turn.acquire()
        try:
            yield waited
        finally:
            self.turn.release()


@dataclass(slots=True)
class Case:
    """One change of a person on its way through a batch.

    ``trouble`` is why it cannot be settled; ``kept`` that part of its plan may not be carried out just now,
    ``kept_opt_out`` that an opt-out is among it; ``intent`` what was written down before the request; ``unwritten`` the
    CRM fields whose planned write, on either side, did not happen; ``prospect`` the prospect as Outreach answered our write;
    ``refused_outreach`` the vendor's words for what it would not take, in an answer of ``refused_status``; ``strays`` what
    became of No Email on those whom it could be.
    """

    change: Change
    view: PersonView
    plan: PersonPlan
    kept: bool = False
    kept_opt_out: bool = False
    intent: Dict[str, Any] = field(default_factory=dict)
    receipt: Receipt | None = None
    strays: list[Receipt] = field(default_factory=list)
    prospect: Snapshot | None = None
    refused_outreach: str | None = None
    refused_status: int | None = None
    unwritten: frozenset[str] = frozenset()
    trouble: errors.OutbookError | None = None

    def hidden(self, mapping: Mapping) -> tuple[str, ...]:
        """What is known of the person and must not stay in a vendor's words."""
        return masks.texts((self.view.prospect, self.view.person, self.view.former), mapping)


@contextlib.contextmanager
def kept_alive(store: Store, renew: Callable[[sa.Connection], None]) -> Iterator[None]:
    """Renew a lease every few seconds for as long as the block runs, however long a vendor takes to answer.

    A lease can so be short: it runs out soon after its holder was killed, and never while the holder waits.
    """
    done = threading.Event()

    def beat() -> None:
        while not done.wait(BEAT_S):
            with (
                contextlib.suppress(sa.exc.SQLAlchemyError),
                store.write() as db,
            ):  # the next beat may find it well again
                renew(db)

    heart = threading.Thread(target=beat, name="lease", daemon=True)
    heart.start()
    try:
        yield
    finally:
        done.set()
        heart.join()
