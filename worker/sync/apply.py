"""Apply: claimed changes of people → plans → batches → receipts.

T1 claims, T2 writes down what is about to be done, T3 writes down what became of it; no transaction is open while a vendor is
being asked. Whatever dies in between leaves a lease that runs out and an intent that makes the next holder look first.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from worker.core import errors, intents, masks, plan, transforms
from worker.core.mapping import Computed
from worker.core.plan import Action
from worker.core.records import Kind, System
from worker.remote.workbooks import Write
from worker.store import cursors, mirror, outbox
from worker.store.outbox import Lane
from worker.sync import (
    brakes,
    breakers,
    claims,
    deliver,
    denied,
    doubts,
    exchanges,
    fields,
    gather,
    identify,
    in_force,
    paused,
    receipts,
    refusals,
    streams,
    wishes,
)
from worker.sync.case import Case
from worker.sync.deliver import Desk, Job, Receipt
from worker.sync.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from worker.core.mapping import Mapping
    from worker.core.plan import PersonView
    from worker.core.records import Value
    from worker.store.outbox import Change
    from worker.sync.case import Applier
    from worker.sync.gather import Batch
    from worker.sync.wishes import Answered

UNPRIMED_WAIT_S = 5.0


def apply_people(on: Applier, *, lanes: Sequence[Lane] = tuple(Lane), only: Collection[int] | None = None) -> Tally:
    """Claim up to a hundred due changes of people and carry them out. Raise :class:`errors.Halt` with the rows given back."""
    with on.store.write() as db:
        primed = not cursors.unprimed(db)
        wanted = lanes if primed else [lane for lane in lanes if lane is Lane.OPT_OUT]
        changes = outbox.claim(db, Kind.PROSPECT, now=on.now(), lanes=wanted, only=only)
        if not changes:
            return Tally()
        on = paused.heeding(db, on, Kind.PROSPECT)
        lacking = fields.lacking(db)
        stopped = lacking.union(fields.unlabelled(db), in_force.waiting(db, on.mapping))
    return claims.work_on(on, changes, lambda mine: _work(on, mine, stopped=stopped, lacking=lacking, primed=primed))


def _work(
    on: Applier, changes: Sequence[Change], *, stopped: frozenset[str], lacking: frozenset[str], primed: bool
) -> Tally:
    ids = [change.ref.id for change in changes]
    look = _Look(on, stopped, lacking)
    batch = look.gather(ids) if primed else look.known(ids)
    if not batch.matches:
        return _carry_out(look, changes, batch, primed=primed)
    with on.alone() as waited:
        return _carry_out(look, changes, look.known(ids) if waited else batch, primed=primed)


def _carry_out(look: _Look, changes: Sequence[Change], batch: Batch, *, primed: bool) -> Tally:
    on, lacking, ids = look.on, look.lacking, [change.ref.id for change in changes]
    answered = wishes.carry_out(on, changes, batch, lacking=lacking) if primed else wishes.Answered()
    if answered.asked:
        batch = look.gather(ids)
    creating = [view.prospect for view in batch.views.values() if _would_create(view, batch, on.mapping)]
    if creating and primed and on.permit.to_crm:
        identify.look_up(
            [one for one in creating if one],
            store=on.store,
            crm=on.remotes.crm,
            mapping=on.mapping,
            names=on.names,
            lacking=lacking,
            now=on.now(),
        )
        batch = look.known(ids)
    rivals = {match.owner for match in batch.matches.values() if match.owner is not None}
    # Outreach shows a merge in no other way: the loser is gone, and the survivor has its addresses.
    if rivals and primed and look.fetch(rivals):
        batch = look.known(ids)
    mine = [change for change in changes if change not in answered.put_off]
    cases = [answered.heed(_case(on, change, batch, answered, primed=primed)) for change in mine]
    _set_apart(cases)
    with on.store.write() as db:
        tripped = breakers.heed(db, on, cases)
        brakes.hold_back(db, on, cases, batch)
        for case in cases:
            case.intent = intents.of(case.plan, on.mapping, case.change.intent, on.now())
        ours = {c.id for c in outbox.intend(db, [(case.change, case.intent) for case in cases], on.now())}
    breakers.name_users(on, cases, tripped)
    cases = [case for case in cases if case.change.id in ours]
    desk = _desk(on, lacking)
    _write_crm(on, cases, batch, desk)
    denied.heed(on, cases, desk)
    for case in cases:
        if case.plan.outreach:
            _write_outreach(on, case)
    refusals.tell(on, cases, desk)
    tally = Tally(claimed=len(changes), outreach_actions=answered.actions)
    with on.store.write() as db:
        wishes.close(db, on, cases)
        receipts.receive(db, on, cases, tally)
        in_force.overtaken(db, on.mapping, ids)
    return tally


@dataclass(frozen=True, slots=True)
class _Look:
    on: Applier
    stopped: frozenset[str]
    lacking: frozenset[str]

    def known(self, ids: Sequence[int]) -> Batch:
        return gather.known(ids, store=self.on.store, names=self.on.names, stopped=self.stopped)

    def gather(self, ids: Sequence[int]) -> Batch:
        on = self.on
        return gather.people(
            ids,
            store=on.store,
            remotes=on.remotes,
            mapping=on.mapping,
            names=on.names,
            stopped=self.stopped,
            lacking=self.lacking,
            now=on.now(),
        )

    def fetch(self, prospect_ids: set[int]) -> set[int]:
        """Look some prospects up by id and return those that are gone."""
        on = self.on
        return gather.fetch(
            Kind.PROSPECT,
            prospect_ids,
            store=on.store,
            remotes=on.remotes,
            mapping=on.mapping,
            names=on.names,
            now=on.now(),
        )


def _would_create(view: PersonView, batch: Batch, mapping: Mapping) -> bool:
    match = batch.matches.get(view.prospect_id)
    if match is None or match.held or match.person_id is not None:
        return False
    return plan.plan_person(view, mapping).action in {Action.CREATE, Action.RECREATE}


def _case(on: Applier, change: Change, batch: Batch, answered: Answered, *, primed: bool) -> Case:
    view = intents.landed(batch.views[change.ref.id], change.intent, on.mapping)
    whole = answered.plan(plan.plan_person(view, on.mapping), view.prospect_id)
    permit = on.permit.to(view.prospect_id, view.person, view.prospect)
    if not primed:
        # Nothing that is not final may be shown, and until every stream is primed only an opt-out is final.
        unfinished = errors.Throttled("waits until every stream has been read once", retry_after_s=UNPRIMED_WAIT_S)
        urgent = plan.only_opt_out(whole, on.mapping)
        urgent = plan.limited(urgent, to_crm=permit.to_crm, to_outreach=permit.to_outreach)
        later = frozenset(whole.crm) | _fed_by(on.mapping, whole.outreach)
        return Case(change, view, urgent, trouble=unfinished, unwritten=later)
    match = batch.matches.get(view.prospect_id)
    case = Case(change, view, whole)
    if match is not None and match.held:
        case.trouble = errors.AmbiguousMatch(match.held)
        case.plan = plan.held(whole)
    elif change.ref.id in batch.unreadable:
        words = f"person {view.link.crm_id if view.link else '?'} is neither visible nor deleted in the CRM"
        case.trouble = errors.Unreadable(words)
        case.plan = plan.held(whole)
    if (doubtful := doubts.waiting(change, case.plan.action, on.now())) is not None:
        case.trouble = doubtful.trouble
        case.plan = plan.held(whole)
    limited = plan.limited(case.plan, to_crm=permit.to_crm, to_outreach=permit.to_outreach)
    case.kept = limited.writes_crm != case.plan.writes_crm or bool(limited.outreach) != bool(case.plan.outreach)
    case.kept_opt_out = plan.has_opt_out(case.plan, on.mapping) and not plan.has_opt_out(limited, on.mapping)
    if case.kept:
        dropped = set(case.plan.outreach) - set(limited.outreach)
        case.unwritten = frozenset(set(case.plan.crm) - set(limited.crm)) | _fed_by(on.mapping, dropped)
    case.plan = limited
    return case


def _set_apart(cases: Sequence[Case]) -> None:
    """Let a second prospect with an address of somebody just being created wait: it then looks like that very person."""
    borne: frozenset[str] = frozenset()
    for case in cases:
        if case.view.prospect is None or case.plan.action not in {Action.CREATE, Action.RECREATE}:
            continue
        addresses = transforms.addresses(case.view.prospect, ("emails",))
        if addresses & borne:
            case.trouble = errors.StaleVersion("shares an address with a person just being created")
            case.plan = plan.held(case.plan)
        borne |= addresses


def _desk(on: Applier, lacking: frozenset[str]) -> Desk:
    return Desk(
        crm=on.remotes.crm,
        kind=Kind.PERSON,
        reference=on.mapping.reference,
        columns=streams.columns(Kind.PERSON, on.mapping, lacking),
        lacks=Lacks(on),
        turn=on.turn,
    )


def _write_crm(on: Applier, cases: Sequence[Case], batch: Batch, desk: Desk) -> None:
    jobs = [(case, job) for case in cases if case.plan.writes_crm and (job := _job(case, on.mapping)) is not None]
    strays = _opt_outs_of_candidates(on, cases, batch)
    try:
        told = doubts.carry_out(on, jobs, desk)
    except errors.OutbookError as error:
        exchanges.keep_failed(on, [case for case, _ in jobs], error)
        raise
    for case in cases:
        case.receipt = told.get(case.view.prospect_id)
    for start in range(0, len(strays), outbox.BATCH):
        _tick(strays[start : start + outbox.BATCH], desk)


def _tick(strays: Sequence[tuple[Job, list[Case]]], desk: Desk) -> None:
    """Carry No Email out on candidates; where that has to be tried again, their cases are not held yet."""
    try:
        told = deliver.carry_out([job for job, _ in strays], desk)
    except errors.OutbookError as error:  # what the batch itself did is not given back for this
        told = {job.key: Receipt(job.key, trouble=error) for job, _ in strays}
    for job, theirs in strays:
        receipt = told[job.key]
        for case in theirs:
            case.strays.append(receipt)
            case.trouble = case.trouble if isinstance(receipt.trouble, errors.RecordFault | None) else receipt.trouble


@dataclass(slots=True)
class Lacks:
    """Asks the CRM, once a batch and field, whether a refused field or label is one that it simply does not have."""

    on: Applier
    known: dict[str, bool] = field(default_factory=dict)

    def __call__(self, name: str) -> bool:
        """Tell whether the refusal of ``name`` is nobody's fault."""
        if name not in self.known:
            on = self.on
            found = fields.check(store=on.store, crm=on.remotes.crm, mapping=on.mapping, now=on.now(), refused=name)
            self.known |= dict.fromkeys((lack.field for lack in found), True)
            self.known.setdefault(name, False)
        return self.known[name]


