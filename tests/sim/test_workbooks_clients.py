"""Requests spelt the way the vendor's PHP, Ruby and Python clients spell them, over a real socket and in-process."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import SplitResult, quote, quote_plus, urlsplit

import pytest

from worker.sim import workbooks
from worker.sim.control import running

PEOPLE = "/crm/people.api"
KEYED = "api_key=sim-key"


@pytest.fixture(scope="module")
def server() -> Iterator[SplitResult]:
    """A served database; its tests only add to it."""
    with running(workbooks.build(records=0), threads=2) as url:
        yield urlsplit(url)


def raw(server: SplitResult, head: str, body: str) -> tuple[str, Any]:
    """Send bytes as they are; returns the head of the answer and its JSON (None for other content)."""
    data = body.encode()
    text = f"{head}\r\nHost: {server.netloc}\r\nUser-Agent: client_test/0.1\r\nConnection: close\r\n"
    text += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(data)}\r\n\r\n"
    with socket.create_connection((server.hostname, server.port), timeout=5) as link:
        link.sendall(text.encode() + data)
        got = b"".join(iter(lambda: link.recv(65_536), b""))
    answered, _, content = got.partition(b"\r\n\r\n")
    is_json = b"application/json" in answered
    return answered.decode(), json.loads(content) if is_json else None


def square(objects: list[dict[str, str]], escape: Callable[[str], str]) -> str:
    """Spell objects as the clients do: names sorted, brackets inside names escaped, the trailing ones not."""
    return "&".join(
        f"{quote(name, safe='')}[]={escape(value)}" for one in objects for name, value in sorted(one.items())
    )


def test_php_creates_by_post_with_a_filter_for_each_object(server: SplitResult) -> None:
    """Everything is POST, the verb is in the body, _fm=or and a filter even for creates."""
    people = [
        {
            "__method": "POST",
            "id": "0",
            "lock_version": "0",
            "name": "Ann & Lee",
            "main_location[email]": "ann@example.org",
        },
        {"__method": "POST", "id": "0", "lock_version": "0", "name": "Bo Ray", "main_location[email]": ":no_value:"},
    ]
    filters = "_fm=or" + "&_ff[]=id&_ft[]=eq&_fc[]=0" * 2
    body = f"_method=PUT&client=api&{KEYED}&_api_version=1&{filters}&{square(people, quote_plus)}"
    head, reply = raw(server, f"POST {PEOPLE}?_dc=1795188346914 HTTP/1.1", body)
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert [one["name"] for one in reply["affected_objects"]] == ["Ann & Lee", "Bo Ray"]
    assert [one["success"] for one in reply["affected_object_information"]] == [True, True]
    assert reply["affected_objects"][0]["created_through"] == "client_test"


def test_php_reads_deltas_with_grouped_filters_and_an_expression(server: SplitResult) -> None:
    """All _ff[], then all _ft[], then all _fc[], blanks in the expression, placeholders for valueless filters."""
    body = (
        f"_method=GET&client=api&_start=0&_limit=100&_sort=id&_dir=ASC&_fm=1++++++AND+%282+OR++++3%29&{KEYED}"
        "&_ff[]=updated_at&_ff[]=is_deleted&_ff[]=is_deleted&_ft[]=ge&_ft[]=true&_ft[]=false"
        "&_fc[]=Fri+Jul+03+15%3A25%3A47+UTC+2020&_fc[]=&_fc[]=&_select_columns[]=id&_select_columns[]=is_deleted"
        "&_select_columns[]=created_by_user%5Bperson_name%5D"
    )
    _, reply = raw(server, f"POST {PEOPLE}?_dc=1 HTTP/1.1", body)
    assert reply["success"] is True
    assert all(set(row) == {"id", "is_deleted", "created_by_user[person_name]"} for row in reply["data"])


def test_php_also_escapes_the_brackets_of_filters(server: SplitResult) -> None:
    """_ff%5B%5D is _ff[]."""
    body = f"_method=GET&client=api&_ff%5B%5D=name&_ft%5B%5D=eq&_fc%5B%5D=nobody&{KEYED}"
    assert raw(server, f"POST {PEOPLE} HTTP/1.1", body)[1]["total"] == 0


def test_ruby_asks_with_an_absolute_target_and_a_body_on_get(server: SplitResult) -> None:
    """GET http://host/path with a form body, as Ruby's client sends it."""
    target = f"http://{server.netloc}/crm/organisations.api?_dc=1"
    body = f"{KEYED}&api_version=1&application_name=ruby_test_client&_method=GET&client=api&_start=0&_limit=1"
    head, reply = raw(server, f"GET {target} HTTP/1.1", body)
    assert head.startswith("HTTP/1.1 200 OK")
    assert (reply["success"], len(reply["data"]) <= 1) == (True, True)


