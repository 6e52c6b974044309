from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from worker.core import errors, records
from worker.remote import base

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.remote.conftest import Vendor

    Reply = Callable[..., httpx.Response]

PROSPECT = records.Kind.PROSPECT


def prospect(number: int, *emails: str) -> dict[str, Any]:
    """Return one prospect as the vendor writes it."""
    return {"type": "prospect", "id": number, "attributes": {"emails": list(emails), "firstName": "Ann"}}


def test_a_prospect_is_updated(vendor: Vendor, reply: Reply) -> None:
    """An update sends type, id and the attributes, and returns all the reply tells."""
    told = {
        "type": "prospect",
        "id": 7,
        "attributes": {"firstName": "Bo", "emails": [], "updatedAt": "2026-11-20T15:00:01.000Z", "new": None},
    }
    vendor.says(reply({"data": told}))
    snapshot = vendor.outreach.update_prospect(7, {"firstName": "Bo", "workPhones": [], "title": None})
    request = vendor.requests[0]
    assert (request.method, request.url.path) == ("PATCH", "/api/v2/prospects/7")
    assert json.loads(request.content) == {
        "data": {"type": "prospect", "id": 7, "attributes": {"firstName": "Bo", "workPhones": [], "title": None}}
    }
    assert snapshot.fields == told["attributes"]
    assert snapshot.updated_at == datetime(2026, 11, 20, 15, 0, 1, tzinfo=UTC)


def test_a_prospect_is_created(vendor: Vendor, reply: Reply) -> None:
    """A create sends the owner as a relation and returns the new id."""
    vendor.says(reply({"data": prospect(81, "ann@x.example")}, 201))
    assert vendor.outreach.create_prospect({"emails": ["ann@x.example"]}, 4).ref == records.Ref(PROSPECT, 81)
    assert vendor.requests[0].method == "POST"
    assert json.loads(vendor.requests[0].content) == {
        "data": {
            "type": "prospect",
            "attributes": {"emails": ["ann@x.example"]},
            "relationships": {"owner": {"data": {"type": "user", "id": 4}}},
        }
    }
    vendor.outreach.create_prospect({"emails": ["ann@x.example"]}, None)
    assert "relationships" not in json.loads(vendor.requests[1].content)["data"]


@pytest.mark.parametrize(
    "status, error, field, words",
    [
        (
            422,
            {"id": "validationError", "detail": "is too long", "source": {"pointer": "/data/attributes/title"}},
            "title",
            "validationError: is too long",
        ),
        (
            422,
            {"id": "validationError", "detail": "x", "source": {"pointer": "/data/attributes/emails/0"}},
            "emails",
            "validationError: x",
        ),
        (
            422,
            {
                "id": "validationError",
                "detail": "Contacts email hash has already been taken.",
                "source": {"pointer": "/data"},
            },
            "",
            "validationError: Contacts email hash has already been taken.",
        ),
        (
            422,
            {"id": "validationDuplicateValueError", "title": "Validation Duplicate Value Error"},
            "",
            "validationDuplicateValueError: Validation Duplicate Value Error",
        ),
        (422, {"detail": "Ann Lee of ann@x.example is taken"}, "", "[hidden] of [hidden] is taken"),
        (400, {"id": "badRequest", "source": None}, "", "badRequest"),
        (409, {"detail": "conflict", "source": {"pointer": 7}}, "", "conflict"),
    ],
)
def test_a_refused_value_names_its_field(
    status: int, error: dict[str, Any], field: str, words: str, vendor: Vendor, reply: Reply
) -> None:
    """A refusal carries the field the vendor points at and its words, without the person's data, and is sent once."""
    vendor.says(reply({"errors": [error]}, status))
    attributes: dict[str, records.Value] = {"firstName": "Ann Lee", "emails": ["ann@x.example"]}
    with pytest.raises(errors.InvalidField) as caught:
        vendor.outreach.create_prospect(attributes, None)
    assert (caught.value.field, caught.value.words) == (field, words)
    with pytest.raises(errors.InvalidField) as caught:
        vendor.outreach.update_prospect(7, attributes)
    assert (caught.value.field, caught.value.words) == (field, words)
    assert len(vendor.requests) == 2


def test_a_prospect_that_is_gone_is_unreadable(vendor: Vendor, reply: Reply) -> None:
    """404 on an update says so with the record it was about."""
    vendor.says(
        reply({"errors": [{"id": "resourceNotFound", "detail": "Could not find 'prospect' with ID '7'."}]}, 404)
    )
    with pytest.raises(errors.Unreadable, match="resourceNotFound") as caught:
        vendor.outreach.update_prospect(7, {"title": "x"})
    assert caught.value.ref == records.Ref(PROSPECT, 7)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("cut"),
        httpx.Response(502, text="bad gateway"),
        httpx.Response(200, text=""),
        httpx.Response(201, text="<html>"),
        httpx.Response(201, json={"data": None}),
        httpx.Response(201, json={"data": []}),
        httpx.Response(201, json={"data": {"type": "prospect"}}),
        httpx.Response(201, json={"data": {"type": "account", "id": 3}}),
        httpx.Response(200, json={"errors": [{"id": "x"}]}),
        httpx.Response(204),
    ],
)
def test_a_write_without_a_receipt_is_told_apart_and_sent_once(
    answer: httpx.Response | Exception, vendor: Vendor
) -> None:
    """A create whose answer is lost or illegible may have happened, and the caller can tell."""
    vendor.says(answer)
    with pytest.raises(base.Unanswered):
        vendor.outreach.create_prospect({"emails": ["ann@x.example"]}, None)
    assert len(vendor.requests) == 1


def test_an_update_answered_with_another_record_proves_nothing(vendor: Vendor, reply: Reply) -> None:
    """The receipt must carry the id that was written."""
    vendor.says(reply({"data": prospect(8)}))
    with pytest.raises(base.Unanswered):
        vendor.outreach.update_prospect(7, {"title": "x"})


def test_a_value_json_cannot_hold_is_refused_here(vendor: Vendor) -> None:
    """Not-a-number and broken text never leave the house."""
    for value in (float("nan"), "\ud800"):
        with pytest.raises(errors.InvalidField):
            vendor.outreach.update_prospect(7, {"title": value})
    assert vendor.requests == []
