from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from worker.core import errors, records
from worker.remote import base

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.remote.conftest import Vendor

    Reply = Callable[..., httpx.Response]

STATE = records.Kind.STATE
PROSPECT = records.Kind.PROSPECT


def state(number: object = 501, **attributes: object) -> dict[str, Any]:
    """Return one sequence state as the vendor writes it (facts, section 11)."""
    return {
        "type": "sequenceState",
        "id": number,
        "attributes": {"state": "paused", "errorReason": None, "updatedAt": "2026-03-02T10:00:00.000Z", **attributes},
        "relationships": {
            "prospect": {"data": {"type": "prospect", "id": 9}},
            "sequence": {"data": {"type": "sequence", "id": "18"}},
            "account": {"data": None},
            "mailbox": {"type": "mailbox", "id": 1},
            "calls": {"links": {"related": "https://sim.invalid/api/v2/calls"}},
            "activeStepTasks": {"data": [], "meta": {"count": 0}},
        },
        "links": {"self": f"https://sim.invalid/api/v2/sequenceStates/{number}"},
    }


def prospect(number: int, *emails: str) -> dict[str, Any]:
    """Return one prospect as the vendor writes it."""
    return {"type": "prospect", "id": number, "attributes": {"emails": list(emails), "firstName": "Ann"}}


def read(vendor: Vendor, link: str | None = None) -> base.Page:
    """Return one page of sequence states with two attributes and all the odd relations."""
    relations = ("prospect", "sequence", "account", "mailbox", "calls", "activeStepTasks", "opportunity")
    return vendor.outreach.page(
        STATE, attributes=("state", "errorReason", "pauseReason"), relations=relations, link=link
    )


def test_a_page_is_asked_for_in_order_and_in_part(vendor: Vendor, reply: Reply) -> None:
    """The stream is read by cursor, without a count, by updatedAt from a whole second on, only the wanted columns."""
    vendor.says(reply({"data": []}))
    since = datetime(2026, 11, 20, 16, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=1)))
    vendor.outreach.page(STATE, attributes=["state"], relations=["prospect"], since=since, size=250)
    request = vendor.requests[0]
    assert (request.method, request.url.path) == ("GET", "/api/v2/sequenceStates")
    assert dict(request.url.params) == {
        "page[size]": "250",
        "count": "false",
        "sort": "updatedAt",
        "fields[sequenceState]": "state,updatedAt,prospect",
        "filter[updatedAt]": "2026-11-20T15:59:59Z..inf",
    }
    assert request.headers["content-type"] == request.headers["accept"] == "application/vnd.api+json"
    assert request.headers["authorization"] == "Bearer bearer-token-one"


def test_a_page_keeps_absent_null_and_empty_apart(vendor: Vendor, reply: Reply) -> None:
    """Only what was asked for and told is in a snapshot; a null is None, a relation without data is not there."""
    vendor.says(reply({"data": [state(createdAt="x"), state("502", state="")], "links": {}, "meta": {"count": None}}))
    first, second = read(vendor).snapshots
    assert first.ref == records.Ref(STATE, 501)
    assert first.fields == {"state": "paused", "errorReason": None}
    assert first.relations == {"prospect": 9, "sequence": 18, "account": None}
    assert first.updated_at == datetime(2026, 3, 2, 10, tzinfo=UTC)
    assert (first.version, first.deleted) == (None, False)
    assert (second.ref.id, second.fields["state"]) == (502, "")


def test_one_odd_record_does_not_spoil_its_page(vendor: Vendor, reply: Reply) -> None:
    """A record of an unexpected shape is read as far as it is legible, its neighbours in full."""
    odd = state(503)
    odd["attributes"] = None
    odd["relationships"] = {
        "prospect": 7,
        "sequence": {"data": {"type": "sequence", "id": [1]}},
        "account": {"data": None},
    }
    vendor.says(reply({"data": [state(), odd], "links": {"next": "http://127.0.0.1:9/n"}}))
    page = read(vendor)
    assert [snapshot.ref.id for snapshot in page.snapshots] == [501, 503]
    assert page.snapshots[0].fields == {"state": "paused", "errorReason": None}
    assert page.snapshots[0].relations == {"prospect": 9, "sequence": 18, "account": None}
    assert (page.snapshots[1].fields, page.snapshots[1].relations) == ({}, {"account": None})
    assert page.snapshots[1].updated_at is None
    assert page.next == "http://127.0.0.1:9/n"


def test_attributes_need_be_no_identifiers(vendor: Vendor, reply: Reply) -> None:
    """Any name of an attribute can be asked for."""
    vendor.says(reply({"data": [state(**{"class": 1, "x-y": [2]})]}))
    page = vendor.outreach.page(STATE, attributes=["class", "x-y", "updatedAt"], relations=[])
    assert page.snapshots[0].fields == {"class": 1, "x-y": [2], "updatedAt": "2026-03-02T10:00:00.000Z"}


