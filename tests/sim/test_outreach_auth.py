from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from worker.sim import control, outreach
from worker.sim.outreach import Options

FORM = {
    "client_id": "sim-client",
    "client_secret": "sim-secret",
    "redirect_uri": "https://app.example/callback",
    "grant_type": "refresh_token",
}


def open_client(**options: control.Json) -> httpx.Client:
    """A client of a small organisation, without a token."""
    app = outreach.build(records=5, options=Options(**options))
    return httpx.Client(transport=httpx.WSGITransport(app), base_url="http://sim.test")


def refresh(client: httpx.Client, token: str = "sim-refresh") -> httpx.Response:
    """The answer to a refresh."""
    return client.post("/oauth/token", data={**FORM, "refresh_token": token})


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


def test_a_refresh_answers_with_a_new_pair() -> None:
    """Both tokens are new, the access token works, and the members are those clients read."""
    with open_client() as client:
        answer = refresh(client)
        pair = answer.json()
        assert answer.status_code == 200
        assert set(pair) == {"access_token", "token_type", "expires_in", "refresh_token", "scope", "created_at"}
        assert (pair["token_type"], pair["expires_in"]) == ("Bearer", 7200)
        assert pair["refresh_token"] != "sim-refresh"
        assert client.get("/api/v2/users", headers=bearer(pair["access_token"])).status_code == 200


def test_json_bodies_and_a_missing_redirect_uri_are_accepted() -> None:
    """Clients that send JSON, or no redirect_uri on refresh, are served."""
    with open_client() as client:
        sent = {name: value for name, value in FORM.items() if name != "redirect_uri"}
        answer = client.post("/oauth/token", json={**sent, "refresh_token": "sim-refresh"})
        assert answer.status_code == 200


def test_lenient_refresh_takes_an_old_token_again() -> None:
    """By default a used refresh token stays good."""
    with open_client() as client:
        assert refresh(client).status_code == 200
        assert refresh(client).status_code == 200


def test_strict_refresh_refuses_a_used_token() -> None:
    """In strict mode reuse is a 400 invalid_grant, while the rotated one works once."""
    with open_client(strict_refresh=True) as client:
        rotated = refresh(client).json()["refresh_token"]
        again = refresh(client)
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
        assert refresh(client, rotated).status_code == 200
        assert refresh(client, rotated).status_code == 400


def test_tokens_expire_by_the_simulated_clock() -> None:
    """An access token ends after two hours, a refresh token after fourteen days."""
    with open_client() as client:
        pair = refresh(client).json()
        client.post("/_sim/clock", json={"shift": 7100})
        assert client.get("/api/v2/users", headers=bearer(pair["access_token"])).status_code == 200
        client.post("/_sim/clock", json={"shift": 200})
        expired = client.get("/api/v2/users", headers=bearer(pair["access_token"]))
        assert expired.status_code == 401
        assert "errors" not in expired.json()
        client.post("/_sim/clock", json={"shift": 14 * 86_400})
        assert refresh(client, pair["refresh_token"]).status_code == 400
        assert refresh(client).status_code == 400


def test_an_unknown_bearer_gets_the_gateways_401() -> None:
    """The shape is the measured one, which is no JSON:API."""
    with open_client() as client:
        answer = client.get("/api/v2/users", headers=bearer("nonsense"))
        assert answer.status_code == 401
        assert answer.json() == {
            "error": "Invalid JWT token.",
            "description": "The JWT token could not be decoded.",
        }
        assert client.get("/api/v2/users").status_code == 401


@pytest.mark.parametrize(
    "changed, error",
    [
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"refresh_token": "unknown"}, "invalid_grant"),
    ],
)
def test_a_bad_token_request_is_named(changed: dict[str, str], error: str) -> None:
    """Each mistake has its own error."""
    with open_client() as client:
        answer = client.post("/oauth/token", data={**FORM, "refresh_token": "sim-refresh", **changed})
        assert answer.status_code in {400, 401}
        assert answer.json()["error"] == error


def test_the_mint_throttle_allows_one_a_minute() -> None:
    """The second mint within 60 s is a 429 without a reset header; a minute later it works."""
    with open_client(mint_throttle=True) as client:
        assert refresh(client).status_code == 200
        refused = refresh(client)
        assert refused.status_code == 429
        assert "x-ratelimit-reset" not in refused.headers
        client.post("/_sim/clock", json={"shift": 61})
        assert refresh(client).status_code == 200


