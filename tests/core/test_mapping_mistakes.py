"""Every way of getting the mapping wrong: the line and column were counted by hand, in the text of test_mapping_file."""

from __future__ import annotations

import pytest

from tests.core.makers import edited
from tests.core.test_mapping_file import FIRST_NAME, ROLL_UP, SMALL, problems

HERE = "outreach: firstName"
OUTREACH_ID = "cf_person_outreach_id: {outbook: prospect_id, direction: to_crm}"

# what is written instead of what; line, column and words of the one problem that it makes
MISTAKES = [
    # version
    ("version: 1\n", "version: 2\n", 2, 10, "'2' is not one of 1"),
    ("version: 1\n", 'version: "1"\n', 2, 10, "'1' is not one of 1: write it without quotes"),
    ("version: 1\n", "", 1, 1, "'version' is missing"),
    ("version: 1\n", "version:\n", 2, 1, "'None' is not one of 1"),
    # words with a fixed choice
    (
        "create_people: all",
        "create_people: al",
        4,
        16,
        "'al' is not one of in_sequence, all, never, did you mean 'all'?",
    ),
    ("create_people: all", "create_people: everybody", 4, 16, "'everybody' is not one of in_sequence, all, never"),
    (
        "create_people: all",
        "create_people: All",
        4,
        16,
        "'All' is not one of in_sequence, all, never, did you mean 'all'?",
    ),
    ("on_crm_delete: ask", "on_crm_delete: recrate", 5, 16, "did you mean 'recreate'?"),
    ("on_outreach_delete: ask", "on_outreach_delete: delete", 6, 21, "'delete' is not one of unlink, ask"),
    ("on_conflict: outreach", "on_conflict: workbooks", 7, 14, "'workbooks' is not one of crm, outreach"),
    ("first_sight: on_conflict", "first_sight: fill_blank", 8, 14, "did you mean 'fill_blanks'?"),
    ("timezone: Europe/London", "timezone: Europe/Londno", 3, 11, "'Europe/Londno' is no time zone: write a name like"),
    ("timezone: Europe/London", "timezone: Europe", 3, 11, "'Europe' is no time zone"),
    ("timezone: Europe/London", "timezone: ../../etc/passwd", 3, 11, "is no time zone"),
    ("timezone: Europe/London", "timezone: 0", 3, 11, "a text is wanted here, not 0: put it in quotes"),
    ("timezone: Europe/London", "timezone:", 3, 1, "must not be empty"),
    # keys
    ("first_sight:", "first_site:", 8, 1, "unknown key 'first_site', did you mean 'first_sight'?"),
    ("brakes:", "breaks:", 9, 1, "unknown key 'breaks', did you mean 'brakes'?"),
    ("  deleted_people:", "  delted_people:", 10, 3, "unknown key 'delted_people', did you mean 'deleted_people'?"),
    ("  status: Cancelled", "  statuses: Cancelled", 29, 3, "unknown key 'statuses', did you mean 'status'?"),
    (HERE, "outreech: firstName", 12, 23, "unknown key 'outreech', did you mean 'outreach'?"),
    ("# How both agree", "7: x #", 1, 1, "a text is wanted here, not 7: put it in quotes"),
    # brakes
    ("5%", "five", 10, 19, "'five' is no share such as 2%, nor none"),
    ("5%", "-5%", 10, 19, "'-5%' is no share such as 2%, nor none"),
    ("5%", "5", 10, 19, "a text is wanted here, not 5: put it in quotes"),
    ("deleted_people: 5%", "new_people: 5%", 10, 15, "'5%' is no whole number, nor none"),
    ("deleted_people: 5%", "new_prospects: -1", 10, 18, "'-1' is no whole number, nor none"),
    ("deleted_people: 5%", "new_prospects: 1.5", 10, 18, "'1.5' is no whole number, nor none"),
    ("deleted_people: 5%", "new_prospects:", 10, 3, "'None' is no whole number, nor none"),
    ("task:\n", "new_prospects: {owner: Ada}\ntask:\n", 28, 24, "'Ada' is no address of an Outreach user, nor none"),
    ("brakes:\n  deleted_people: 5%", "brakes: 5%", 9, 9, "indented lines of `key: value` are wanted here"),
    # fields
    (FIRST_NAME, "firstName", 12, 22, "indented lines of `key: value` are wanted here"),
    (FIRST_NAME, "{outreach: firstName}", 12, 22, "'direction' is missing"),
    (
        FIRST_NAME,
        "{outreach: firstName, direction: two_way}",
        12,
        55,
        "'two_way' is not one of both, to_crm, to_outreach",
    ),
    (FIRST_NAME, "{direction: both}", 12, 34, "exactly one of `outreach:` and `outbook:`"),
    (HERE, "outreach: firstNam", 12, 33, "Outreach has no 'firstNam', did you mean 'firstName'?"),
    (HERE, "outreach: emails", 12, 33, "'emails' is a list: write emails[0] for its first element"),
    (HERE, "outreach: 'firstName[0]'", 12, 33, "'firstName' is no list: write it without [0]"),
    (HERE, "outreach: name", 12, 33, "'name' cannot be written in Outreach: its direction is to_crm"),
    (HERE, "outreach: tags", 12, 33, "'tags' is a list that the CRM shows as one text: its direction is to_crm"),
    (HERE, "outreach: emailOptedOut", 12, 33, "opt-outs travel by `outbook: opted_out`"),
    (HERE, "outbook: sequence_names", 12, 32, "'sequence_names' is not one of"),
    (HERE, "outbook: error", 12, 50, "`outbook: error` goes to_crm"),
    (HERE, "outreach: 'emails[0]'", 13, 3, "'emails[0]' is already used by person_first_name"),
    (
        "outbook: prospect_id, direction: to_crm",
        "outbook: prospect_id, direction: both",
        15,
        60,
        "`outbook: prospect_id` goes to_crm",
    ),
    ("outbook: sequence_state,", "outbook: opted_out,", 16, 61, "`outbook: opted_out` goes both"),
    (OUTREACH_ID, "person_x: {outreach: custom1, direction: both}", 11, 1, "no field holds `outbook: prospect_id`"),
    ("  person_first_name:", "  no_email_soliciting:", 12, 3, "this field holds the opt-out"),
    ("  person_first_name:", "  '':", 12, 3, "must not be empty"),
    ("  person_first_name:", "  12:", 12, 3, "a text is wanted here, not 12: put it in quotes"),
    (f"person_first_name: {FIRST_NAME}", "person_first_name:", 12, 3, "indented lines of `key: value` are wanted here"),
    # sequence actions and tasks back to Outreach
    ("task:\n", "sequence_actions: {enabled: 2}\ntask:\n", 28, 29, "'2' is neither true nor false"),
    (
        "task:\n",
        "sequence_actions: {mailbox: Ada}\ntask:\n",
        28,
        29,
        "'Ada' is no address of a mailbox, nor owner or none",
    ),
    ("task:\n", "sequence_actions: {action: ' '}\ntask:\n", 28, 28, "must not be empty"),
    ("task:\n", "sequence_actions: {acton: x}\ntask:\n", 28, 20, "unknown key 'acton', did you mean 'action'?"),
    ("task:\n", "sequence_actions: {words: {ad: x}}\ntask:\n", 28, 28, "unknown key 'ad', did you mean 'add'?"),
    ("task:\n", "sequence_actions: {words: {add: Pause}}\ntask:\n", 28, 27, "'pause' occurs twice"),
    (
        "task:\n",
        "sequence_actions: {action: person_first_name}\ntask:\n",
        28,
        28,
        "'person_first_name' is already used by `fields:`",
    ),
    (
        "task:\n",
        "sequence_actions: {action: cf_x, outcome: cf_x}\ntask:\n",
        28,
        43,
        "'cf_x' is already used by `action:`",
    ),
    (
        "task:\n",
        "task:\n  cancelled_labels: [No, Completed]\n",
        29,
        26,
        "'Completed' cannot mean both completed and cancelled",
    ),
    # tests
    ("task:\n", "tests: {name: Ada}\ntask:\n", 28, 8, "a list is wanted here: [first, second]"),
    ("task:\n", "tests: [{expect: no person}]\ntask:\n", 28, 9, "'name' is missing"),
    (
        "task:\n",
        "tests: [{name: A, expect: x, sates: []}]\ntask:\n",
        28,
        30,
        "unknown key 'sates', did you mean 'states'?",
    ),
    (
        "task:\n",
        "tests: [{name: A, expect: x, prospect: Ada}]\ntask:\n",
        28,
        40,
        "indented lines of `key: value` are wanted",
    ),
    (
        "task:\n",
        "tests:\n  - name: A\n    expect: x\n    states:\n      - {sequence: Cold, step: two, state: active}\ntask:\n",
        32,
        32,
        "'two' is no whole number",
    ),
    # labels and states
    ("  bounced: Bounced\n", "", 17, 1, "the label 'bounced' is missing"),
    ("  bounced:", "  bouncd:", 25, 3, "'bouncd' is not one of active, paused"),
    ("bounced: Bounced", "bounced: Failed", 25, 12, "'Failed' occurs twice"),
    ("bounced: Bounced", "bounced: 404", 25, 12, "a text is wanted here, not 404: put it in quotes"),
    ("bounced: Bounced", "bounced: true", 25, 12, "a text is wanted here, not True: put it in quotes"),
    ("bounced: Bounced", "bounced:", 25, 3, "must not be empty"),
    ("bounced: Bounced", 'bounced: ""', 25, 12, "must not be empty"),
    ("bounced: Bounced", 'bounced: "  "', 25, 12, "must not be empty"),
    ("labels:\n", "states: {gone: not_active}\nlabels:\n", 17, 16, "'not_active' is for people in no sequence"),
    ("labels:\n", "states: {gone: finishd}\nlabels:\n", 17, 16, "did you mean 'finished'?"),
    # roll-up
    (ROLL_UP, ROLL_UP.replace("active,", "activ,"), 27, 11, "'activ' is not one of active, paused, pending, failed"),
    (ROLL_UP, ROLL_UP.replace("paused", "opted_out"), 27, 19, "'opted_out' is not one of active, paused"),
    (ROLL_UP, ROLL_UP.replace(", finished", ""), 27, 10, "'finished' is missing from the order"),
    (ROLL_UP, ROLL_UP.replace("finished", "finished, active"), 27, 73, "'active' occurs twice"),
    # task
    ("{step}", "{stepp}", 30, 9, "only {action}, {sequence} and {step} can stand in braces here"),
    ("{step}", "{step.real}", 30, 9, "only {action}, {sequence} and {step} can stand in braces here"),
    ("{step}", "{step[0]}", 30, 9, "only {action}, {sequence} and {step} can stand in braces here"),
    ("{step}", "{step!r}", 30, 9, "only {action}, {sequence} and {step} can stand in braces here"),
    ("{step}", "{step:>9}", 30, 9, "only {action}, {sequence} and {step} can stand in braces here"),
    ("{step}", "{", 30, 9, "only {action}, {sequence} and {step} can stand in braces here"),
    ("{step}", "{}", 30, 9, "only {action}, {sequence} and {step} can stand in braces here"),
    ("status: Cancelled", 'status: ""', 29, 11, "must not be empty"),
    ("since: 2026-01-31", "since: 31.01.2026", 31, 10, "'31.01.2026' is no date: write it as 2026-01-31"),
    ("since: 2026-01-31", "since: 2026-02-30", 31, 10, "'2026-02-30' is no date: write it as 2026-01-31"),
    ("since: 2026-01-31", "since: yesterday", 31, 10, "'yesterday' is no date: write it as 2026-01-31"),
    ("[state_is_skipped]", "[state_skipped]", 32, 18, "did you mean 'state_is_skipped'?"),
    ("[state_is_skipped]", "state_is_skipped", 32, 17, "a list is wanted here: [first, second]"),
    # YAML itself
    ("version: 1\n", "version: 1\nversion: 1\n", 3, 1, 'found duplicate key "version"'),
    ("  person_first_name:", "  cf_person_outreach_id:", 15, 3, 'found duplicate key "cf_person_outreach_id"'),
    ("timezone: Europe/London", "timezone Europe/London", 3, 1, "could not find expected ':'"),
    ("  status: Cancelled", "\tstatus: Cancelled", 29, 1, "found character '\\t' that cannot start any token"),
    ("pending: Pending", "pending:\tPending", 22, 11, "found character '\\t' that cannot start any token"),
    ("[state_is_skipped]", "[state_is_skipped", 33, 1, "expected ',' or ']'"),
    ("timezone: Europe/London", "timezone: a: b", 3, 12, "mapping values are not allowed here"),
    ("timezone: Europe/London", "timezone: &zone Europe/London", 3, 11, "aliases (& and *) are not used here"),
    ("timezone: Europe/London", "timezone: *zone", 3, 11, "aliases (& and *) are not used here"),
    ("timezone: Europe/London", "timezone: !!binary aGk=", 3, 11, "tags (!) and directives (%) are not used here"),
    ("task:\n", "task:\n  <<: {status: x}\n", 29, 3, "merge keys (<<) are not used here"),
    ("# How both agree", "%YAML 1.1\n---\n#", 1, 1, "tags (!) and directives (%) are not used here"),
    ("timezone: Europe/London", "timezone: " + "[" * 12, 3, 21, "nested too deep"),
    ("timezone: Europe/London", "timezone: Europe\x07London", 3, 17, "the character U+0007 cannot stand here"),
    ("timezone: Europe/London", "timezone: Europe\ud800London", 3, 17, "the character U+D800 cannot stand here"),
    ("timezone: Europe/London", "timezone: +_", 1, 1, "a value cannot be read"),
    ("  skipped_when: [state_is_skipped]\n", "---\na: b\n", 32, 1, "but found another document"),
]


