"""Opting somebody in again: the only way to lift an opt-out, on both sides, with a reason (`outbook opt-in`).

One transaction takes the latches away and writes down which signs no longer count (``core.consent``); from then on the ordinary
delivery shows that on both sides, whoever does it. So a crash leaves work that any pass finishes, and what somebody opts out
meanwhile is another sign and counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from worker.core import consent, plan, transforms
from worker.core.consent import Lifted, Source
from worker.core.mapping import PERSON_ADDRESSES, Computed
from worker.core.records import Kind, System
from worker.core.states import Label, SequenceView, StateView
from worker.store import backlog, cursors, liftings, links, mirror, outbox
from worker.store.links import Written
from worker.store.outbox import Lane, Standing
from worker.sync import apply, gather, linking, strangers
from worker.sync.poll import poll

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    import sqlalchemy as sa

    from worker.core.consent import Key, Sign
    from worker.core.records import Snapshot
    from worker.store.links import Name
    from worker.sync.case import Applier, Pilot

ROUNDS = 8
"""How often one batch is delivered again, for edits that overtake it."""


class Refused(ValueError):
    """Nothing was done: every reason there is."""

    def __init__(self, problems: Iterable[str]) -> None:
        """Keep the reasons."""
        self.problems = sorted(set(problems))
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True, slots=True)
class Someone:
    """One to be opted in: a linked pair, or one side alone."""

    prospect: int | None
    person: int | None

    def __str__(self) -> str:
        """Return it as a receipt names it."""
        told = (("prospect", self.prospect), ("person", self.person))
        return " and ".join(f"{kind} {one}" for kind, one in told if one is not None)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Who is to be opted in, and the addresses that were named."""

    people: tuple[Someone, ...]
    addresses: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one: opted in on both sides, never opted out (``unchanged``), or waiting for ``why``."""

    who: Someone
    unchanged: bool = False
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of all, and how many addresses without a record are no longer remembered."""

    outcomes: list[Outcome]
    addresses: int = 0

    @property
    def done(self) -> bool:
        """Tell whether nobody waits."""
        return all(one.why is None for one in self.outcomes)


@dataclass(frozen=True, slots=True)
class _Dossier:
    """What is known of one: the records, every name, and every sign of an opt-out that is shown."""

    who: Someone
    prospect: Snapshot | None
    person: Snapshot | None
    addresses: frozenset[str]
    names: list[Name]
    signs: list[Sign]
    lifted: dict[Key, Lifted] = field(default_factory=dict)

    def opted_out(self, latched: Collection[Name]) -> bool:
        """Tell whether there is anything to lift."""
        return any(consent.stands(sign, self.lifted) for sign in self.signs) or any(
            one in latched for one in self.names
        )

    @property
    def shown(self) -> set[Key]:
        """The signs that can be taken off: a state and a tombstone show theirs for ever."""
        buried = self.person is not None and self.person.deleted
        lasting = {Source.STATE, Source.PERSON} if buried else {Source.STATE}
        return {sign.key for sign in self.signs if sign.source not in lasting}

    @property
    def unfinished(self) -> bool:
        """Whether something that was lifted still has to be shown."""
        return any(one.open and key in self.shown for key, one in self.lifted.items())


def choose(on: Applier, wanted: Pilot) -> Chosen:
    """Return who is meant, as both sides have them just now; raise Refused for whom there is not."""
    with on.store.read() as db:
        primed = not cursors.unprimed(db)
        prospects, people = set(wanted.prospects), set(wanted.people)
        for found in mirror.holders(db, Kind.PROSPECT, wanted.addresses).values():
            prospects |= found
        for found in mirror.holders(db, Kind.PERSON, wanted.addresses).values():
            people |= found
        prospects |= {one.outreach_id for one in links.of_crm(db, Kind.PROSPECT, people).values() if not one.gone}
        people |= {one.crm_id for one in links.load(db, Kind.PROSPECT, prospects).values() if not one.gone}
    if prospects:
        linking.fetch_prospects(on, prospects)
    if people:
        linking.fetch_people(on, people)
    if primed:
        poll(Kind.STATE, store=on.store, remotes=on.remotes, mapping=on.mapping, names=on.names, now=on.now)
    with on.store.read() as db:
        return _paired(db, on, wanted, prospects, people)