def test_ruby_writes_truth_in_words_and_one_filter_for_all_creates(server: SplitResult) -> None:
    """Booleans are true and false, a repeated id is filtered for once."""
    firms = [
        {"__method": "POST", "id": "0", "lock_version": "0", "name": f"Firm {n}", "no_phone_soliciting": word}
        for n, word in enumerate(("true", "false"))
    ]
    body = f"{KEYED}&_method=PUT&client=api&_ff[]=id&_ft[]=eq&_fc[]=0&{square(firms, quote_plus)}"
    _, reply = raw(server, f"POST http://{server.netloc}/crm/organisations.api?_dc=2 HTTP/1.1", body)
    assert [one["no_phone_soliciting"] for one in reply["affected_objects"]] == [True, False]


def test_python_puts_with_percent_escapes_and_filters_in_another_order(server: SplitResult) -> None:
    """A real PUT, True with a capital, filter ids in no particular order."""
    both = [{"__method": "POST", "id": "0", "lock_version": "0", "name": f"Ltd {n}"} for n in range(2)]
    created = raw(server, "PUT /crm/organisations.api HTTP/1.1", f"{KEYED}&{square(both, quote)}")[1]
    first, second = (one["id"] for one in created["affected_objects"])
    changes = [
        {"__method": "PUT", "id": str(first), "lock_version": "0", "no_post_soliciting": "True", "name": "One Ltd"},
        {"__method": "DELETE", "id": str(second), "lock_version": "0", "no_post_soliciting": "", "name": ""},
    ]
    filters = f"_fm=or&_ff[]=id&_ft[]=eq&_fc[]={second}&_ff[]=id&_ft[]=eq&_fc[]={first}"
    body = f"{KEYED}&_method=PUT&_audit_lifetime_days=None&{filters}&{square(changes, quote)}"
    reply = raw(server, "PUT /crm/organisations.api?_dc=3 HTTP/1.1", body)[1]
    assert reply["affected_objects"][0]["no_post_soliciting"] is True
    assert reply["affected_objects"][1] == {"id": second, "lock_version": 0}


def test_php_signs_in_changes_and_signs_out_by_session(server: SplitResult) -> None:
    """Login, cookie and token, then logout: the header is spelt as the client's regular expression wants it."""
    login = "_method=POST&client=api&_application_name=php_test_client&json=pretty&_strict_attribute_checking=1"
    head, told = raw(server, "POST /login.api?_dc=4 HTTP/1.1", f"{login}&api_version=1&_fast_login=1&{KEYED}")
    assert f"Set-Cookie: Workbooks-Session={told['session_id']};" in head
    cookie = f"\r\nCookie: Workbooks-Session={told['session_id']}"
    token = told["authenticity_token"]
    person = [{"__method": "POST", "id": "0", "lock_version": "0", "name": "Cy Poe"}]
    body = f"_authenticity_token={token}&_method=PUT&client=api&{square(person, quote_plus)}"
    reply = raw(server, f"POST {PEOPLE} HTTP/1.1{cookie}", body)[1]
    assert reply["affected_objects"][0]["created_through"] == "php_test_client"
    head, _ = raw(
        server, f"POST /logout?_dc=5 HTTP/1.1{cookie}", f"_authenticity_token={token}&_method=POST&client=api"
    )
    assert head.startswith("HTTP/1.1 302 Found\r\n")


def test_multipart_forms_are_read_too(server: SplitResult) -> None:
    """Non-GET requests may be multipart/form-data."""
    parts = {"_method": "GET", "api_key": "sim-key", "_select_columns[]": "id"}
    lines = "".join(
        f'--frontier\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in parts.items()
    )
    data = f"{lines}--frontier--\r\n".encode()
    head = f"POST {PEOPLE} HTTP/1.1\r\nHost: {server.netloc}\r\nUser-Agent: x\r\nConnection: close\r\n"
    head += f"Content-Type: multipart/form-data; boundary=frontier\r\nContent-Length: {len(data)}\r\n\r\n"
    with socket.create_connection((server.hostname, server.port), timeout=5) as link:
        link.sendall(head.encode() + data)
        got = b"".join(iter(lambda: link.recv(65_536), b""))
    assert json.loads(got.partition(b"\r\n\r\n")[2])["success"] is True
