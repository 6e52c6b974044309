"""The nine labels: contract, section 5, rule by rule."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.makers import QUARTER, at, mapping, sequence, state
from worker.core import states
from worker.core.mapping import ROLLED_UP
from worker.core.mapping_file import DEFAULT_WORDS
from worker.core.states import LATEST_CHANGE, Label, OptOut, SequenceView

ON, OFF, TRANSACTIONAL = sequence(), sequence(enabled=False), sequence(transactional=True)
OFF_TRANSACTIONAL = sequence(enabled=False, transactional=True)
ONCE = at(8)

# state, sequence, once active, opted out of e-mail → label (None: not guessed), number of the rule
RULES = [
    # rule 1: a literal word, whatever the sequence
    ("opted_out", ON, ONCE, False, Label.OPTED_OUT, 1),
    ("opted_out", TRANSACTIONAL, ONCE, False, Label.OPTED_OUT, 1),
    ("opted_out", OFF, None, False, Label.OPTED_OUT, 1),
    ("opted_out", OFF_TRANSACTIONAL, ONCE, True, Label.OPTED_OUT, 1),
    # rule 1: the prospect, where the sequence is not transactional; it goes before every other rule
    ("active", ON, ONCE, True, Label.OPTED_OUT, 1),
    ("finished", ON, ONCE, True, Label.OPTED_OUT, 1),
    ("bounced", ON, None, True, Label.OPTED_OUT, 1),
    ("disabled", OFF, ONCE, True, Label.OPTED_OUT, 1),
    ("pending", OFF, None, True, Label.OPTED_OUT, 1),
    ("replied", ON, ONCE, True, Label.OPTED_OUT, 1),
    # an opted-out prospect in a transactional sequence goes on as if nothing were
    ("active", TRANSACTIONAL, ONCE, True, Label.ACTIVE, 5),
    ("paused", TRANSACTIONAL, ONCE, True, Label.PAUSED, 5),
    ("finished", TRANSACTIONAL, ONCE, True, Label.FINISHED, 2),
    ("active", OFF_TRANSACTIONAL, ONCE, True, Label.DISABLED, 3),
    ("active", OFF_TRANSACTIONAL, None, True, Label.PENDING, 4),
    ("replied", TRANSACTIONAL, ONCE, True, None, 6),
    # rule 2, also in a sequence that is not enabled
    ("finished", ON, ONCE, False, Label.FINISHED, 2),
    ("bounced", ON, ONCE, False, Label.BOUNCED, 2),
    ("failed", ON, None, False, Label.FAILED, 2),
    ("finished", OFF, ONCE, False, Label.FINISHED, 2),
    ("bounced", OFF, None, False, Label.BOUNCED, 2),
    ("failed", OFF, ONCE, False, Label.FAILED, 2),
    # rule 3
    ("disabled", ON, None, False, Label.DISABLED, 3),
    ("disabled", ON, ONCE, False, Label.DISABLED, 3),
    ("disabled", OFF, None, False, Label.DISABLED, 3),
    ("active", OFF, ONCE, False, Label.DISABLED, 3),
    ("paused", OFF, ONCE, False, Label.DISABLED, 3),
    ("pending", OFF, ONCE, False, Label.DISABLED, 3),
    ("replied", OFF, ONCE, False, Label.DISABLED, 3),
    # rule 4
    ("pending", ON, None, False, Label.PENDING, 4),
    ("pending", ON, ONCE, False, Label.PENDING, 4),
    ("pending", OFF, None, False, Label.PENDING, 4),
    ("active", OFF, None, False, Label.PENDING, 4),
    ("paused", OFF, None, False, Label.PENDING, 4),
    ("replied", OFF, None, False, Label.PENDING, 4),
    # rule 5
    ("active", ON, ONCE, False, Label.ACTIVE, 5),
    ("active", ON, None, False, Label.ACTIVE, 5),
    ("active", TRANSACTIONAL, None, False, Label.ACTIVE, 5),
    ("paused", ON, ONCE, False, Label.PAUSED, 5),
    ("paused", ON, None, False, Label.PAUSED, 5),
    # rule 6
    ("replied", ON, ONCE, False, None, 6),
    ("", ON, None, False, None, 6),
    ("Active", ON, ONCE, False, None, 6),
    ("not_active", ON, ONCE, False, None, 6),
]


@pytest.mark.parametrize("word, of, active, opted_out, label, rule", RULES)
def test_first_rule_that_holds_decides(
    word: str, of: SequenceView, active: object, opted_out: bool, label: Label | None, rule: int
) -> None:
    """One prospect in one sequence gets the label of the first rule that holds, and the verdict names that rule."""
    judged = states.judge(state(word, of=of, active=ONCE if active else None), DEFAULT_WORDS, opted_out=opted_out)
    assert judged.label is label
    assert judged.rule.startswith(f"{rule}: ")


@given(
    word=st.sampled_from([*DEFAULT_WORDS, "replied", ""]),
    enabled=st.booleans(),
    transactional=st.booleans(),
    active=st.booleans(),
)
def test_opted_out_prospect_never_looks_reachable(word: str, enabled: bool, transactional: bool, active: bool) -> None:
    """Whatever the state, an opted-out prospect reads Opted Out in every sequence that is not transactional."""
    of = sequence(enabled=enabled, transactional=transactional)
    judged = states.judge(state(word, of=of, active=ONCE if active else None), DEFAULT_WORDS, opted_out=True)
    assert (judged.label is Label.OPTED_OUT) or transactional


def test_words_are_the_mappings() -> None:
    """A word of the organisation's own, and another meaning for a known one, are taken from the mapping."""
    told = mapping(("  opted_out: opted_out\n", "  opted-out: opted_out\n  stopped: paused\n"))
    assert states.judge(state("opted-out"), told.words, opted_out=False).label is Label.OPTED_OUT
    assert states.judge(state("stopped"), told.words, opted_out=False).label is Label.PAUSED
    assert states.judge(state("opted_out"), told.words, opted_out=False).label is None


