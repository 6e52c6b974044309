"""Sequence actions that people in the CRM ask for: carried out in Outreach, one request each, and answered in the CRM.

What is about to be asked is written down with the change before the request leaves, what came of it right after: whoever
comes next asks nothing twice. The answer itself rides with the person's other fields (``apply``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from worker.core import errors, masks, transforms, wishes
from worker.core.mapping import OWNER, Verb
from worker.core.records import Kind, Ref, Snapshot, System
from worker.core.wishes import Declined, Order, Wish
from worker.store import exchanges, links, mirror, outbox
from worker.store.links import Written
from worker.store.outbox import Lane
from worker.sync import gather, notice, streams
from worker.sync.case import ACTIONS_S
from worker.sync.exchanges import of_wish

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from worker.core.mapping import Mapping, SequenceActions
    from worker.core.plan import PersonPlan, PersonView
    from worker.core.records import Value
    from worker.core.states import SequenceView
    from worker.store.exchanges import Exchange
    from worker.store.outbox import Change
    from worker.sync.case import Applier, Case
    from worker.sync.gather import Batch


@dataclass(slots=True)
class Answered:
    """What became of the wishes of a batch, by prospect: the CRM fields of the answer, or why it has to be tried again.

    ``kept`` may not be carried out just now; ``put_off`` are changes given back, for the next claim; ``asked`` says that
    Outreach may have changed, ``actions`` how many wishes it carried out.
    """

    answers: dict[int, dict[str, Value]] = field(default_factory=dict)
    troubles: dict[int, errors.OutbookError] = field(default_factory=dict)
    kept: set[int] = field(default_factory=set)
    put_off: list[Change] = field(default_factory=list)
    asked: bool = False
    actions: int = 0

    def plan(self, told: PersonPlan, prospect_id: int) -> PersonPlan:
        """Return the plan that also writes the answer."""
        return wishes.answered(told, self.answers.get(prospect_id, {}))

    def heed(self, case: Case) -> Case:
        """Return the case with what became of its wish."""
        case.trouble = case.trouble or self.troubles.get(case.view.prospect_id)
        case.kept = case.kept or case.view.prospect_id in self.kept
        return case


def close(db: sa.Connection, on: Applier, cases: Sequence[Case]) -> None:
    """Drop the notes of wishes whose answer the CRM now holds: the same words asked for once more are a new wish."""
    actions = on.mapping.actions
    for case in cases:
        receipt = case.receipt
        if actions is None or receipt is None or not receipt.applied or actions.action in receipt.refused:
            continue
        if actions.action in case.plan.crm:
            outbox.note_wish(db, case.change, {}, on.now())


@dataclass(slots=True)
class _Desk:
    """Where wishes are carried out: what is touched, what the CRM lacks, and what was looked up for this batch."""

    on: Applier
    actions: SequenceActions
    lacking: frozenset[str]
    told: Answered = field(default_factory=Answered)
    sequences: list[SequenceView] | None = None
    mailboxes: dict[str, int | None] = field(default_factory=dict)
    exchanges: list[Exchange] = field(default_factory=list)

    @property
    def mapping(self) -> Mapping:
        return self.on.mapping


def carry_out(on: Applier, changes: Sequence[Change], batch: Batch, *, lacking: frozenset[str]) -> Answered:
    """Carry out what is asked for about the people of a claim: as much as fits in 40 s, and nothing before opt-outs."""
    actions = on.mapping.actions
    if actions is None or lacking & {actions.action, actions.sequence}:
        return Answered()
    desk, until = _Desk(on, actions, lacking), on.now() + ACTIONS_S
    told = desk.told
    urgent = any(change.lane is Lane.OPT_OUT for change in changes)
    for change in changes:
        view, match = batch.views[change.ref.id], batch.matches.get(change.ref.id)
        if change.ref.id in batch.unreadable or (match is not None and match.held):
            continue
        wish = wishes.wish_of(view.person, actions)
        if wish is None:
            _forget(desk, change)
        elif _is(change.wish, wish) and change.wish.get("outcome"):
            told.answers[change.ref.id] = _answer(desk, str(change.wish["outcome"]))
        elif not on.permit.to(view.prospect_id, view.person, view.prospect).to_outreach:
            told.kept.add(change.ref.id)
        elif (urgent and change.lane is not Lane.OPT_OUT) or on.now() >= until:
            told.put_off.append(change)
        else:
            _one(desk, change, view, wish)
    if told.put_off or desk.exchanges:
        with on.store.write() as db:
            outbox.release(db, told.put_off)
            exchanges.keep(db, desk.exchanges, on.now())
    return told


def _forget(desk: _Desk, change: Change) -> None:
    """Drop what is remembered of an earlier wish: the same words asked for once more are a new one."""
    if change.wish:
        with desk.on.store.write() as db:
            outbox.note_wish(db, change, {}, desk.on.now())


def _is(note: Any, wish: Wish) -> bool:  # noqa: ANN401 - JSON
    return (note.get("person"), note.get("action"), note.get("sequence")) == (wish.person, wish.action, wish.sequence)


def _answer(desk: _Desk, words: str) -> dict[str, Value]:
    told: dict[str, Value] = {desk.actions.action: None}
    return told if desk.actions.outcome in desk.lacking else {**told, desk.actions.outcome: words}


def _one(desk: _Desk, change: Change, view: PersonView, wish: Wish) -> None:
    """Carry one wish out, or say why not."""
    try:
        if _is(change.wish, wish) and _was_done(desk, change, view):
            return
        order = wishes.order_of(wish, view, desk.mapping, _sequences(desk))
        if isinstance(order, Order) and order.verb is Verb.ADD:
            order = _with_mailbox(desk, view, order)
        if isinstance(order, Declined):
            name = order.sequence.name if order.sequence else None
            _refuse(desk, change, wish, name, order.words)
        else:
            _ask(desk, change, view, wish, order)
    except errors.Transient as error:
        desk.told.troubles[change.ref.id] = error


def _ask(desk: _Desk, change: Change, view: PersonView, wish: Wish, order: Order) -> None:
    """Ask Outreach, once, with a note of it before and after."""
    on = desk.on
    note = {
        "person": wish.person,
        "action": wish.action,
        "sequence": wish.sequence,
        "verb": order.verb.value,
        "in": order.sequence.id,
        "name": order.sequence.name,
        "state": order.state,
        "known": order.known,
    }
    with on.store.write() as db:
        if not outbox.note_wish(db, change, note, on.now()):
            return  # somebody else has it now; nothing of this case will be carried out
    desk.told.asked = True
    try:
        after = _send(desk, view, order)
        desk.exchanges.append(of_wish(view.prospect_id, order))
    except errors.InvalidField as error:
        desk.exchanges.append(of_wish(view.prospect_id, order, refusal=error))
        _refuse(desk, change, wish, order.sequence.name, _plainly(error.words))
    except errors.Unreadable as error:
        desk.exchanges.append(of_wish(view.prospect_id, order, refusal=error))
        with on.store.write() as db:
            mirror.bury(db, Kind.STATE, [] if order.state is None else [order.state])
        if order.verb is Verb.REMOVE:
            _done(desk, change, view, note, None)
        else:
            _refuse(desk, change, wish, order.sequence.name, "no longer in this sequence")
    except errors.Transient as error:
        desk.exchanges.append(of_wish(view.prospect_id, order, trouble=error))
        raise
    else:
        _done(desk, change, view, note, after)


def _send(desk: _Desk, view: PersonView, order: Order) -> Snapshot | None:
    """Make the request and return the state as it stands then, None for one that was removed."""
    outreach = desk.on.remotes.outreach
    hide = masks.texts((view.prospect, view.person), desk.mapping)
    if order.state is None:
        return outreach.add_to_sequence(view.prospect_id, order.sequence.id, order.mailbox, hide=hide)
    if order.verb is Verb.REMOVE:
        outreach.remove_state(order.state)
        return None
    return outreach.act(Kind.STATE, order.state, order.verb.value, hide=hide)


def _plainly(words: str) -> str:
    """Return the vendor's words without the name of its error: ``validationError: …``."""
    name, colon, rest = words.partition(": ")
    return rest if colon and name.endswith("Error") and name.isalnum() else words


