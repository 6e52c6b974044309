"""Receipts: what became of a batch, written down in one transaction: mirror, links, history, latches, and the changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from worker.core import consent, errors, intents, plan, shadows, transforms
from worker.core.mapping import PERSON_ADDRESSES, Computed
from worker.core.plan import Action
from worker.core.records import Kind, Link, Ref, Shadow, Snapshot, System
from worker.store import exchanges, forgotten, liftings, links, mirror, outbox, waking
from worker.store.links import Written
from worker.store.outbox import Lane, Standing
from worker.sync import causes, door, doubts, notice, refusals, streams
from worker.sync.exchanges import of_case as told_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from worker.core.mapping import Mapping
    from worker.core.records import Value
    from worker.store.outbox import Change
    from worker.sync.case import Applier, Case
    from worker.sync.deliver import Receipt
    from worker.sync.tally import Tally

UNREADABLE, AMBIGUOUS, BRAKE, ASK, CONFLICT = "unreadable", "ambiguous", "brake", "ask", "conflict"
PATIENCE = 3
"""How often a reply may change a mapped value in a row before that is let be."""


class Delivered(Protocol):
    """A case of either kind, once its writes were sent."""

    change: Change
    receipt: Receipt | None


class TooBold(errors.UnsafePlan):
    """The brake ``key`` has tripped."""

    def __init__(self, words: str, key: str) -> None:
        """Keep the entry's key."""
        super().__init__(words)
        self.key = key


def receive(db: sa.Connection, on: Applier, cases: Sequence[Case], tally: Tally) -> None:
    """Write down what became of each case; who was forgotten meanwhile does not come back with a late receipt."""
    now = on.now()
    forgotten.guard(db)
    here = door.strangers(db, Kind.PROSPECT, (case.view.prospect_id for case in cases), on.names)
    cases = [case for case in cases if case.view.prospect_id in here]
    people = {case.view.prospect_id: after for case in cases if (after := _person_after(case, on.mapping)) is not None}
    prospects = {
        case.view.prospect_id: after for case in cases if (after := _prospect_after(case, on.mapping)) is not None
    }
    strays = {receipt.key: (case, receipt) for case in cases for receipt in case.strays}
    told = [case.receipt for case in cases if case.receipt] + [receipt for _, receipt in strays.values()]
    fresh = [receipt.fresh for receipt in told if receipt.fresh]
    mine = outbox.ours(db, [case.change for case in cases])
    mirror.save(db, Kind.PERSON, streams.all_seen(people.values(), on.mapping), ours=True)
    notice.keep(db, Kind.PERSON, fresh, mapping=on.mapping, names=on.names, now=now)
    # A reply that comes after the lease may be older than what was read since, and no version tells: the next poll does.
    replies = [after for case in cases if case.change.id in mine and (after := prospects.get(case.view.prospect_id))]
    mirror.save(db, Kind.PROSPECT, streams.all_seen(replies, on.mapping), now=now, ours=True)
    written: list[Written] = []
    saved: list[Link] = []
    latches: list[tuple[links.Name, str]] = []
    again: set[int] = set()
    report_doubles(db, Kind.PROSPECT, [case for case in cases if case.change.id not in mine], now)
    for case in cases:
        pid = case.view.prospect_id
        _count(case, tally, on.mapping)
        written += _history(case)
        link = _link(case, on.mapping, people.get(pid, case.view.person), prospects.get(pid, case.view.prospect))
        # After a write that nobody lived to see, the view's link is not the stored one (``intents.landed``).
        if link is not None and (link != case.view.link or case.change.intent) and case.change.id in mine:
            saved.append(link)
        if link is not None and pid in prospects and _moves_again(case, on.mapping, people, prospects[pid], link):
            again.add(pid)
        latches += _latches(on, case, link)
    for case, receipt in strays.values():
        if receipt.applied:
            tally.crm_opted_out += 1
            written.append(_ticked(case, receipt))
    links.save(db, Kind.PROSPECT, saved, now)
    waking.wake_namesakes(db, [link.crm_id for link in saved if link.gone], now)
    links.latch(db, latches, now)
    liftings.settle(db, [key for case in cases for key in _lifted(case, people, prospects, on.mapping)])
    excluded = {case.view.prospect_id: case.plan.why for case in cases if case.plan.action is Action.EXCLUDE}
    links.exclude(db, Kind.PROSPECT, excluded, {case.view.prospect_id for case in cases} - set(excluded))
    dated = causes.dated(db, cases, written, on.mapping)
    links.remember(db, dated, now=now, mapping_version=on.mapping.version)
    exchanges.keep(db, [one for case in cases for one in told_of(case, on.mapping)], now)
    before = {case.view.prospect_id: case.view.link.crm_id for case in cases if case.view.link}
    bring_tasks_along(db, [link.outreach_id for link in saved if before.get(link.outreach_id) != link.crm_id], now)
    _conflicts(db, cases, now)
    doubts.dispel(db, cases, now)
    _close(db, on, cases, tally, again)


