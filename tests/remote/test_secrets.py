"""Neither a token nor a key nor an address is ever in the text of an error."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import httpx
import pytest

from worker.core import errors, records
from worker.remote import outreach
from worker.remote.workbooks import Write

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.remote.conftest import Vendor

KEY = "01234-56789-01234-key-of-the-tests"
SECRETS = (KEY, "bearer-token-one", "bearer-token-two", "refresh-old", "secret-word", "ann.lee@x.example", "Annabel")
PERSON: dict[str, records.Value] = {"emails": ["ann.lee@x.example"], "firstName": "Annabel"}

CALLS: list[Callable[[Vendor], Any]] = [
    lambda v: v.outreach.page(records.Kind.STATE, attributes=["state"], relations=[]),
    lambda v: v.outreach.page(records.Kind.STATE, attributes=[], relations=[], link="http://127.0.0.1:9/n"),
    lambda v: v.outreach.by_ids(records.Kind.TASK, [1], attributes=[], relations=[]),
    lambda v: v.outreach.prospects_by_email(["ann.lee@x.example"], attributes=[]),
    lambda v: v.outreach.update_prospect(7, PERSON),
    lambda v: v.outreach.create_prospect(PERSON, 1),
    lambda v: v.outreach.identity(),
    lambda v: outreach.refresh(
        v.client, client_id="client", client_secret="secret-word", redirect_uri="x", refresh_token="refresh-old"
    ),
    lambda v: v.workbooks.login(),
    lambda v: v.workbooks.page(records.Kind.PERSON, columns=["name"], filters=[("name", "eq", "Annabel")]),
    lambda v: v.workbooks.write(
        records.Kind.PERSON,
        [Write(52, 1, {"person_first_name": "Annabel", "main_location[email]": "ann.lee@x.example"})],
        reference_field="cf_person_outreach_id",
    ),
    lambda v: v.workbooks.metadata([records.Kind.PERSON]),
    lambda v: v.workbooks.picklist(1),
]

Answer = httpx.Response | Exception


def echo(request: httpx.Request) -> str:
    """Return all secrets that a request holds, wherever they stand in it."""
    raw = unquote_plus(f"{request.url} {request.headers} {request.content.decode()}")
    raw += request.headers.get("authorization", "")
    found = [secret for secret in SECRETS if secret in raw]
    assert found, "a request without any secret tests nothing"
    return " ".join(found)


ANSWERS: list[Callable[[str], Answer]] = [
    *(
        lambda words, status=status: httpx.Response(
            status, json={"errors": [{"id": words, "detail": words}], "failure_reason": words}
        )
        for status in (200, 400, 401, 403, 404, 406, 409, 415, 422, 429, 500, 503)
    ),
    *(
        lambda words, status=status: httpx.Response(
            status, json={"success": False, "failures": [words], "errors": {words: words}, "flash": words}
        )
        for status in (200, 400, 403, 406)
    ),
    lambda words: httpx.Response(200, json={"success": False, "flash": words}),
    lambda words: httpx.Response(400, json={"error": words, "error_description": words}),
    lambda words: httpx.Response(200, text=words, headers={"content-type": "text/html"}),
    lambda words: httpx.Response(302, headers={"location": f"http://evil.example/{words}"}),
    lambda words: httpx.Response(302, headers={"location": f"/login/{words}"}),
    lambda words: httpx.Response(200, json={"data": [], "links": {"next": f"http://{words}@evil.example/"}}),
    httpx.ConnectError,
    httpx.ReadTimeout,
    httpx.RemoteProtocolError,
]


@pytest.mark.parametrize("call", range(len(CALLS)))
@pytest.mark.parametrize("answer", range(len(ANSWERS)))
def test_no_error_tells_a_secret(call: int, answer: int, vendor: Vendor, caplog: pytest.LogCaptureFixture) -> None:
    """A vendor that echoes whatever it was sent finds its echo in no message, no repr, no cause and no log."""
    caplog.set_level(logging.DEBUG)
    vendor.says(lambda request: ANSWERS[answer](echo(request)))
    told, words = "", ""
    try:
        told = repr(CALLS[call](vendor))
    except errors.OutbookError as error:
        words = error.words
        told = f"{error} {error!r} {getattr(error, 'field', '')} {error.__cause__!r} {error.__context__!r}"
    assert len(words) <= 300
    told += words
    told += repr(vendor.client.__dict__) + repr(vendor.workbooks) + repr(vendor.outreach)
    assert [secret for secret in SECRETS if secret in told + caplog.text] == []
    assert vendor.requests


def status_of(call: int, vendor: Vendor, *answers: httpx.Response | Exception) -> int | None:
    """Return the status that the error of a call bears; 0 if it raises none."""
    vendor.says(*answers)
    try:
        CALLS[call](vendor)
    except errors.OutbookError as error:
        return error.status if vendor.requests else 0
    return 0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 503])
@pytest.mark.parametrize("call", range(len(CALLS)))
def test_an_error_bears_the_status_of_its_answer(call: int, status: int, vendor: Vendor) -> None:
    """Whatever an answer of that status turns out to be; where none came there is none."""
    assert status_of(call, vendor, httpx.Response(status, json={})) in {status, 0}
    assert status_of(call, vendor, httpx.ReadTimeout("silent")) in {None, 0}


def test_a_refused_write_bears_its_status(vendor: Vendor) -> None:
    """The two that write to Outreach, each status by itself."""
    told = [status_of(call, vendor, httpx.Response(code, json={})) for call in (4, 5) for code in (409, 422, 500)]
    assert told == [409, 422, 500] * 2
