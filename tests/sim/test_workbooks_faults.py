from __future__ import annotations

import httpx
import pytest

from tests.sim.workbooks_caller import Caller
from worker.sim import workbooks

PEOPLE = "/crm/people.api"
LIST = [("_method", "GET"), ("_select_columns[]", "id")]
CREATE = [("_method", "PUT"), ("__method[]", "POST"), ("id[]", "0"), ("lock_version[]", "0"), ("name[]", "Ann Lee")]


def test_a_throttled_request_is_performed_at_the_delaying_address() -> None:
    """302 with an address on the same host; the same method and body there do the work, once, however many hops."""
    crm = Caller()
    crm.arm("throttle302", hops=2)
    answer = crm.form(PEOPLE, CREATE)
    assert answer.status_code == 302
    assert answer.headers["location"] == "http://crm.test/delay/2/0/crm/people.api"
    second = crm.form(answer.headers["location"], CREATE)
    assert second.headers["location"] == "http://crm.test/delay/1/0/crm/people.api"
    assert crm.form(second.headers["location"], CREATE).json()["success"] is True
    assert crm.page(PEOPLE)["total"] == 1


def test_a_throttled_request_followed_without_its_body_gets_nothing() -> None:
    """A client that turns the redirect into a bare GET has lost its key."""
    crm = Caller()
    crm.arm("throttle302")
    location = crm.form(f"{PEOPLE}?_dc=5", LIST).headers["location"]
    assert location.endswith("/delay/1/0/crm/people.api?_dc=5")
    assert crm.http.get(location).json()["failure_reason"] == "no_session"


def test_a_dead_session_can_be_made_to_happen() -> None:
    """dead_session302 redirects to the login page, html_login200 is that page with status 200; nothing is done."""
    crm = Caller()
    crm.arm("dead_session302")
    assert crm.form(PEOPLE, CREATE).headers["location"] == "/login"
    crm.arm("html_login200")
    answer = crm.form(PEOPLE, CREATE)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert crm.page(PEOPLE)["total"] == 0


def test_a_reply_can_leave_out_an_object_that_was_saved() -> None:
    """omit_object shortens both arrays; the record is there nevertheless."""
    crm = Caller()
    crm.arm("omit_object", index=0)
    reply = crm.put(PEOPLE, {"name": "Ann Lee"}, {"name": "Bo Ray"}).json()
    assert [one["name"] for one in reply["affected_objects"]] == ["Bo Ray"]
    assert len(reply["affected_object_information"]) == 1
    assert crm.page(PEOPLE)["total"] == 2


def test_a_part_of_a_batch_can_be_refused_for_no_reason() -> None:
    """partial_outcome refuses the named places and saves the rest, even without per-object transactions."""
    crm = Caller()
    crm.arm("partial_outcome", indices=[1], message="Try again later.")
    reply = crm.put(PEOPLE, {"name": "Ann Lee"}, {"name": "Bo Ray"}).json()
    assert reply["success"] is False
    assert reply["affected_object_information"][1]["errors"] == {"base": ["Try again later."]}
    assert crm.filtered(PEOPLE, columns="name") == ["Ann Lee"]


def test_lists_can_lag_behind_writes() -> None:
    """For so many seconds lists show a created record not at all and a changed one as it was."""
    crm = Caller()
    crm.person(name="Ann Lee")
    crm.edit(op="option", name="search_lag", value=30)
    crm.put(PEOPLE, {"id": "7001", "lock_version": "0", "name": "Ann Ray"}, {"name": "Bo Ray"})
    assert crm.filtered(PEOPLE, columns="id name lock_version") == [(7001, "Ann Lee", 0)]
    assert crm.filtered(PEOPLE, ("name", "eq", "Bo Ray")) == []
    crm.app.clock.shift(30)
    assert crm.filtered(PEOPLE, columns="id name lock_version") == [(7001, "Ann Ray", 1), (7002, "Bo Ray", 0)]


def test_one_write_can_lag() -> None:
    """The fault search_lag hides what that one batch wrote."""
    crm = Caller()
    crm.arm("search_lag", seconds=10)
    crm.person(name="Ann Lee")
    assert crm.page(PEOPLE)["total"] == 0
    crm.app.clock.shift(10)
    assert crm.page(PEOPLE)["total"] == 1


def test_a_list_can_miss_records_as_without_permission() -> None:
    """Unreadable keeps ids out of one answer, deleted or not."""
    crm = Caller()
    crm.put(PEOPLE, {"name": "Ann Lee"}, {"name": "Bo Ray"})
    crm.arm("unreadable", ids=[7001])
    assert crm.filtered(PEOPLE) == [7002]
    assert crm.filtered(PEOPLE) == [7001, 7002]


def test_common_faults_tell_reads_from_writes_by_the_method_that_counts() -> None:
    """A POST with _method=GET is a read to the faults."""
    crm = Caller()
    crm.http.post("/_sim/faults", json=[{"kind": "status", "args": {"code": 500}, "match": {"op": "write"}}])
    assert crm.form(PEOPLE, LIST).status_code == 200
    assert crm.form(PEOPLE, CREATE).status_code == 500


def test_a_lost_reply_keeps_its_effect() -> None:
    """lost_reply breaks the answer off after the record was created."""
    crm = Caller()
    crm.arm("lost_reply")
    assert crm.form(PEOPLE, CREATE).status_code == 502
    assert crm.page(PEOPLE)["total"] == 1


def test_options_that_do_not_exist_are_refused() -> None:
    """A misspelt option or shape is an error at once, by argument and by control."""
    with pytest.raises(ValueError, match="no option"):
        workbooks.build(options={"fail_shape": "failures"})
    with pytest.raises(ValueError, match="conflict_shape is one of"):
        workbooks.build(options={"conflict_shape": "loud"})
    assert httpx.codes.is_client_error(Caller().http.post("/_sim/edit", json={"op": "option"}).status_code)
