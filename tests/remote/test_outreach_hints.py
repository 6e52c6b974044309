from __future__ import annotations

import json

import pytest

from worker.core.records import Kind, Ref
from worker.remote import outreach_hints
from worker.remote.outreach_hints import Hint

V1 = {
    "data": {
        "type": "sequenceState",
        "id": 501,
        "attributes": {"state": "finished"},
        "relationships": {"prospect": {"type": "prospect", "id": 9}},
    },
    "meta": {"deliveredAt": "2026-03-05T07:00:00.412+00:00", "eventName": "sequenceState.finished", "jobId": "4f0c"},
}


def read(document: object) -> Hint:
    """Return what a body of this content hints at."""
    return outreach_hints.read(json.dumps(document).encode())


def data(**parts: object) -> dict[str, object]:
    """Return a delivery with these parts of its data."""
    return {"data": {"type": "prospect", "id": 7, "attributes": {}, "relationships": {}} | parts}


@pytest.mark.parametrize(
    "document, hint",
    [
        pytest.param(V1, Hint(Ref(Kind.STATE, 501)), id="version 1"),
        pytest.param(V1 | {"beforeUpdate": {"state": "active"}}, Hint(Ref(Kind.STATE, 501)), id="version 2"),
        pytest.param(data(), Hint(Ref(Kind.PROSPECT, 7)), id="empty, as before a deletion"),
        pytest.param(data(id="7"), Hint(Ref(Kind.PROSPECT, 7)), id="an id in quotes"),
        pytest.param(data(type="sequence"), Hint(Ref(Kind.SEQUENCE, 7)), id="a sequence"),
        pytest.param(data(type="task"), Hint(Ref(Kind.TASK, 7)), id="a task"),
        pytest.param(data(type="account"), Hint(), id="nothing of ours"),
        pytest.param(data(type="install", id="a uuid"), Hint(), id="nothing of ours, with an odd id"),
        pytest.param(
            data() | {"meta": {"eventName": "prospect.destroyed"}},
            Hint(Ref(Kind.PROSPECT, 7), destroyed=True),
            id="destroyed",
        ),
        pytest.param(data() | {"meta": {"eventName": 5}}, Hint(Ref(Kind.PROSPECT, 7)), id="an odd name"),
        pytest.param(data() | {"meta": None}, Hint(Ref(Kind.PROSPECT, 7)), id="no meta"),
        pytest.param(
            data(type="emailAddress", relationships={"prospect": {"type": "prospect", "id": 9}}),
            Hint(Ref(Kind.PROSPECT, 9)),
            id="an address with the odd relation",
        ),
        pytest.param(
            data(type="emailAddress", relationships={"prospect": {"data": {"type": "prospect", "id": "9"}}}),
            Hint(Ref(Kind.PROSPECT, 9)),
            id="an address with a proper relation",
        ),
        pytest.param(data(type="emailAddress"), Hint(address=7), id="an address that does not tell whose it is"),
        pytest.param(data(type="emailAddress", relationships=None), Hint(address=7), id="an address without relations"),
    ],
)
def test_a_delivery_names_what_to_look_at(document: object, hint: Hint) -> None:
    """The record's kind and id, in both versions and however its relations are written; nothing else of it is believed."""
    assert read(document) == hint


@pytest.mark.parametrize(
    "body, words",
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b'{"data": {"type": "prosp', "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no data"),
        (b'"text"', "no data"),
        (b"null", "no data"),
        (b"{}", "no data"),
        (b'{"data": []}', "no data"),
        (b'{"data": {"id": 7}}', "no type"),
        (b'{"data": {"type": ["prospect"], "id": 7}}', "no type"),
        (b'{"data": {"type": "prospect"}}', "no usable id"),
        (b'{"data": {"type": "prospect", "id": true}}', "no usable id"),
        (b'{"data": {"type": "prospect", "id": 0}}', "no usable id"),
        (b'{"data": {"type": "prospect", "id": -1}}', "no usable id"),
        (b'{"data": {"type": "prospect", "id": 9223372036854775808}}', "no usable id"),
        (b'{"data": {"type": "prospect", "id": "someone@people.example"}}', "no usable id"),
    ],
)
def test_what_says_nothing_is_told_so_without_its_words(body: bytes, words: str) -> None:
    """Anything may be signed: no body makes it fail otherwise, and none is quoted."""
    with pytest.raises(outreach_hints.Unintelligible) as fault:
        outreach_hints.read(body)
    assert str(fault.value) == words


@pytest.mark.parametrize(
    "resource, attributes, urgent",
    [
        ("prospect", {"optedOut": True}, True),
        ("prospect", {"emailOptedOut": True, "title": "Chief"}, True),
        ("prospect", {"emailsOptStatus": "opted_out"}, True),
        ("prospect", {"optedOutAt": "2026-11-20T09:00:00.000Z"}, True),
        ("sequenceState", {"state": "opted_out"}, True),
        ("sequenceState", {"state": "optedOut"}, True),
        ("emailAddress", {"unsubscribedAt": "2026-11-20T09:00:00.000Z"}, True),
        ("emailAddress", {"status": "unsubscribed"}, True),
        (
            "prospect",
            {"optedOut": False, "emailOptedOut": False, "emailsOptStatus": "opted_in", "optedOutAt": None},
            False,
        ),
        ("prospect", {"title": "Head of opted_out"}, False),
        ("prospect", {}, False),
        ("sequenceState", {"state": "finished"}, False),
        ("emailAddress", {"status": "bounced"}, False),
    ],
)
def test_what_may_tell_of_an_opt_out_is_urgent(resource: str, attributes: dict[str, object], urgent: bool) -> None:
    """Whatever is set that says so, in either version of the payload; what says the contrary is not."""
    for more in ({}, {"beforeUpdate": {"optedOut": True, "state": "opted_out"}}):
        body = json.dumps(data(type=resource, attributes=attributes) | more).encode()
        assert outreach_hints.may_opt_out(body) is urgent


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"[]", b"{}", b'{"data": 1}', b'{"data": {"attributes": []}}', b'{"data": {"attr', b"[" * 100_000],
)
def test_what_is_not_understood_is_not_urgent(body: bytes) -> None:
    """It is stored like any other, and told apart later."""
    assert not outreach_hints.may_opt_out(body)
