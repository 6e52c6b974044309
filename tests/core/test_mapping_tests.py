"""The examples inside a mapping: what they try, and how one that does not hold is told. Lines are counted by hand."""

from __future__ import annotations

import json

import pytest

from tests.core.makers import DEFAULT_TEXT, edited
from tests.core.test_mapping_file import SMALL, problems
from worker.core import mapping_file, mapping_tests
from worker.core.mapping_tests import Failure

# SMALL has 32 lines; its prospects are always created, and Outreach wins where both sides differ.
ADA = "    prospect: {firstName: Ada, emails: [ada@example.com]}\n"
TRY = f"tests:\n  - name: Ada\n{ADA}"  # lines 33 to 35


def failures(text: str) -> list[Failure]:
    """Return which tests of a mapping do not hold."""
    read = mapping_file.read(text)
    return mapping_tests.run(read.tree, read.document, read.mapping)


def mistakes(text: str) -> list[tuple[int, int, str]]:
    """Return what the tests of a mapping say that cannot be."""
    read = mapping_file.read(text)
    return [(one.line, one.column, one.words) for one in mapping_tests.mistakes(read.tree, read.document)]


def test_the_shipped_examples_hold() -> None:
    """The default mapping has four, and none fails; they do not hang on the policies at the top of the file."""
    assert len(mapping_file.read(DEFAULT_TEXT).document.tests) == 4
    assert failures(DEFAULT_TEXT) == []
    for edit in (
        ("create_people: in_sequence", "create_people: never"),
        ("first_sight: fill_blanks", "first_sight: on_conflict"),
        ("on_conflict: crm\n", "on_conflict: newest\n"),
        ("roll_up: [active, paused, pending, failed, bounced, disabled, finished]", "roll_up: latest_change"),
    ):
        assert failures(edited(edit)) == [], edit


def test_what_is_not_as_expected_is_told_with_its_place_and_its_rule() -> None:
    """Two of three fields are not as the test says: each is one failure, with the rule that decided."""
    text = SMALL + TRY + (
        "    states:\n"
        "      - {sequence: Cold outreach, state: paused, step: 2}\n"
        "    expect:\n"
        "      cf_person_sequence_state: Active – Running\n"
        "      person_first_name: Bo\n"
        '      "main_location[email]": ADA@example.com\n'
    )  # fmt: skip
    first, second = failures(text)
    assert (first.line, first.column, first.field) == (39, 7, "cf_person_sequence_state")
    assert (first.expected, first.actual) == ("Active – Running", "Active – Paused")
    assert first.why == "5: state is paused; roll-up: paused comes first"
    assert (second.line, second.column, second.expected, second.actual) == (40, 7, "Bo", "Ada")
    assert {one.test for one in (first, second)} == {"Ada"}


@pytest.mark.parametrize(
    "lines, expected",
    [
        ("    expect: no person\n", [(36, 13, "no person", "a person")]),
        ("    person: {}\n    expect: no person\n", [(37, 13, "no person", "a person")]),
        ("    expect: {person_first_name: Ada}\n", []),
        ("    person: {person_first_name: Bo}\n    expect: {person_first_name: Ada}\n", []),
        ("    person: {person_first_name: Bo}\n    expect: {person_first_name: Bo}\n", [(37, 14, "Bo", "Ada")]),
        ("    expect: {person_first_name: }\n", [(36, 14, "blank", "Ada")]),
        ('    expect: {"main_location[telephone]": }\n', []),
        (
            "    expect: {person_first_name: Ada}\n    expect_in_outreach: {firstName: Bo}\n",
            [(37, 26, "Bo", "Ada")],
        ),
    ],
)
def test_what_may_be_expected(lines: str, expected: list[tuple[int, int, str, str]]) -> None:
    """Somebody or nobody, a value or a blank, on either side; an existing person is as at first sight."""
    found = failures(SMALL + TRY + lines)
    assert [(one.line, one.column, one.expected, one.actual) for one in found] == expected


def test_nobody_is_created_where_somebody_is_expected() -> None:
    """A mapping that creates no one fails a test that expects fields, once, with the reason."""
    text = (
        edited(("create_people: all", "create_people: never"), text=SMALL)
        + TRY
        + "    expect: {person_first_name: Ada}\n"
    )
    (found,) = failures(text)
    assert (found.field, found.actual) == ("person", "no person")
    assert found.why == "no person in the CRM, and the mapping creates none"
    assert (
        failures(edited(("create_people: all", "create_people: never"), text=SMALL) + TRY + "    expect: no person\n")
        == []
    )


