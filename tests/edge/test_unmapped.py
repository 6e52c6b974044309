from __future__ import annotations

from tests.e2e import worlds
from tests.e2e.rig import Stage
from tests.e2e.worlds import COLD, ERROR, INBOUND, NO_EMAIL, STATE, TITLE


def test_an_unmapped_state_leaves_the_five_fields(stage: Stage) -> None:
    """They stay as they were, other fields are written, the record fails with the word in its error field."""
    prospect = stage.prospect("ada@example.com", title="Buyer")
    state = stage.state(prospect)
    other = stage.enrolled("bo@example.com", first="Bo")
    stage.sync()
    before = [stage.person_of(prospect).get(name) for name in worlds.FIVE]
    stage.set_state(state, state="on_holiday", stateChangedAt="2026-04-01T10:00:00.000Z")
    stage.set_prospect(prospect, title="Engineer")
    stage.set_prospect(other, title="Planner")
    told = stage.sync(code=3)
    assert (told.report["failed"], told.report["new_failed"], told.report["converged"]) == (1, 1, False)
    person = stage.person_of(prospect)
    assert [person.get(name) for name in worlds.FIVE] == before
    assert (person[TITLE], person[ERROR]) == ("Engineer", "unmapped state 'on_holiday'")
    assert stage.person_of(other)[TITLE] == "Planner"
    again = stage.sync(code=3)
    assert (again.report["failed"], again.report["new_failed"], again.report["queued"], again.crm) == (1, 0, 0, {})


def test_well_again_the_error_is_cleared(stage: Stage) -> None:
    """The state takes a known word: the five follow, the error field is blank, nothing fails."""
    prospect = stage.prospect("ada@example.com")
    state = stage.state(prospect, word="on_holiday")
    stage.sync(code=3)
    person = stage.person_of(prospect)
    assert ([person.get(name) for name in worlds.FIVE], person[ERROR]) == (
        [None] * 5,
        "unmapped state 'on_holiday'",
    )
    stage.set_state(state, state="paused")
    told = stage.sync()
    assert (told.report["failed"], told.report["converged"]) == (0, True)
    person = stage.person_of(prospect)
    assert (person[STATE], person.get(ERROR)) == (worlds.PAUSED, None)
    stage.settled()


def test_a_mapping_that_learns_the_word_mends_everyone(stage: Stage) -> None:
    """The admin adds the word under `states:`: everybody with it follows at the next pass by themselves."""
    people = []
    for n in range(3):
        people.append(stage.prospect(f"p{n}@example.com", first=f"P{n}"))
        stage.state(people[-1], word="on_holiday")
    stage.sync(code=3)
    stage.mapping(("\n  paused: paused\n", "\n  paused: paused\n  on_holiday: paused\n"))
    stage.sync()
    assert [stage.person_of(one)[STATE] for one in people] == [worlds.PAUSED] * 3


def test_an_unmapped_state_in_a_sequence_that_is_off_is_no_riddle(stage: Stage) -> None:
    """Rules 3 and 4 come before 6: in a disabled sequence any word reads Disabled or Pending."""
    prospect = stage.prospect("ada@example.com")
    stage.state(prospect, worlds.ARCHIVE, "on_holiday")
    stage.sync()
    assert stage.person_of(prospect)[STATE] == worlds.DISABLED


def test_opted_out_beats_an_unmapped_state(stage: Stage) -> None:
    """Opted out of e-mail with an unknown word beside it: Opted Out and No Email are written all the same."""
    prospect = stage.prospect("ada@example.com", emailOptedOut=True)
    stage.state(prospect, COLD, "on_holiday")
    stage.state(prospect, INBOUND, "active")
    stage.sync()
    person = stage.person_of(prospect)
    assert (person[STATE], person[NO_EMAIL], person.get(ERROR)) == (worlds.OPTED_OUT, True, None)


def test_an_unmapped_state_beside_a_running_one_is_not_guessed(stage: Stage) -> None:
    """One of two sequences has an unknown word: the five stay, the person fails."""
    prospect = stage.prospect("ada@example.com")
    stage.state(prospect, COLD, "active")
    stage.state(prospect, INBOUND, "on_holiday")
    told = stage.sync(code=3)
    assert told.report["failed"] == 1
    assert stage.person_of(prospect).get(STATE) is None


def test_opting_out_while_failing_is_delivered(stage: Stage) -> None:
    """A dead letter holds no opt-out: from either side it arrives at the next pass."""
    ada, bo = stage.prospect("ada@example.com"), stage.prospect("bo@example.com", first="Bo")
    for one in (ada, bo):
        stage.state(one, word="on_holiday")
    stage.sync(code=3)
    stage.tell({"op": "set", "type": "prospect", "id": ada, "attributes": {"emailOptedOut": True}})
    stage.set_person(stage.person_of(bo)["id"], no_email=True)
    stage.sync(code=None)
    assert stage.person_of(ada)[NO_EMAIL] is True
    assert stage.of_prospect(bo)["emailOptedOut"] is True


def test_the_word_may_be_odd(stage: Stage) -> None:
    """An empty or a quoted word is told as it is and breaks nothing."""
    words = {"": "unmapped state ''", "it's": "unmapped state 'it's'"}
    people = {}
    for n, word in enumerate(words):
        people[word] = stage.prospect(f"p{n}@example.com", first=f"P{n}")
        stage.state(people[word], word=word)
    stage.sync(code=3)
    assert {word: stage.person_of(one)[ERROR] for word, one in people.items()} == words
