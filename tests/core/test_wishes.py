"""Which sequence and which state a wish means, decided without asking anybody."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from tests.core.makers import at, mapping, person, prospect, sequence, state
from worker.core import wishes
from worker.core.mapping import Verb
from worker.core.plan import PersonView
from worker.core.states import SequenceView, StateView
from worker.core.wishes import Declined, Order

ON = mapping(("  enabled: false", "  enabled: true"))
COLD, WARM, WARM_TOO = sequence(1), sequence(2, "Warm"), sequence(3, "WARM")
TWELVE = sequence(4, "12")
NOTICES = sequence(5, "Notices", transactional=True)
KNOWN = [COLD, WARM, WARM_TOO, TWELVE, NOTICES, sequence(12, "Dozen")]


def decided(
    action: str, named: str | None = None, *states: StateView, opted_out: bool = False
) -> Order | Declined | None:
    """Return what becomes of a wish about prospect 7 with these states."""
    one = person({"cf_person_outreach_action": action, "cf_person_outreach_sequence": named})
    view = PersonView(7, prospect(emailOptedOut=opted_out), states, one)
    assert ON.actions is not None
    wish = wishes.wish_of(one, ON.actions)
    return wishes.order_of(wish, view, ON, KNOWN) if wish else None


def named(text: str) -> SequenceView | str:
    """Return the sequence that a text names, or why it names none."""
    told = decided("Add to sequence", text)
    assert told is not None
    return told.sequence if isinstance(told, Order) else told.words


def test_a_blank_action_is_no_wish() -> None:
    """Nothing, an empty text and blanks ask for nothing."""
    assert [decided(text) for text in ("", "  ", "\n")] == [None, None, None]
    assert ON.actions is not None
    gone = person({"cf_person_outreach_action": "Pause"}, deleted=True)
    assert (wishes.wish_of(gone, ON.actions), wishes.wish_of(None, ON.actions)) == (None, None)


def test_a_sequence_is_named_by_name_or_number() -> None:
    """The very name goes first, then the name regardless of case, then the number."""
    assert named("Cold outreach") == COLD
    assert named(" cold OUTREACH ") == COLD
    assert named("Warm") == WARM
    assert named("WARM") == WARM_TOO
    assert named("warm") == "2 sequences are called 'warm': write the number instead (2, 3)"
    assert named("2") == WARM
    assert named("12") == TWELVE
    assert named("77") == "Outreach has no sequence '77'"


def test_the_latest_state_counts() -> None:
    """By the time of its last change, whatever its number; one without a time is the oldest."""
    old, new, bare = state(id=9, changed=at(8)), state(id=4, changed=at(9)), state(id=11)
    assert decided("Pause", "1", old, new, bare) == Order(Verb.PAUSE, COLD, 4)
    assert decided("Remove", None, old, new, bare) == Order(Verb.REMOVE, COLD, 4)


@pytest.mark.parametrize(
    "action, fitting",
    [("Pause", {"active"}), ("Resume", {"paused"}), ("Finish", {"active", "paused", "pending"})],
)
def test_a_blank_sequence_means_the_one_that_fits(action: str, fitting: set[str]) -> None:
    """Whatever does not fit the action is not meant."""
    for word in ("active", "paused", "pending", "finished", "bounced", "failed", "disabled"):
        told = decided(action, None, state(word, id=1), state("finished", id=2, of=WARM))
        expected = Order(Verb(action.lower()), COLD, 1) if word in fitting else None
        assert (told if isinstance(told, Order) else None) == expected


def test_what_was_known_before_is_told_apart() -> None:
    """Only states of that sequence are remembered as those that were there before."""
    told = decided("Add to sequence", "1", state(id=5), state(id=6), state(id=7, of=WARM))
    assert told == Order(Verb.ADD, COLD, known=(5, 6))


@pytest.mark.parametrize(
    "action, may", [("Add to sequence", False), ("Resume", False), ("Pause", True), ("Remove", True)]
)
def test_whoever_opted_out_gets_no_mail(action: str, may: bool) -> None:
    """Adding and resuming are declined, the others only end what runs; a transactional sequence is no soliciting."""
    told = decided(action, "1", state("paused"), opted_out=True)
    assert told == (Order(Verb(action.lower()), COLD, 100) if may else Declined("opted out of e-mail", COLD))
    assert isinstance(decided(action, "5", state("paused", of=NOTICES), opted_out=True), Order)


def test_the_answers() -> None:
    """In the mapping's time zone, without a leading nought, and never longer than a text field."""
    zone = ZoneInfo("Europe/London")
    assert wishes.done(Verb.ADD, " Cold\x00 outreach", at(9), zone) == "added to Cold outreach, 2 Mar 2026 09:00"
    assert wishes.done(Verb.FINISH, "A", at(9).replace(month=7), zone) == "finished in A, 2 Jul 2026 10:00"
    assert wishes.refused(Verb.PAUSE, None, "why", at(9), zone) == "not paused, 2 Mar 2026 09:00: why"
    assert wishes.refused(None, "A", "why", at(9), zone) == "not done, 2 Mar 2026 09:00: why"
    assert len(wishes.refused(Verb.PAUSE, "x" * 300, "why", at(9), zone)) == 255
