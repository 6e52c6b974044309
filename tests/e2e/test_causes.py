from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from tests.e2e.rig import Stage


def _lags(stage: Stage, system: str) -> list[float]:
    query = f"SELECT (julianday(at) - julianday(caused_at)) * 86400 FROM history WHERE system = '{system}' ORDER BY id"
    return [lag for (lag,) in stage.rows(query) if lag is not None]


def test_a_first_load_has_no_cause_and_an_edit_has_the_vendors_time(stage: Stage) -> None:
    """The first pass tells no lag; an edit in Outreach that waits 40 s for its pass is measured as just that."""
    prospect = stage.enrolled("ada@example.com", title="Clerk")
    stage.sync()
    assert stage.rows("SELECT count(*) FROM history WHERE caused_at IS NOT NULL") == [(0,)]
    stage.set_prospect(prospect, title="Manager")
    stage.later(40)
    stage.sync()
    (lag,) = _lags(stage, "crm")
    assert 38 <= lag <= 60


def test_what_is_written_to_outreach_is_measured_from_the_crm(stage: Stage) -> None:
    """An edit and No Email in the CRM are the causes of what Outreach is asked to take, the first of them counts."""
    prospect = stage.enrolled("ada@example.com", title="Clerk")
    stage.sync()
    person = stage.person_of(prospect)["id"]
    stage.set_person(person, title="Manager")
    stage.later(100)
    stage.set_person(person, no_email=True)
    stage.later(30)
    stage.sync()
    assert [30 <= lag <= 160 for lag in _lags(stage, "outreach")] == [True]


def test_a_state_that_moves_and_a_person_found_later_are_measured(stage: Stage) -> None:
    """A pause, and somebody enrolled after the first pass, are measured from when the vendor saved them."""
    first = stage.prospect("ada@example.com")
    state = stage.state(first)
    stage.sync()
    stage.set_state(state, state="paused")
    stage.later(20)
    stage.enrolled("bo@example.com", first="Bo")
    stage.later(10)
    stage.sync()
    lags = sorted(_lags(stage, "crm"))
    assert len(lags) == 2
    assert 8 <= lags[0] <= 28
    assert 28 <= lags[1] <= 60


def test_a_write_of_long_after_has_no_older_cause(stage: Stage) -> None:
    """What nobody's save explains, such as a value put back by us, is no lag of the last edit of weeks ago."""
    prospect = stage.enrolled("ada@example.com")
    stage.later(60)
    stage.sync()
    stage.later(7 * 86_400)
    stage.set_person(stage.person_of(prospect)["id"], cf_person_sequence_name="Mine")
    stage.later(5)
    assert stage.sync().report["overwritten"] == 1
    assert _lags(stage, "crm") == []


def test_the_last_request_is_kept_and_names_nobody(stage: Stage) -> None:
    """One row a side: ids, field names and what was answered are there; names and addresses are not."""
    prospect = stage.enrolled("ada.ashby@example.com", first="Adalind", last="Ashbourne", title="Clerk")
    stage.sync()
    stage.set_person(stage.person_of(prospect)["id"], title="Manageress")
    stage.sync()
    told = {
        system: (json.loads(q), json.loads(a))
        for system, q, a in stage.rows("SELECT system,request,reply FROM exchange")
    }
    assert told["outreach"][0] == {"PATCH": f"/api/v2/prospects/{prospect}", "attributes": {"title": "•••(10)"}}
    assert told["outreach"][1] == {"status": 200, "ok": True, "attributes": {"title": "•••(10)"}}
    assert (told["crm"][0]["POST"], told["crm"][0]["_method"]) == ("/crm/people.api", "PUT")
    assert told["crm"][0]["object"]["main_location[email]"] == "•••(21)"
    assert told["crm"][0]["object"]["cf_person_sequence_state"] == "Active – Running"
    assert told["crm"][1]["ok"] is True
    everything = json.dumps(told)
    assert not any(word in everything for word in ("ada.ashby", "Adalind", "Ashbourne", "Clerk", "Manageress"))


def test_a_refusal_is_kept_in_the_vendors_words(stage: Stage) -> None:
    """An address that Outreach refuses: the exchange names the attribute and has the words, and not the address."""
    prospect = stage.enrolled("ada@example.com")
    stage.sync()
    stage.set_person(stage.person_of(prospect)["id"], email="no address", title="Planner")
    stage.sync(code=3)
    ((request, reply),) = stage.rows("SELECT request, reply FROM exchange WHERE system = 'outreach'")
    assert json.loads(request)["attributes"] == {"emails": "•••(10)", "title": "•••(7)"}
    assert json.loads(reply)["ok"] is True
    assert "is invalid" in json.loads(reply)["refused"]
    assert "no address" not in request + reply


