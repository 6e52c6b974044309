"""Sequence actions that people in the CRM ask for: which state is meant, whether it may be, and the answer."""

from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from tests.core.makers import at, mapping, person, prospect, sequence, state
from tests.core.pairs import made, pair, unlinked
from worker.core import wishes
from worker.core.mapping import Mapping, Verb
from worker.core.plan import Action, PersonView
from worker.core.records import Value
from worker.core.states import SequenceView
from worker.core.wishes import Declined, Order, Wish

COLD, WARM, RECEIPTS = sequence(1, "Cold"), sequence(2, "Warm"), sequence(3, "Receipts", transactional=True)
KNOWN = [
    COLD,
    WARM,
    RECEIPTS,
    sequence(4, "warm up"),
    sequence(5, "Warm up"),
    sequence(77, "twice"),
    sequence(78, "twice"),
]
IN_COLD = state("active", id=10, of=COLD, changed=at(9))
IN_WARM = state("paused", id=20, of=WARM, changed=at(8))


def on() -> Mapping:
    """Return the default mapping with sequence actions switched on."""
    return mapping(("  enabled: false", "  enabled: true"))


def asked(action: Value, named: Value = None, *, deleted: bool = False) -> Wish | None:
    """Return what a person's fields ask for."""
    fields = {"cf_person_outreach_action": action, "cf_person_outreach_sequence": named}
    actions = on().actions
    assert actions is not None
    return wishes.wish_of(person(fields, deleted=deleted), actions)


@pytest.mark.parametrize(
    "action, named, wish",
    [
        (None, "Cold", None),
        ("", None, None),
        (" ", None, None),
        ("Pause", None, Wish(55, "Pause", "", Verb.PAUSE)),
        (" pause ", " Cold ", Wish(55, "pause", "Cold", Verb.PAUSE)),
        ("Add to sequence", 18, Wish(55, "Add to sequence", "18", Verb.ADD)),
        ("Dance", None, Wish(55, "Dance", "", None)),
    ],
)
def test_what_is_asked(action: Value, named: Value, wish: Wish | None) -> None:
    """The picklist's entry says what, whatever its case; a blank asks for nothing."""
    assert asked(action, named) == wish


def test_nobody_asks_nothing() -> None:
    """Neither a deleted person nor one who is not there asks for anything."""
    actions = on().actions
    assert actions is not None
    assert wishes.wish_of(None, actions) is None
    assert asked("Pause", deleted=True) is None


def order(action: str, named: str = "", view: PersonView | None = None) -> Order | Declined:
    """Return what is to be asked of Outreach for a prospect who runs in Cold and is paused in Warm."""
    wish = asked(action, named)
    assert wish is not None
    return wishes.order_of(wish, view or pair(states=(IN_COLD, IN_WARM)), on(), KNOWN)


@pytest.mark.parametrize(
    "action, named, order_",
    [
        ("Pause", "", Order(Verb.PAUSE, COLD, 10)),  # the only one that runs
        ("Resume", "", Order(Verb.RESUME, WARM, 20)),  # the only one that is paused
        ("Pause", "Warm", Order(Verb.PAUSE, WARM, 20)),
        ("Pause", "cold", Order(Verb.PAUSE, COLD, 10)),
        ("Finish", "2", Order(Verb.FINISH, WARM, 20)),
        ("Remove", "Cold", Order(Verb.REMOVE, COLD, 10)),
        ("Add to sequence", "Receipts", Order(Verb.ADD, RECEIPTS)),
        ("Add to sequence", "Cold", Order(Verb.ADD, COLD, known=(10,))),
        ("Add to sequence", "Warm up", Order(Verb.ADD, KNOWN[4])),  # letter for letter goes first
    ],
)
def test_what_is_meant(action: str, named: str, order_: Order) -> None:
    """A sequence is named by name or number; where none is, the only one that can be meant is."""
    assert order(action, named) == order_


@pytest.mark.parametrize(
    "action, named, words",
    [
        ("Dance", "", "'Dance' is none of Add to sequence, Pause, Resume, Finish, Remove"),
        ("Add to sequence", "", "which sequence? cf_person_outreach_sequence is blank"),
        ("Finish", "", "which sequence, of Cold, Warm? cf_person_outreach_sequence is blank"),
        ("Remove", "", "which sequence, of Cold, Warm? cf_person_outreach_sequence is blank"),
        ("Pause", "Nowhere", "Outreach has no sequence 'Nowhere'"),
        ("Pause", "99", "Outreach has no sequence '99'"),
        ("Pause", "TWICE", "2 sequences are called 'TWICE': write the number instead (77, 78)"),
        ("Pause", "WARM UP", "2 sequences are called 'WARM UP': write the number instead (4, 5)"),
        ("Pause", "Receipts", "never in this sequence"),
    ],
)
def test_what_is_declined(action: str, named: str, words: str) -> None:
    """What is not clear, or cannot be, is declined with the reason."""
    told = order(action, named)
    assert isinstance(told, Declined)
    assert told.words == words


