from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tests.sim.workbooks_caller import Caller

PEOPLE = "/crm/people.api"


@pytest.fixture
def crm() -> Caller:
    """A database with five people."""
    crm = Caller()
    names = ("Ann Lee", "bo Ray", "Cy Poe", "Di Fox", "Ed Orr")
    crm.put(PEOPLE, *({"name": name, "person_job_title": title} for name, title in zip(names, "XXYYZ", strict=True)))
    return crm


def ids(reply: dict[str, Any]) -> list[int]:
    """Return the ids of a page."""
    return [row["id"] for row in reply["data"]]


def test_a_list_has_the_shape_the_manual_shows(crm: Caller) -> None:
    """data, total, success, flash, updates; columns as asked for, in the vendor's formats."""
    reply = crm.page(
        PEOPLE, ("_start", "0"), ("_limit", "1"), ("_select_columns[]", "id"), ("_select_columns[]", "updated_at")
    )
    assert reply == {
        "success": True,
        "total": 5,
        "data": [{"id": 7001, "updated_at": "Fri Nov 20 15:00:00 UTC 2026"}],
        "flash": "",
        "updates": {},
    }


def test_a_limit_counts_only_beside_a_start(crm: Caller) -> None:
    """_limit without _start is ignored, as the manual warns."""
    assert len(crm.page(PEOPLE, ("_limit", "2"))["data"]) == 5
    assert ids(crm.page(PEOPLE, ("_limit", "2"), ("_start", "1"))) == [7002, 7003]


def test_no_page_is_longer_than_a_hundred() -> None:
    """100 rows are the default and the most."""
    crm = Caller(records=400)
    assert len(crm.page(PEOPLE)["data"]) == 100
    reply = crm.page(PEOPLE, ("_start", "100"), ("_limit", "500"))
    assert (len(reply["data"]), reply["total"]) == (60, 160)


def test_skipping_the_total_tells_the_rows_of_the_page(crm: Caller) -> None:
    """__skip_total_rows makes total the number of rows returned; one underscore is not the documented name."""
    start = [("_start", "0"), ("_limit", "2")]
    assert crm.page(PEOPLE, *start, ("__skip_total_rows", "true"))["total"] == 2
    assert crm.page(PEOPLE, *start, ("_skip_total_rows", "true"))["total"] == 5


def test_several_sorts_apply_in_order_and_regardless_of_case(crm: Caller) -> None:
    """Repeated _sort[] and _dir[] sort by the first, then the second; texts regardless of case."""
    sorts = [("_sort[]", "person_job_title"), ("_dir[]", "DESC"), ("_sort[]", "name"), ("_dir[]", "DESC")]
    assert ids(crm.page(PEOPLE, *sorts)) == [7005, 7004, 7003, 7002, 7001]
    assert ids(crm.page(PEOPLE, ("_sort", "name"), ("_dir", "ASC"))) == [7001, 7002, 7003, 7004, 7005]


def test_sorting_by_time_and_id_pages_through_one_second(crm: Caller) -> None:
    """Rows of the same second come in the order of their ids, page after page."""
    sorts = [("_sort[]", "updated_at"), ("_dir[]", "ASC"), ("_sort[]", "id"), ("_dir[]", "ASC"), ("_limit", "2")]
    pages = [ids(crm.page(PEOPLE, *sorts, ("_start", start), ("__skip_total_rows", "1"))) for start in "024"]
    assert pages == [[7001, 7002], [7003, 7004], [7005]]


def test_without_columns_all_are_told(crm: Caller) -> None:
    """No _select_columns[] means every column, custom ones and users' names too."""
    row = crm.page(PEOPLE)["data"][0]
    assert row["cf_person_outreach_id"] is None
    assert row["no_email_soliciting"] is False
    assert row["main_location[email]"] is None
    assert row["object_ref"] == "PERS-7001"
    assert row["type"] == "Private::Crm::Person"
    assert row["updated_by_user[person_name]"] == "Sim Integration"
    assert len(row) > 90


def test_unknown_columns_are_missing_or_refused_when_strict(crm: Caller) -> None:
    """A column nobody has is left out of the rows; strict attribute checking refuses the request."""
    asked = [("_select_columns[]", "id"), ("_select_columns[]", "cf_person_nonsense")]
    assert crm.page(PEOPLE, *asked)["data"][0] == {"id": 7001}
    strict = crm.form(PEOPLE, [("_method", "GET"), *asked, ("_strict_attribute_checking", "true")])
    assert strict.status_code == 406