def _paired(db: sa.Connection, on: Applier, wanted: Pilot, prospects: set[int], people: set[int]) -> Chosen:
    living = {pid for pid, one in mirror.load(db, Kind.PROSPECT, prospects).items() if not one.deleted}
    bodies = {crm for crm, one in mirror.load(db, Kind.PERSON, people).items() if not one.deleted}
    pairs = {
        pid: one.crm_id for pid, one in links.load(db, Kind.PROSPECT, living).items() if not one.gone and pid in living
    }
    problems = [f"prospect {pid} does not exist in Outreach" for pid in wanted.prospects - living]
    problems += [f"person {crm} does not exist in the CRM" for crm in wanted.people - bodies - set(pairs.values())]
    borne = {*mirror.holders(db, Kind.PROSPECT, wanted.addresses), *mirror.holders(db, Kind.PERSON, wanted.addresses)}
    strange = {text: on.names.of(prospect=None, person=None, addresses=[text])[0] for text in wanted.addresses - borne}
    unknown = set(strange.values()) - links.latched(db, strange.values())
    if unknown:
        problems.append(f"{len(unknown)} of the addresses: nobody bears it, and no opt-out is remembered under it")
    if problems:
        raise Refused(problems)
    told = [Someone(pid, pairs.get(pid)) for pid in sorted(living)]
    told += [Someone(None, crm) for crm in sorted(bodies - set(pairs.values()))]
    return Chosen(tuple(told), wanted.addresses)


def opt_in(on: Applier, chosen: Chosen, *, reason: str, sleep: Callable[[float], None]) -> Receipt:
    """Opt them in on both sides and return what became of each. Raise Refused with nothing done.

    A vendor's fault is raised with the decision kept: the next pass, or the same command again, finishes it.
    """
    pids = [one.prospect for one in chosen.people if one.prospect is not None]
    due, forgotten = linking.when_free(on, pids, lambda db: _lift(db, on, chosen, reason), sleep=sleep)
    _deliver(on, sorted({one.prospect for one in due if one.prospect is not None}))
    _deliver_alone(on, [one.person for one in due if one.prospect is None and one.person is not None])
    outcomes = [Outcome(one, unchanged=True) for one in chosen.people if one not in due]
    return Receipt([*outcomes, *_verified(on, due)], forgotten)


def _lift(db: sa.Connection, on: Applier, chosen: Chosen, reason: str) -> tuple[list[Someone], int]:
    """Take the latches away, write down what no longer counts, and open the changes; return whom that concerns."""
    told = _dossiers(db, on, chosen.people)
    _refuse_company(db, on, told)
    named = on.names.of(prospect=None, person=None, addresses=chosen.addresses)
    latched = links.latched(db, [*named, *(name for one in told for name in one.names)])
    due = [one for one in told if one.opted_out(latched) or one.unfinished]
    alone = set(named) - {name for one in due for name in one.names}
    liftings.unlatch(db, {name for one in due for name in one.names} | alone)
    signs = {
        sign.key: Lifted(sign.mark, sign.source is not Source.STATE or not sign.mark, one.who.prospect)
        for one in due
        for sign in one.signs
    }
    liftings.lift(db, signs, reason=reason, now=on.now())
    written = [_audit(one.who, reason) for one in due]
    links.remember(db, written, now=on.now(), mapping_version=on.mapping.version)
    pids = [one.who.prospect for one in due if one.who.prospect is not None]
    outbox.open_changes(db, Kind.PROSPECT, pids, lane=Lane.EDIT, now=on.now())
    alone_there = [one.who.person for one in due if one.who.prospect is None and one.who.person is not None]
    outbox.open_changes(db, Kind.PERSON, alone_there, lane=Lane.EDIT, now=on.now())
    return [one.who for one in due], len(alone & latched)


def _audit(who: Someone, reason: str) -> Written:
    kind = Kind.PROSPECT if who.prospect is not None else Kind.PERSON
    why = f"opted in again by hand: {reason}"
    return Written(kind, who.prospect or who.person or 0, who.person, System.CRM, liftings.OPT_IN, {}, {}, why)


def _dossiers(db: sa.Connection, on: Applier, people: Sequence[Someone]) -> list[_Dossier]:
    pids = [one.prospect for one in people if one.prospect is not None]
    crm_ids = [one.person for one in people if one.person is not None]
    prospects, bodies = mirror.load(db, Kind.PROSPECT, pids), mirror.load(db, Kind.PERSON, crm_ids)
    states = mirror.related(db, Kind.STATE, "prospect", pids)
    lifted = liftings.load(db, prospects=pids, people=crm_ids)
    found = []
    for who in people:
        prospect, person = prospects.get(who.prospect or 0), bodies.get(who.person or 0)
        addresses = transforms.addresses(prospect, ("emails",)) if prospect else frozenset()
        addresses |= transforms.addresses(person, PERSON_ADDRESSES) if person else frozenset()
        signs = _signs(on, prospect, person, states.get(who.prospect or 0, ()))
        names = on.names.of(prospect=who.prospect, person=who.person, addresses=addresses)
        keys = {sign.key for sign in signs}
        mine = {key: one for key, one in lifted.items() if key in keys}
        found.append(_Dossier(who, prospect, person, addresses, names, signs, mine))
    return found