def _told(stage: Stage, kind: str, side: str) -> list[tuple[int, Any, Any]]:
    """What was last asked about records of a kind, and the answer."""
    query = f"SELECT record_id, request, reply FROM exchange WHERE kind = '{kind}' AND system = '{side}'"
    return [(number, json.loads(asked), json.loads(told)) for number, asked, told in stage.rows(query)]


def test_a_batch_that_fails_as_a_whole_leaves_its_requests(stage: Stage) -> None:
    """The CRM answers 429 to every write: each person and task has what was asked, and that answer; nothing personal."""
    state = stage.state(ada := stage.prospect("ada@example.com", first="Adalind"))
    bo = stage.enrolled("bo@example.com", first="Bo")
    stage.sync()
    for prospect in (ada, bo):
        stage.set_prospect(prospect, title="Chief Engineer")
    task = stage.task(state, state="skipped")
    stage.break_crm("status", times=None, path="api", args={"code": 429})
    stage.sync("--wait", "0", code=3)
    told = _told(stage, "prospects", "crm")
    assert [number for number, _, _ in told] == [ada, bo]
    for _, asked, answer in told:
        assert asked["object"]["person_job_title"] == "•••(14)"
        assert (answer["ok"], answer.get("status")) == (False, 429), answer
    [(number, asked, answer)] = _told(stage, "tasks", "crm")
    assert (number, asked["object"]["activity_status"], answer["status"]) == (task, "Cancelled", 429)


def test_a_new_prospect_leaves_its_request(stage: Stage) -> None:
    """Made: under the prospect; not made: under the person, with the vendor's answer, and `explain --person` tells it."""
    stage.person(first="Gus", email="gus@example.com", cf_person_sync_to_outreach=True)
    stage.sync()
    [(number, asked, answer)] = _told(stage, "prospects", "outreach")
    assert (asked["POST"], asked["attributes"]["emails"]) == ("/api/v2/prospects", ["•••(15)"])
    assert answer == {"status": 201, "ok": True, "id": number}
    stage.break_outreach("status", op="write", times=None, args={"code": 503})
    stage.person(first="Ida", email="ida@example.com", cf_person_sync_to_outreach=True)
    stage.sync("--wait", "0", code=3)
    late = _told(stage, "people", "outreach")
    assert late[-1][2]["ok"] is False
    assert late[-1][2]["status"] == 503
    shown = stage.outbook("explain", "--person", str(late[-1][0]), "--json").report
    assert "503" in shown["strangers"][0]["exchanges"][0]["reply"]
    assert len(late) == 1


def test_a_cancelled_task_keeps_its_request_without_the_note(stage: Stage) -> None:
    """The request for a skipped task tells its status and name; the note of whoever skipped it is hidden."""
    state = stage.state(stage.prospect("ada@example.com"))
    stage.task(state, state="skipped", note="Her mother is ill")
    stage.sync()
    ((request, reply),) = stage.rows("SELECT request, reply FROM exchange WHERE kind = 'tasks'")
    told = json.loads(request)["object"]
    assert (told["activity_status"], told["description"], told["id"]) == ("Cancelled", "•••(17)", 0)
    assert json.loads(reply)["ok"] is True
    assert "mother" not in request + reply


def test_a_batch_takes_as_many_statements_however_many_are_in_it(stage: Stage) -> None:
    """Of 3 and of 40 people whose title changed, the exchanges are one statement and the causes two."""
    counted: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "exchange" in statement or "max(history.at)" in statement or "caused_at" in statement:
            counted.append(statement.split(" ", 1)[0])

    prospects = [stage.enrolled(f"p{number}@example.com", title="Clerk") for number in range(40)]
    stage.sync()
    told = []
    for some in (prospects[:3], prospects):
        for prospect in some:
            stage.set_prospect(prospect, title=f"Head of {len(some)}")
        counted.clear()
        sa.event.listen(sa.Engine, "before_cursor_execute", note)
        try:
            assert stage.sync().crm == {"updated": len(some)}
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", note)
        told.append(sorted(counted))
    assert told[0] == told[1] == ["INSERT", "INSERT", "SELECT"]
