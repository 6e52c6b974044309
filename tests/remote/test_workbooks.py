from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from worker.core import errors, records
from worker.remote import workbooks
from worker.remote.workbooks import Applied, Write

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.remote.conftest import Vendor
    from worker.remote import base

    Reply = Callable[..., httpx.Response]

PERSON = records.Kind.PERSON
TASK = records.Kind.CRM_TASK
KEY = "01234-56789-01234-key-of-the-tests"
LOGIN = {
    "database_name": "Invented Ltd",
    "logical_database_id": 7,
    "database_instance_id": 123122,
    "user_id": 2,
    "login_name": "robot@outbook.example",
    "timezone": "London",
    "session_id": "b2b2",
    "authenticity_token": "a1a1",
}


def rows(*data: object, success: object = True) -> dict[str, Any]:
    """Return a list's reply."""
    return {"success": success, "total": len(data), "data": list(data), "flash": "", "updates": {}}


def people(vendor: Vendor) -> base.Page:
    """Return a page of two columns."""
    return vendor.workbooks.page(PERSON, columns=["name", "no_email_soliciting"], filters=[])


def put(vendor: Vendor, *writes: Write) -> list[workbooks.Outcome]:
    """Write people."""
    return vendor.workbooks.write(PERSON, writes, reference_field="cf_person_outreach_id")


ANN = Write(52, 4, {"person_first_name": "Ann"})


def test_a_login_tells_the_tenant(vendor: Vendor, reply: Reply) -> None:
    """Logging in with the key tells the database and the user behind it."""
    vendor.says(reply(LOGIN))
    assert vendor.workbooks.login() == workbooks.Tenant("7", "Invented Ltd", 2, "robot@outbook.example", "London")
    request = vendor.requests[0]
    assert (request.method, request.url.path) == ("POST", "/login.api")
    assert dict(vendor.form()) == {
        "_method": "POST",
        "client": "api",
        "_application_name": "outbook",
        "api_version": "1",
        "_fast_login": "1",
        "api_key": KEY,
    }
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    vendor.says(reply({**LOGIN, "logical_database_id": None}))
    assert vendor.workbooks.login().database_id == "123122"


@pytest.mark.parametrize(
    "status, reason",
    [
        (401, "client_not_licensed"),
        (401, "session_expired"),
        (403, "no_permission_for_api"),
        (403, ""),
        (200, "login_disabled"),
    ],
)
def test_a_refused_key_names_the_likely_causes(status: int, reason: str, vendor: Vendor, reply: Reply) -> None:
    """A refused key stops the side with the vendor's reason and what usually lies behind it; nothing is tried again."""
    vendor.says(reply({"failure_reason": reason}, status))
    for call in (vendor.workbooks.login, lambda: people(vendor), lambda: put(vendor, ANN)):
        with pytest.raises(errors.AuthRevoked, match=f"{reason}.*expired.*disabled.*address"):
            call()
    assert len(vendor.requests) == 3


@pytest.mark.parametrize("reason", ["database_being_migrated", "database_archived", "no_available_database"])
def test_a_database_that_is_away_comes_back(reason: str, vendor: Vendor, reply: Reply) -> None:
    """403 for a database under maintenance passes by itself, and a write to it surely was not carried out."""
    vendor.says(reply({"failure_reason": reason}, 403))
    for call in (vendor.workbooks.login, lambda: people(vendor), lambda: put(vendor, ANN)):
        with pytest.raises(errors.RemoteDown, match=reason):
            call()


def test_no_login_no_tenant(vendor: Vendor, reply: Reply) -> None:
    """Where there is no such door the tenant is unknown; an illegible answer is not that."""
    vendor.says(reply({}, 404))
    assert vendor.workbooks.login() == workbooks.Tenant()
    documents: tuple[Any, ...] = ({}, [], {"success": True})
    for document in documents:
        vendor.says(reply(document))
        with pytest.raises(errors.RemoteDown):
            vendor.workbooks.login()


