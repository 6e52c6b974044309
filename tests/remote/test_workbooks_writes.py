from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from worker.core import errors, records
from worker.remote import workbooks
from worker.remote.workbooks import Applied, Refused, Stale, Uncertain, Write

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.remote.conftest import Vendor

    Reply = Callable[..., httpx.Response]

PERSON = records.Kind.PERSON
KEY = "01234-56789-01234-key-of-the-tests"


def put(vendor: Vendor, *writes: Write) -> list[workbooks.Outcome]:
    """Write people."""
    return vendor.workbooks.write(PERSON, writes, reference_field="cf_person_outreach_id")


ANN = Write(52, 4, {"person_first_name": "Ann"})
BO = Write(53, 1, {"person_first_name": None, "no_email_soliciting": True})


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
