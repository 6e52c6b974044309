"""People of the CRM alone: who is wanted in Outreach is looked up by every address, linked if found, created if not.

Who was opted in again (`outbook opt-in`) and is not known to Outreach has No Email taken off here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from worker.core import consent, errors, masks, plan, transforms
from worker.core.mapping import PERSON_ADDRESSES, Computed, Direction
from worker.core.records import Kind, Link, System
from worker.remote.workbooks import Write
from worker.store import backlog, brakes, cursors, exchanges, forgotten, liftings, links, mirror, outbox
from worker.store.links import Written
from worker.store.outbox import Lane, Standing
from worker.sync import claims, deliver, door, fields, identify, notice, paused, receipts, streams
from worker.sync.brakes import NEW_PROSPECTS
from worker.sync.deliver import Desk, Job
from worker.sync.exchanges import of_new
from worker.sync.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import sqlalchemy as sa

    from worker.core.mapping import Mapping
    from worker.core.records import Snapshot, Value
    from worker.store.exchanges import Exchange
    from worker.store.outbox import Change
    from worker.sync.case import Applier
    from worker.sync.deliver import Receipt

CLAIM = 20
"""A create costs a request each: as many as fit well within a task's time."""
OWNER = "owner[login_name]"
"""The address of the CRM user who owns a person (facts, workbooks-api 9)."""
SOURCE = "workbooks"


@dataclass(slots=True)
class _Case:
    """One person on the way to Outreach.

    ``words`` say what keeps it from there, ``status`` is that of a refusal, ``found`` who it is there already; ``waived``:
    nobody wishes it any more;
    ``opted_in``: somebody lifted its No Email, which the CRM still shows; ``lapsed``: lifted once, and no longer so.
    """

    change: Change
    person: Snapshot | None
    opted_out: bool = False
    opted_in: bool = False
    lapsed: bool = False
    waived: bool = False
    words: str | None = None
    status: int | None = None
    held: bool = False
    kept: bool = False
    found: int | None = None
    created: Snapshot | None = None
    sent: dict[str, Value] = field(default_factory=dict)
    trouble: errors.OutbookError | None = None

    @property
    def wanted(self) -> Snapshot | None:
        """The person, if there is still something to do for it."""
        settled = self.words or self.kept or self.found or self.trouble or self.waived
        return None if settled else self.person


def apply_strangers(on: Applier, *, only: Collection[int] | None = None) -> Tally:
    """Claim some people who are to exist in Outreach and see to it. Raise :class:`errors.Halt` with the rows given back."""
    with on.store.write() as db:
        if cursors.unprimed(db):
            return Tally()
        changes = outbox.claim(db, Kind.PERSON, now=on.now(), limit=CLAIM, only=only)
        if not changes:
            return Tally()
        on = paused.heeding(db, on, Kind.PERSON)
        lacking = fields.lacking(db)
    return claims.work_on(on, changes, lambda mine: _work(on, mine, lacking))


def _work(on: Applier, changes: Sequence[Change], lacking: frozenset[str]) -> Tally:
    with on.store.read() as db:
        cases = _cases(db, on, changes)
    _look_up(on, [case for case in cases if case.wanted])
    with on.store.write() as db:
        _match(db, [case for case in cases if case.wanted])
        _brake(db, on, [case for case in cases if case.wanted])
        intents = [(case.change, {"outreach": "create" if case.wanted else None}) for case in cases]
        mine = {change.id for change in outbox.intend(db, intents, on.now())}
    cases = [case for case in cases if case.change.id in mine]
    creating = [case for case in cases if case.wanted]
    owners = _owners(on, creating, lacking)
    for case in creating:
        if case.trouble is None:
            _create(on, case, owners)
    _tell(on, cases, lacking)
    tally = Tally(claimed=len(changes))
    with on.store.write() as db:
        _receive(db, on, cases, tally)
    return tally