def _job(case: Case, mapping: Mapping) -> Job | None:
    error, flag = mapping.field_of(Computed.ERROR), mapping.field_of(Computed.OPTED_OUT)
    vital = {mapping.reference} | ({flag.crm} if flag else set())
    if case.plan.action is not Action.UPDATE:
        vital |= {line.crm for line in mapping.copied if line.outreach in {"firstName", "lastName", "emails[0]"}}
    person = case.view.person
    updating = case.plan.action is Action.UPDATE and person is not None
    bare = {} if updating else _least(case, mapping)
    write = Write(
        id=person.ref.id if updating and person else 0,
        version=(person.version or 0) if updating and person else 0,
        fields=dict(case.plan.crm),
        reference=None if updating or mapping.reference in case.view.stopped else str(case.view.prospect_id),
        hide=case.hidden(mapping),
    )
    error_field = error.crm if error and error.crm not in case.view.stopped else None
    before = person if updating else None
    return Job(case.view.prospect_id, write, error_field, frozenset(vital), bare=bare, before=before)


def _least(case: Case, mapping: Mapping) -> dict[str, Value]:
    """Return the least that makes a person: the address, which is the name too, and No Email."""
    by_path = {line.outreach: line.crm for line in mapping.copied}
    flag, email = mapping.field_of(Computed.OPTED_OUT), by_path.get("emails[0]", "")
    planned, name = case.plan.crm, by_path.get("lastName") or by_path.get("firstName") or "name"
    if email not in planned or name in case.view.stopped:
        return {}
    kept = {email, flag.crm if flag else email, mapping.reference}
    return {**{one: value for one, value in planned.items() if one in kept}, name: planned[email]}