def _signs(on: Applier, prospect: Snapshot | None, person: Snapshot | None, states: Iterable[Snapshot]) -> list[Sign]:
    flag = on.mapping.field_of(Computed.OPTED_OUT)
    found = consent.of_prospect(prospect) if prospect else []
    for state in states:
        word = str(state.fields.get("state"))
        if on.mapping.words.get(word) is Label.OPTED_OUT:
            at = transforms.parse_time(state.fields.get("stateChangedAt"))
            found.append(consent.of_state(StateView(state.ref.id, SequenceView.unseen(0), word, at)))
    return found + (consent.of_person(person, flag.crm) if person and flag else [])


def _refuse_company(db: sa.Connection, on: Applier, told: Sequence[_Dossier]) -> None:
    """Refuse if somebody else with one of the addresses is opted out: that would opt these out again."""
    mine = {one.who for one in told}
    addresses = {text for one in told for text in one.addresses}
    holders = mirror.holders(db, Kind.PROSPECT, addresses), mirror.holders(db, Kind.PERSON, addresses)
    prospects = {pid for found in holders[0].values() for pid in found} - {one.prospect for one in mine}
    people = {crm for found in holders[1].values() for crm in found} - {one.person for one in mine}
    others = [Someone(pid, None) for pid in prospects] + [Someone(None, crm) for crm in people]
    problems = []
    for other in _dossiers(db, on, others):
        ids = on.names.of(prospect=other.who.prospect, person=other.who.person, addresses=())
        # Its addresses may be remembered for nothing but an opt-out of ours; its ids are so for one of its own.
        if replace(other, names=ids).opted_out(links.latched(db, ids)):
            words = f"{other.who} bears an address of theirs and is opted out: opt in both, or link them first"
            problems += [f"{one.who}: {words}" for one in told if one.addresses & other.addresses]
    if problems:
        raise Refused(problems)


def _deliver(on: Applier, prospect_ids: Sequence[int]) -> None:
    for start in range(0, len(prospect_ids), outbox.BATCH):
        part = prospect_ids[start : start + outbox.BATCH]
        for _ in range(ROUNDS):
            if not apply.apply_people(on, only=part).claimed:
                break


def _deliver_alone(on: Applier, crm_ids: Sequence[int]) -> None:
    """Take No Email off people whom Outreach does not know."""
    for _ in range(ROUNDS):
        if not crm_ids or not strangers.apply_strangers(on, only=crm_ids).claimed:
            break


def _verified(on: Applier, people: Sequence[Someone]) -> list[Outcome]:
    """Return whether each is opted in by now, and if not, what it waits for."""
    pids = [one.prospect for one in people if one.prospect is not None]
    batch = gather.known(pids, store=on.store, names=on.names, stopped=frozenset())
    with on.store.read() as db:
        told = {one.who: one for one in _dossiers(db, on, people)}
        changes = backlog.told(db, Kind.PROSPECT, pids)
        alone = backlog.told(db, Kind.PERSON, [one.person for one in people if one.person is not None])
    outcomes = []
    for who in people:
        opt_out = plan.opt_out_of(batch.views[who.prospect], on.mapping) if who.prospect is not None else None
        shown = told[who].shown
        why = f"opted out again meanwhile: {opt_out.evidence}" if opt_out else None
        if shown and not opt_out:
            found = alone.get(who.person or 0) if who.prospect is None else changes.get(who.prospect)
            why = _waits_for(*(found or (Standing.DUE, None)))
        outcomes.append(Outcome(who, why=why))
    return outcomes


def _waits_for(standing: Standing, error: str | None) -> str:
    if standing is Standing.KEPT:
        return "held back by a pause, OUTBOOK_ONLY or OUTBOOK_WRITES; the next pass without them goes on"
    words = {Standing.HELD: "held", Standing.DEAD: "failed"}.get(standing)
    if words:
        return f"{words}: {error}" if error else words
    return f"the next pass goes on with it{f': {error}' if error else ''}"
