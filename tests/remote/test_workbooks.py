from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from worker.core import errors, records
from worker.remote import workbooks
from worker.remote.workbooks import Applied, Refused, Stale, Uncertain, Write

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
BO = Write(53, 1, {"person_first_name": None, "no_email_soliciting": True})


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


def test_a_batch_is_one_request(vendor: Vendor, reply: Reply) -> None:
    """A batch is a form post in the clothes of a PUT, in separate transactions, unknown attributes reported."""
    done = [{"id": 52, "lock_version": 5}, {"id": 53, "lock_version": 2}]
    info = [{"success": True, "errors": {}, "warnings": {}}] * 2
    vendor.says(reply({"success": True, "affected_objects": done, "affected_object_information": info}))
    assert put(vendor, ANN, BO) == [
        Applied(52, 5, {"lock_version": 5}, None),
        Applied(53, 2, {"lock_version": 2}, None),
    ]
    assert len(vendor.requests) == 1
    assert vendor.form()[:9] == [
        ("_method", "PUT"),
        ("client", "api"),
        ("api_key", KEY),
        ("_api_version", "1"),
        ("_per_object_transactions", "true"),
        ("_strict_attribute_checking", "true"),
        ("_fm", "or"),
        ("_ff[]", "id"),
        ("_ft[]", "eq"),
    ]
    assert [value for name, value in vendor.form() if name == "person_first_name[]"] == ["Ann", ":null_value:"]
    assert [value for name, value in vendor.form() if name == "no_email_soliciting[]"] == [":no_value:", "1"]


def test_a_create_carries_its_reference(vendor: Vendor, reply: Reply) -> None:
    """The reference of a create is sent in its field even if the fields lack it, and finds the receipt."""
    vendor.says(
        reply({"success": True, "affected_objects": [{"id": 90, "lock_version": 0, "cf_person_outreach_id": "7001"}]})
    )
    for write in (Write(0, 0, {"name": "Cy"}, "7001"), Write(0, 0, {"name": "Cy", "cf_person_outreach_id": 7001})):
        (outcome,) = put(vendor, write)
        assert isinstance(outcome, Applied)
        assert ("cf_person_outreach_id[]", "7001") in vendor.form()


def test_one_unsendable_value_keeps_nobody_else(vendor: Vendor, reply: Reply) -> None:
    """A value the wire cannot carry refuses its own record; the others are sent, and alone it is not sent at all."""
    vendor.says(reply({"success": True, "affected_objects": [{"id": 53, "lock_version": 2}]}))
    bad = Write(52, 4, {"person_first_name": ":null_value:"})
    refused, applied = put(vendor, bad, BO)
    assert isinstance(refused, Refused)
    assert list(refused.errors) == ["person_first_name"]
    assert isinstance(applied, Applied)
    assert ("id[]", "52") not in vendor.form()
    vendor.requests.clear()
    assert [type(outcome) for outcome in put(vendor, bad)] == [Refused]
    assert put(vendor) == []
    assert vendor.requests == []


def test_a_batch_is_bounded_and_distinct(vendor: Vendor) -> None:
    """More than a hundred objects, or two for one record, are the caller's mistake."""
    for writes in ([Write(n, 0, {}) for n in range(1, 102)], [ANN, ANN], [Write(0, 0, {}, "1"), Write(0, 0, {}, "1")]):
        with pytest.raises(ValueError, match=r"batch|at most"):
            put(vendor, *writes)
    assert vendor.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ReadTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("cut"),
        httpx.DecodingError("bad gzip"),
        httpx.Response(500, text="exception reference 1"),
        httpx.Response(502),
        httpx.Response(503, headers={"retry-after": "2"}),
        httpx.Response(200, text=""),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, text='{"success": true, "affected_obj'),
        httpx.Response(200, text='{"success": true, "x": NaN}'),
        httpx.Response(302),
    ],
)
def test_a_lost_answer_leaves_all_uncertain(answer: httpx.Response | Exception, vendor: Vendor) -> None:
    """Once a batch may have arrived, no fault raises and none is sent again: each object is uncertain."""
    vendor.says(answer)
    assert [type(outcome) for outcome in put(vendor, ANN, BO)] == [Uncertain, Uncertain]
    assert len(vendor.requests) == 1


def test_a_batch_that_never_left_is_raised(vendor: Vendor, reply: Reply) -> None:
    """A refused connection is tried again and then raised, for then nothing was done."""
    vendor.says(httpx.ConnectError("refused"))
    with pytest.raises(errors.RemoteDown):
        put(vendor, ANN)
    assert len(vendor.requests) == 4
    vendor.says(reply({}, 429, retry_after="60"))
    with pytest.raises(errors.Throttled):
        put(vendor, ANN)


def test_a_status_of_its_own_is_read_but_not_believed(vendor: Vendor, reply: Reply) -> None:
    """A 4xx that explains itself is read like any reply; a success in it is doubted, and a lone write was refused."""
    elsewhere = {"success": False, "failures": [{"id": 52, "message": "already been updated elsewhere"}]}
    vendor.says(reply(elsewhere, 409))
    assert [type(outcome) for outcome in put(vendor, ANN, BO)] == [Stale, Uncertain]
    vendor.says(reply({"success": True, "affected_objects": [{"id": 52, "lock_version": 5}]}, 422))
    assert [type(outcome) for outcome in put(vendor, ANN)] == [Uncertain]
    vendor.says(reply(raw="<html>", status=406))
    assert [type(outcome) for outcome in put(vendor, ANN)] == [Refused]
    assert [type(outcome) for outcome in put(vendor, ANN, BO)] == [Uncertain, Uncertain]