def _cases(db: sa.Connection, on: Applier, changes: Sequence[Change]) -> list[_Case]:
    ids = [change.ref.id for change in changes]
    people, linked = mirror.load(db, Kind.PERSON, ids), links.of_crm(db, Kind.PROSPECT, ids)
    lifted = liftings.load(db, people=people)
    cases = []
    for change in changes:
        person = people.get(change.ref.id)
        # One that was ever linked is no stranger: a prospect deleted in Outreach is not created again by an old tick.
        if person is None or person.deleted or change.ref.id in linked:
            cases.append(_Case(change, None))
            continue
        case = _Case(change, person)
        addresses = transforms.addresses(person, PERSON_ADDRESSES)
        names = on.names.of(prospect=None, person=person.ref.id, addresses=addresses)
        latched, ticked = bool(links.latched(db, names)), streams.no_email(person, on.mapping)
        if (known := lifted.get((consent.Source.PERSON.value, person.ref.id))) and known.open:
            case.opted_in, case.lapsed = ticked and not latched, latched or not ticked
        case.opted_out = latched or (ticked and not case.opted_in)
        cases.append(case)
        if not streams.wishes_for_outreach(person, on.mapping):
            case.waived = True
            continue
        case.kept = not on.permit.to(None, person, None).to_outreach
        if not addresses:
            case.words = "no e-mail address to look for, or to create a prospect with"
    return cases


def _look_up(on: Applier, cases: Sequence[_Case]) -> None:
    """Ask Outreach for everybody with these addresses, before anything is created: the mirror may be a poll behind."""
    addresses = {text for case in cases if case.person for text in transforms.addresses(case.person, PERSON_ADDRESSES)}
    if not addresses:
        return
    found = on.remotes.outreach.prospects_by_email(sorted(addresses), attributes=on.mapping.prospect_attributes())
    with on.store.write() as db:
        notice.keep(db, Kind.PROSPECT, found, mapping=on.mapping, names=on.names, now=on.now())


def _match(db: sa.Connection, cases: Sequence[_Case]) -> None:
    """Link whom Outreach knows by the ordinary way, and hold what is not certain."""
    borne: set[str] = set()
    for case in cases:
        if case.person is None:
            continue
        addresses = transforms.addresses(case.person, PERSON_ADDRESSES)
        found = {pid for pids in mirror.holders(db, Kind.PROSPECT, addresses).values() for pid in pids}
        named = ", ".join(f"prospect {pid}" for pid in sorted(found))
        taken = [pid for pid, link in links.load(db, Kind.PROSPECT, found).items() if not link.gone]
        if len(found) > 1:
            case.words, case.held = f"person {case.person.ref.id} could be any of {named}", True
        elif taken:
            case.words, case.held = f"{named} has this address and is already linked to another person", True
        elif found:
            case.found = found.pop()
        elif addresses & borne:
            case.trouble = errors.StaleVersion("shares an address with somebody just being created")
        borne |= addresses


def _brake(db: sa.Connection, on: Applier, cases: Sequence[_Case]) -> None:
    """Hold them all when too many are wanted within a day: somebody may have ticked a whole list."""
    limit, now = on.mapping.brakes.new_prospects, on.now()
    if limit is None or not cases or brakes.is_off(db, NEW_PROSPECTS, now):
        return
    ids = [case.change.ref.id for case in cases]
    wanted = brakes.count(db, NEW_PROSPECTS, now, beside=backlog.unsettled_ids(db, Kind.PERSON))
    if wanted <= limit:
        brakes.note(db, NEW_PROSPECTS, ids, now)
        return
    words = f"{wanted} prospects would be new in Outreach within a day; approve to let them be created"
    for case in cases:
        case.trouble = receipts.TooBold(words, NEW_PROSPECTS)


def _owners(on: Applier, cases: Sequence[_Case], lacking: frozenset[str]) -> dict[int, int]:
    """Return the Outreach user who is to own each person's prospect: by the CRM owner's address, else the mapping's.

    The same look tells who is no longer wanted, or was opted out, since the last poll.
    """
    if not cases:
        return {}
    columns = (*streams.columns(Kind.PERSON, on.mapping, lacking), OWNER)
    people = identify.read_by_id(on.remotes.crm, Kind.PERSON, [case.change.ref.id for case in cases], columns)
    for case in cases:
        _heed(case, people.get(case.change.ref.id), on.mapping, lacking)
    addresses = {crm: transforms.address(one.fields.get(OWNER)) for crm, one in people.items()}
    fallback = transforms.address(on.mapping.new_owner)
    wanted = {text for text in (*addresses.values(), fallback) if text}
    try:
        users = on.remotes.outreach.ids_by_email("users", "user", sorted(wanted)) if wanted else {}
    except errors.AuthRevoked:
        users = {}  # without the scope users.read nobody can be told; the vendor then makes the token's user the owner
    owner_of = {crm: users.get(text or "", users.get(fallback or "")) for crm, text in addresses.items()}
    return {crm: user for crm, user in owner_of.items() if user is not None}