def _was_done(desk: _Desk, change: Change, view: PersonView) -> bool:
    """Look what became of a request without a reply; tell whether it was carried out, which is then written down."""
    note, on = change.wish, desk.on
    verb, state = Verb(note["verb"]), note["state"]
    names: dict[str, Sequence[str]] = {
        "attributes": streams.attributes(Kind.STATE, desk.mapping),
        "relations": streams.relations(Kind.STATE),
    }
    if state is None:
        found = on.remotes.outreach.states_of([view.prospect_id], note["in"], **names)
        new = [one for one in found if one.ref.id not in note["known"]]
        after = max(new, key=lambda one: one.ref.id, default=None)
        there = after is not None
    else:
        found = on.remotes.outreach.by_ids(Kind.STATE, [state], **names)
        after = found[0] if found else None
        there = wishes.stands_as_wished(verb, str(after.fields.get("state")) if after else None, desk.mapping)
    if there:
        _done(desk, change, view, note, after)
    return there


def _done(desk: _Desk, change: Change, view: PersonView, note: Any, after: Snapshot | None) -> None:  # noqa: ANN401 - JSON
    """Write down that a wish was carried out: the state as Outreach told it, the history, and the answer to be given."""
    on, verb = desk.on, Verb(note["verb"])
    words = wishes.done(verb, note["name"], on.now(), desk.mapping.timezone)
    person = view.person.ref.id if view.person else None
    written = Written(
        Kind.PROSPECT,
        view.prospect_id,
        person,
        System.OUTREACH,
        f"sequence {verb}",
        {"state": note["state"]},
        {"sequence": note["in"], "state": after.ref.id if after else None},
        "asked for in the CRM",
    )
    with on.store.write() as db:
        if after is not None:
            whole = _whole(mirror.load(db, Kind.STATE, [after.ref.id]).get(after.ref.id), after, view, note)
            notice.keep(db, Kind.STATE, [whole], mapping=desk.mapping, names=on.names, now=on.now())
        elif note["state"] is not None:
            mirror.bury(db, Kind.STATE, [note["state"]])
        links.remember(db, [written], now=on.now(), mapping_version=desk.mapping.version)
        outbox.note_wish(db, change, {**note, "outcome": words}, on.now())
    desk.told.asked = True
    desk.told.actions += 1
    desk.told.answers[change.ref.id] = _answer(desk, words)


