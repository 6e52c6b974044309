"""Apply: claimed changes of people → plans → batches → receipts.

T1 claims, T2 writes down what is about to be done, T3 writes down what became of it; no transaction is open while a vendor is
being asked. Whatever dies in between leaves a lease that runs out and an intent that makes the next holder look first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from worker.core import errors, plan, transforms
from worker.core.mapping import PERSON_ADDRESSES, Computed
from worker.core.plan import Action
from worker.core.records import Kind, Link, Ref, Snapshot, System
from worker.remote.workbooks import Write
from worker.store import cursors, links, mirror, outbox
from worker.store.links import Written
from worker.store.outbox import Lane, Standing
from worker.sync import deliver, fields, gather, identify, streams
from worker.sync.deliver import Desk, Job
from worker.sync.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from worker.core.mapping import Mapping
    from worker.core.plan import PersonPlan, PersonView
    from worker.core.records import Value
    from worker.store.database import Store
    from worker.store.links import Names
    from worker.store.outbox import Change
    from worker.sync.deliver import Receipt
    from worker.sync.gather import Batch
    from worker.sync.streams import Remotes

UNREADABLE, AMBIGUOUS, BRAKE, ASK = "unreadable", "ambiguous", "brake", "ask"
UNPRIMED_WAIT_S = 5.0
HOURLY = timedelta(hours=1)
BRAKE_KEY = "brake:deleted_people"


@dataclass(frozen=True, slots=True)
class Permit:
    """Which side may be written just now; what may not stays queued."""

    to_crm: bool = True
    to_outreach: bool = True


@dataclass(frozen=True, slots=True)
class Applier:
    """What applying touches: the store, both vendors, the mapping in force, the clock and chance."""

    store: Store
    remotes: Remotes
    mapping: Mapping
    names: Names
    now: Callable[[], datetime]
    jitter: Callable[[], float]
    permit: Permit = Permit()


@dataclass(slots=True)
class _Case:
    """One change on its way through a batch."""

    change: Change
    view: PersonView
    plan: PersonPlan
    kept: bool = False
    receipt: Receipt | None = None
    prospect: Snapshot | None = None
    refused_outreach: str | None = None
    trouble: errors.OutbookError | None = None


def apply_people(on: Applier, *, lanes: Sequence[Lane] = tuple(Lane)) -> Tally:
    """Claim up to a hundred due changes of people and carry them out. Raise :class:`errors.Halt` with the rows given back."""
    with on.store.write() as db:
        primed = not cursors.unprimed(db)
        wanted = lanes if primed else [lane for lane in lanes if lane is Lane.OPT_OUT]
        changes = outbox.claim(db, Kind.PROSPECT, now=on.now(), lanes=wanted)
        held = [row.key.split(":", 1) for kind in (fields.FIELD, fields.LABEL) for row in outbox.holds(db, kind)]
    if not changes:
        return Tally()
    stopped = frozenset(name for _, name in held)
    lacking = frozenset(name for what, name in held if what == fields.FIELD)
    try:
        return _work(on, changes, stopped=stopped, lacking=lacking, primed=primed)
    except errors.OutbookError as error:
        _give_back(on, changes, error)
        if isinstance(error, errors.Halt):
            raise
        return Tally(claimed=len(changes))
    except BaseException:
        with on.store.write() as db:
            outbox.release(db, changes)
        raise


def _work(
    on: Applier, changes: Sequence[Change], *, stopped: frozenset[str], lacking: frozenset[str], primed: bool
) -> Tally:
    ids = [change.ref.id for change in changes]
    look = _Look(on, stopped, lacking)
    batch = look.gather(ids, live=primed)
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
        batch = look.gather(ids, live=False)
    cases = [_case(on, change, batch, primed=primed) for change in changes]
    with on.store.write() as db:
        _hold_back(db, on, cases, batch)
        mine = {c.id for c in outbox.intend(db, [(case.change, _intent(case)) for case in cases], on.now())}
    cases = [case for case in cases if case.change.id in mine]
    _write_crm(on, cases, batch, lacking=lacking)
    for case in cases:
        if case.plan.outreach:
            _write_outreach(on, case)
    tally = Tally(claimed=len(changes))
    with on.store.write() as db:
        _receive(db, on, cases, tally)
    return tally


@dataclass(frozen=True, slots=True)
class _Look:
    on: Applier
    stopped: frozenset[str]
    lacking: frozenset[str]

    def gather(self, ids: Sequence[int], *, live: bool) -> Batch:
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
            live=live,
        )


def _would_create(view: PersonView, batch: Batch, mapping: Mapping) -> bool:
    match = batch.matches.get(view.prospect_id)
    if match is None or match.held or match.person_id is not None:
        return False
    return plan.plan_person(view, mapping).action in {Action.CREATE, Action.RECREATE}


def _case(on: Applier, change: Change, batch: Batch, *, primed: bool) -> _Case:
    view = batch.views[change.ref.id]
    whole = plan.plan_person(view, on.mapping)
    if not primed:
        # Nothing that is not final may be shown, and until every stream is primed only an opt-out is final.
        unfinished = errors.Throttled("waits until every stream has been read once", retry_after_s=UNPRIMED_WAIT_S)
        return _Case(change, view, plan.only_opt_out(whole, on.mapping), trouble=unfinished)
    match = batch.matches.get(view.prospect_id)
    case = _Case(change, view, whole)
    if match is not None and match.held:
        case.trouble = errors.AmbiguousMatch(match.held)
        case.plan = plan.held(whole)
    elif change.ref.id in batch.unreadable:
        words = f"person {view.link.crm_id if view.link else '?'} is neither visible nor deleted in the CRM"
        case.trouble = errors.Unreadable(words)
        case.plan = plan.held(whole)
    limited = plan.limited(case.plan, to_crm=on.permit.to_crm, to_outreach=on.permit.to_outreach)
    case.kept = limited.writes_crm != case.plan.writes_crm or bool(limited.outreach) != bool(case.plan.outreach)
    case.plan = limited
    return case


def _hold_back(db: sa.Connection, on: Applier, cases: Sequence[_Case], batch: Batch) -> None:
    """Hold what waits for a person: a deletion the policy asks about, and every one of them once the brake has tripped."""
    unreadable = {
        case.view.link.crm_id: (case.view.prospect_id, on.now())
        for case in cases
        if isinstance(case.trouble, errors.Unreadable) and case.view.link
    }
    links.missing(db, unreadable)
    gone = [case for case in cases if case.plan.action in {Action.RECREATE, Action.UNLINK} or case.change.ref.id in batch.unreadable]
    missing, linked = links.missing_lately(db), links.count(db, Kind.PROSPECT)
    if gone and plan.too_many_deleted(missing, linked, on.mapping.deleted_people):
        words = (
            f"{missing} of {linked} linked people were deleted or became unreadable in the CRM within a day; "
            "approve to go on as the mapping says, or restore them in the CRM"
        )
        for case in gone:
            case.trouble = errors.UnsafePlan(words)
            case.plan = plan.held(case.plan)
    for case in cases:
        if case.plan.action is Action.HOLD and case.trouble is None:
            case.trouble = errors.UnsafePlan(case.plan.why)


def _intent(case: _Case) -> dict[str, object]:
    return {"crm": case.plan.action.value if case.plan.writes_crm else None, "outreach": sorted(case.plan.outreach)}


def _write_crm(on: Applier, cases: Sequence[_Case], batch: Batch, *, lacking: frozenset[str]) -> None:
    jobs = [job for case in cases if case.plan.writes_crm and (job := _job(case, on.mapping)) is not None]
    strays = _opt_outs_of_candidates(on, batch)
    if not jobs and not strays:
        return
    desk = Desk(
        crm=on.remotes.crm,
        kind=Kind.PERSON,
        reference=on.mapping.reference,
        columns=streams.columns(Kind.PERSON, on.mapping, lacking),
        lacks=Lacks(on),
    )
    receipts: dict[int, Receipt] = {}
    for start in range(0, len(jobs), outbox.BATCH):
        receipts |= deliver.carry_out(jobs[start : start + outbox.BATCH], desk)
    if strays:
        deliver.carry_out(strays[: outbox.BATCH], desk)
    for case in cases:
        case.receipt = receipts.get(case.view.prospect_id)


@dataclass(slots=True)
class Lacks:
    """Asks the CRM, once a batch, whether a refused field or label is one that it simply does not have."""

    on: Applier
    known: frozenset[str] | None = None

    def __call__(self, name: str) -> bool:
        """Tell whether the refusal of ``name`` is nobody's fault."""
        if self.known is None:
            on = self.on
            found = fields.check(store=on.store, crm=on.remotes.crm, mapping=on.mapping, now=on.now())
            self.known = frozenset(lack.field for lack in found)
        return name in self.known


