from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from worker.core import errors
from worker.remote import base, outreach

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.remote.conftest import Vendor

    Reply = Callable[..., httpx.Response]


def refresh(vendor: Vendor) -> outreach.TokenPair:
    """Refresh with invented credentials."""
    return outreach.refresh(
        vendor.client,
        client_id="client-1",
        client_secret="secret-word",
        redirect_uri="https://outbook.example/done",
        refresh_token="refresh-old",
    )


def test_a_refresh_is_a_form(vendor: Vendor, reply: Reply) -> None:
    """The token endpoint gets the five fields as a form, and no bearer token."""
    vendor.says(
        reply({"access_token": "acc", "refresh_token": "ref", "expires_in": 7200, "created_at": 1795186800}, 201)
    )
    pair = refresh(vendor)
    assert pair == outreach.TokenPair("acc", "ref", datetime(2026, 11, 20, 17, 0, tzinfo=UTC))
    request = vendor.requests[0]
    assert (request.method, request.url.path) == ("POST", "/oauth/token")
    assert dict(vendor.form()) == {
        "client_id": "client-1",
        "client_secret": "secret-word",
        "redirect_uri": "https://outbook.example/done",
        "grant_type": "refresh_token",
        "refresh_token": "refresh-old",
    }
    assert "authorization" not in request.headers


@pytest.mark.parametrize(
    "told, expires_at",
    [
        ({"expires_in": 60}, datetime(2026, 11, 20, 15, 1, tzinfo=UTC)),
        ({"expires_in": "60", "created_at": "1795186800"}, datetime(2026, 11, 20, 15, 1, tzinfo=UTC)),
        ({}, datetime(2026, 11, 20, 17, 0, tzinfo=UTC)),
        ({"expires_in": None, "created_at": True}, datetime(2026, 11, 20, 17, 0, tzinfo=UTC)),
        ({"expires_in": 10**17}, datetime(2026, 11, 20, 17, 0, tzinfo=UTC)),
    ],
)
def test_the_end_of_a_token_by_the_servers_clock(
    told: dict[str, Any], expires_at: datetime, vendor: Vendor, reply: Reply
) -> None:
    """A token ends expires_in after created_at, or after the server's Date; two hours where nothing is told."""
    vendor.says(reply({"access_token": "acc", **told}))
    pair = refresh(vendor)
    assert (pair.expires_at, pair.refresh_token) == (expires_at, "refresh-old")


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refused_refresh_needs_a_person(status: int, vendor: Vendor, reply: Reply) -> None:
    """A refused refresh token says why, once, and repeats neither the token nor the secret."""
    told = "no grant refresh-old for secret-word"
    vendor.says(reply({"error": "invalid_grant", "error_description": told}, status))
    with pytest.raises(errors.AuthRevoked, match=r"invalid_grant: no grant \[hidden\] for \[hidden\]"):
        refresh(vendor)
    assert len(vendor.requests) == 1


def test_one_token_a_minute(vendor: Vendor, reply: Reply) -> None:
    """429 from the token endpoint means a minute where it tells no time."""
    vendor.says(reply({}, 429))
    with pytest.raises(errors.Throttled) as caught:
        refresh(vendor)
    assert caught.value.retry_after_s == 60.0
    vendor.says(reply({}, 429, retry_after="31"))
    with pytest.raises(errors.Throttled) as caught:
        refresh(vendor)
    assert caught.value.retry_after_s == 31.0


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ReadTimeout("slow"),
        httpx.Response(500),
        httpx.Response(302),
        httpx.Response(404),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={}),
        httpx.Response(200, json={"access_token": ""}),
        httpx.Response(200, json={"access_token": 7}),
        httpx.Response(200, json={"access_token": "two\nlines"}),
    ],
)
def test_a_refresh_without_a_pair_is_never_repeated(answer: httpx.Response | Exception, vendor: Vendor) -> None:
    """Nobody knows whether the old refresh token still lives: the client does not try again by itself."""
    vendor.says(answer)
    with pytest.raises(base.Unanswered):
        refresh(vendor)
    assert len(vendor.requests) == 1


def test_a_pair_has_no_readable_form() -> None:
    """Printing a pair shows neither token."""
    text = repr(outreach.TokenPair("acc-secret", "ref-secret", datetime(2026, 1, 1, tzinfo=UTC)))
    assert "secret" not in text