def test_the_servers_time_comes_with_a_page(vendor: Vendor, reply: Reply) -> None:
    """A page tells the server's clock, ours where the server tells none."""
    vendor.says(reply({"data": []}, date="Fri, 20 Nov 2026 14:58:30 GMT"), reply({"data": []}, date=None))
    assert read(vendor).server_time == datetime(2026, 11, 20, 14, 58, 30, tzinfo=UTC)
    assert read(vendor).server_time == datetime(2026, 11, 20, 15, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "links, following",
    [
        (
            {"next": "http://127.0.0.1:9/api/v2/sequenceStates?page%5Bafter%5D=a%3D"},
            "http://127.0.0.1:9/api/v2/sequenceStates?page%5Bafter%5D=a%3D",
        ),
        ({"next": {"href": "http://127.0.0.1:9/n"}}, "http://127.0.0.1:9/n"),
        ({"next": "/n?x=1"}, "/n?x=1"),
        ({"next": None, "first": "http://127.0.0.1:9/f"}, None),
        ({"next": ""}, None),
        ({}, None),
        ([], None),
        (None, None),
    ],
)
def test_the_next_link_in_every_form(links: object, following: str | None, vendor: Vendor, reply: Reply) -> None:
    """The next link is handed on as it stands; its absence in any form is the last page."""
    vendor.says(reply({"data": [], "links": links}))
    assert read(vendor).next == following


def test_a_link_is_followed_as_it_stands(vendor: Vendor, reply: Reply) -> None:
    """A next link is asked for unchanged, with nothing of ours added, and authorised."""
    vendor.says(reply({"data": [state()]}))
    link = "http://127.0.0.1:9/api/v2/sequenceStates?page%5Bsize%5D=1000&page%5Bafter%5D=eyJpIjo1MDF9"
    assert len(read(vendor, link=link).snapshots) == 1
    assert str(vendor.requests[0].url) == link
    assert "authorization" in vendor.requests[0].headers


@pytest.mark.parametrize(
    "link", ["https://api.evil.example/api/v2/x", "http://127.0.0.1:90/x", "https://127.0.0.1:9/x"]
)
def test_a_foreign_link_is_neither_followed_nor_handed_on(link: str, vendor: Vendor, reply: Reply) -> None:
    """A link to another place breaks the contract, and no token goes there."""
    vendor.says(reply({"data": [], "links": {"next": link}}))
    with pytest.raises(errors.ContractBroken):
        read(vendor)
    with pytest.raises(errors.ContractBroken):
        read(vendor, link=link)
    assert len(vendor.requests) == 1


def test_a_cursor_that_does_not_move_breaks_the_contract(vendor: Vendor, reply: Reply) -> None:
    """A next link equal to the one just followed would be an endless loop."""
    link = "http://127.0.0.1:9/api/v2/sequenceStates?page%5Bafter%5D=a"
    vendor.says(reply({"data": [state()], "links": {"next": link}}))
    assert read(vendor).next == link
    with pytest.raises(errors.ContractBroken, match="cursor did not move"):
        read(vendor, link=link)


GARBAGE = [
    b"",
    b"<html><body>Sign in</body></html>",
    b'{"data":[{"type":"sequenceState","id":1,"attributes":{"st',
    b'{"data":[{"id":1,"attributes":{"state":NaN}}]}',
    b'{"data":[{"id":1,"attributes":{"state":1e999}}]}',
    b'{"data":[{"id":1,"attributes":{"state":"\xff"}}]}',
    b'{"data":[{"id":1,"attributes":{"state":' + b"[" * 100_000,
    b"null",
    b"[]",
    b'"ok"',
    b"{}",
    b'{"data":null}',
    b'{"data":{}}',
    b'{"data":[1]}',
    b'{"data":[null]}',
    b'{"data":[{"type":"sequenceState"}]}',
    b'{"data":[{"type":"sequenceState","id":null}]}',
    b'{"data":[{"type":"sequenceState","id":0}]}',
    b'{"data":[{"type":"sequenceState","id":-4}]}',
    b'{"data":[{"type":"sequenceState","id":"abc"}]}',
    b'{"data":[{"type":"account","id":1}]}',
    b'{"data":[],"errors":[{"id":"internal"}]}',
    b'{"errors":[{"id":"internal","detail":"try later"}]}',
]


@pytest.mark.parametrize("body", GARBAGE)
def test_garbage_is_never_an_empty_page(body: bytes, vendor: Vendor, reply: Reply) -> None:
    """Whatever is no list of our records is RemoteDown after four tries, whatever its status says."""
    vendor.says(reply(raw=body))
    with pytest.raises(errors.RemoteDown):
        read(vendor)
    assert len(vendor.requests) == 4