def _job(case: _Case, mapping: Mapping) -> Job | None:
    error, flag = mapping.field_of(Computed.ERROR), mapping.field_of(Computed.OPTED_OUT)
    vital = {mapping.reference} | ({flag.crm} if flag else set())
    if case.plan.action is not Action.UPDATE:
        vital |= {line.crm for line in mapping.copied if line.outreach in {"firstName", "lastName", "emails[0]"}}
    person = case.view.person
    updating = case.plan.action is Action.UPDATE and person is not None
    write = Write(
        id=person.ref.id if updating and person else 0,
        version=(person.version or 0) if updating and person else 0,
        fields=dict(case.plan.crm),
        reference=None if updating else str(case.view.prospect_id),
    )
    error_field = error.crm if error and error.crm not in case.view.stopped else None
    return Job(case.view.prospect_id, write, error_field, frozenset(vital))


def _opt_outs_of_candidates(on: Applier, batch: Batch) -> list[Job]:
    """Return the No Email of everybody whom an opted-out prospect could be: an opt-out is never held."""
    flag = on.mapping.field_of(Computed.OPTED_OUT)
    jobs: dict[int, Job] = {}
    for pid, match in batch.matches.items():
        view = batch.views.get(pid)
        if not (match.held and view and flag and on.permit.to_crm and plan.opt_out_of(view, on.mapping)):
            continue
        for crm_id in match.candidates:
            person = batch.candidates.get(crm_id)
            if person and not person.deleted and not streams.no_email(person, on.mapping):
                jobs[crm_id] = Job(-crm_id, Write(crm_id, person.version or 0, {flag.crm: True}))
    return list(jobs.values())


