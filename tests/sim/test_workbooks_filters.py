from __future__ import annotations

import pytest

from tests.sim.workbooks_caller import Caller

PEOPLE = "/crm/people.api"
TASKS = "/activity/tasks.api"


@pytest.fixture(scope="module")
def crm() -> Caller:
    """Four people, one of them deleted, and three tasks; nothing is changed by these tests."""
    crm = Caller()
    crm.put(
        PEOPLE,
        {"name": "Ann Lee", "main_location[email]": "Ann@Example.org", "cf_person_sequence_step": "3"},
        {"name": "Bo, Ray", "no_email_soliciting": "1", "cf_person_sequence_step": "5"},
        {"name": "Cy Poe", "main_location[email]": "cy@example.net", "cf_person_outreach_id": "41"},
        {"name": "Di Fox"},
    )
    crm.app.clock.shift(3600)
    crm.edit(op="set", type="person", id=7003, fields={"person_job_title": "Buyer"})
    crm.edit(op="delete", type="person", id=7004)
    crm.put(
        TASKS,
        {"name": "Early", "due_date": "19 Nov 2026", "activity_status": "Complete"},
        {"name": "Today", "due_date": "20 Nov 2026"},
        {"name": "Late", "due": "2026-11-21T16:30:00Z,1,Etc/UTC"},
    )
    return crm


@pytest.mark.parametrize(
    "field, operator, criteria, found",
    [
        ("name", "eq", "ann lee", [7001]),
        ("name", "eq", r"Ann Lee,Bo\, Ray", [7001, 7002]),
        ("name", "ne", "Ann Lee", [7002, 7003]),
        ("name", "bg", "an", [7001]),
        ("name", "nbg", "an", [7002, 7003]),
        ("name", "ct", "O", [7002, 7003]),
        ("name", "nct", "o", [7001]),
        ("id", "eq", "7001,7003,99", [7001, 7003]),
        ("id", "ne", "7001", [7002, 7003]),
        ("id", "gt", "7001", [7002, 7003]),
        ("id", "ge", "7002", [7002, 7003]),
        ("id", "lt", "7002", [7001]),
        ("id", "le", "7002", [7001, 7002]),
        ("id", "between", "JSON([7002,7003])", [7002, 7003]),
        ("id", "not_between", "JSON([7002,7003])", [7001]),
        ("main_location[email]", "eq", "ANN@example.org,cy@example.NET", [7001, 7003]),
        ("main_location[email]", "blank", "", [7002]),
        ("main_location[email]", "not_blank", "", [7001, 7003]),
        ("cf_person_outreach_id", "eq", "41", [7003]),
        ("cf_person_sequence_step", "ge", "4", [7002]),
        ("cf_person_sequence_step", "eq", "3,5", [7001, 7002]),
        ("no_email_soliciting", "true", "", [7002]),
        ("no_email_soliciting", "false", "", [7001, 7003]),
        ("no_email_soliciting", "eq", "1", [7002]),
        ("no_email_soliciting", "ne", "1", [7001, 7003]),
        ("updated_at", "ge", "Fri Nov 20 16:00:00 UTC 2026", [7003]),
        ("updated_at", "gt", "Fri Nov 20 15:00:00 UTC 2026", [7003]),
        ("updated_at", "lt", "2026-11-20T16:00:00.000Z", [7001, 7002]),
        ("updated_at", "le", "1795186800", [7001, 7002]),
        ("updated_at", "eq", "2026-11-20", [7001, 7002, 7003]),
        ("updated_at", "today", "", [7001, 7002, 7003]),
        ("updated_at", "lt_today", "", []),
        ("updated_at", "between", "JSON([2026-11-20T15:30:00Z,2026-11-21])", [7003]),
        ("created_through", "eq", "checker", [7001, 7002, 7003]),
        ("updated_by_user[login_name]", "eq", "pat@example.invalid", [7003]),
    ],
)
def test_every_operator_selects_what_the_manual_says(
    crm: Caller, field: str, operator: str, criteria: str, found: list[int]
) -> None:
    """Each operator, on each type of data it is for; deleted rows stay hidden."""
    assert crm.filtered(PEOPLE, (field, operator, criteria)) == found


@pytest.mark.parametrize(
    "operator, names",
    [
        ("today", ["Today"]),
        ("lt_today", ["Early"]),
        ("le_today", ["Early", "Today"]),
        ("gt_today", ["Late"]),
        ("ge_today", ["Today", "Late"]),
    ],
)
def test_today_is_the_simulated_day(crm: Caller, operator: str, names: list[str]) -> None:
    """The five operators about today, on a date with or without a time."""
    assert crm.filtered(TASKS, ("due", operator, ""), columns="name") == names
    assert crm.filtered(TASKS, ("due_date", operator, ""), columns="name") == names


def test_defaults_can_be_filtered_on(crm: Caller) -> None:
    """A task created without a status is New, for filters too."""
    assert crm.filtered(TASKS, ("activity_status", "eq", "New"), columns="name") == ["Today", "Late"]


