from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from worker.core import errors, records
from worker.remote import base

if TYPE_CHECKING:
    from tests.remote.conftest import Vendor

    Reply = Callable[..., httpx.Response]

STATE, TASK = records.Kind.STATE, records.Kind.TASK


def told(type_: str, number: int, **attributes: object) -> dict[str, Any]:
    """Return one record as the vendor writes it."""
    return {"data": {"type": type_, "id": number, "attributes": attributes}}


def test_a_prospect_is_added_to_a_sequence(vendor: Vendor, reply: Reply) -> None:
    """The state is made of relations alone; without a mailbox that one is left out."""
    vendor.says(reply(told("sequenceState", 31, state="pending"), 201))
    snapshot = vendor.outreach.add_to_sequence(7, 3, 12)
    assert (snapshot.ref, snapshot.fields) == (records.Ref(STATE, 31), {"state": "pending"})
    request = vendor.requests[0]
    assert (request.method, request.url.path) == ("POST", "/api/v2/sequenceStates")
    assert json.loads(request.content) == {
        "data": {
            "type": "sequenceState",
            "relationships": {
                "prospect": {"data": {"type": "prospect", "id": 7}},
                "sequence": {"data": {"type": "sequence", "id": 3}},
                "mailbox": {"data": {"type": "mailbox", "id": 12}},
            },
        }
    }
    vendor.outreach.add_to_sequence(7, 3)
    assert "mailbox" not in json.loads(vendor.requests[1].content)["data"]["relationships"]


@pytest.mark.parametrize(
    "kind, verb, path",
    [
        (STATE, "pause", "/api/v2/sequenceStates/31/actions/pause"),
        (STATE, "resume", "/api/v2/sequenceStates/31/actions/resume"),
        (STATE, "finish", "/api/v2/sequenceStates/31/actions/finish"),
        (TASK, "markComplete", "/api/v2/tasks/31/actions/markComplete"),
        (TASK, "advance", "/api/v2/tasks/31/actions/advance"),
    ],
)
def test_member_actions(kind: records.Kind, verb: str, path: str, vendor: Vendor, reply: Reply) -> None:
    """Each is one POST without a body, and returns the record as it stands then."""
    vendor.says(reply(told("sequenceState" if kind is STATE else "task", 31, state="x")))
    assert vendor.outreach.act(kind, 31, verb).fields == {"state": "x"}
    (request,) = vendor.requests
    assert (request.method, request.url.path, request.content) == ("POST", path, b"")


def test_a_state_is_removed(vendor: Vendor, reply: Reply) -> None:
    """One DELETE, answered with nothing at all; one that is gone already says so."""
    vendor.says(httpx.Response(204), reply({"errors": [{"id": "resourceNotFound"}]}, 404))
    vendor.outreach.remove_state(31)
    assert [(one.method, one.url.path) for one in vendor.requests] == [("DELETE", "/api/v2/sequenceStates/31")]
    with pytest.raises(errors.Unreadable):
        vendor.outreach.remove_state(31)


def asks(vendor: Vendor) -> list[Callable[[], object]]:
    """Return every call that changes something."""
    return [
        lambda: vendor.outreach.add_to_sequence(7, 3),
        lambda: vendor.outreach.act(STATE, 31, "pause"),
        lambda: vendor.outreach.remove_state(31),
    ]


@pytest.mark.parametrize(
    "status, words",
    [
        (422, "validationError: has already been in this sequence"),
        (403, "Outreach forbids it: validationError: has already been in this sequence"),
        (405, "Outreach does not know how: validationError: has already been in this sequence"),
        (400, "validationError: has already been in this sequence"),
    ],
)
def test_a_refusal_is_the_vendor_s_words(status: int, words: str, vendor: Vendor, reply: Reply) -> None:
    """Whatever refuses just this action stops nothing else, a missing permission neither; it is sent once."""
    vendor.says(reply({"errors": [{"id": "validationError", "detail": "has already been in this sequence"}]}, status))
    for ask in asks(vendor):
        with pytest.raises(errors.InvalidField) as caught:
            ask()
        assert caught.value.words == words
    assert len(vendor.requests) == 3


@pytest.mark.parametrize("answer", [httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("cut"), httpx.Response(502)])
def test_without_a_reply_nobody_knows(answer: httpx.Response | Exception, vendor: Vendor) -> None:
    """What may have happened is told apart, and sent once."""
    vendor.says(answer)
    for ask in asks(vendor):
        with pytest.raises(base.Unanswered):
            ask()
    assert len(vendor.requests) == 3


def test_a_new_state_of_what_is_not_there_is_a_refusal(vendor: Vendor, reply: Reply) -> None:
    """404 on an enrolment is about this prospect or sequence, not about the whole integration."""
    vendor.says(
        reply({"errors": [{"id": "resourceNotFound", "detail": "Could not find 'prospect' with ID '7'."}]}, 404)
    )
    with pytest.raises(errors.InvalidField, match="resourceNotFound"):
        vendor.outreach.add_to_sequence(7, 3)


def test_an_action_answered_with_another_record_proves_nothing(vendor: Vendor, reply: Reply) -> None:
    """The receipt must carry the id that was asked about."""
    vendor.says(reply(told("sequenceState", 32, state="paused")))
    with pytest.raises(base.Unanswered):
        vendor.outreach.act(STATE, 31, "pause")


def test_the_states_of_a_pair(vendor: Vendor, reply: Reply) -> None:
    """They are asked for by prospect and sequence at once."""
    vendor.says(reply({"data": [told("sequenceState", 31, state="active")["data"]]}))
    (state,) = vendor.outreach.states_of([7], 3, attributes=("state",), relations=("prospect",))
    assert (state.ref.id, state.fields) == (31, {"state": "active"})
    query = dict(vendor.requests[0].url.params)
    assert (query["filter[prospect][id]"], query["filter[sequence][id]"]) == ("7", "3")


def test_the_mailboxes_of_a_user(vendor: Vendor, reply: Reply) -> None:
    """Lowest first, and none that cannot send."""
    rows = [
        {"type": "mailbox", "id": "9", "attributes": {"sendDisabled": False}},
        {"type": "mailbox", "id": 4, "attributes": {"sendDisabled": True}},
        {"type": "mailbox", "id": 6, "attributes": {}},
    ]
    vendor.says(reply({"data": rows}))
    assert vendor.outreach.mailboxes_of(3) == [6, 9]
    assert vendor.requests[0].url.path == "/api/v2/mailboxes"
    assert vendor.requests[0].url.params["filter[userId]"] == "3"


def test_a_mailbox_by_its_address(vendor: Vendor, reply: Reply) -> None:
    """Regardless of case, by a filter on the address."""
    vendor.says(reply({"data": [{"type": "mailbox", "id": 4, "attributes": {"email": "Sales@Seller.example"}}]}))
    assert vendor.outreach.ids_by_email("mailboxes", "mailbox", ["sales@seller.example"]) == {"sales@seller.example": 4}
    assert vendor.requests[0].url.params["filter[email]"] == "sales@seller.example"
