"""Sequence actions that people in the CRM ask for: what is wished, which state it means, whether it may be, and the answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worker.core import plan, transforms
from worker.core.mapping import Verb
from worker.core.plan import Action, Decision
from worker.core.states import Label

if TYPE_CHECKING:
    from collections.abc import Mapping as Dict
    from collections.abc import Sequence
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from worker.core.mapping import Mapping, SequenceActions
    from worker.core.plan import PersonPlan, PersonView
    from worker.core.records import Snapshot, Value
    from worker.core.states import SequenceView, StateView

DONE = {
    Verb.ADD: "added to",
    Verb.PAUSE: "paused in",
    Verb.RESUME: "resumed in",
    Verb.FINISH: "finished in",
    Verb.REMOVE: "removed from",
}
RUNNING = frozenset({Label.ACTIVE, Label.PAUSED, Label.PENDING})
FITS = {
    Verb.PAUSE: frozenset({Label.ACTIVE}),
    Verb.RESUME: frozenset({Label.PAUSED}),
    Verb.FINISH: RUNNING,
    Verb.REMOVE: frozenset(Label),
}
"""In which states a sequence is meant when none is named."""
LEADS_TO = {Verb.PAUSE: Label.PAUSED, Verb.RESUME: Label.ACTIVE, Verb.FINISH: Label.FINISHED}
MAY_MAIL = frozenset({Verb.ADD, Verb.RESUME})
LONGEST = 255
"""The answer fits a text field of the CRM."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for, as the CRM holds it. ``verb`` is None for a word that the mapping does not know."""

    person: int
    action: str
    sequence: str
    verb: Verb | None


@dataclass(frozen=True, slots=True)
class Order:
    """What to ask Outreach for.

    ``state`` is the sequence state that is meant, None for a new one; ``known`` the states that this prospect has had in the
    sequence before, by which a new one is told apart; ``mailbox`` what a new one sends from, None to leave that to Outreach.
    """

    verb: Verb
    sequence: SequenceView
    state: int | None = None
    known: tuple[int, ...] = ()
    mailbox: int | None = None


@dataclass(frozen=True, slots=True)
class Declined:
    """Why nothing is asked of Outreach; ``sequence`` is the one that is meant, if that is clear."""

    words: str
    sequence: SequenceView | None = None


def wish_of(person: Snapshot | None, actions: SequenceActions) -> Wish | None:
    """Return what is asked for about a person, None if nothing is."""
    if person is None or person.deleted:
        return None
    action, sequence = (_text(person.fields.get(name)) for name in (actions.action, actions.sequence))
    if not action:
        return None
    verbs = {word.casefold(): verb for verb, word in actions.words.items()}
    return Wish(person.ref.id, action, sequence, verbs.get(action.casefold()))


def _text(value: Value) -> str:
    return "" if transforms.is_blank(value) else transforms.clean(str(value))


def order_of(wish: Wish, view: PersonView, mapping: Mapping, known: Sequence[SequenceView]) -> Order | Declined:
    """Return what to ask Outreach for. ``known`` are the sequences that Outreach is known to have."""
    actions = mapping.actions
    if actions is None or wish.verb is None:
        offered = ", ".join(actions.words.values()) if actions else "nothing"
        return Declined(f"'{wish.action}' is none of {offered}")
    if view.prospect is None:
        return Declined("the prospect was deleted in Outreach")
    latest = _latest(view.states)
    if wish.sequence:
        sequence = _named(wish.sequence, [*known, *(state.sequence for state in latest.values())])
    elif wish.verb is Verb.ADD:
        return Declined(f"which sequence? {actions.sequence} is blank")
    else:
        sequence = _only(wish.verb, latest, mapping)
    if isinstance(sequence, Declined):
        return sequence
    if wish.verb in MAY_MAIL and not sequence.transactional and plan.opt_out_of(view, mapping):
        return Declined("opted out of e-mail", sequence)
    if wish.verb is Verb.ADD:
        return Order(wish.verb, sequence, known=tuple(s.id for s in view.states if s.sequence.id == sequence.id))
    if sequence.id not in latest:
        return Declined("never in this sequence", sequence)
    return Order(wish.verb, sequence, latest[sequence.id].id)


def _latest(states: Sequence[StateView]) -> dict[int, StateView]:
    """Return the latest state in each sequence: several can exist where Outreach allows adding again."""
    return {state.sequence.id: state for state in sorted(states, key=lambda state: state.recency)}


def _named(text: str, known: Sequence[SequenceView]) -> SequenceView | Declined:
    """Return the sequence of that name, regardless of case unless that matters, or of that number."""
    by_id = {sequence.id: sequence for sequence in known}
    exact = [one for one in by_id.values() if transforms.clean(one.name) == text]
    alike = exact or [one for one in by_id.values() if transforms.clean(one.name).casefold() == text.casefold()]
    if len(alike) > 1:
        numbers = ", ".join(str(one.id) for one in sorted(alike, key=lambda one: one.id))
        return Declined(f"{len(alike)} sequences are called '{text}': write the number instead ({numbers})")
    if alike:
        return alike[0]
    number = int(text) if text.isdecimal() else None
    return by_id[number] if number in by_id else Declined(f"Outreach has no sequence '{text}'")


def _only(verb: Verb, latest: Dict[int, StateView], mapping: Mapping) -> SequenceView | Declined:
    """Return the one sequence that can be meant where none is named."""
    fitting = [state.sequence for state in latest.values() if mapping.words.get(state.state) in FITS[verb]]
    if len(fitting) == 1:
        return fitting[0]
    field = mapping.actions.sequence if mapping.actions else ""
    if not fitting:
        return Declined("there is no sequence that this could mean")
    names = ", ".join(sorted(f"{one.name}" for one in fitting))
    return Declined(f"which sequence, of {names}? {field} is blank")


def stands_as_wished(verb: Verb, state: str | None, mapping: Mapping) -> bool:
    """Tell whether a sequence state is as the wish wants it; ``state`` is None for one that is not there."""
    if verb is Verb.REMOVE:
        return state is None
    return state is not None and mapping.words.get(state) is LEADS_TO.get(verb)


def done(verb: Verb, sequence: str, at: datetime, zone: ZoneInfo) -> str:
    """Return the answer to a wish that was carried out: ``added to Cold outreach, 21 Nov 2026 10:15``."""
    return _cut(f"{DONE[verb]} {transforms.clean(sequence)}, {_moment(at, zone)}")


def refused(verb: Verb | None, sequence: str | None, words: str, at: datetime, zone: ZoneInfo) -> str:
    """Return the answer to a wish that was not: ``not paused in Cold outreach, 21 Nov 2026 10:15: why``."""
    what = DONE[verb] if verb else "done"
    what = f"{what} {transforms.clean(sequence)}" if sequence and verb else what.split()[0]
    return _cut(f"not {what}, {_moment(at, zone)}: {words}")


def _moment(at: datetime, zone: ZoneInfo) -> str:
    there = at.astimezone(zone)
    return f"{there.day} {there:%b %Y %H:%M}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def answered(told: PersonPlan, answer: Dict[str, Value]) -> PersonPlan:
    """Return the plan that also writes the answer to a wish into the CRM, unless nothing is to be written there now."""
    if not answer or told.action not in {Action.NOTHING, Action.UPDATE}:
        return told
    decisions = (*told.decisions, *(Decision(name, "answers a wish", to_crm=value) for name, value in answer.items()))
    return replace(told, action=Action.UPDATE, crm={**told.crm, **answer}, decisions=decisions)