@pytest.mark.parametrize(
    "fm, found",
    [
        ("and", []),
        ("or", [7001, 7002, 7003]),
        ("1 AND (2 OR 3)", [7001]),
        ("(1 OR 2) AND !3", [7001, 7003]),
        ("not 1 and not 3", [7003]),
        ("1 XOR 2", [7003]),
        ("(((2)))", [7001, 7003]),
        ("1          AND (2 OR           3)", [7001]),
        ("2 OR 1 AND 3", [7001, 7003]),
    ],
)
def test_expressions_combine_filters(crm: Caller, fm: str, found: list[int]) -> None:
    """AND, OR, XOR, NOT and ! with parentheses, over filters counted from 1; 1 is Ann, 2 has an address, 3 is Bo."""
    triples = (("name", "eq", "Ann Lee"), ("main_location[email]", "not_blank", ""), ("name", "bg", "Bo"))
    assert crm.filtered(PEOPLE, *triples, fm=fm) == found


def test_deleted_rows_show_when_a_filter_names_is_deleted(crm: Caller) -> None:
    """The manual's delta: everything since a time, deleted or not."""
    since = ("updated_at", "ge", "Fri Nov 20 16:00:00 UTC 2026")
    both = (("is_deleted", "true", ""), ("is_deleted", "false", ""))
    rows = crm.filtered(PEOPLE, since, *both, fm="1 AND (2 OR 3)", columns="id is_deleted")
    assert rows == [(7003, False), (7004, True)]
    assert crm.filtered(PEOPLE, ("is_deleted", "eq", "1")) == [7004]


def test_the_three_spellings_of_filters_are_one(crm: Caller) -> None:
    """Grouped triples, interleaved triples, a single one without brackets, and _filter_json."""
    grouped = [("_ff[]", "name"), ("_ff[]", "id"), ("_ft[]", "bg"), ("_ft[]", "gt"), ("_fc[]", "B"), ("_fc[]", "1")]
    interleaved = [grouped[place] for place in (0, 2, 4, 1, 3, 5)]
    as_json = [("_filter_json", '[["name","bg","B"],["id","gt","1"]]')]
    single = [("_ff", "name"), ("_ft", "bg"), ("_fc", "B")]
    found = [
        [row["id"] for row in crm.page(PEOPLE, *pairs)["data"]] for pairs in (grouped, interleaved, as_json, single)
    ]
    assert found == [[7002]] * 4


@pytest.mark.parametrize(
    "pairs",
    [
        [("_ff[]", "name"), ("_ft[]", "eq")],
        [("_ff[]", "nonsense"), ("_ft[]", "eq"), ("_fc[]", "1")],
        [("_ff[]", "name"), ("_ft[]", "like"), ("_fc[]", "1")],
        [("_ff[]", "id"), ("_ft[]", "between"), ("_fc[]", "1,2")],
        [("_ff[]", "updated_at"), ("_ft[]", "ge"), ("_fc[]", "yesterday")],
        [("_ff[]", "id"), ("_ft[]", "eq"), ("_fc[]", "1"), ("_fm", "1 AND 2")],
        [("_ff[]", "id"), ("_ft[]", "eq"), ("_fc[]", "1"), ("_fm", "(1")],
        [("_ff[]", "id"), ("_ft[]", "eq"), ("_fc[]", "1"), ("_fm", "1 1")],
        [("_ff[]", "id"), ("_ft[]", "eq"), ("_fc[]", "1"), ("_fm", "1 PLUS 1")],
        [("_filter_json", "[[1]]")],
        [("_filter_json", "{")],
    ],
)
def test_filters_that_make_no_sense_are_unacceptable(crm: Caller, pairs: list[tuple[str, str]]) -> None:
    """406, never an empty list that looks like nothing there."""
    answer = crm.form(PEOPLE, [("_method", "GET"), *pairs])
    assert (answer.status_code, answer.json()["success"]) == (406, False)


def test_texts_can_be_compared_by_case() -> None:
    """With case_sensitive, eq minds the case."""
    crm = Caller(case_sensitive=True)
    crm.person(**{"main_location[email]": "Ann@Example.org"})
    assert crm.filtered(PEOPLE, ("main_location[email]", "eq", "ann@example.org")) == []
    assert crm.filtered(PEOPLE, ("main_location[email]", "eq", "Ann@Example.org")) == [7001]


def test_indexes_follow_every_change() -> None:
    """A look-up by address finds the new one and not the old one after an update."""
    crm = Caller()
    crm.person(**{"main_location[email]": "old@example.org"})
    assert crm.filtered(PEOPLE, ("main_location[email]", "eq", "old@example.org")) == [7001]
    crm.put(PEOPLE, {"id": "7001", "lock_version": "0", "main_location[email]": "new@example.org"})
    assert crm.filtered(PEOPLE, ("main_location[email]", "eq", "old@example.org")) == []
    assert crm.filtered(PEOPLE, ("main_location[email]", "eq", "new@example.org")) == [7001]