def _heed(case: _Case, seen: Snapshot | None, mapping: Mapping, lacking: frozenset[str]) -> None:
    """Put off whom nobody wants in Outreach any more, until a poll brings that; take an opt-out along at once."""
    line = mapping.field_of(Computed.SYNC_REQUEST)
    if seen is None or line is None or line.crm in lacking:
        return
    if not streams.wishes_for_outreach(seen, mapping):
        case.trouble = errors.StaleVersion("was unticked or deleted in the CRM just now", system=System.CRM)
    elif streams.no_email(seen, mapping) and not case.opted_in:
        case.opted_out = True


def _create(on: Applier, case: _Case, owners: dict[int, int]) -> None:
    if case.person is None:
        return
    case.sent = attributes(case.person, on.mapping, opted_out=case.opted_out)
    try:
        hide = masks.texts([case.person], on.mapping)
        case.created = on.remotes.outreach.create_prospect(case.sent, owners.get(case.person.ref.id), hide=hide)
    except errors.InvalidField as error:
        case.status = error.status
        if "taken" not in error.words.lower():
            case.words = error.words
            return
        _look_up(on, [case])
        with on.store.read() as db:
            _match(db, [case])
        if case.found is None and case.words is None:
            case.words = "Outreach says that somebody has this address already, but shows nobody with it"
    except errors.Transient as error:
        case.trouble = error  # it may have been created: the next try looks before it creates


def attributes(person: Snapshot, mapping: Mapping, *, opted_out: bool) -> dict[str, Value]:
    """Return the attributes of a new prospect; an opt-out goes in the very same request."""
    told: dict[str, Value] = {}
    for line in mapping.copied:
        value = transforms.to_outreach(line.compare, person.fields.get(line.crm))
        if line.direction is not Direction.TO_CRM and line.outreach and not transforms.is_blank(value):
            name, whole = transforms.put(line.outreach, told, value)
            told[name] = whole
    if "emails" not in told:
        told["emails"] = sorted(transforms.addresses(person, PERSON_ADDRESSES))[:1]
    told |= {"externalSource": SOURCE, "externalId": str(person.ref.id)}
    return told | ({"emailOptedOut": True} if opted_out else {})


def _tell(on: Applier, cases: Sequence[_Case], lacking: frozenset[str]) -> None:
    """Write into the CRM why somebody cannot be brought to Outreach, and take lifted No Emails off."""
    jobs = {case.change.ref.id: job for case in cases if (job := _job(on, case, lacking)) is not None}
    columns = streams.columns(Kind.PERSON, on.mapping, lacking)
    desk = Desk(on.remotes.crm, Kind.PERSON, on.mapping.reference, columns)
    told = deliver.carry_out(list(jobs.values()), desk) if jobs else {}
    for case in cases:
        receipt = told.get(case.change.ref.id)
        if case.opted_in and case.trouble is None and receipt is not None:
            refused = "; ".join(f"{name}: {words}" for name, words in receipt.refused.items())
            case.trouble = receipt.trouble or (errors.InvalidField(refused, field="") if refused else None)
    with on.store.write() as db:
        here = _here(db, on, cases)
        told, cases = (
            {key: one for key, one in told.items() if key in here},
            [c for c in cases if c.change.ref.id in here],
        )
        people = mirror.load(db, Kind.PERSON, told)
        done = {key: receipts.updated(people[key], receipt) for key, receipt in told.items() if receipt.applied}
        fresh = [receipt.fresh for receipt in told.values() if receipt.fresh]
        mirror.save(db, Kind.PERSON, streams.all_seen(done.values(), on.mapping), ours=True)
        notice.keep(db, Kind.PERSON, fresh, mapping=on.mapping, names=on.names, now=on.now())
        ours = [case for case in cases if case.opted_in and case.change.ref.id in done and case.trouble is None]
        over = [*ours, *(case for case in cases if case.lapsed)]
        liftings.settle(db, [(consent.Source.PERSON.value, case.change.ref.id) for case in over])
        written = [_unticked(case.change.ref.id, told[case.change.ref.id]) for case in ours]
        links.remember(db, written, now=on.now(), mapping_version=on.mapping.version)