def _whole(before: Snapshot | None, after: Snapshot, view: PersonView, note: Any) -> Snapshot:  # noqa: ANN401 - JSON
    """Return a state as a poll would bring it: only what the stream reads, and what the reply left out as it was."""
    known: dict[str, int | None] = {"prospect": view.prospect_id, "sequence": note["in"]}
    held: dict[str, Value] = dict(before.fields) if before else {}
    relations = known | (dict(before.relations) if before else {}) | dict(after.relations)
    return Snapshot(
        Ref(Kind.STATE, after.ref.id),
        {n: v for n, v in {**held, **after.fields}.items() if n in streams.STATE_ATTRIBUTES},
        updated_at=after.updated_at,
        relations={name: other for name, other in relations.items() if name in streams.STATE_RELATIONS},
    )


def _refuse(desk: _Desk, change: Change, wish: Wish, sequence: str | None, words: str) -> None:
    """Write down that a wish was not carried out, and why."""
    now = desk.on.now()
    answer = wishes.refused(wish.verb, sequence, words, now, desk.mapping.timezone)
    desk.told.answers[change.ref.id] = _answer(desk, answer)
    note = {"person": wish.person, "action": wish.action, "sequence": wish.sequence, "outcome": answer}
    with desk.on.store.write() as db:
        outbox.note_wish(db, change, note, now)


def _sequences(desk: _Desk) -> list[SequenceView]:
    if desk.sequences is None:
        with desk.on.store.read() as db:
            known = mirror.every(db, Kind.SEQUENCE)
        desk.sequences = [gather.sequence_view(number, known) for number in known]
    return desk.sequences


def _with_mailbox(desk: _Desk, view: PersonView, order: Order) -> Order | Declined:
    """Return the order with the mailbox that the mapping wants for a new state."""
    wanted, outreach = desk.actions.mailbox, desk.on.remotes.outreach
    if wanted is None:
        return order
    try:
        if wanted == OWNER:
            found = outreach.by_ids(Kind.PROSPECT, [view.prospect_id], attributes=(), relations=("owner",))
            owner = found[0].relations.get("owner") if found else None
            if owner is None:
                return Declined("the prospect has no owner in Outreach whose mailbox could send", order.sequence)
            key = str(owner)
            if key not in desk.mailboxes:
                desk.mailboxes[key] = next(iter(outreach.mailboxes_of(owner)), None)
        else:
            key = transforms.address(wanted) or wanted
            if key not in desk.mailboxes:
                desk.mailboxes[key] = outreach.ids_by_email("mailboxes", "mailbox", [key]).get(key)
    except errors.AuthRevoked as revoked:
        if "forbids" not in revoked.words:
            raise
        words = "Outreach lets Outbook see no mailboxes: its scope mailboxes.read is missing"
        return Declined(words, order.sequence)
    if desk.mailboxes[key] is None:
        whose = "the prospect's owner has no mailbox" if wanted == OWNER else f"there is no mailbox {wanted}"
        return Declined(f"{whose} in Outreach", order.sequence)
    return replace(order, mailbox=desk.mailboxes[key])