def test_garbage_may_pass_by_itself(vendor: Vendor, reply: Reply) -> None:
    """One unreadable answer costs a retry and nothing else."""
    vendor.says(reply(raw="<html>"), reply({"data": [state()]}))
    assert len(read(vendor).snapshots) == 1


def test_a_vendors_own_error_under_200_is_quoted(vendor: Vendor, reply: Reply) -> None:
    """Errors under status 200 are no data, and their words survive."""
    vendor.says(reply({"errors": [{"id": "internal", "detail": "try later"}]}))
    with pytest.raises(errors.RemoteDown, match="internal: try later"):
        read(vendor)


def test_a_refused_token_is_renewed_once(vendor: Vendor, reply: Reply) -> None:
    """401 renews the token and repeats the request once, a write too, for it was not carried out."""
    vendor.says(reply({"error": "Invalid JWT token."}, 401), reply({"data": []}))
    read(vendor)
    assert vendor.tokens.refused == ["bearer-token-one"]
    assert vendor.requests[1].headers["authorization"] == "Bearer bearer-token-two"
    vendor.tokens.current = "bearer-token-one"
    vendor.says(reply({}, 401), reply({"data": prospect(7)}))
    assert vendor.outreach.update_prospect(7, {"firstName": "Bo"}).ref.id == 7
    assert vendor.counted == 4


def test_a_second_refusal_needs_a_person(vendor: Vendor, reply: Reply) -> None:
    """A fresh token that is refused too is AuthRevoked with the gateway's words, and there is no third try."""
    vendor.says(reply({"error": "Invalid JWT token.", "description": "The JWT token could not be decoded."}, 401))
    with pytest.raises(errors.AuthRevoked, match="could not be decoded"):
        read(vendor)
    assert len(vendor.requests) == 2


def test_a_missing_scope_is_named(vendor: Vendor, reply: Reply) -> None:
    """403 stops the side and repeats which scope is missing."""
    vendor.says(
        reply(
            {"errors": [{"id": "unauthorizedOauthScope", "detail": "needs one of: prospects.read, prospects.all"}]}, 403
        )
    )
    for call in (lambda: read(vendor), lambda: vendor.outreach.update_prospect(7, {"title": "x"})):
        with pytest.raises(errors.AuthRevoked, match=r"unauthorizedOauthScope: needs one of: prospects\.read"):
            call()
    assert len(vendor.requests) == 2


def test_throttling_tells_how_long(vendor: Vendor, reply: Reply) -> None:
    """429 with the reset as epoch seconds is Throttled for the seconds until then."""
    vendor.says(
        reply({"errors": [{"id": "rateLimitExceeded"}]}, 429, retry_after="1795188600", x_ratelimit_remaining="0, 5")
    )
    with pytest.raises(errors.Throttled, match="rateLimitExceeded") as caught:
        read(vendor)
    assert caught.value.retry_after_s == 1800.0
    assert vendor.outreach.rate_limit == base.RateLimit(None, 0, None)


@pytest.mark.parametrize("status", [400, 404, 410, 422])
def test_a_dead_link_means_from_the_watermark(status: int, vendor: Vendor, reply: Reply) -> None:
    """A stored link that is refused is told apart from a broken contract; without a link it is one."""
    vendor.says(reply({"errors": [{"id": "x", "detail": "expired"}]}, status))
    with pytest.raises(base.LinkRefused, match="expired"):
        read(vendor, link="http://127.0.0.1:9/n")
    with pytest.raises(errors.ContractBroken, match="expired"):
        read(vendor)
    assert len(vendor.requests) == 2


def test_details_are_read_in_the_plural_too(vendor: Vendor, reply: Reply) -> None:
    """415 spells its text `details`."""
    vendor.says(reply({"errors": [{"id": "unsupportedMediaType", "title": "U", "details": "use the right one"}]}, 415))
    with pytest.raises(errors.ContractBroken, match="415: unsupportedMediaType: use the right one"):
        read(vendor)


@pytest.mark.parametrize("status", [301, 302, 204])
def test_a_redirect_is_no_answer(status: int, vendor: Vendor, reply: Reply) -> None:
    """Outreach redirects nobody: whoever answers so is not Outreach."""
    vendor.says(reply(raw="", status=status, location="http://127.0.0.1:9/login"))
    with pytest.raises(errors.RemoteDown, match=str(status)):
        read(vendor)
    with pytest.raises(errors.RemoteDown):
        vendor.outreach.update_prospect(7, {})