def test_a_list_is_asked_as_the_vendors_client_does(vendor: Vendor, reply: Reply) -> None:
    """A list is a form post in the clothes of a GET: key, window, no count, sort, filters, columns, a cache-buster."""
    vendor.says(reply(rows()))
    vendor.workbooks.page(
        PERSON,
        columns=["name", "no_email_soliciting"],
        filters=[
            ("updated_at", "ge", "Fri Nov 20 15:00:00 UTC 2026"),
            ("is_deleted", "true", ""),
            ("is_deleted", "false", ""),
        ],
        match="1 AND (2 OR 3)",
        sort=["updated_at", "-id"],
        start=200,
        limit=50,
    )
    request = vendor.requests[0]
    assert (request.method, request.url.path, request.url.query) == ("POST", "/crm/people.api", b"_dc=1795186800000")
    assert vendor.form() == [
        ("_method", "GET"),
        ("client", "api"),
        ("api_key", KEY),
        ("_api_version", "1"),
        ("_start", "200"),
        ("_limit", "50"),
        ("__skip_total_rows", "true"),
        ("_sort[]", "updated_at"),
        ("_dir[]", "ASC"),
        ("_sort[]", "id"),
        ("_dir[]", "DESC"),
        ("_fm", "1 AND (2 OR 3)"),
        ("_ff[]", "updated_at"),
        ("_ft[]", "ge"),
        ("_fc[]", "Fri Nov 20 15:00:00 UTC 2026"),
        ("_ff[]", "is_deleted"),
        ("_ft[]", "true"),
        ("_fc[]", ""),
        ("_ff[]", "is_deleted"),
        ("_ft[]", "false"),
        ("_fc[]", ""),
        ("_select_columns[]", "name"),
        ("_select_columns[]", "no_email_soliciting"),
        ("_select_columns[]", "id"),
        ("_select_columns[]", "lock_version"),
        ("_select_columns[]", "updated_at"),
        ("_select_columns[]", "is_deleted"),
    ]


def test_a_simple_list_is_asked_simply(vendor: Vendor, reply: Reply) -> None:
    """One sort column and one filter need neither arrays of sorts nor a match."""
    vendor.says(reply(rows()))
    vendor.workbooks.page(TASK, columns=["name"], filters=[("id", "eq", "1,2")], sort=["id"])
    assert vendor.requests[0].url.path == "/activity/tasks.api"
    form = vendor.form()
    assert ("_sort", "id") in form
    assert ("_dir", "ASC") in form
    assert "_fm" not in dict(form)


def test_rows_become_snapshots(vendor: Vendor, reply: Reply) -> None:
    """Values stay as JSON has them; id, version, time and tombstone are read out; what was not asked is left out."""
    vendor.says(
        reply(
            rows(
                {
                    "id": 52,
                    "lock_version": 4,
                    "updated_at": "Fri Nov 20 14:00:00 UTC 2026",
                    "is_deleted": False,
                    "name": "",
                    "x": 1,
                },
                {"id": "53", "lock_version": "0", "updated_at": None, "is_deleted": "1", "no_email_soliciting": None},
            )
        )
    )
    page = people(vendor)
    assert page.next is None
    assert page.server_time == datetime(2026, 11, 20, 15, tzinfo=UTC)
    assert page.snapshots == [
        records.Snapshot(records.Ref(PERSON, 52), {"name": ""}, datetime(2026, 11, 20, 14, tzinfo=UTC), 4),
        records.Snapshot(records.Ref(PERSON, 53), {"no_email_soliciting": None}, None, 0, deleted=True),
    ]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>Please sign in</html>",
        '{"success": true, "data": [{"id": 1, "na',
        '{"success": true, "data": [{"id": 1, "name": NaN}]}',
        "[]",
        "null",
        "{}",
        '{"data": []}',
        '{"success": true}',
        '{"success": true, "data": null}',
        '{"success": true, "data": {}}',
        '{"success": true, "data": [1]}',
        '{"success": true, "data": [{}]}',
        '{"success": true, "data": [{"id": 0}]}',
        '{"success": false, "data": []}',
        '{"success": false, "data": [], "errors": {"[]": {"nme": "unknown attribute"}}}',
        '{"success": "yes", "data": []}',
    ],
)
def test_garbage_is_never_an_empty_list(body: str, vendor: Vendor, reply: Reply) -> None:
    """Only success with a list of rows is an answer; anything else is RemoteDown after four tries."""
    vendor.says(reply(raw=body))
    with pytest.raises(errors.RemoteDown):
        people(vendor)
    assert len(vendor.requests) == 4