def test_labels_of_the_default_mapping() -> None:
    """The nine labels are those of the CRM's picklist, with U+2013 and spaces."""
    assert {label.value: text for label, text in mapping().labels.items()} == {
        "active": "Active \u2013 Running",
        "paused": "Active \u2013 Paused",
        "opted_out": "Opted Out",
        "finished": "Finished",
        "pending": "Pending",
        "disabled": "Disabled",
        "failed": "Failed",
        "bounced": "Bounced",
        "not_active": "Not Active",
    }


# ---- several sequences

ORDER = ["active", "paused", "pending", "failed", "bounced", "disabled", "finished"]


def rolled(*of: states.StateView, order: object = ROLLED_UP, opt_out: OptOut | None = None) -> states.Standing:
    """Return what a person with these states looks like."""
    return states.roll_up(of, DEFAULT_WORDS, order, opt_out or OptOut())  # type: ignore[arg-type]


@pytest.mark.parametrize("before, after", list(itertools.pairwise(ORDER)))
def test_first_label_of_the_order_counts(before: str, after: str) -> None:
    """Of two sequences the label that comes first in the order is the person's, though the other changed later."""
    standing = rolled(
        state(after, id=900, of=sequence(1), changed=at(20)), state(before, id=3, of=sequence(2), changed=at(1))
    )
    assert standing.label == before
    assert standing.deciding is not None
    assert (standing.deciding.id, standing.at) == (3, at(1))


def test_ties_go_to_the_latest_change() -> None:
    """Of two sequences with the same label the one that changed last decides, whatever the ids."""
    standing = rolled(
        state("paused", id=9, of=sequence(1), changed=at(10), step=1),
        state("paused", id=4, of=sequence(2), changed=at(11), step=5),
    )
    assert standing.deciding is not None
    assert (standing.deciding.id, standing.deciding.step, standing.at) == (4, 5, at(11))


def test_equal_times_go_to_the_highest_id() -> None:
    """Same label, same moment: the highest id decides."""
    found = [state("paused", id=n, of=sequence(n), changed=at(10)) for n in (4, 9, 7)]
    assert {rolled(*several).deciding.id for several in itertools.permutations(found)} == {9}  # type: ignore[union-attr]


def test_state_without_a_time_is_the_oldest() -> None:
    """A null stateChangedAt loses a tie against any time, and leaves the moment blank where it decides."""
    timeless = state("active", id=9, of=sequence(1))
    assert rolled(timeless, state("active", id=4, of=sequence(2), changed=at(1))).deciding.id == 4  # type: ignore[union-attr]
    alone = rolled(timeless)
    assert (alone.label, alone.at) == (Label.ACTIVE, None)


def test_two_states_without_a_time_go_by_id() -> None:
    """Where no time is told, the highest id decides."""
    assert rolled(state(id=9, of=sequence(1)), state(id=11, of=sequence(2))).deciding.id == 11  # type: ignore[union-attr]


def test_latest_state_of_a_sequence_counts() -> None:
    """Of several states in one sequence the latest by stateChangedAt counts, and the others are as if they were not."""
    standing = rolled(
        state("active", id=30, changed=at(9), step=1),
        state("finished", id=20, changed=at(12), step=4),
    )
    assert standing.label is Label.FINISHED
    assert states.summary(standing.lines, mapping().labels) == "Cold outreach: Finished (step 4)"