def test_a_state_of_a_test_is_what_it_says() -> None:
    """Switched off, transactional, never active, later or earlier: the rules see it as the file tells it."""
    head = edited(
        (f"roll_up: {'[active, paused, pending, failed, bounced, disabled, finished]'}", "roll_up: latest_change"),
        text=SMALL,
    )
    for state, label in (
        ("{sequence: A, state: active, enabled: false}", "Disabled"),
        ("{sequence: A, state: active, enabled: false, was_active: false}", "Pending"),
        (
            "{sequence: A, state: finished, changed: 2026-01-02 10:00}, {sequence: B, state: paused, changed: 2026-01-01}",
            "Finished",
        ),
        (
            "{sequence: A, state: finished, changed: 2026-01-02}, {sequence: A, state: paused, changed: 2026-01-03}",
            "Active – Paused",
        ),
    ):
        text = f"{head}{TRY}    states: [{state}]\n    expect: {{cf_person_sequence_state: {label}}}\n"
        assert failures(text) == [], state


@pytest.mark.parametrize(
    "lines, place, words",
    [
        (
            "    expect: {person_frist_name: Ada}\n",
            (36, 14),
            "`fields:` has no 'person_frist_name', did you mean 'person_first_name'?",
        ),
        ("    person: {nick: Bo}\n    expect: no person\n", (36, 14), "`fields:` has no 'nick'"),
        ("    expect: {}\n", (36, 13), "indented lines of `field: value` are wanted here, or: no person"),
        ("    expect: nobody\n", (36, 13), "indented lines of `field: value` are wanted here, or: no person"),
        ("    expect: {person_first_name: {a: b}}\n", (36, 33), "a text, a number, true or false is wanted here"),
        ("    expect: {person_first_name: [a]}\n", (36, 33), "'person_first_name' is no list"),
        (
            "    expect: no person\n    expect_in_outreach: {title: {}}\n",
            (37, 33),
            "a text, a number, true or false is wanted here",
        ),
        (
            "    states: [{sequence: A, state: active, changed: soon}]\n    expect: no person\n",
            (36, 52),
            "'soon' is no time: write it as 2026-03-02 10:15",
        ),
    ],
)
def test_a_mistake_in_a_test_is_told_with_its_place(lines: str, place: tuple[int, int], words: str) -> None:
    """What a test names has to exist; such a mistake is told by `mapping check` and keeps no mapping out of force."""
    assert mistakes(SMALL + TRY + lines) == [(*place, words)]


def test_a_list_has_to_be_one() -> None:
    """A prospect's addresses are a list, its name is none."""
    text = SMALL + "tests:\n  - name: A\n    prospect: {emails: a@example.com, firstNam: Ada}\n    expect: no person\n"
    assert mistakes(text) == [
        (35, 24, "'emails' is a list: [first, second]"),
        (35, 39, "Outreach has no 'firstNam', did you mean 'firstName'?"),
    ]


def test_the_shape_of_a_test_is_checked_with_the_file() -> None:
    """A key that no test has, a missing one, a word in the place of a list: each with its place."""
    text = SMALL + TRY + "    expects: {person_first_name: Ada}\n"
    assert [(one.line, one.column, one.words) for one in problems(text)] == [
        (34, 5, "'expect' is missing"),
        (36, 5, "unknown key 'expects', did you mean 'expect'?"),
    ]
    (found,) = problems(
        SMALL + TRY + "    expect: no person\n    states: [{sequence: A, stat: active, state: active}]\n"
    )
    assert (found.line, found.column, found.words) == (37, 28, "unknown key 'stat', did you mean 'state'?")
    (found,) = problems(SMALL + "tests: all\n")
    assert (found.line, found.column) == (33, 8)


def test_tests_are_no_part_of_the_version_and_all_of_the_schema_is_described() -> None:
    """Examples change nothing in effect; every key an editor offers says what it is for."""
    assert mapping_file.load(SMALL + TRY + "    expect: no person\n").version == mapping_file.load(SMALL).version
    schema = json.loads(mapping_file.schema())
    for name, section in {"Document": schema, **schema["$defs"]}.items():
        silent = [key for key, told in section.get("properties", {}).items() if "description" not in told]
        assert silent == [], name