def _write_outreach(on: Applier, case: _Case) -> None:
    """Patch one prospect; a refused attribute is left out and the rest, the opt-out above all, is written."""
    wanted = dict(case.plan.outreach)
    prospect_id = case.view.prospect_id
    refused: list[str] = []
    while wanted:
        try:
            case.prospect = on.remotes.outreach.update_prospect(prospect_id, wanted)
            break
        except errors.InvalidField as error:
            refused.append(error.words)
            named = error.field if error.field in wanted else None
            rest = {name for name in wanted if name != "emailOptedOut"}
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
    case.plan = replace(case.plan, outreach=wanted)
    case.refused_outreach = "; ".join(refused) or None


def _receive(db: sa.Connection, on: Applier, cases: Sequence[_Case], tally: Tally) -> None:
    """Write down what became of each case: mirror, link with its shadow, history, latch, and the change itself."""
    now = on.now()
    written: list[Written] = []
    joined: list[int] = []
    excluded: dict[int, str] = {}
    saved: list[Link] = []
    latches: list[tuple[links.Name, str]] = []
    for case in cases:
        _count(case, tally, on.mapping)
        written += _history(case)
        link = _link(db, on, case)
        if link is not None and link != case.view.link:
            saved.append(link)
            if case.view.link is None or case.view.link.crm_id != link.crm_id:
                joined.append(link.outreach_id)
        if case.plan.action is Action.EXCLUDE:
            excluded[case.view.prospect_id] = case.plan.why
        latches += _latches(on, case, link)
    links.save(db, Kind.PROSPECT, saved, now)
    links.latch(db, latches, now)
    links.exclude(db, Kind.PROSPECT, excluded, {case.view.prospect_id for case in cases} - set(excluded))
    links.remember(db, written, now=now, mapping_version=on.mapping.version)
    _bring_tasks_along(db, joined, now)
    for case in cases:
        _close(db, on, case, tally, now)