def test_associated_columns_reach_as_deep_as_they_are_written() -> None:
    """A task tells its contact's nested address, a person the employer's name."""
    crm = Caller()
    firm = crm.put("/crm/organisations.api", {"name": "Fenwick Ltd"}).json()["affected_objects"][0]["id"]
    person = crm.person(**{"main_location[email]": "a@example.org", "employer_link": str(firm)})["id"]
    task = {"name": "Call", "primary_contact_id": str(person), "primary_contact_type": "Private::Crm::Person"}
    crm.put("/activity/tasks.api", task)
    assert crm.filtered("/activity/tasks.api", columns="primary_contact[main_location[email]]") == ["a@example.org"]
    assert crm.filtered(PEOPLE, ("employer[name]", "eq", "fenwick ltd"), columns="employer[name] employer_name") == [
        ("Fenwick Ltd", "Fenwick Ltd")
    ]


def test_one_record_is_shown_as_an_object(crm: Caller) -> None:
    """The show route answers with an object and layouts; an absent or deleted record is 404."""
    shown = crm.form("/crm/people/7002.api", [("_method", "GET")]).json()
    assert (shown["success"], shown["data"]["name"], shown["available_layouts"]) == (True, "bo Ray", [])
    assert crm.form("/crm/people/9.api", [("_method", "GET")]).status_code == 404
    crm.edit(op="delete", type="person", id=7002)
    assert crm.form("/crm/people/7002.api", [("_method", "GET")]).status_code == 404


def test_a_get_may_carry_its_parameters_in_query_body_or_both(crm: Caller) -> None:
    """GET with a form body, GET with a query, POST with _method in the query: all the same list."""
    key = [("api_key", "sim-key"), ("_select_columns[]", "id")]
    in_query = crm.http.get(PEOPLE, params=dict(key))
    in_body = crm.form(PEOPLE, [("_select_columns[]", "id")], method="GET")
    overridden = crm.http.post(f"{PEOPLE}?_method=GET&_dc=1795188000000", data=dict(key))
    assert in_query.json() == in_body.json() == overridden.json()
    assert ids(in_query.json()) == [7001, 7002, 7003, 7004, 7005]


def test_formats_of_dates_can_be_asked_for(crm: Caller) -> None:
    """%s gives the seconds since the epoch; the default pads a day below ten with a blank."""
    asked = [("_select_columns[]", "updated_at"), ("_json_output_datetime_format", "%s")]
    assert crm.page(PEOPLE, *asked)["data"][0] == {"updated_at": "1795186800"}
    crm.put("/activity/tasks.api", {"name": "Call", "due_date": "2026-12-02"})
    assert crm.filtered("/activity/tasks.api", columns="due_date due") == [(" 2 Dec 2026", "2026-12-02,0,Etc/UTC")]


def test_answers_come_pretty_wrapped_or_compressed(crm: Caller) -> None:
    """json=pretty indents, callback wraps, a User-Agent that says gzip gets gzip."""
    assert b'\n  "success": true' in crm.form(PEOPLE, [("_method", "GET"), ("json", "pretty")]).content
    wrapped = crm.form(PEOPLE, [("_method", "GET"), ("callback", "take")]).text
    assert json.loads(wrapped.removeprefix("take(").removesuffix(")"))["total"] == 5
    headers = {"User-Agent": "Checker (gzip)", "Accept-Encoding": "gzip"}
    data = {"_method": "GET", "api_key": "sim-key"}
    with crm.http.stream("POST", PEOPLE, data=data, headers=headers) as answer:
        raw = b"".join(answer.iter_raw())
    assert json.loads(gzip.decompress(raw))["total"] == 5


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/crm/nothing.api", 404),
        ("GET", "/nowhere", 404),
        ("POST", PEOPLE, 405),
        ("DELETE", PEOPLE, 405),
        ("PATCH", PEOPLE, 501),
        ("PUT", "/crm/people/7001.api", 405),
    ],
)
def test_what_is_not_there_or_not_allowed_says_so(crm: Caller, method: str, path: str, status: int) -> None:
    """404 for unknown addresses, 405 for other ways to write, 501 for other methods."""
    assert crm.form(path, [("_method", method)]).status_code == status


@pytest.mark.parametrize("pair", [("_sort", "nonsense"), ("_start", "x"), ("_start", "-1"), ("_limit", "x")])
def test_parameters_that_make_no_sense_are_unacceptable(crm: Caller, pair: tuple[str, str]) -> None:
    """406 names what is wrong."""
    answer = crm.form(PEOPLE, [("_method", "GET"), ("_start", "0"), pair])
    assert (answer.status_code, answer.json()["success"]) == (406, False)


def test_the_date_header_is_the_simulated_time(crm: Caller) -> None:
    """A client that trusts the server's Date sees the simulator's clock."""
    assert crm.form(PEOPLE, [("_method", "GET")]).headers["date"] == "Fri, 20 Nov 2026 15:00:00 GMT"