def test_latest_state_of_a_sequence_by_id() -> None:
    """Two states of one sequence changed in the same moment: the higher id counts, in whatever order they come."""
    two = [state("active", id=30, changed=at(9)), state("paused", id=31, changed=at(9))]
    assert {rolled(*each).label for each in (two, two[::-1])} == {Label.PAUSED}


def test_a_state_that_was_outlived_cannot_be_unmapped() -> None:
    """An unknown word in an older state of the same sequence is no reason to guess or to fail."""
    standing = rolled(state("replied", id=1, changed=at(1)), state("active", id=2, changed=at(2)))
    assert (standing.label, standing.unmapped) == (Label.ACTIVE, None)


def test_in_no_sequence() -> None:
    """A person in no sequence is Not Active, with everything else of a sequence blank."""
    standing = rolled()
    assert (standing.label, standing.deciding, standing.at, standing.lines) == (Label.NOT_ACTIVE, None, None, ())


def test_one_unmapped_state_is_not_guessed_over() -> None:
    """An unknown word in one sequence leaves the person undecided, however clear the others are."""
    standing = rolled(state("active", of=sequence(1)), state("replied", of=sequence(2)))
    assert (standing.label, standing.unmapped) == (None, "replied")


def test_an_unmapped_state_is_among_the_lines() -> None:
    """Nothing is guessed, but what each sequence says is still told to whoever asks why."""
    assert [(line.state.id, line.label) for line in rolled(state("levitating", id=8)).lines] == [(8, None)]


def test_order_is_the_mappings_to_choose() -> None:
    """Another order in the mapping makes another label the first."""
    told = mapping(
        (
            "roll_up: [active, paused, pending, failed, bounced, disabled, finished]",
            "roll_up: [finished, paused, pending, failed, bounced, disabled, active]",
        )
    )
    several = (state("active", of=sequence(1), changed=at(9)), state("finished", of=sequence(2), changed=at(1)))
    assert rolled(*several, order=told.roll_up).label is Label.FINISHED


def test_latest_change_wins_if_the_mapping_says_so() -> None:
    """With latest_change the sequence that changed last decides, ties by id, and no label goes before another."""
    told = mapping(
        ("roll_up: [active, paused, pending, failed, bounced, disabled, finished]", "roll_up: latest_change")
    )
    assert told.roll_up == LATEST_CHANGE
    several = [
        state("active", id=1, of=sequence(1), changed=at(9)),
        state("finished", id=2, of=sequence(2), changed=at(10)),
        state("bounced", id=3, of=sequence(3), changed=at(10)),
    ]
    for each in itertools.permutations(several):
        standing = rolled(*each, order=told.roll_up)
        assert (standing.label, standing.at) == (Label.BOUNCED, at(10))


def test_label_outside_a_short_order_still_counts() -> None:
    """A label that an order does not name comes last, and is not lost."""
    only = rolled(state("finished"), order=(Label.ACTIVE,))
    assert only.label is Label.FINISHED
    both = rolled(
        state("finished", of=sequence(1), changed=at(9)), state("active", of=sequence(2)), order=(Label.ACTIVE,)
    )
    assert both.label is Label.ACTIVE


# ---- opted out


def test_opted_out_whatever_else_runs() -> None:
    """Opted out: the label is Opted Out, name and step are the latest sequence's, the time is the opt-out's."""
    standing = rolled(
        state("active", id=1, of=sequence(1, "Receipts", transactional=True), changed=at(5), step=2),
        state("paused", id=2, of=sequence(2, "Cold"), changed=at(9), step=3),
        opt_out=OptOut("prospect's optedOut", at(7)),
    )
    assert (standing.label, standing.at) == (Label.OPTED_OUT, at(7))
    assert standing.deciding is not None
    assert (standing.deciding.sequence.name, standing.deciding.step) == ("Cold", 3)
    assert (
        states.summary(standing.lines, mapping().labels)
        == "Cold: Opted Out (step 3)\nReceipts: Active \u2013 Running (step 2)"
    )


def test_opted_out_without_a_time_takes_that_of_the_latest_state() -> None:
    """Where the prospect tells no time, the latest state's is taken; blank if that tells none either."""
    two = (state("finished", id=1, of=sequence(1), changed=at(9)), state("active", id=2, of=sequence(2), changed=at(6)))
    assert rolled(*two, opt_out=OptOut("remembered")).at == at(9)
    assert rolled(state("finished"), opt_out=OptOut("remembered")).at is None


