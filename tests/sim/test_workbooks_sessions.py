from __future__ import annotations

import re

import httpx
import pytest

from tests.sim.workbooks_caller import Caller

LOGIN = [("client", "api"), ("api_version", "1")]
PEOPLE = "/crm/people.api"


def signed_in(crm: Caller, *more: tuple[str, str]) -> httpx.Response:
    """Sign in with the key."""
    return crm.form("/login.api", [*LOGIN, *more])


def test_an_unknown_key_is_refused_with_its_reason() -> None:
    """A request with a key nobody issued is 401 and says why."""
    answer = Caller().form(PEOPLE, [("_method", "GET")], key="wrong")
    assert (answer.status_code, answer.json()["failure_reason"]) == (401, "unrecognised_name_or_password")


@pytest.mark.parametrize(
    "about, status, reason",
    [
        ({"disabled": True}, 401, "login_disabled"),
        ({"expires": "2026-11-20T14:59:59+00:00"}, 401, "unrecognised_name_or_password"),
        ({"disabled": True, "status": 403, "reason": "no_permission_for_api"}, 403, "no_permission_for_api"),
    ],
)
def test_a_key_that_no_longer_serves_is_refused(about: dict[str, object], status: int, reason: str) -> None:
    """Disabled and expired keys are refused as told to, on every way in."""
    crm = Caller(keys={"old": about})
    for path, pairs in ((PEOPLE, [("_method", "GET")]), ("/login.api", LOGIN)):
        answer = crm.form(path, pairs, key="old")
        assert (answer.status_code, answer.json()["failure_reason"]) == (status, reason)


def test_a_caller_without_a_name_is_refused() -> None:
    """A User-Agent is mandatory."""
    answer = Caller().http.post(PEOPLE, data={"_method": "GET", "api_key": "sim-key"}, headers={"User-Agent": ""})
    assert (answer.status_code, answer.json()["failure_reason"]) == (403, "user_agent_required")


def test_nobody_is_let_in_without_key_or_session() -> None:
    """Neither key nor cookie is 401 no_session."""
    answer = Caller().form(PEOPLE, [("_method", "GET")], key=None)
    assert (answer.status_code, answer.json()["failure_reason"]) == (401, "no_session")


def test_a_login_tells_what_the_vendors_clients_read() -> None:
    """The reply has the manual's keys, and a cookie spelt so that the vendor's regular expressions find it."""
    answer = signed_in(Caller(database_id=9, database_name="Copy"))
    told = answer.json()
    assert told["logical_database_id"] == told["default_database_id"] == 9
    assert told["database_name"] == "Copy"
    assert (told["user_id"], told["login_name"], told["timezone"]) == (2, "sim@example.invalid", "London")
    assert told["databases"][0]["id"] == 9
    assert told["database_instance_id"] == 120009
    assert told["api_version"] == 1
    assert told["my_queues"]["Private::Crm::PersonQueue"] == 3
    cookie = answer.headers["set-cookie"]
    assert re.match(r"Workbooks-Session=([0-9a-f]{32});", cookie)
    assert told["session_id"] in cookie


def test_a_fast_login_leaves_the_queues_out() -> None:
    """_fast_login spares my_queues."""
    assert "my_queues" not in signed_in(Caller(), ("_fast_login", "1")).json()


def test_a_session_reads_by_its_cookie_and_writes_only_with_its_token() -> None:
    """The cookie is enough to read; a change without the authenticity token is refused."""
    crm = Caller()
    token = signed_in(crm).json()["authenticity_token"]
    assert crm.form(PEOPLE, [("_method", "GET")], key=None).json()["success"] is True
    create = [("_method", "PUT"), ("__method[]", "POST"), ("id[]", "0"), ("lock_version[]", "0"), ("name[]", "Ann Lee")]
    refused = crm.form(PEOPLE, create, key=None)
    assert (refused.status_code, refused.json()["failure_reason"]) == (403, "invalid_authenticity_token")
    done = crm.form(PEOPLE, [("_authenticity_token", token), *create], key=None)
    assert done.json()["affected_objects"][0]["name"] == "Ann Lee"


def test_a_logout_is_a_redirect_and_kills_the_session() -> None:
    """302 is what success looks like, and what a dead session meets."""
    crm = Caller()
    signed_in(crm)
    assert crm.form("/logout", [], key=None).status_code == 302
    answer = crm.form(PEOPLE, [("_method", "GET")], key=None)
    assert (answer.status_code, answer.headers["location"]) == (302, "/login")


def test_a_session_dies_of_eight_idle_hours() -> None:
    """After more than eight hours without a call the session is dead."""
    crm = Caller()
    signed_in(crm)
    crm.app.clock.shift(8 * 3600)
    assert crm.form(PEOPLE, [("_method", "GET")], key=None).status_code == 200
    crm.app.clock.shift(8 * 3600 + 1)
    assert crm.form(PEOPLE, [("_method", "GET")], key=None).status_code == 302


def test_name_and_password_and_reconnecting() -> None:
    """A password signs in; its session id, with the same name, signs in once more and is then spent."""
    crm = Caller(users={"ann@example.org": "pw"})
    first = crm.form("/login.api", [*LOGIN, ("username", "ann@example.org"), ("password", "pw")], key=None).json()
    again = [*LOGIN, ("username", "ann@example.org"), ("session_id", first["session_id"]), ("logical_database_id", "7")]
    second = crm.form("/login.api", again, key=None).json()
    assert second["session_id"] != first["session_id"]
    assert crm.form("/login.api", again, key=None).json()["failure_reason"] == "no_session_found"
    wrong = crm.form("/login.api", [*LOGIN, ("username", "ann@example.org"), ("password", "no")], key=None)
    assert wrong.json()["failure_reason"] == "unrecognised_name_or_password"


def test_several_databases_must_be_chosen_from() -> None:
    """A password that opens several databases is told them and asked for one."""
    crm = Caller(users={"ann@example.org": "pw"}, databases={8: "Archive"})
    login = [*LOGIN, ("username", "ann@example.org"), ("password", "pw")]
    told = crm.form("/login.api", login, key=None)
    assert (told.status_code, told.json()["failure_reason"]) == (403, "no_database_selection_made")
    assert [one["id"] for one in told.json()["databases"]] == [7, 8]
    assert crm.form("/login.api", [*login, ("logical_database_id", "7")], key=None).status_code == 200


def test_a_login_must_say_that_it_is_an_api_client() -> None:
    """client=api is mandatory at login."""
    assert Caller().form("/login.api", [("api_version", "1")]).status_code == 406


def test_where_a_record_came_from_is_the_application_or_the_first_word_of_the_user_agent() -> None:
    """created_through is _application_name, else the User-Agent up to blank or slash."""
    crm = Caller()
    assert crm.person()["created_through"] == "Checker"
    signed_in(crm, ("_application_name", "Sync Tool"))
    token = signed_in(crm, ("_application_name", "Sync Tool")).json()["authenticity_token"]
    create = [("_method", "PUT"), ("__method[]", "POST"), ("id[]", "0"), ("lock_version[]", "0"), ("name[]", "Bo Ray")]
    reply = crm.form(PEOPLE, [("_authenticity_token", token), *create], key=None).json()
    assert reply["affected_objects"][0]["created_through"] == "Sync Tool"