def report_doubles(db: sa.Connection, kind: Kind, cases: Sequence[Delivered], now: datetime) -> None:
    """Put before somebody what was created after the lease had run out and another had created it, too."""
    made = {case.change.ref: case.receipt.crm_id for case in cases if case.receipt and case.receipt.crm_id}
    known = links.load(db, kind, [ref.id for ref in made])
    for ref, crm_id in made.items():
        link = known.get(ref.id)
        if link is not None and link.crm_id != crm_id:
            words = f"{ref} was created twice in the CRM, as {link.crm_id} and as {crm_id}; delete {crm_id} there"
            outbox.post_hold(db, key=f"{AMBIGUOUS}:{ref}:{crm_id}", kind=AMBIGUOUS, words=words, now=now)


def _conflicts(db: sa.Connection, cases: Sequence[Case], now: datetime) -> None:
    """Put before somebody what the mapping asks about, field by field, and take away what has settled itself."""
    standing = {row.key for row in outbox.holds(db, CONFLICT)}
    for case in cases:
        about = f"{CONFLICT}:{case.change.ref}:"
        asked = {about + name for name in case.plan.asked}
        for key in sorted(asked - standing):
            words = f"prospect {case.view.prospect_id}: {key.removeprefix(about)} was changed on both sides"
            outbox.post_hold(db, key=key, kind=CONFLICT, words=words, now=now)
        outbox.lift(db, [key for key in standing - asked if key.startswith(about)], now)


def _moves_again(case: Case, mapping: Mapping, people: dict[int, Snapshot], prospect: Snapshot, link: Link) -> bool:
    """Tell whether Outreach's reply shows what has to travel: an edit, or, a few times, what became of a value of ours."""
    person = people.get(case.view.prospect_id, case.view.person)
    view = replace(case.view, prospect=prospect, person=person, link=link, former=None)
    told = plan.plan_person(view, mapping)
    sent = {line.crm for line in mapping.copied if line.attribute in case.plan.outreach}
    edited = told.writes_crm and not sent.issuperset(told.crm)
    return edited or (case.change.attempts < PATIENCE and (told.writes_crm or bool(told.outreach)))


def _link(case: Case, mapping: Mapping, person: Snapshot | None, prospect: Snapshot | None) -> Link | None:
    """Return the link as it is now; None if there is none to write."""
    view, receipt = case.view, case.receipt
    if case.plan.action is Action.UNLINK and case.trouble is None:
        return replace(view.link, gone=True) if view.link else None
    delivered = receipt is not None and receipt.applied
    if person is None or person.deleted or case.plan.action is Action.HOLD:
        return None
    if case.plan.writes_crm and not delivered:
        return None
    if case.plan.waits:
        return _still_linked(case)
    sent = {name: receipt.fields[name] for name in case.plan.values if name in receipt.fields} if receipt else {}
    shadow = shadows.agreed(
        view,
        mapping,
        replace(case.plan, values={**case.plan.values, **_told(case, sent, mapping)}),
        crm=person.fields,
        outreach=_held_by_outreach(case, prospect) if prospect else None,
        unwritten=case.unwritten | _left_out(case),
    )
    shadow = refusals.with_stand_ins(shadow, receipt)
    version = receipt.version if receipt and delivered else view.link.written_version if view.link else None
    return Link(view.prospect_id, person.ref.id, shadow, version, gone=prospect is None)


def _still_linked(case: Case) -> Link | None:
    """Return the link of a person about whom somebody has to decide: nothing is agreed but the words that say so."""
    link, sent = case.view.link, case.receipt.fields if case.receipt else {}
    told = {name: sent[name] for name in case.plan.crm if name in sent and name in case.plan.values}
    if link is None or not told:
        return None
    return replace(link, shadow=Shadow({**link.shadow.outreach, **told}, {**link.shadow.crm, **told}))


def _left_out(case: Case) -> frozenset[str]:
    """Return the planned CRM fields that the receipt does not tell of: refused, or of a kind that the CRM lacks."""
    if case.receipt is None or not case.receipt.applied:
        return frozenset()
    return frozenset(set(case.plan.crm) - set(case.receipt.fields)) | frozenset(case.receipt.refused)