def _job(on: Applier, case: _Case, lacking: frozenset[str]) -> Job | None:
    """Return what is to be written about somebody, None if that is nothing; where it may not be, the change is kept."""
    line, flag = on.mapping.field_of(Computed.ERROR), on.mapping.field_of(Computed.OPTED_OUT)
    person = case.person
    told: dict[str, Value] = {}
    if person is None:
        return None
    permit = on.permit.to(None, person, None)
    if case.opted_in and flag and not case.found and not case.created:
        told[flag.crm] = False
    said = line is not None and line.crm not in lacking and (case.words or case.waived)
    if line and said and (person.fields.get(line.crm) or None) != case.words:
        told[line.crm] = case.words
    if not permit.to_crm:
        case.kept = case.kept or (case.opted_in and bool(told))
        return None
    write = Write(person.ref.id, person.version or 0, told, hide=masks.texts([person], on.mapping))
    return Job(case.change.ref.id, write) if told else None


def _unticked(crm_id: int, receipt: Receipt) -> Written:
    return Written(Kind.PERSON, crm_id, crm_id, System.CRM, "update", {}, receipt.fields, plan.OPTED_IN)


def _receive(db: sa.Connection, on: Applier, cases: Sequence[_Case], tally: Tally) -> None:
    """Write down what became of each case; who was forgotten meanwhile does not come back with a late receipt."""
    now, here = on.now(), _here(db, on, cases)
    cases = [case for case in cases if case.change.ref.id in here]
    asked = [one for case in cases if (one := _exchange(case, on.mapping))]
    exchanges.keep(db, asked, now)
    for case in cases:
        if case.created is not None and case.person is not None:
            _join(db, on, case, case.created, case.person)
            tally.outreach_created += 1
            tally.outreach_opted_out += case.opted_out
        if case.found is not None:
            outbox.open_changes(db, Kind.PROSPECT, [case.found], lane=Lane.EDIT, now=now)
        if case.trouble is not None:
            tally.new_failed += receipts.stays(db, on, case.change, case.trouble)
        elif case.kept and case.opted_in:
            outbox.release(db, [case.change], standing=Standing.KEPT)
        elif case.held and case.words:
            key = f"{receipts.AMBIGUOUS}:{case.change.ref}"
            outbox.hold(db, case.change, key=key, kind=receipts.AMBIGUOUS, words=case.words, now=now)
        elif case.words:
            tally.new_failed += outbox.bury(db, case.change, case.words, now)
        elif case.kept:
            outbox.release(db, [case.change], standing=Standing.KEPT)
        else:
            outbox.settle(db, [case.change])


def _here(db: sa.Connection, on: Applier, cases: Sequence[_Case]) -> set[int]:
    """Return the people of the cases who were not forgotten; nobody is until this transaction ends."""
    forgotten.guard(db)
    return door.strangers(db, Kind.PERSON, (case.change.ref.id for case in cases), on.names)


def _exchange(case: _Case, mapping: Mapping) -> Exchange | None:
    """Return the request that was to create a prospect, and what was answered; None if nothing was asked."""
    if not case.sent:
        return None
    made = case.created.ref.id if case.created else None
    trouble = case.trouble if case.created is None else None
    words, status = case.words, case.status
    return of_new(case.change.ref.id, case.sent, mapping, made=made, words=words, status=status, trouble=trouble)


def _join(db: sa.Connection, on: Applier, case: _Case, prospect: Snapshot, person: Snapshot) -> None:
    """Link a new prospect to its person; what is left, such as the reference, is written the ordinary way."""
    wanted = set(on.mapping.prospect_attributes())
    told = {name: value for name, value in {**case.sent, **prospect.fields}.items() if name in wanted}
    seen = streams.seen(replace(prospect, fields=told, relations={}), on.mapping)
    mirror.save(db, Kind.PROSPECT, [seen], now=on.now(), ours=True)
    links.save(db, Kind.PROSPECT, [Link(prospect.ref.id, person.ref.id)], on.now())
    write = Written(
        Kind.PROSPECT, prospect.ref.id, person.ref.id, System.OUTREACH, "create", {}, case.sent, "wanted in the CRM"
    )
    links.remember(db, [write], now=on.now(), mapping_version=on.mapping.version)
    outbox.open_changes(db, Kind.PROSPECT, [prospect.ref.id], lane=Lane.EDIT, now=on.now())