def test_the_authorisation_round_trip() -> None:
    """The browser is sent back with code and state; the code is good once and carries the scopes asked for."""
    with open_client() as client:
        asked = {
            "client_id": "sim-client",
            "redirect_uri": "https://app.example/callback",
            "response_type": "code",
            "scope": "users.read",
            "state": "abc",
        }
        sent_back = client.get("/oauth/authorize", params=asked)
        assert sent_back.status_code == 302
        location = urlsplit(sent_back.headers["location"])
        told = parse_qs(location.query)
        assert (location.netloc, told["state"]) == ("app.example", ["abc"])
        redeem = {**FORM, "grant_type": "authorization_code", "code": told["code"][0]}
        pair = client.post("/oauth/token", data=redeem).json()
        assert pair["scope"] == "users.read"
        assert client.get("/api/v2/users", headers=bearer(pair["access_token"])).status_code == 200
        assert client.get("/api/v2/tasks", headers=bearer(pair["access_token"])).status_code == 403
        assert client.post("/oauth/token", data=redeem).status_code == 400


def test_a_missing_scope_is_named() -> None:
    """Scopes are not additive: write does not grant read, all grants each."""
    with open_client(scopes=frozenset({"prospects.write", "users.all"})) as client:
        answer = client.get("/api/v2/prospects", headers=bearer("sim-access"))
        error = answer.json()["errors"][0]
        assert (answer.status_code, error["id"]) == (403, "unauthorizedOauthScope")
        assert "prospects.read" in error["detail"]
        assert client.get("/api/v2/users", headers=bearer("sim-access")).status_code == 200


def test_scopes_may_differ_by_token() -> None:
    """One fixed token may do what another may not."""
    options: dict[str, Any] = {
        "access_tokens": frozenset({"wide", "narrow"}),
        "token_scopes": {"narrow": frozenset({"users.read"})},
    }
    with open_client(**options) as client:
        assert client.get("/api/v2/tasks", headers=bearer("wide")).status_code == 200
        assert client.get("/api/v2/tasks", headers=bearer("narrow")).status_code == 403


def test_the_hourly_limit_counts_down_and_refuses() -> None:
    """Each answer tells what is left; above the limit comes a 429, and the next hour starts afresh."""
    with open_client(hourly_calls=2) as client:
        client.post("/_sim/clock", json={"set": "2026-03-01T10:20:00Z"})
        first = client.get("/api/v2/users", headers=bearer("sim-access"))
        assert (first.headers["x-ratelimit-limit"], first.headers["x-ratelimit-remaining"]) == ("2", "1")
        assert first.headers["x-ratelimit-reset"] == "1772362800"
        client.get("/api/v2/users", headers=bearer("sim-access"))
        refused = client.get("/api/v2/users", headers=bearer("sim-access"))
        assert (refused.status_code, refused.json()["errors"][0]["id"]) == (429, "rateLimitExceeded")
        assert refused.headers["retry-after"] == "1772362800"
        client.post("/_sim/clock", json={"set": "2026-03-01T11:00:01Z"})
        assert client.get("/api/v2/users", headers=bearer("sim-access")).status_code == 200


@pytest.mark.parametrize(
    "form, told",
    [
        ("seconds", "30"),
        ("epoch", "1772360430"),
        ("iso", "2026-03-01T10:20:30Z"),
        ("http_date", "Sun, 01 Mar 2026 10:20:30 GMT"),
    ],
)
def test_a_throttle_fault_speaks_every_form(form: str, told: str) -> None:
    """``Retry-After`` of the same 30 seconds in each form that clients have to read."""
    with open_client() as client:
        client.post("/_sim/clock", json={"set": "2026-03-01T10:20:00.100Z", "freeze": True})
        client.post("/_sim/faults", json=[{"kind": "throttle", "args": {"retry_after": form, "seconds": 30}}])
        refused = client.get("/api/v2/users", headers=bearer("sim-access"))
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == told


def test_a_throttle_may_tell_nothing() -> None:
    """A 429 with neither ``Retry-After`` nor a reset has been seen; so has a literal one."""
    with open_client() as client:
        bare = {"kind": "throttle", "args": {"retry_after": "none", "headers": False}, "times": 1}
        client.post("/_sim/faults", json=[bare])
        refused = client.get("/api/v2/users", headers=bearer("sim-access"))
        assert "retry-after" not in refused.headers
        assert "x-ratelimit-reset" not in refused.headers
        client.post("/_sim/faults", json=[{"kind": "throttle", "args": {"retry_after": "soon"}}])
        assert client.get("/api/v2/users", headers=bearer("sim-access")).headers["retry-after"] == "soon"


def test_the_root_tells_the_organisation() -> None:
    """``GET /api/v2`` needs a token and names organisation, user and application."""
    with open_client() as client:
        told = client.get("/api/v2", headers=bearer("sim-access")).json()["meta"]
        assert told["org"] == {"id": "org-demo", "name": "Demo", "shortname": "demo"}
        assert client.get("/api/v2").status_code == 401