def test_a_failed_list_repeats_the_vendors_words(vendor: Vendor, reply: Reply) -> None:
    """What the vendor says about a failed list is told, without our key."""
    vendor.says(reply({"success": False, "failures": [f"no column nme for {KEY}"]}))
    with pytest.raises(errors.RemoteDown, match=r"no column nme for \[hidden\]"):
        people(vendor)


@pytest.mark.parametrize("status", [400, 404, 405, 406, 501])
def test_a_list_that_is_not_to_be_had(status: int, vendor: Vendor, reply: Reply) -> None:
    """A refused list is a broken contract, or a server that is down, and never an empty one."""
    vendor.says(reply(rows(), status))
    with pytest.raises((errors.ContractBroken, errors.RemoteDown)):
        people(vendor)


def test_a_delaying_redirect_is_followed_with_everything(vendor: Vendor, reply: Reply) -> None:
    """A redirect is followed after a wait, to the same host, with the same method and body, and counted as a call."""
    vendor.says(
        reply(raw="", status=302, location="/crm/people.api?delayed=1"),
        reply(raw="", status=307, location="http://127.0.0.1:9/crm/people.api?delayed=2"),
        reply(rows({"id": 1})),
    )
    assert len(people(vendor).snapshots) == 1
    assert [str(request.url.query, "ascii") for request in vendor.requests] == [
        "_dc=1795186800000",
        "delayed=1",
        "delayed=2",
    ]
    assert {request.method for request in vendor.requests} == {"POST"}
    assert len({request.content for request in vendor.requests}) == 1
    assert (vendor.slept, vendor.counted) == ([0.375, 0.75], 3)


def test_a_write_is_followed_too(vendor: Vendor, reply: Reply) -> None:
    """A redirected write was not carried out: it is sent on, once."""
    vendor.says(
        reply(raw="", status=302, location="/wait?n=1"),
        reply(
            {"success": True, "affected_objects": [{"id": 52, "lock_version": 5}], "affected_object_information": []}
        ),
    )
    assert isinstance(put(vendor, ANN)[0], Applied)
    assert vendor.requests[0].content == vendor.requests[1].content


def test_redirects_without_end_are_a_throttle(vendor: Vendor, reply: Reply) -> None:
    """After five hops the vendor is asking us to stay away for a while."""
    vendor.says(reply(raw="", status=302, location="/wait"))
    for call in (lambda: people(vendor), lambda: put(vendor, ANN)):
        vendor.requests.clear()
        with pytest.raises(errors.Throttled) as caught:
            call()
        assert len(vendor.requests) == 6
        assert caught.value.retry_after_s == 30.0


@pytest.mark.parametrize("location", ["/login", "http://127.0.0.1:9/login?expired=1", "/login.api", "/users/sign_in"])
def test_a_redirect_to_the_login_page_is_a_dead_key(location: str, vendor: Vendor, reply: Reply) -> None:
    """The same status that slows us down means a dead session or key when it leads to the login page."""
    vendor.says(reply(raw="", status=302, location=location))
    for call in (lambda: people(vendor), lambda: put(vendor, ANN)):
        with pytest.raises(errors.AuthRevoked, match="session or key no longer accepted"):
            call()
    assert len(vendor.requests) == 2


def test_a_redirect_elsewhere_gets_no_key(vendor: Vendor, reply: Reply) -> None:
    """The key is never sent to another host."""
    vendor.says(reply(raw="", status=302, location="http://evil.example:9/crm/people.api"))
    with pytest.raises(errors.ContractBroken):
        people(vendor)
    assert len(vendor.requests) == 1


def test_a_redirect_with_a_long_wait(vendor: Vendor, reply: Reply) -> None:
    """A redirect that names a time is waited for by the caller."""
    vendor.says(reply(raw="", status=302, location="/wait", retry_after="90"))
    with pytest.raises(errors.Throttled) as caught:
        people(vendor)
    assert caught.value.retry_after_s == 90.0


def test_json_numbers_survive(vendor: Vendor) -> None:
    """Booleans, numbers and nulls of a list stay what they are."""
    body = json.dumps(rows({"id": 1, "name": 12, "no_email_soliciting": True}))
    vendor.says(httpx.Response(200, text=body))
    assert people(vendor).snapshots[0].fields == {"name": 12, "no_email_soliciting": True}