FIELDS = [
    {"name": "id", "title": "Id", "datatype": "integer", "is_createable": False, "is_updateable": False},
    {
        "name": "cf_person_sequence_state",
        "title": "Sequence State",
        "datatype": "picklist_data",
        "is_createable": True,
        "is_updateable": True,
        "picklist": {"picklist_id": 81, "unrestricted": False, "class_name": "Private::PicklistEntry"},
    },
    {"name": "cf_person_free", "datatype": "string", "picklist": {"picklist_id": "82", "unrestricted": True}},
    {"title": "nameless"},
    7,
]


@pytest.mark.parametrize("bare", [False, True])
def test_metadata_is_read_by_class(bare: bool, vendor: Vendor, reply: Reply) -> None:
    """Fields come by class and name, from a list's reply or from the bare array that the manual describes."""
    types = [
        {"class_name": "Private::Crm::Organisation", "fields": [{"name": "x"}]},
        {"class_name": "Private::Crm::Person", "fields": FIELDS},
    ]
    vendor.says(reply(types if bare else rows(*types)))
    found = vendor.workbooks.metadata([PERSON])
    assert found == {
        PERSON: {
            "id": workbooks.FieldInfo("id", "Id", "integer", None, True, False, False, None),
            "cf_person_sequence_state": workbooks.FieldInfo(
                "cf_person_sequence_state", "Sequence State", "picklist_data", 81, False, True, True, None
            ),
            "cf_person_free": workbooks.FieldInfo(
                "cf_person_free", "cf_person_free", "string", 82, True, True, True, 255
            ),
        }
    }
    assert vendor.requests[0].url.path == "/metadata/types.api"
    assert [value for name, value in vendor.form() if name == "class_names[]"] == ["Private::Crm::Person"]


@pytest.mark.parametrize(
    "status, document",
    [
        (404, {}),
        (406, {}),
        (501, {}),
        (200, {"success": True, "data": [{"class_name": "Private::Crm::Person", "fields": []}]}),
        (200, {"success": True, "data": [{"class_name": "Private::Other", "fields": FIELDS}]}),
        (200, {"success": True, "data": {}}),
        (200, {"success": False}),
        (200, []),
        (200, "x"),
    ],
)
def test_unknown_metadata_is_none(status: int, document: object, vendor: Vendor, reply: Reply) -> None:
    """Metadata that is not there or not understood is unknown, never a record type without fields."""
    vendor.says(reply(document, status))
    assert vendor.workbooks.metadata([PERSON]) is None


def test_metadata_that_is_down_is_down(vendor: Vendor, reply: Reply) -> None:
    """Garbage is no answer about metadata either."""
    vendor.says(reply(raw="<html>"))
    with pytest.raises(errors.RemoteDown):
        vendor.workbooks.metadata([PERSON])
    with pytest.raises(errors.RemoteDown):
        vendor.workbooks.picklist(81)


def test_a_picklist_is_read_to_its_end(vendor: Vendor, reply: Reply) -> None:
    """Pages are read until one brings nothing new, for a short page proves no end."""
    vendor.says(
        reply(rows({"id": 1, "value": "Active – Running", "picklist_id": 81}, {"id": 2, "value": "Finished"})),
        reply(rows({"id": 3, "name": "Pending", "picklist_id": "81"})),
        reply(rows()),
    )
    assert vendor.workbooks.picklist(81) == ("Active – Running", "Finished", "Pending")
    assert [dict(vendor.form(n))["_start"] for n in range(3)] == ["0", "2", "3"]
    form = dict(vendor.form(0))
    assert (form["_ff[]"], form["_ft[]"], form["_fc[]"]) == ("picklist_id", "eq", "81")


def test_a_picklist_that_repeats_itself_ends(vendor: Vendor, reply: Reply) -> None:
    """A server that ignores the window does not make us read for ever."""
    vendor.says(reply(rows({"id": 1, "value": "Finished"})))
    assert vendor.workbooks.picklist(81) == ("Finished",)
    assert len(vendor.requests) == 2


@pytest.mark.parametrize(
    "status, document",
    [
        (404, {}),
        (406, {}),
        (200, rows()),
        (200, rows({"id": 1})),
        (200, rows({"value": "Finished"})),
        (200, rows({"id": 1, "value": "Finished", "picklist_id": 99})),
        (200, rows(1)),
        (200, rows({"id": 1, "value": "Finished"}, success=False)),
        (200, {"success": True, "data": None}),
    ],
)
def test_an_unknown_picklist_is_none(status: int, document: object, vendor: Vendor, reply: Reply) -> None:
    """A picklist that is empty, foreign or illegible is unknown, so that no label is called missing because of it."""
    vendor.says(reply(document, status))
    assert vendor.workbooks.picklist(81) is None


def test_json_numbers_survive(vendor: Vendor) -> None:
    """Booleans, numbers and nulls of a list stay what they are."""
    body = json.dumps(rows({"id": 1, "name": 12, "no_email_soliciting": True}))
    vendor.says(httpx.Response(200, text=body))
    assert people(vendor).snapshots[0].fields == {"name": 12, "no_email_soliciting": True}