def _held_by_outreach(case: Case, prospect: Snapshot) -> dict[str, Value]:
    """Return what Outreach held when both sides agreed: what the plan saw, and the reply where something was written.

    What else a reply shows is an edit by hand that no poll has brought yet: it still has to travel.
    """
    if case.prospect is None or case.view.prospect is None:
        return dict(prospect.fields)
    written = {name: value for name, value in prospect.fields.items() if name in case.plan.outreach}
    return {**case.view.prospect.fields, **written}


def _told(case: Case, sent: dict[str, Value], mapping: Mapping) -> dict[str, Value]:
    """Return the computed values that went out otherwise than planned: the words of a refusal, even where a blank was due."""
    line = mapping.field_of(Computed.ERROR)
    return {name: value for name, value in sent.items() if name not in case.plan.crm or (line and name == line.crm)}


def _person_after(case: Case, mapping: Mapping) -> Snapshot | None:
    """Return the person as the receipt tells it, so that our own echo is recognised when it is polled."""
    before, receipt = case.view.person, case.receipt
    if receipt is None or receipt.crm_id is None:
        return None
    if before is not None and before.ref.id == receipt.crm_id:
        return updated(before, receipt)
    blank = dict.fromkeys(mapping.person_columns())
    return Snapshot(Ref(Kind.PERSON, receipt.crm_id), {**blank, **receipt.fields}, version=receipt.version)


def updated(before: Snapshot, receipt: Receipt) -> Snapshot:
    """Return a CRM record as our own write left it."""
    return replace(before, fields={**before.fields, **receipt.fields}, version=receipt.version)


def _prospect_after(case: Case, mapping: Mapping) -> Snapshot | None:
    """Return the prospect as Outreach answered our write."""
    if case.prospect is None:
        return None
    before = case.view.prospect.fields if case.view.prospect else {}
    wanted = set(mapping.prospect_attributes())
    told = {name: value for name, value in case.prospect.fields.items() if name in wanted}
    return replace(case.prospect, fields={**before, **case.plan.outreach, **told}, relations={})


def _latches(on: Applier, case: Case, link: Link | None) -> list[tuple[links.Name, str]]:
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


def _lifted(
    case: Case, people: dict[int, Snapshot], prospects: dict[int, Snapshot], mapping: Mapping
) -> set[consent.Key]:
    """Return the lifted signs that their side no longer shows, or that a new opt-out has overtaken."""
    open_ones = {key for key, one in case.view.lifted.items() if one.open}
    if not open_ones or case.plan.opt_out:
        return open_ones
    pid, flag = case.view.prospect_id, mapping.field_of(Computed.OPTED_OUT)
    person, prospect = people.get(pid, case.view.person), prospects.get(pid, case.view.prospect)
    shown = {sign.key for sign in consent.of_prospect(prospect)} if prospect else set()
    shown |= {sign.key for sign in consent.of_person(person, flag.crm)} if person and flag else set()
    return {key for key in open_ones - shown if key[0] != consent.Source.STATE}


def bring_tasks_along(db: sa.Connection, prospect_ids: Sequence[int], now: datetime) -> None:
    """Wake tasks that waited for these people, and look again at those written for a person they replace."""
    waking.wake_tasks(db, prospect_ids, now)
    theirs = [
        one.ref.id
        for found in mirror.related(db, Kind.TASK, "prospect", prospect_ids, deleted=True).values()
        for one in found
    ]
    outbox.open_changes(db, Kind.TASK, links.load(db, Kind.TASK, theirs), lane=Lane.EDIT, now=now)


def _history(case: Case) -> list[Written]:
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
            Written(
                Kind.PROSPECT, view.prospect_id, crm_id, System.OUTREACH, "update", old, case.plan.outreach, _why(case)
            )
        )
    return told


def _ticked(case: Case, receipt: Receipt) -> Written:
    """Return the history of No Email on somebody whom an opted-out prospect could be."""
    why = f"opted out: {case.plan.opt_out.evidence}; it is not certain who that is"
    pid = case.view.prospect_id
    return Written(Kind.PROSPECT, pid, receipt.crm_id, System.CRM, "opt out", {}, receipt.fields, why)


def _why(case: Case) -> str:
    rule = case.plan.standing.rule if case.plan.standing else case.plan.why
    moved = (d for d in case.plan.decisions if d.field in case.plan.crm or d.to_outreach is not transforms.ABSENT)
    return "; ".join([rule, *(f"{decision.field}: {decision.why}" for decision in moved)])[:2000]