@pytest.mark.parametrize("old, new, line, column, words", MISTAKES, ids=[repr(each[1])[:40] for each in MISTAKES])
def test_a_mistake_is_told_with_its_place(old: str, new: str, line: int, column: int, words: str) -> None:
    """One mistake makes one problem, at the place where it was made, in words that say what to write."""
    found = problems(edited((old, new), text=SMALL))
    assert [(one.line, one.column) for one in found] == [(line, column)], found
    assert words in found[0].words


@pytest.mark.parametrize("text", ["", "\n", "# nothing yet\n", "- a\n- b\n", "hello", "[]", "null", "5"])
def test_a_text_that_is_no_mapping(text: str) -> None:
    """An empty file, a list or a word is told off as such."""
    (found,) = problems(text)
    assert (found.line, found.column) == (1, 1)
    assert found.words == "empty, or no mapping: start from the output of `outbook mapping init`"


def test_a_file_that_is_too_large() -> None:
    """A file above 256 KB is not read at all; one just below is."""
    (found,) = problems("é" * (128 * 1024) + "x")
    assert (found.line, found.column, found.words) == (1, 1, "larger than 256 KB")
    (found,) = problems("#" + "é" * (128 * 1024 - 1))
    assert found.words.startswith("empty")


def test_all_mistakes_are_told_at_once() -> None:
    """Three mistakes in one file are three problems, in the order of the file."""
    text = edited(
        ("create_people: all", "create_people: some"), ("5%", "five"), ("bounced: Bounced", "bounced: 5"), text=SMALL
    )
    assert [(one.line, one.column) for one in problems(text)] == [(4, 16), (10, 19), (25, 12)]