def _opt_outs_of_candidates(on: Applier, cases: Sequence[Case], batch: Batch) -> list[tuple[Job, list[Case]]]:
    """Return the No Email of everybody whom an opted-out prospect could be, and whose it is: an opt-out is never held."""
    flag = on.mapping.field_of(Computed.OPTED_OUT)
    jobs: dict[int, tuple[Job, list[Case]]] = {}
    for case in cases:
        match = batch.matches.get(case.view.prospect_id)
        held = match is not None and isinstance(case.trouble, errors.AmbiguousMatch)
        if not (match and held and flag and plan.opt_out_of(case.view, on.mapping)):
            continue
        for crm_id in match.candidates:
            person = batch.candidates.get(crm_id)
            if person is None or person.deleted or streams.no_email(person, on.mapping):
                continue
            if on.permit.to(case.view.prospect_id, person, case.view.prospect).to_crm:
                known = masks.texts((person, case.view.prospect), on.mapping)
                job = Job(-crm_id, Write(crm_id, person.version or 0, {flag.crm: True}, hide=known))
                jobs.setdefault(crm_id, (job, []))[1].append(case)
            else:
                case.kept = case.kept_opt_out = True
    return list(jobs.values())


def _write_outreach(on: Applier, case: Case) -> None:
    """Patch one prospect; a refused attribute is left out and the rest, the opt-out above all, is written."""
    wanted = dict(case.plan.outreach)
    prospect_id = case.view.prospect_id
    refused: list[str] = []
    case.unwritten |= _fed_by(on.mapping, wanted)  # until there is a reply
    while wanted:
        try:
            case.prospect = on.remotes.outreach.update_prospect(prospect_id, wanted, hide=case.hidden(on.mapping))
            break
        except errors.InvalidField as error:
            refused.append(error.words)
            named = error.field if error.field in wanted else None
            rest = {name for name in wanted if name != "emailOptedOut"}
            case.refused_status = error.status
            for name in {named} if named else rest or set(wanted):
                wanted.pop(name)
        except errors.Unreadable:
            with on.store.write() as db:
                mirror.bury(db, Kind.PROSPECT, [prospect_id])
            case.trouble = errors.StaleVersion("the prospect is gone in Outreach", system=System.OUTREACH)
            return
        except errors.Transient as error:
            case.trouble = error
            return
    case.unwritten -= _fed_by(on.mapping, wanted)
    case.plan = replace(case.plan, outreach=wanted)
    case.refused_outreach = "; ".join(refused) or None


def _fed_by(mapping: Mapping, attributes: Iterable[str]) -> frozenset[str]:
    """Return the CRM fields whose values travel in some attributes of a prospect."""
    wanted = set(attributes)
    return frozenset(line.crm for line in mapping.copied if line.attribute in wanted)
