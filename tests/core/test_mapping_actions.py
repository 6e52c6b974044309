"""The sections of the mapping for sequence actions and for tasks back to Outreach; lines are counted by hand."""

from __future__ import annotations

import pytest

from tests.core.makers import DEFAULT_TEXT, edited, mapping
from tests.core.test_mapping_file import SMALL, problems
from worker.core.mapping import SequenceActions, TaskBack, Verb
from worker.core.mapping_file import load

ON = ("  enabled: false", "  enabled: true")
BACK = ("  back_to_outreach: false", "  back_to_outreach: true")
ACTIONS = SMALL + "sequence_actions:\n"  # line 33; what is written below stands from line 34


def test_by_default_both_are_off() -> None:
    """The mapping that is shipped has neither, and a file that says nothing of them means the same by it."""
    told = load(DEFAULT_TEXT)
    assert (told.actions, told.task.back) == (None, None)
    assert not [name for name in told.person_columns() if "outreach_action" in name or "outreach_outcome" in name]
    assert load(SMALL).version == load(ACTIONS + "  enabled: false\n  mailbox: owner\n").version


def test_switched_on_with_what_the_file_holds() -> None:
    """One word switches the actions on; the fields become columns of the people stream."""
    told = mapping(ON)
    assert told.actions == SequenceActions(
        action="cf_person_outreach_action",
        sequence="cf_person_outreach_sequence",
        outcome="cf_person_outreach_outcome",
        mailbox=None,
        words={
            Verb.ADD: "Add to sequence",
            Verb.PAUSE: "Pause",
            Verb.RESUME: "Resume",
            Verb.FINISH: "Finish",
            Verb.REMOVE: "Remove",
        },
    )
    asked = {"cf_person_outreach_action", "cf_person_outreach_sequence", "cf_person_outreach_outcome"}
    assert set(told.person_columns()) - set(mapping().person_columns()) == asked
    assert told.version != mapping().version


def test_enabled_is_all_that_must_be_said() -> None:
    """Whoever leaves the rest out gets the names and words of the default mapping."""
    assert load(ACTIONS + "  enabled: true\n").actions == mapping(ON).actions


def test_tasks_back_with_their_labels() -> None:
    """One word switches it on, and both lists are taken as they stand."""
    assert mapping(BACK).task.back == TaskBack(frozenset({"Complete", "Completed"}), frozenset({"Cancelled"}))
    lists = ("[Complete, Completed]", "[Done]"), ("[Cancelled]", '["Called off", Dropped]')
    assert mapping(BACK, *lists).task.back == TaskBack(frozenset({"Done"}), frozenset({"Called off", "Dropped"}))


@pytest.mark.parametrize(
    "mailbox, told", [("none", None), ("owner", "owner"), ("a@seller.example", "a@seller.example")]
)
def test_the_mailbox(mailbox: str, told: str | None) -> None:
    """An address, the owner's, or none."""
    actions = mapping(ON, ("  mailbox: none", f"  mailbox: {mailbox}")).actions
    assert actions is not None
    assert actions.mailbox == told


MISTAKES = [
    ("  enable: true\n", 34, 3, "unknown key 'enable', did you mean 'enabled'?"),
    ("  enabled: maybe\n", 34, 12, "'maybe' is neither true nor false"),
    ("  enabled:\n", 34, 3, "'None' is neither true nor false"),
    ("  action:\n", 34, 3, "must not be empty"),
    ("  action: ''\n", 34, 11, "must not be empty"),
    ("  outcome: ' '\n", 34, 12, "must not be empty"),
    ("  sequence: 5\n", 34, 13, "a text is wanted here, not 5: put it in quotes"),
    ("  mailbox: nobody\n", 34, 12, "'nobody' is no address of a mailbox, nor owner or none"),
    ("  words: Pause\n", 34, 10, "indented lines of `key: value` are wanted here"),
    ("  words: {pauze: P}\n", 34, 11, "unknown key 'pauze', did you mean 'pause'?"),
    ("  words: {pause: ''}\n", 34, 18, "must not be empty"),
    ("  words:\n    pause: Stop\n    finish: ' stop'\n", 36, 13, "'stop' occurs twice"),
    ("  action: person_first_name\n", 34, 11, "'person_first_name' is already used by `fields:`"),
    ("  outcome: cf_person_outreach_action\n", 34, 12, "'cf_person_outreach_action' is already used by `action:`"),
]


@pytest.mark.parametrize("lines, line, column, words", MISTAKES, ids=[row[3] + row[0] for row in MISTAKES])
def test_mistakes_in_the_actions(lines: str, line: int, column: int, words: str) -> None:
    """Each is told with its place, and with a better word where one is near."""
    (told,) = problems(ACTIONS + lines)
    assert (told.line, told.column, told.words) == (line, column, words)


@pytest.mark.parametrize(
    "line_, column, words",
    [
        ("  back_to_outreech: true\n", 3, "unknown key 'back_to_outreech', did you mean 'back_to_outreach'?"),
        ("  back_to_outreach: perhaps\n", 21, "'perhaps' is neither true nor false"),
        ("  completed_labels: Done\n", 21, "a list is wanted here: [first, second]"),
        ("  completed_labels: []\n", 21, "must not be empty"),
        ("  cancelled_labels: [Off, Complete]\n", 27, "'Complete' cannot mean both completed and cancelled"),
    ],
)
def test_mistakes_in_the_way_back(line_: str, column: int, words: str) -> None:
    """Each is told with its place."""
    (told,) = problems(SMALL + line_)
    assert (told.line, told.column, told.words) == (33, column, words)


def test_the_shipped_lines_explain_themselves() -> None:
    """Every key of both is in the default mapping, with a note to people on its line or above it."""
    text = edited(ON, BACK)
    for key in ("action:", "sequence:", "outcome:", "mailbox:", "words:", "completed_labels:", "cancelled_labels:"):
        assert f"\n  {key} " in text