def test_what_cannot_be_asked_for_at_all() -> None:
    """Nothing for a prospect that is gone, nothing where no sequence fits, nothing while it is switched off."""
    gone = order("Pause", view=pair(prospect=None, states=()))
    assert isinstance(gone, Declined)
    assert gone.words == "the prospect was deleted in Outreach"
    nowhere = order("Pause", view=pair(states=()))
    assert isinstance(nowhere, Declined)
    assert nowhere.words == "there is no sequence that this could mean"
    off = wishes.order_of(Wish(55, "Pause", "", Verb.PAUSE), pair(), mapping(), KNOWN)
    assert off == Declined("'Pause' is none of nothing")


@pytest.mark.parametrize("action, named", [("Add to sequence", "Cold"), ("Resume", "Warm")])
def test_nobody_opted_out_is_mailed(action: str, named: str) -> None:
    """An opted-out person is neither added nor resumed, by whatever sign, but in a transactional sequence."""
    both = (IN_COLD, IN_WARM)
    for view in (pair(states=both, latched=True), pair(states=both, prospect=prospect(emailOptedOut=True))):
        assert order(action, named, view) == Declined("opted out of e-mail", COLD if named == "Cold" else WARM)
        assert isinstance(order("Add to sequence", "Receipts", view), Order)
        assert isinstance(order("Finish", named, view), Order)


def test_the_latest_state_of_a_sequence_is_meant() -> None:
    """Where a prospect was added twice, the later state is paused."""
    again = (replace(IN_COLD, id=30, state="finished", changed_at=at(3)), IN_COLD)
    assert order("Pause", "Cold", pair(states=again)) == Order(Verb.PAUSE, COLD, 10)


@pytest.mark.parametrize(
    "verb, word, stands",
    [
        (Verb.PAUSE, "paused", True),
        (Verb.PAUSE, "active", False),
        (Verb.RESUME, "active", True),
        (Verb.FINISH, "finished", True),
        (Verb.FINISH, "bounced", False),
        (Verb.FINISH, None, False),
        (Verb.REMOVE, None, True),
        (Verb.REMOVE, "active", False),
        (Verb.PAUSE, "replied", False),
    ],
)
def test_whether_it_stands_as_wished(verb: Verb, word: str | None, stands: bool) -> None:
    """A wish is fulfilled when the state says so; a removed one when it is gone."""
    assert wishes.stands_as_wished(verb, word, on()) is stands


def test_the_answers() -> None:
    """The answer names the sequence and the local moment, and why not; it fits a text field."""
    utc, there = ZoneInfo("UTC"), ZoneInfo("Pacific/Auckland")
    assert wishes.done(Verb.ADD, "Cold", at(10), utc) == "added to Cold, 2 Mar 2026 10:00"
    assert wishes.done(Verb.REMOVE, "Cold", at(12), there) == "removed from Cold, 3 Mar 2026 01:00"
    assert wishes.refused(Verb.PAUSE, "Cold", "why", at(10), utc) == "not paused in Cold, 2 Mar 2026 10:00: why"
    assert wishes.refused(Verb.PAUSE, None, "why", at(10), utc) == "not paused, 2 Mar 2026 10:00: why"
    assert wishes.refused(None, "Cold", "why", at(10), utc) == "not done, 2 Mar 2026 10:00: why"
    long = wishes.refused(None, None, "x" * 300, at(10), utc)
    assert (len(long), long[-2:]) == (255, "x…")
    assert len(wishes.done(Verb.ADD, "x" * 227, at(10), utc)) == 254


def test_an_answer_rides_along() -> None:
    """The answer is written with whatever else is, and not where nothing may be written."""
    answer: dict[str, Value] = {"cf_person_outreach_action": None, "cf_person_outreach_outcome": "paused in Cold"}
    told = wishes.answered(made(pair()), answer)
    assert (told.action, told.crm) == (Action.UPDATE, answer)
    assert [decision.field for decision in told.decisions[-2:]] == list(answer)
    moved = wishes.answered(made(pair(prospect=prospect(title="Director"))), answer)
    assert moved.crm == {"person_job_title": "Director", **answer}
    assert wishes.answered(made(pair()), {}) == made(pair())
    excluded = made(unlinked(states=()))
    assert wishes.answered(excluded, answer) == excluded


def test_a_name_in_the_states_is_known_too() -> None:
    """A sequence that only the prospect's own states tell of can be named."""
    hidden = SequenceView.unseen(18)
    view = pair(states=(state("active", id=40, of=hidden),))
    assert order("Pause", "Sequence 18", view) == Order(Verb.PAUSE, hidden, 40)
