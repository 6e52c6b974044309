from __future__ import annotations

from typing import Any

import httpx
import pytest

from worker.sim import control, outreach
from worker.sim.outreach import Options

COLD, NOTICES, ARCHIVE = 1, 5, 6
"""Sequences: an ordinary, the transactional, the disabled one."""


class Org:
    """An organisation seen through its API, at a time that stands still."""

    def __init__(self, **options: control.Json) -> None:
        app = outreach.build(records=30, options=Options(**options))
        self.http = httpx.Client(
            transport=httpx.WSGITransport(app),
            base_url="http://sim.test",
            headers={"Authorization": "Bearer sim-access"},
        )
        self.http.post("/_sim/clock", json={"set": "2027-01-05T10:00:00.700Z", "freeze": True})

    def get(self, path: str) -> dict[str, Any]:
        data: dict[str, Any] = self.http.get(f"/api/v2/{path}").json()["data"]
        return data

    def attributes(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(path)["attributes"]
        return found

    def listed(self, path: str, **parameters: str) -> list[dict[str, Any]]:
        answer = self.http.get(f"/api/v2/{path}", params={"page[size]": "1000", **parameters})
        data: list[dict[str, Any]] = answer.json()["data"]
        return data

    def post(self, type_: str, path: str, attributes: dict[str, Any] | None = None, **related: int) -> httpx.Response:
        types = {"owner": "user", "subject": "prospect"}
        relations = {name: {"data": {"type": types.get(name, name), "id": id}} for name, id in related.items()}
        data = {"type": type_, "attributes": attributes or {}, "relationships": relations}
        return self.http.post(f"/api/v2/{path}", json={"data": data})

    def patch(self, type_: str, path: str, id: int, **attributes: control.Json) -> httpx.Response:
        return self.http.patch(
            f"/api/v2/{path}/{id}", json={"data": {"type": type_, "id": id, "attributes": attributes}}
        )

    def act(self, path: str, **parameters: str) -> httpx.Response:
        told = {f"actionParams[{name}]": value for name, value in parameters.items()}
        return self.http.post(f"/api/v2/{path}", params=told)

    def edit(self, **document: control.Json) -> list[dict[str, Any]]:
        answer = self.http.post("/_sim/edit", json=document)
        assert answer.status_code == 200, answer.text
        changed: list[dict[str, Any]] = answer.json()["changed"]
        return changed

    def someone(self, email: str = "new.person@fresh.example") -> int:
        return int(self.post("prospect", "prospects", {"emails": [email], "firstName": "New"}).json()["data"]["id"])

    def enrolled(self, prospect: int, sequence: int = COLD) -> int:
        return int(self.edit(op="enrol", prospect=prospect, sequence=sequence, state="active")[0]["id"])

    def events(self) -> list[str]:
        listed = self.listed("events", **{"filter[createdAt]": "2027-01-05T10:00:00Z..inf"})
        return [event["attributes"]["name"] for event in listed]


@pytest.fixture
def org() -> Org:
    """An organisation with default options."""
    return Org()


def error(answer: httpx.Response) -> tuple[int, str, str, str]:
    """Status, id, detail and pointer of a refusal."""
    first = answer.json()["errors"][0]
    return answer.status_code, first["id"], first["detail"], first["source"]["pointer"]


def test_a_created_prospect_answers_201_with_itself(org: Org) -> None:
    """Whole seconds, a derived name, the source the API stamps, and an address record."""
    answer = org.post("prospect", "prospects", {"emails": ["ann@new.example"], "firstName": "Ann", "lastName": "Nova"})
    told = answer.json()["data"]
    assert answer.status_code == 201
    assert told["attributes"]["createdAt"] == told["attributes"]["updatedAt"] == "2027-01-05T10:00:00.000Z"
    assert (told["attributes"]["name"], told["attributes"]["externalSource"]) == ("Ann Nova", "outreach-api")
    address = org.listed("emailAddresses", **{"filter[email]": "ann@new.example"})[0]
    assert address["relationships"]["prospect"]["data"]["id"] == told["id"]


def test_an_address_belongs_to_one_prospect(org: Org) -> None:
    """Regardless of case, on create and on update; one's own may stay."""
    first, second = org.someone("taken@new.example"), org.someone("other@new.example")
    words = "Contacts email hash has already been taken."
    again = org.post("prospect", "prospects", {"emails": ["Taken@new.example"]})
    assert error(again) == (422, "validationError", words, "/data")
    assert error(org.patch("prospect", "prospects", second, emails=["taken@new.example"]))[2] == words
    assert (
        org.patch("prospect", "prospects", first, emails=["taken@new.example", "more@new.example"]).status_code == 200
    )
    twice = org.patch("prospect", "prospects", first, emails=["x@new.example", "X@new.example"])
    assert error(twice)[1] == "validationDuplicateValueError"


def test_an_excluded_address_is_refused() -> None:
    """The organisation's exclusion list has words of its own."""
    org = Org(excluded_emails=frozenset({"no@blocked.example"}))
    answer = org.post("prospect", "prospects", {"emails": ["no@blocked.example"]})
    assert error(answer)[2] == "Contacts contact is using an excluded email address."


@pytest.mark.parametrize(
    "attributes, id, pointer",
    [
        ({"firstName": "x" * 256}, "validationDataTooLongError", "/data/attributes/firstName"),
        ({"updatedAt": "2026-01-01T00:00:00Z"}, "validationError", "/data/attributes/updatedAt"),
        ({"nonsense": 1}, "validationError", "/data/attributes/nonsense"),
        ({"optedOut": "yes"}, "validationError", "/data/attributes/optedOut"),
        ({"firstName": 5}, "validationError", "/data/attributes/firstName"),
        ({"emails": ["not an address"]}, "validationError", "/data/attributes/emails"),
        ({"availableAt": "soon"}, "validationError", "/data/attributes/availableAt"),
    ],
)
def test_a_bad_value_is_refused_and_changes_nothing(
    org: Org, attributes: dict[str, Any], id: str, pointer: str
) -> None:
    """The error points at the attribute, and the good one beside it is not written either."""
    prospect = org.someone()
    answer = org.patch("prospect", "prospects", prospect, title="Boss", **attributes)
    assert (answer.status_code, answer.json()["errors"][0]["id"]) == (422, id)
    assert answer.json()["errors"][0]["source"] == {"pointer": pointer}
    assert org.attributes(f"prospects/{prospect}")["title"] is None


def test_a_body_must_fit_its_address(org: Org) -> None:
    """Another type, another id, or no document at all is refused; related records must exist and be writable."""
    prospect = org.someone()
    url = f"/api/v2/prospects/{prospect}"
    assert org.http.patch(url, json={"data": {"type": "task", "id": prospect}}).status_code == 422
    assert org.http.patch(url, json={"data": {"type": "prospect", "id": 1234}}).status_code == 422
    assert org.http.patch(url, content=b"{").status_code == 400
    for relation, target in (("owner", {"type": "user", "id": 99}), ("creator", {"type": "user", "id": 1})):
        body = {"data": {"type": "prospect", "id": prospect, "relationships": {relation: {"data": target}}}}
        assert error(org.http.patch(url, json=body))[3] == f"/data/relationships/{relation}"


def test_null_clears_and_absent_keeps(org: Org) -> None:
    """A partial update touches what it names; a to-one relation is cleared by null."""
    prospect = org.someone()
    org.patch("prospect", "prospects", prospect, title="Boss", workPhones=["+44 20 7946 0000"])
    body = {"type": "prospect", "id": str(prospect), "attributes": {"title": None}}
    body["relationships"] = {"owner": {"data": None}}
    told = org.http.patch(f"/api/v2/prospects/{prospect}", json={"data": body}).json()["data"]
    assert (told["attributes"]["title"], told["attributes"]["workPhones"]) == (None, ["+44 20 7946 0000"])
    assert told["relationships"]["owner"] == {"data": None}


def test_opting_out_of_email_widens_without_granular_opt_out(org: Org) -> None:
    """Every channel goes, with stamps; running states end, but not in a transactional sequence; an event tells it."""
    prospect = org.someone()
    cold, notices = org.enrolled(prospect, COLD), org.enrolled(prospect, NOTICES)
    told = org.patch("prospect", "prospects", prospect, emailOptedOut=True).json()["data"]["attributes"]
    assert (told["optedOut"], told["emailOptedOut"], told["callOptedOut"]) == (True, True, True)
    assert told["optedOutAt"] == told["emailsOptedAt"] == "2027-01-05T10:00:00.000Z"
    assert (told["emailsOptStatus"], told["callsOptStatus"]) == ("opted_out", "opted_out")
    ended = org.attributes(f"sequenceStates/{cold}")
    assert (ended["state"], ended["optOutCount"]) == ("finished", 1)
    assert org.attributes(f"sequenceStates/{notices}")["state"] == "active"
    assert "opt_out" in org.events()


def test_granular_opt_out_stays_with_email() -> None:
    """With the setting on only the e-mail channel changes; the general flag still takes all."""
    org = Org(granular_opt_out=True)
    prospect = org.someone()
    told = org.patch("prospect", "prospects", prospect, emailsOptStatus="opted_out").json()["data"]["attributes"]
    assert (told["optedOut"], told["emailOptedOut"], told["callOptedOut"]) == (False, True, False)
    assert (told["optedOutAt"], told["emailsOptedAt"]) == (None, "2027-01-05T10:00:00.000Z")
    assert "emails_opt_out" in org.events()
    told = org.patch("prospect", "prospects", prospect, optedOut=True).json()["data"]["attributes"]
    assert (told["optedOut"], told["callOptedOut"]) == (True, True)


def test_opting_back_in_clears_the_stamps(org: Org) -> None:
    """``optedOut`` false reverts, and its event says so."""
    prospect = org.someone()
    org.patch("prospect", "prospects", prospect, optedOut=True)
    told = org.patch("prospect", "prospects", prospect, optedOut=False).json()["data"]["attributes"]
    assert (told["optedOut"], told["emailOptedOut"], told["optedOutAt"]) == (False, False, None)
    assert told["emailsOptStatus"] == "opted_in"
    assert "opt_out_revert" in org.events()


def test_the_state_after_an_opt_out_can_be_chosen() -> None:
    """The literal ``opted_out`` is unproven, hence an option."""
    org = Org(opt_out_state="opted_out")
    prospect = org.someone()
    state = org.enrolled(prospect)
    org.edit(op="opt_out", prospect=prospect)
    assert org.attributes(f"sequenceStates/{state}")["state"] == "opted_out"


def test_an_unsubscribe_is_recorded_at_the_address(org: Org) -> None:
    """By a link it is, and can be filtered for; by hand it is not."""
    by_hand, by_link = org.someone("hand@new.example"), org.someone("link@new.example")
    org.edit(op="opt_out", prospect=by_hand)
    org.edit(op="opt_out", prospect=by_link, how="unsubscribe")
    found = org.listed("emailAddresses", **{"filter[unsubscribedAt]": "2027-01-01..inf"})
    assert [address["attributes"]["email"] for address in found] == ["link@new.example"]


def test_enrolling_starts_pending_on_the_first_step(org: Org) -> None:
    """Relations make the state; the mailbox may be left out."""
    prospect = org.someone()
    answer = org.post("sequenceState", "sequenceStates", prospect=prospect, sequence=COLD)
    told = answer.json()["data"]
    assert (answer.status_code, told["attributes"]["state"]) == (201, "pending")
    assert told["attributes"]["activeAt"] is None
    assert told["relationships"]["sequenceStep"]["data"] == {"type": "sequenceStep", "id": 1}
    assert told["relationships"]["mailbox"]["data"] is None
    assert "sequence_state_created" in org.events()


def test_enrolment_is_refused_as_the_vendor_does(org: Org) -> None:
    """Been there before, opted out, or missing relations: a 422 each; a transactional sequence takes the opted-out."""
    prospect = org.someone()
    org.enrolled(prospect)
    again = org.post("sequenceState", "sequenceStates", prospect=prospect, sequence=COLD)
    assert error(again) == (422, "validationError", "Prospect has already been in this sequence.", "/data")
    org.edit(op="opt_out", prospect=prospect)
    assert org.post("sequenceState", "sequenceStates", prospect=prospect, sequence=2).status_code == 422
    assert org.post("sequenceState", "sequenceStates", prospect=prospect, sequence=NOTICES).status_code == 201
    assert error(org.post("sequenceState", "sequenceStates", sequence=2))[3] == "/data/relationships/prospect"
    assert error(org.post("sequenceState", "sequenceStates", prospect=prospect))[3] == "/data/relationships/sequence"


def test_an_exclusive_sequence_takes_nobody_who_is_active_elsewhere() -> None:
    """Nor does another take one who is active in it."""
    org = Org(exclusive_sequences=frozenset({2}))
    prospect = org.someone()
    org.enrolled(prospect, COLD)
    refused = org.post("sequenceState", "sequenceStates", prospect=prospect, sequence=2)
    assert error(refused)[2] == "Prospect is active in another exclusive sequence."


def test_a_pending_state_may_become_active_by_itself() -> None:
    """After the wait, in an enabled sequence only."""
    org = Org(activate_after_s=60)
    prospect = org.someone()
    enabled = org.post("sequenceState", "sequenceStates", prospect=prospect, sequence=COLD).json()["data"]["id"]
    disabled = org.post("sequenceState", "sequenceStates", prospect=prospect, sequence=ARCHIVE).json()["data"]["id"]
    org.http.post("/_sim/clock", json={"shift": 61})
    assert org.attributes(f"sequenceStates/{enabled}")["state"] == "active"
    assert org.attributes(f"sequenceStates/{disabled}")["state"] == "pending"


def test_state_actions_have_preconditions(org: Org) -> None:
    """Pause and finish want an active state, resume a paused one; each moves ``stateChangedAt``."""
    state = org.enrolled(org.someone())
    org.http.post("/_sim/clock", json={"shift": 60})
    assert org.act(f"sequenceStates/{state}/actions/resume").status_code == 422
    paused = org.act(f"sequenceStates/{state}/actions/pause")
    assert (paused.status_code, paused.json()["data"]["attributes"]["state"]) == (200, "paused")
    assert paused.json()["data"]["attributes"]["stateChangedAt"] == "2027-01-05T10:01:00.000Z"
    assert org.act(f"sequenceStates/{state}/actions/pause").status_code == 422
    assert org.act(f"sequenceStates/{state}/actions/finish").status_code == 422
    assert org.act(f"sequenceStates/{state}/actions/resume").json()["data"]["attributes"]["pauseReason"] is None
    assert org.act(f"sequenceStates/{state}/actions/finish").json()["data"]["attributes"]["state"] == "finished"
    assert {"sequence_state_paused", "sequence_state_resumed", "sequence_state_finished"} <= set(org.events())
    assert org.act(f"sequenceStates/{state}/actions/dance").status_code == 404


def test_deleting_takes_what_hangs_on_it(org: Org) -> None:
    """A prospect goes with its states, tasks and addresses; each is a 404 then and an event tells it."""
    prospect = org.someone()
    state = org.enrolled(prospect)
    org.edit(op="advance", state=state)
    assert org.http.delete(f"/api/v2/prospects/{prospect}").status_code == 204
    assert org.http.get(f"/api/v2/prospects/{prospect}").status_code == 404
    assert org.http.get(f"/api/v2/sequenceStates/{state}").status_code == 404
    assert org.listed("tasks", **{"filter[sequenceState][id]": str(state)}) == []
    assert {"prospect_destroyed", "sequence_state_destroyed", "task_destroyed"} <= set(org.events())


def test_sequences_are_switched_by_actions(org: Org) -> None:
    """``enabled`` is read-only; ``updatedAt`` moves unless the option says otherwise."""
    assert org.patch("sequence", "sequences", ARCHIVE, enabled=True).status_code == 422
    told = org.act(f"sequences/{ARCHIVE}/actions/activate").json()["data"]["attributes"]
    assert (told["enabled"], told["updatedAt"]) == (True, "2027-01-05T10:00:00.000Z")
    still = Org(enable_touches=False)
    before = still.attributes("sequences/1")["updatedAt"]
    still.edit(op="disable_sequence", sequence=1)
    told = still.attributes("sequences/1")
    assert (told["enabled"], told["updatedAt"]) == (False, before)


def test_a_completed_task_moves_its_state_on(org: Org) -> None:
    """The token's user completes it; the next step's task appears; after the last step the state is finished."""
    state = org.enrolled(org.someone())
    org.edit(op="advance", state=state)
    call = org.listed("tasks", **{"filter[sequenceState][id]": str(state)})[0]
    assert (call["attributes"]["taskType"], call["attributes"]["state"]) == ("sequence_step_call", "incomplete")
    done = org.act(f"tasks/{call['id']}/actions/markComplete", completionNote="spoke").json()["data"]
    assert (done["attributes"]["state"], done["attributes"]["completed"]) == ("complete", True)
    assert done["attributes"]["note"] == "spoke"
    assert done["relationships"]["completer"]["data"] == {"type": "user", "id": 1}
    assert org.get(f"sequenceStates/{state}")["relationships"]["sequenceStep"]["data"]["id"] == 3
    following = org.listed("tasks", **{"filter[sequenceState][id]": str(state), "filter[state]": "incomplete"})
    assert org.act(f"tasks/{following[0]['id']}/actions/advance").status_code == 200
    assert org.attributes(f"sequenceStates/{state}")["state"] == "finished"
    assert org.act(f"tasks/{call['id']}/actions/markComplete").status_code == 422


def test_a_completion_may_end_the_sequence(org: Org) -> None:
    """``finish_replied`` counts a reply."""
    state = org.enrolled(org.someone())
    org.edit(op="advance", state=state)
    task = org.listed("tasks", **{"filter[sequenceState][id]": str(state)})[0]["id"]
    org.act(f"tasks/{task}/actions/markComplete", completionAction="finish_replied")
    told = org.attributes(f"sequenceStates/{state}")
    assert (told["state"], told["replyCount"], told["repliedAt"]) == ("finished", 1, "2027-01-05T10:00:00.000Z")


def test_a_task_made_by_hand(org: Org) -> None:
    """It needs owner and subject, is ``manual``, and can be put off, handed on, noted and not advanced."""
    prospect = org.someone()
    assert org.post("task", "tasks", {"note": "x"}, owner=1).status_code == 422
    told = org.post("task", "tasks", {"note": "x", "dueAt": "2027-02-01T00:00:00Z"}, owner=1, subject=prospect).json()[
        "data"
    ]
    task = told["id"]
    assert (told["attributes"]["taskType"], told["attributes"]["state"]) == ("manual", "incomplete")
    assert org.act(f"tasks/{task}/actions/snooze").json()["data"]["attributes"]["dueAt"] == "2027-02-02T00:00:00.000Z"
    moved = org.act(f"tasks/{task}/actions/reschedule", dueAt="2027-03-01T09:00:00Z").json()["data"]
    assert moved["attributes"]["dueAt"] == "2027-03-01T09:00:00.000Z"
    assert org.act(f"tasks/{task}/actions/reschedule").status_code == 400
    handed = org.act(f"tasks/{task}/actions/reassignOwner", ownerId="2").json()["data"]
    assert handed["relationships"]["owner"]["data"]["id"] == 2
    assert org.act(f"tasks/{task}/actions/updateNote", note="y").json()["data"]["attributes"]["note"] == "y"
    assert org.act(f"tasks/{task}/actions/advance").status_code == 422


def test_webhooks_are_kept_as_records(org: Org) -> None:
    """Subscriptions can be created, listed, changed and removed."""
    made = org.post("webhook", "webhooks", {"url": "https://hooks.example/in", "resource": "prospect"}).json()["data"]
    assert (made["attributes"]["action"], made["attributes"]["active"]) == ("*", True)
    assert org.patch("webhook", "webhooks", made["id"], active=False).json()["data"]["attributes"]["active"] is False
    assert [hook["id"] for hook in org.listed("webhooks")] == [made["id"]]
    assert org.http.delete(f"/api/v2/webhooks/{made['id']}").status_code == 204


def test_the_journal_tells_what_a_write_changed(org: Org) -> None:
    """The effect holds each changed field before and after."""
    prospect = org.someone()
    org.patch("prospect", "prospects", prospect, title="Boss")
    effect = org.http.get("/_sim/journal").json()["entries"][-1]["effect"]
    assert effect == [
        {"op": "update", "type": "prospect", "id": prospect, "changes": {"title": [None, "Boss"], "updater": [None, 1]}}
    ]