def _link(db: sa.Connection, on: Applier, case: _Case) -> Link | None:
    """Return the link as it is now, with the mirror brought up to date by the receipts; None if there is none to write."""
    view, receipt = case.view, case.receipt
    prospect = _prospect_after(db, on, case)
    if case.plan.action is Action.UNLINK and case.trouble is None:
        return replace(view.link, gone=True) if view.link else None
    person = view.person
    if receipt is not None and receipt.fresh is not None:
        mirror.save(db, Kind.PERSON, [streams.seen(receipt.fresh, on.mapping)])
        return None
    if receipt is not None and receipt.applied:
        person = _person_after(db, on, case, receipt)
    if person is None or person.deleted or case.plan.action is Action.HOLD or case.kept:
        return None
    if case.plan.writes_crm and (receipt is None or not receipt.applied):
        return None
    refused = frozenset(receipt.refused) if receipt else frozenset()
    sent = {name: receipt.fields[name] for name in case.plan.values if name in receipt.fields} if receipt else {}
    shadow = plan.agreed(
        view,
        on.mapping,
        replace(case.plan, values={**case.plan.values, **_told(case, sent)}),
        crm=person.fields,
        outreach=prospect.fields if prospect else None,
        refused=refused,
    )
    version = view.link.written_version if view.link else None
    if receipt is not None and receipt.applied:
        version = receipt.version
    return Link(view.prospect_id, person.ref.id, shadow, version, gone=prospect is None)


def _told(case: _Case, sent: dict[str, Value]) -> dict[str, Value]:
    """Return the computed values that went out otherwise than planned: the words of a refusal."""
    return {name: value for name, value in sent.items() if name not in case.plan.crm}


def _person_after(db: sa.Connection, on: Applier, case: _Case, receipt: Receipt) -> Snapshot:
    """Mirror the person as the receipt tells it, so that our own echo is recognised when it is polled."""
    before = case.view.person
    updating = before is not None and before.ref.id == receipt.crm_id
    known = dict(before.fields) if before is not None and updating else dict.fromkeys(on.mapping.person_columns())
    if receipt.crm_id is None:  # pragma: no cover - the caller has looked
        raise LookupError(case.view.prospect_id)
    after = Snapshot(
        ref=Ref(Kind.PERSON, receipt.crm_id),
        fields={**known, **receipt.fields},
        updated_at=before.updated_at if before is not None and updating else None,
        version=receipt.version,
    )
    mirror.save(db, Kind.PERSON, [streams.seen(after, on.mapping)])
    return after


def _prospect_after(db: sa.Connection, on: Applier, case: _Case) -> Snapshot | None:
    if case.prospect is None:
        return case.view.prospect
    before = case.view.prospect
    wanted = set(on.mapping.prospect_attributes())
    told = {name: value for name, value in case.prospect.fields.items() if name in wanted}
    after = replace(case.prospect, fields={**(before.fields if before else {}), **case.plan.outreach, **told}, relations={})
    mirror.save(db, Kind.PROSPECT, [streams.seen(after, on.mapping)])
    return after


def _latches(on: Applier, case: _Case, link: Link | None) -> list[tuple[links.Name, str]]:
    """Remember an opt-out under every name that is known by now."""
    opt_out = case.plan.opt_out
    if not opt_out or opt_out.evidence is None:
        return []
    addresses: set[str] = set()
    if case.view.prospect:
        addresses |= transforms.addresses(case.view.prospect, ("emails",))
    for person in (case.view.person, case.view.former):
        if person is not None:
            addresses |= transforms.addresses(person, PERSON_ADDRESSES)
    person_id = link.crm_id if link else None
    told = on.names.of(prospect=case.view.prospect_id, person=person_id, addresses=addresses)
    return [(name, opt_out.evidence) for name in told]


def _bring_tasks_along(db: sa.Connection, prospect_ids: Sequence[int], now: datetime) -> None:
    """Wake tasks that waited for these people, and look again at those written for a person they replace."""
    outbox.wake_tasks(db, prospect_ids, now)
    theirs = [one.ref.id for found in mirror.related(db, Kind.TASK, "prospect", prospect_ids, deleted=True).values() for one in found]
    outbox.open_changes(db, Kind.TASK, links.load(db, Kind.TASK, theirs), lane=Lane.EDIT, now=now)


def _history(case: _Case) -> list[Written]:
    view, told = case.view, []
    if case.receipt is not None and case.receipt.applied:
        before = view.person.fields if view.person else {}
        after = {n: v for n, v in case.plan.crm.items() if n not in case.receipt.refused}
        old = {name: before.get(name) for name in after} if case.plan.action is Action.UPDATE else {}
        action = case.plan.action.value
        told.append(
            Written(Kind.PROSPECT, view.prospect_id, case.receipt.crm_id, System.CRM, action, old, after, _why(case))
        )
    if case.prospect is not None and view.prospect is not None:
        old = {name: view.prospect.fields.get(name) for name in case.plan.outreach}
        crm_id = view.person.ref.id if view.person else None
        told.append(
            Written(Kind.PROSPECT, view.prospect_id, crm_id, System.OUTREACH, "update", old, case.plan.outreach, _why(case))
        )
    return told