def test_opted_out_in_no_sequence() -> None:
    """Opted out and in no sequence: the label is Opted Out all the same."""
    standing = rolled(opt_out=OptOut("remembered"))
    assert (standing.label, standing.deciding, standing.at, standing.lines) == (Label.OPTED_OUT, None, None, ())


def test_opted_out_is_shown_though_a_transactional_state_is_unmapped() -> None:
    """An unknown word in a transactional sequence hides no opt-out; the line shows the word as it is."""
    standing = rolled(
        state("replied", of=sequence(1, "Receipts", transactional=True)), opt_out=OptOut("prospect's optedOut")
    )
    assert (standing.label, standing.unmapped) == (Label.OPTED_OUT, "replied")
    assert states.summary(standing.lines, mapping().labels) == "Receipts: replied"


def test_any_state_that_is_literally_opted_out_is_evidence() -> None:
    """One opted_out state is enough, in whatever sequence and however old: an opt-out is never outlived."""
    several = [state("active", id=1, changed=at(9)), state("opted_out", id=2, changed=at(1))]
    assert states.evidence_in(several, DEFAULT_WORDS) == "sequence state 2 is opted_out"
    assert states.evidence_in(several[:1], DEFAULT_WORDS) is None


# ---- the lines


def test_lines_are_sorted_by_name_regardless_of_case_then_id() -> None:
    """A line for each sequence, finished ones too; sorted by name whatever its case, then by the sequence's id."""
    standing = rolled(
        state("finished", id=1, of=sequence(30, "beta")),
        state("active", id=2, of=sequence(20, "Alpha"), step=2),
        state("paused", id=3, of=sequence(9, "Beta"), step=1),
        state("bounced", id=4, of=sequence(10, "alpha")),
        state("pending", id=5, of=sequence(1, "Éclair")),
        state("failed", id=6, of=sequence(2, "zeta")),
    )
    assert states.summary(standing.lines, mapping().labels).split("\n") == [
        "alpha: Bounced",
        "Alpha: Active \u2013 Running (step 2)",
        "Beta: Active \u2013 Paused (step 1)",
        "beta: Finished",
        "zeta: Failed",
        "Éclair: Pending",
    ]


def test_unseen_sequence() -> None:
    """A sequence that the token may not see is enabled, not transactional, and called by its id."""
    unseen = SequenceView.unseen(18)
    assert (unseen.name, unseen.enabled, unseen.transactional) == ("Sequence 18", True, False)
    standing = rolled(state("active", of=unseen, step=3))
    assert states.summary(standing.lines, mapping().labels) == "Sequence 18: Active \u2013 Running (step 3)"


def test_step_nought_is_a_step() -> None:
    """Only a missing step is left out of the line."""
    assert (
        states.summary(rolled(state("active", step=0)).lines, mapping().labels)
        == "Cold outreach: Active \u2013 Running (step 0)"
    )


words = st.sampled_from([*DEFAULT_WORDS, "replied"])
hours = st.none() | st.integers(0, 23).map(at)
found = st.lists(
    st.builds(
        lambda word, id, of, enabled, transactional, changed, active, step: state(
            word,
            id=id,
            of=sequence(of, f"S{of % 3}", enabled=enabled, transactional=transactional),
            changed=changed,
            active=active,
            step=step,
        ),
        words,
        st.integers(1, 99),
        st.integers(1, 5),
        st.booleans(),
        st.booleans(),
        hours,
        hours,
        st.none() | st.integers(1, 9),
    ),
    max_size=6,
    unique_by=lambda one: one.id,
)


@given(several=found, seed=st.randoms(use_true_random=False), opted_out=st.booleans(), latest=st.booleans())
@QUARTER
def test_order_of_arrival_does_not_matter(
    several: list[states.StateView], seed: object, opted_out: bool, latest: bool
) -> None:
    """The same states in any order give the same standing."""
    shuffled = list(several)
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    opt_out = OptOut("remembered") if opted_out else OptOut()
    order = LATEST_CHANGE if latest else ROLLED_UP
    assert rolled(*several, order=order, opt_out=opt_out) == rolled(*shuffled, order=order, opt_out=opt_out)


@given(several=found)
@QUARTER
def test_person_shows_a_label_that_one_of_the_sequences_has(several: list[states.StateView]) -> None:
    """Without an opt-out, the person's label is one of the lines', and the deciding state is the line's own."""
    standing = rolled(*several)
    if standing.label not in {None, Label.NOT_ACTIVE}:
        assert standing.deciding is not None
        assert (standing.deciding, standing.label) in [(line.state, line.label) for line in standing.lines]
    assert len({line.state.sequence.id for line in standing.lines}) == len(standing.lines)