def test_records_by_id_are_asked_in_chunks_and_to_the_end(vendor: Vendor, reply: Reply) -> None:
    """201 ids take two questions, each paged to its end, and a record told twice counts once."""
    following = {"next": "http://127.0.0.1:9/api/v2/sequenceStates?page%5Bafter%5D=a"}
    vendor.says(
        reply({"data": [state(1)], "links": following}),
        reply({"data": [state(2), state(1)]}),
        reply({"data": [state(201)]}),
    )
    found = vendor.outreach.by_ids(STATE, [*range(1, 202), 5], attributes=["state"], relations=[])
    assert [snapshot.ref.id for snapshot in found] == [1, 2, 201]
    assert vendor.requests[0].url.params["filter[id]"] == ",".join(map(str, range(1, 201)))
    assert vendor.requests[2].url.params["filter[id]"] == "201"
    assert vendor.outreach.by_ids(STATE, [], attributes=["state"], relations=[]) == []
    assert len(vendor.requests) == 3


def test_a_filter_that_is_not_honoured_is_noticed(vendor: Vendor, reply: Reply) -> None:
    """Records nobody asked for mean that absence proves nothing; pages without end likewise."""
    vendor.says(reply({"data": [state(1), state(77)]}))
    with pytest.raises(errors.ContractBroken, match=r"filter\[id\]"):
        vendor.outreach.by_ids(STATE, [1, 2], attributes=["state"], relations=[])
    vendor.says(*(reply({"data": [], "links": {"next": f"/api/v2/prospects?page={n}"}}) for n in range(40)))
    with pytest.raises(errors.ContractBroken, match="no end"):
        vendor.outreach.prospects_by_email(["ann@x.example"], attributes=[])


def test_a_half_answered_look_up_is_no_answer(vendor: Vendor, reply: Reply) -> None:
    """If the second page fails, the first one is not passed off as all there is."""
    vendor.says(reply({"data": [state(1)], "links": {"next": "/api/v2/sequenceStates?page=2"}}), reply(raw="<html>"))
    with pytest.raises(errors.RemoteDown):
        vendor.outreach.by_ids(STATE, [1, 2], attributes=["state"], relations=[])


def test_prospects_are_found_by_address(vendor: Vendor, reply: Reply) -> None:
    """Each address is asked for as given and in lower case; awkward ones as an array; emails always come along."""
    vendor.says(reply({"data": [prospect(9, "ann@x.example")]}), reply({"data": [prospect(10, "a,b@x.example")]}))
    addresses = ["Ann@X.example", "bo@x.example", "a,b@x.example", "a..b@x.example", " ", ""]
    found = vendor.outreach.prospects_by_email(addresses, attributes=["firstName"])
    assert [(one.ref.id, one.fields["emails"]) for one in found] == [(9, ["ann@x.example"]), (10, ["a,b@x.example"])]
    plain, awkward = (request.url.params for request in vendor.requests)
    assert plain["filter[emails]"] == "Ann@X.example,ann@x.example,bo@x.example"
    assert "newFilterSyntax" not in plain
    assert plain["fields[prospect]"] == "firstName,emails,updatedAt,trashedAt"
    assert awkward.get_list("filter[emails][]") == ["a,b@x.example", "a..b@x.example"]
    assert awkward["newFilterSyntax"] == "true"


def test_no_address_asks_nothing(vendor: Vendor) -> None:
    """Without an address nothing is asked, for an empty filter would match everybody."""
    assert vendor.outreach.prospects_by_email(["", "  "], attributes=[]) == []
    assert vendor.requests == []


@pytest.mark.parametrize(
    "document, identity",
    [
        ({"meta": {"org": {"id": 5, "guid": "0f-1", "name": "Acme"}, "token": {"id": 9}}}, "0f-1"),
        ({"data": {"type": "organization", "id": 12, "attributes": {"name": "Acme"}}}, "12"),
        ({"data": {"type": "root", "attributes": {"orgId": 31, "orgShortname": "acme", "userId": 4}}}, "31"),
        ({"data": {"relationships": {"org": {"data": {"type": "org", "id": "77"}}}}}, "77"),
        ({"instance": "eu2"}, "eu2"),
        ({"links": {"organization": "http://127.0.0.1:9/o/1"}, "data": {"type": "user", "id": 4}}, None),
        ({"forgot": 1, "morgue": 2}, None),
        ([], None),
    ],
)
def test_the_organisation_is_found_wherever_it_stands(
    document: object, identity: str | None, vendor: Vendor, reply: Reply
) -> None:
    """The root's answer is searched for an organisation's identity, a guid before an id before a name."""
    vendor.says(reply(document))
    assert vendor.outreach.identity() == identity


def test_no_identity_where_the_root_is_closed(vendor: Vendor, reply: Reply) -> None:
    """A root that is not there tells nothing; one that is down is down."""
    vendor.says(reply({"errors": []}, 404))
    assert vendor.outreach.identity() is None
    vendor.says(reply(raw="<html>"))
    with pytest.raises(errors.RemoteDown):
        vendor.outreach.identity()