def test_a_wrong_shape_hides_no_wrong_line() -> None:
    """A word that is none and an attribute that Outreach has not are told together, each in its place."""
    text = edited(("create_people: all", "create_people: some"), (HERE, "outreach: frstName"), text=SMALL)
    found = problems(text)
    assert [(one.line, one.column) for one in found] == [(4, 16), (12, 33)]
    assert "did you mean 'firstName'?" in found[1].words


def test_both_sources_are_one_too_many() -> None:
    """A field that names two sources has two problems: that, and a direction that cannot hold for both."""
    found = problems(edited((HERE, "outreach: firstName, outbook: error"), text=SMALL))
    assert [(one.line, one.column) for one in found] == [(12, 71), (12, 71)]


def test_a_wrong_roll_up_is_told_both_ways_out() -> None:
    """A roll-up may be one word or a list: a wrong word is told both."""
    found = problems(edited((ROLL_UP, "latest"), text=SMALL))
    assert [(one.line, one.column) for one in found] == [(27, 10), (27, 10)]
    assert found[0].words == "'latest' is not one of latest_change, did you mean 'latest_change'?"
    assert found[1].words == "a list is wanted here: [first, second]"


def test_problems_have_the_right_line_with_other_line_ends() -> None:
    """CRLF and a byte order mark do not move the place."""
    text = "\ufeff" + edited(("create_people: all", "create_people: some"), text=SMALL).replace("\n", "\r\n")
    assert [(one.line, one.column) for one in problems(text)] == [(4, 16)]