def _why(case: _Case) -> str:
    rule = case.plan.standing.rule if case.plan.standing else case.plan.why
    moved = (d for d in case.plan.decisions if d.field in case.plan.crm or d.to_outreach is not transforms.ABSENT)
    return "; ".join([rule, *(f"{decision.field}: {decision.why}" for decision in moved)])[:2000]


def _count(case: _Case, tally: Tally, mapping: Mapping) -> None:
    flag = mapping.field_of(Computed.OPTED_OUT)
    if case.receipt is not None and case.receipt.applied:
        tally.created += case.plan.action is Action.CREATE
        tally.recreated += case.plan.action is Action.RECREATE
        tally.updated += case.plan.action is Action.UPDATE
        tally.overwritten += case.plan.overwritten
        tally.crm_opted_out += bool(flag and case.plan.crm.get(flag.crm) is True and flag.crm not in case.receipt.refused)
    elif case.plan.action is Action.NOTHING and case.view.person is not None and not case.kept:
        tally.unchanged += 1
    if case.prospect is not None:
        opted = "emailOptedOut" in case.plan.outreach
        tally.outreach_opted_out += opted
        tally.outreach_updated += len(case.plan.outreach) > int(opted)


def _close(db: sa.Connection, on: Applier, case: _Case, tally: Tally, now: datetime) -> None:
    """Settle the change, or say why it stays."""
    change, error = case.change, case.trouble
    if case.receipt is not None and case.receipt.trouble is not None and error is None:
        error = case.receipt.trouble
    if error is None:
        words = _fault(case)
        if words is not None:
            tally.new_failed += outbox.bury(db, change, words)
        elif case.kept:
            outbox.release(db, [change], standing=Standing.KEPT)
        else:
            outbox.settle(db, [change])
    elif isinstance(error, errors.AmbiguousMatch):
        outbox.hold(db, change, key=f"{AMBIGUOUS}:{change.ref}", kind=AMBIGUOUS, words=error.words, now=now)
    elif isinstance(error, errors.Unreadable):
        outbox.hold(db, change, key=f"{UNREADABLE}:{change.ref}", kind=UNREADABLE, words=error.words, now=now)
    elif isinstance(error, errors.UnsafePlan):
        key, kind = (BRAKE_KEY, BRAKE) if "within a day" in error.words else (f"{ASK}:{change.ref}", ASK)
        outbox.hold(db, change, key=key, kind=kind, words=error.words, now=now)
    else:
        tally.new_failed += after_error(db, on, change, error, now)


def _fault(case: _Case) -> str | None:
    told = [f"{name}: {words}" if name else words for name, words in (case.receipt.refused if case.receipt else {}).items()]
    parts = [*told, case.refused_outreach or "", case.plan.fault or ""]
    return "; ".join(part for part in parts if part) or None


def after_error(db: sa.Connection, on: Applier, change: Change, error: errors.OutbookError, now: datetime) -> int:
    """Let the change wait, or make it a dead letter; return 1 if it is one now. An opt-out is never one: it is retried hourly."""
    fate = errors.decide(
        error, attempt=change.attempts + 1, first_tried=change.opened_at, now=now, jitter=on.jitter()
    )
    if isinstance(fate, errors.DeadLetter) and change.lane is Lane.OPT_OUT and isinstance(error, errors.Transient):
        fate = errors.RetryAt(now + HOURLY)
    if isinstance(fate, errors.DeadLetter):
        return int(outbox.bury(db, change, fate.reason))
    at = fate.at if isinstance(fate, errors.RetryAt) else now
    outbox.retry(db, change, at=at, error=error.words, counted=not isinstance(fate, errors.Halted))
    return 0


def _give_back(on: Applier, changes: Sequence[Change], error: errors.OutbookError) -> None:
    with on.store.write() as db:
        for change in changes:
            after_error(db, on, change, error, on.now())