def _count(case: Case, tally: Tally, mapping: Mapping) -> None:
    flag = mapping.field_of(Computed.OPTED_OUT)
    if case.receipt is not None and case.receipt.applied:
        tally.created += case.plan.action is Action.CREATE
        tally.recreated += case.plan.action is Action.RECREATE
        tally.updated += case.plan.action is Action.UPDATE
        tally.overwritten += case.plan.overwritten
        tally.crm_opted_out += bool(
            flag and case.plan.crm.get(flag.crm) is True and flag.crm not in case.receipt.refused
        )
    elif case.plan.action is Action.NOTHING and case.view.person is not None and not case.kept:
        tally.unchanged += 1
    if case.prospect is not None:
        opted = case.plan.outreach.get("emailOptedOut") is True
        tally.outreach_opted_out += opted
        tally.outreach_updated += len(case.plan.outreach) > int(opted)


def _close(db: sa.Connection, on: Applier, cases: Sequence[Case], tally: Tally, again: set[int]) -> None:
    """Settle the changes that are done, and say of each other why it stays."""
    done: list[Change] = []
    kept: list[Change] = []
    for case in cases:
        error = _trouble(case)
        words = _fault(case)
        if error is not None:
            tally.new_failed += stays(db, on, case.change, error)
        elif words is not None and not case.kept:
            tally.new_failed += outbox.bury(db, case.change, words, on.now())
        elif case.view.prospect_id in again and not case.kept:
            outbox.retry(db, case.change, at=on.now(), error="the reply changed a mapped value")
        elif not case.kept:
            done.append(case.change)
        if case.kept and isinstance(error, errors.RecordFault | errors.UnsafePlan | None):
            kept.append(case.change)
    outbox.settle(db, done)
    outbox.hasten(db, [case.change for case in cases if case.kept_opt_out])
    outbox.release(db, kept, standing=Standing.KEPT)


def _trouble(case: Case) -> errors.OutbookError | None:
    """Return why a case is not done; an opt-out that has to be tried again is not held by what holds the rest."""
    met = case.receipt.trouble if case.receipt else None
    return met if isinstance(met, errors.Transient) else case.trouble or met


def stays(db: sa.Connection, on: Applier, change: Change, error: errors.OutbookError) -> int:
    """Hold the change or let it wait, as the error wants; return 1 if it is a dead letter now."""
    now = on.now()
    if isinstance(error, errors.AmbiguousMatch):
        outbox.hold(db, change, key=f"{AMBIGUOUS}:{change.ref}", kind=AMBIGUOUS, words=error.words, now=now)
    elif isinstance(error, errors.Unreadable):
        outbox.hold(db, change, key=f"{UNREADABLE}:{change.ref}", kind=UNREADABLE, words=error.words, now=now)
    elif isinstance(error, TooBold):
        outbox.hold(db, change, key=error.key, kind=BRAKE, words=error.words, now=now)
    elif isinstance(error, errors.UnsafePlan):
        outbox.hold(db, change, key=f"{ASK}:{change.ref}", kind=ASK, words=error.words, now=now)
    else:
        return after_error(db, on, change, error)
    return 0


def _fault(case: Case) -> str | None:
    told = [
        f"{name}: {words}" if name else words for name, words in (case.receipt.refused if case.receipt else {}).items()
    ]
    parts = [*told, case.refused_outreach or "", case.plan.fault or ""]
    return "; ".join(part for part in parts if part) or None


def after_error(db: sa.Connection, on: Applier, change: Change, error: errors.OutbookError) -> int:
    """Let the change wait, or make it a dead letter; return 1 if it is one now.

    An opt-out is never one for a fault that is not its own.
    """
    now = on.now()
    since = change.failing_since or now  # not since it was opened: it may have waited for days before anybody tried
    urgent, attempt = change.lane is Lane.OPT_OUT, change.attempts + 1
    fate = errors.decide(error, attempt=attempt, first_tried=since, now=now, jitter=on.jitter(), urgent=urgent)
    if isinstance(fate, errors.DeadLetter):
        return int(outbox.bury(db, change, fate.reason, now))
    at = fate.at if isinstance(fate, errors.RetryAt) else now
    halted = isinstance(fate, errors.Halted)
    waited = intents.UNCONFIRMED in change.intent
    # A stale version, too: what was saved since may be a write of ours that nobody lived to see.
    doubtful = halted or waited or isinstance(error, errors.Throttled | errors.RemoteDown | errors.StaleVersion)
    # Nobody was asked while a vendor rests: what the next failure costs is not to grow by it.
    counted = not halted and not isinstance(error, errors.Throttled if waited else errors.Resting)
    failing = None if halted else since
    outbox.retry(db, change, at=at, error=error.words, counted=counted, doubtful=doubtful, failing_since=failing)
    return 0
