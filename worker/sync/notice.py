"""What a page means: the mirror brought up to date, opt-outs latched, and a change opened for every record it concerns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from worker.core import consent, states, tasks, transforms
from worker.core.mapping import PERSON_ADDRESSES, Computed
from worker.core.records import Kind
from worker.store import bulk, liftings, links, mappings, mirror, outbox
from worker.store.outbox import Lane
from worker.sync import door, streams

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from worker.core.consent import Key, Lifted, Sign
    from worker.core.mapping import Mapping
    from worker.core.records import Snapshot
    from worker.store.links import Name, Names
    from worker.store.mirror import Moved

LATE = timedelta(seconds=20)
"""What was saved longer ago than this a webhook should have told by now (its retries end within seconds: outreach-api 7.2)."""


@dataclass(frozen=True, slots=True)
class Told:
    """How many records of a page moved, how many changes that opened, and how many had been saved a while ago by then.

    ``echoes``: how many were our own writes, read back for the first time and just so; they open nothing.
    """

    moved: int
    queued: int
    late: int = 0
    echoes: int = 0
    moves: Sequence[Moved] = ()


def keep(
    db: sa.Connection,
    stream: Kind,
    snapshots: Sequence[Snapshot],
    *,
    mapping: Mapping,
    names: Names,
    now: datetime,
    theirs: datetime | None = None,
    lane: Lane = Lane.EDIT,
) -> Told:
    """Store a page and open what follows from it, in the caller's transaction; who was forgotten stays outside.

    ``theirs`` is what the vendor's clock said then. ``lane`` is that of sequence states which tell no opt-out: a load of
    many stands behind single edits.
    """
    welcome = door.admitted(db, stream, snapshots, mapping=mapping, names=names, now=now)
    noted = mirror.note(db, stream, streams.all_seen(welcome, mapping), now=now, theirs=theirs)
    moved = noted.moved
    if not moved:
        return Told(0, 0, echoes=noted.echoes)
    late = sum(one.after.updated_at is not None and one.after.updated_at < now - LATE for one in moved)
    if stream in {Kind.SEQUENCE, Kind.STEP}:
        relation = "sequence" if stream is Kind.SEQUENCE else "sequenceStep"
        queued = outbox.open_everyone_in(db, relation, [one.after.ref.id for one in moved], now=now)
    elif stream is Kind.PROSPECT:
        queued = _prospects(db, moved, names=names, now=now)
    elif stream is Kind.STATE:
        queued = _states(db, moved, mapping=mapping, names=names, now=now, lane=lane)
    elif stream is Kind.TASK:
        queued = _tasks(db, moved, mapping=mapping, now=now)
    elif stream is Kind.PERSON:
        queued = _people(db, moved, mapping=mapping, names=names, now=now)
    else:
        queued = _crm_tasks(db, moved, mapping=mapping, now=now)
    return Told(len(moved), queued, late, noted.echoes, moved)


def pour(db: sa.Connection, found: Sequence[Snapshot], *, mapping: Mapping) -> list[int]:
    """Store sequence states that the mirror does not hold and that tell no opt-out, quickly, and return their ids.

    The changes of the people they belong to are for the caller to open, many at once.
    """
    bulk.add_states(db, streams.all_seen(found, mapping))
    return [one.ref.id for one in found]


def _prospects(db: sa.Connection, moved: Sequence[Moved], *, names: Names, now: datetime) -> int:
    latches: list[tuple[Name, str]] = []
    urgent: set[int] = set()
    signs = {one.after.ref.id: consent.of_prospect(one.after) for one in moved}
    lifted = liftings.load(db, prospects=[record_id for record_id, found in signs.items() if found])
    for one in moved:
        record_id = one.after.ref.id
        before = {sign.key for sign in consent.of_prospect(one.before)} if one.before else None
        told = consent.news(signs[record_id], before, lifted)
        if not told:
            continue
        told_names = names.of(prospect=record_id, person=None, addresses=transforms.addresses(one.after, ("emails",)))
        latches += [(name, told[0].words) for name in told_names]
        if not before:
            urgent.add(record_id)
    links.latch(db, latches, now)
    wider = _wider(db, Kind.PROSPECT, moved)
    calm = {one.after.ref.id for one in moved} - urgent - wider
    outbox.open_changes(db, Kind.PROSPECT, urgent, lane=Lane.OPT_OUT, now=now)
    outbox.open_changes(db, Kind.PROSPECT, wider - urgent, lane=Lane.BULK, now=now)
    return len(urgent | wider) + outbox.open_changes(db, Kind.PROSPECT, calm, lane=Lane.EDIT, now=now)


def _wider(db: sa.Connection, kind: Kind, moved: Sequence[Moved]) -> set[int]:
    """Return the records that differ only in what a new mapping reads for the first time: nobody has edited them."""
    names = mappings.unread(db).get(kind, frozenset())
    return {
        one.after.ref.id
        for one in moved
        if names
        and one.before is not None
        and one.before.deleted == one.after.deleted
        and all(one.before.fields.get(name) == value for name, value in one.after.fields.items() if name not in names)
    }


def _states(
    db: sa.Connection, moved: Sequence[Moved], *, mapping: Mapping, names: Names, now: datetime, lane: Lane
) -> int:
    whose: set[int] = set()
    urgent: set[int] = set()
    latches: list[tuple[Name, str]] = []
    stepped: list[int] = []
    riddles = [one.after.ref for one in moved if one.before and one.before.relations.get("prospect") is None]
    outbox.lift(db, [f"unreadable:{ref}" for ref in riddles], now)
    opted_out = {one.after.ref.id for one in moved if _says_opted_out(one.after, mapping)}
    lifted = liftings.load(db, states=sorted(opted_out))
    for one in moved:
        state, prospect_id = one.after, one.after.relations.get("prospect")
        for relations in (state.relations, one.before.relations if one.before else {}):
            owner = relations.get("prospect")
            if owner is not None:
                whose.add(owner)
        if prospect_id is None:
            words = f"sequence state {state.ref.id} does not tell its prospect"
            outbox.post_hold(db, key=f"unreadable:{state.ref}", kind="unreadable", words=words, now=now)
            continue
        for sign in _news_of_state(one, mapping, lifted) if state.ref.id in opted_out else ():
            urgent.add(prospect_id)
            latches += [(name, sign.words) for name in names.of(prospect=prospect_id, person=None, addresses=())]
        if one.before and one.before.relations.get("sequenceStep") != state.relations.get("sequenceStep"):
            stepped.append(state.ref.id)
    links.latch(db, latches, now)
    outbox.open_changes(db, Kind.PROSPECT, urgent, lane=Lane.OPT_OUT, now=now)
    queued = len(urgent) + outbox.open_changes(db, Kind.PROSPECT, whose - urgent, lane=lane, now=now)
    return queued + _look_for_gone(db, stepped, now=now)


def _says_opted_out(state: Snapshot | None, mapping: Mapping) -> bool:
    return state is not None and mapping.words.get(str(state.fields.get("state"))) is states.Label.OPTED_OUT


def _news_of_state(one: Moved, mapping: Mapping, lifted: dict[Key, Lifted]) -> list[Sign]:
    """Return the opt-out that a state tells which says so, if it is none that was lifted."""
    told = str(one.after.fields.get("state")), transforms.parse_time(one.after.fields.get("stateChangedAt"))
    sign = consent.of_state(states.StateView(one.after.ref.id, states.SequenceView.unseen(0), *told))
    before = {sign.key} if _says_opted_out(one.before, mapping) else set()
    return consent.news([sign], before if one.before else None, lifted)


def _look_for_gone(db: sa.Connection, state_ids: Iterable[int], *, now: datetime) -> int:
    """A task that was still open when its state moved to another step may have been skipped: look it up by id.

    That it is gone may have been told before the step was.
    """
    waiting = mirror.related(db, Kind.TASK, "sequenceState", state_ids, deleted=True)
    found = {task.ref.id for theirs in waiting.values() for task in theirs if tasks.is_open(task)}
    return outbox.open_changes(db, Kind.TASK, found - set(links.load(db, Kind.TASK, found)), lane=Lane.EDIT, now=now)


def _tasks(db: sa.Connection, moved: Sequence[Moved], *, mapping: Mapping, now: datetime) -> int:
    anything = states.SequenceView.unseen(0)
    signalled = [
        one.after.ref.id
        for one in moved
        if of_a_sequence(one.after)
        and tasks.skipped_by(tasks.TaskView(one.after, sequence=anything, step=None), mapping) is not None
    ]
    written = links.load(db, Kind.TASK, signalled)
    return outbox.open_changes(db, Kind.TASK, set(signalled) - set(written), lane=Lane.EDIT, now=now)


def of_a_sequence(task: Snapshot) -> bool:
    """Tell whether a task belongs to a sequence."""
    return any(task.relations.get(relation) is not None for relation in ("sequence", "sequenceState", "sequenceStep"))


def _people(db: sa.Connection, moved: Sequence[Moved], *, mapping: Mapping, names: Names, now: datetime) -> int:
    by_id = {one.after.ref.id: one for one in moved}
    linked = links.of_crm(db, Kind.PROSPECT, by_id)
    _deletions(db, {crm: link.outreach_id for crm, link in linked.items() if not link.gone}, by_id, now=now)
    urgent: set[int] = set()
    latches: list[tuple[Name, str]] = []
    lifted = liftings.load(db, people=[crm for crm, one in by_id.items() if _no_email(one.after, mapping)])
    for crm_id, one in by_id.items():
        before = {sign.key for sign in _no_email(one.before, mapping)} if one.before else None
        if not consent.news(_no_email(one.after, mapping), before, lifted):
            continue
        link = linked.get(crm_id)
        addresses = transforms.addresses(one.after, PERSON_ADDRESSES)
        known = names.of(prospect=link.outreach_id if link else None, person=crm_id, addresses=addresses)
        latches += [(name, "No Email in the CRM") for name in known]
        if link and not before:
            urgent.add(link.outreach_id)
    links.latch(db, latches, now)
    wishing = [one.after.ref.id for crm_id, one in by_id.items() if crm_id not in linked and _wishes(one, mapping)]
    outbox.open_changes(db, Kind.PERSON, wishing, lane=Lane.EDIT, now=now)
    wider = _wider(db, Kind.PERSON, moved)
    later = {link.outreach_id for crm_id, link in linked.items() if crm_id in wider} - urgent
    calm = {link.outreach_id for link in linked.values()} | _strangers(db, by_id, set(linked))
    outbox.open_changes(db, Kind.PROSPECT, urgent, lane=Lane.OPT_OUT, now=now)
    outbox.open_changes(db, Kind.PROSPECT, later, lane=Lane.BULK, now=now)
    return len(urgent | later) + outbox.open_changes(db, Kind.PROSPECT, calm - urgent - later, lane=Lane.EDIT, now=now)


def _no_email(person: Snapshot, mapping: Mapping) -> list[Sign]:
    line = mapping.field_of(Computed.OPTED_OUT)
    return consent.of_person(person, line.crm) if line else []


def _wishes(one: Moved, mapping: Mapping) -> bool:
    """Tell whether the person is wanted in Outreach, or was until now: what was told about it then has to go."""
    seen = (one.after, one.before)
    return any(snapshot is not None and streams.wishes_for_outreach(snapshot, mapping) for snapshot in seen)


def _deletions(db: sa.Connection, linked: dict[int, int], by_id: dict[int, Moved], *, now: datetime) -> None:
    """Count linked people that went missing, for the brake, and forget those that somebody brought back."""
    gone = {
        crm: (prospect, by_id[crm].after.updated_at or now)
        for crm, prospect in linked.items()
        if by_id[crm].after.deleted
    }
    links.missing(db, gone)
    back = [crm for crm, one in by_id.items() if one.before and one.before.deleted and not one.after.deleted]
    links.restored(db, back)


def _strangers(db: sa.Connection, by_id: dict[int, Moved], linked: set[int]) -> set[int]:
    """Return the prospects that an unlinked person could belong to, by reference or by an address it has or had."""
    strangers = {crm: one for crm, one in by_id.items() if crm not in linked}
    found = set(mirror.references(db, Kind.PERSON, strangers).values())
    addresses: set[str] = set()
    for one in strangers.values():
        for snapshot in (one.before, one.after):
            if snapshot is not None:
                addresses |= transforms.addresses(snapshot, PERSON_ADDRESSES)
    for prospects in mirror.holders(db, Kind.PROSPECT, addresses).values():
        found |= prospects
    return set(mirror.load(db, Kind.PROSPECT, found))


def _crm_tasks(db: sa.Connection, moved: Sequence[Moved], *, mapping: Mapping, now: datetime) -> int:
    gone = [one.after.ref.id for one in moved if one.after.deleted]
    linked = links.of_crm(db, Kind.TASK, gone)
    wanted = {link.outreach_id for link in linked.values() if not link.gone} | _done_by_hand(db, moved, mapping)
    return outbox.open_changes(db, Kind.TASK, wanted, lane=Lane.EDIT, now=now)


def _done_by_hand(db: sa.Connection, moved: Sequence[Moved], mapping: Mapping) -> set[int]:
    """Return the open Outreach tasks whose CRM task somebody has completed or cancelled; what Outbook wrote has a link."""
    rule = mapping.task.back
    if rule is None:
        return set()
    named = set(mirror.references(db, Kind.CRM_TASK, [one.after.ref.id for one in moved]).values())
    found = mirror.load(db, Kind.TASK, named - set(links.load(db, Kind.TASK, named)))
    told: dict[int, list[Snapshot]] = {}
    for one in moved:
        number = streams.seen(one.after, mapping).reference
        told.setdefault(number or 0, []).append(one.after)
    return {
        number
        for number, task in found.items()
        if tasks.done_by_hand(task, told.get(number, ()), rule, in_sequence=of_a_sequence(task))
    }
