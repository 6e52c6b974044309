from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.sim.receiver import JSON_API, edit, organisation

NOON = "2026-06-30T12:00:00.000Z"


@pytest.fixture
def org() -> Iterator[httpx.Client]:
    """A small organisation whose clock stands at noon."""
    with organisation() as client:
        yield client


def page(client: httpx.Client, path: str, **asked: str) -> dict[str, Any]:
    """One page of up to a thousand."""
    answer = client.get(f"/api/v2/{path}", params={"page[size]": "1000", "count": "false", **asked})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ids(client: httpx.Client, path: str, **asked: str) -> list[int]:
    """The ids of that page."""
    return [one["id"] for one in page(client, path, **asked)["data"]]


def events(client: httpx.Client, **asked: str) -> list[str]:
    """The names of the events since noon, oldest first."""
    data = page(client, "events", **{"filter[eventAt]": "2026-06-30T12:00:00Z..inf", "sort": "eventAt", **asked})
    return [one["attributes"]["name"] for one in data["data"]]


def enrolled(client: httpx.Client, prospect: int = 2) -> None:
    """Put a prospect into sequence 1 as state 900, on its second step, with the call task 901."""
    edit(client, {"op": "create", "type": "sequenceState", "id": 900, "attributes": {"state": "active"},
                  "relations": {"prospect": prospect, "sequence": 1, "sequenceStep": 2}},
         {"op": "create", "type": "task", "id": 901,
          "relations": {"prospect": prospect, "sequenceState": 900, "sequence": 1}})  # fmt: skip


def test_the_life_of_a_state_in_events(org: httpx.Client) -> None:
    """Each move has its name, in order, and a removed state is told with its prospect and sequence."""
    enrolled(org)
    edit(org, {"op": "pause", "state": 900}, {"op": "resume", "state": 900}, {"op": "advance", "state": 900})
    edit(org, {"op": "finish", "state": 900}, {"op": "delete", "type": "sequenceState", "id": 900})
    told = events(org, **{"filter[name]": ",".join(f"sequence_state_{n}" for n in STATE_EVENTS)})
    assert told == [f"sequence_state_{name}" for name in STATE_EVENTS]
    last = page(org, "events", **{"filter[name]": "sequence_state_destroyed"})["data"][0]
    assert last["relationships"]["prospect"] == {"data": {"type": "prospect", "id": 2}}
    assert last["relationships"]["sequence"] == {"data": {"type": "sequence", "id": 1}}
    assert (last["attributes"]["eventAt"], last["attributes"]["createdAt"]) == (NOON, NOON)
    assert "sequenceState" not in last["relationships"]


STATE_EVENTS = ("created", "paused", "resumed", "advanced", "finished", "destroyed")


def test_a_state_taken_away_is_gone_from_every_list(org: httpx.Client) -> None:
    """Out of the only sequence: no state is left, its open task goes with it, the prospect stays."""
    edit(org, *({"op": "delete", "type": "sequenceState", "id": id_}
                for id_ in ids(org, "sequenceStates", **{"filter[prospect][id]": "2"})))  # fmt: skip
    enrolled(org)
    edit(org, {"op": "delete", "type": "sequenceState", "id": 900})
    assert ids(org, "sequenceStates", **{"filter[prospect][id]": "2"}) == []
    assert ids(org, "tasks", **{"filter[id]": "901"}) == []
    assert org.get("/api/v2/prospects/2").status_code == 200
    assert {"sequence_state_destroyed", "task_destroyed"} <= set(events(org, **{"filter[prospect][id]": "2"}))


def test_a_deleted_sequence_takes_its_states_along(org: httpx.Client) -> None:
    """States and their tasks are destroyed with it, each with an event."""
    enrolled(org)
    edit(org, {"op": "delete", "type": "sequence", "id": 1})
    assert org.get("/api/v2/sequenceStates/900").status_code == 404
    assert ids(org, "sequences", **{"filter[id]": "1..2"}) == [2]
    told = events(org, **{"filter[prospect][id]": "2"})
    assert told[-2:] == ["task_destroyed", "sequence_state_destroyed"]


def test_opt_outs_in_events(org: httpx.Client) -> None:
    """By e-mail alone where opt-outs are granular, of everything where not; and back."""
    edit(org, {"op": "opt_out", "prospect": 2}, {"op": "opt_in", "prospect": 2})
    edit(org, {"op": "option", "name": "granular_opt_out", "value": True})
    edit(org, {"op": "opt_out", "prospect": 3}, {"op": "opt_in", "prospect": 3})
    called = {"type": "prospect", "id": 3, "attributes": {"callOptedOut": True}}
    org.patch("/api/v2/prospects/3", json={"data": called}, headers=JSON_API)
    told = [name for name in events(org) if "opt_out" in name]
    assert told == ["opt_out", "opt_out_revert", "emails_opt_out", "emails_opt_out_revert", "calls_opt_out"]


def test_an_address_may_be_unsubscribed_alone(org: httpx.Client) -> None:
    """Found by ``unsubscribedAt``; the prospect's own flags do not say so, and it can be taken back."""
    edit(org, {"op": "opt_out", "prospect": 2, "how": "address"})
    found = page(org, "emailAddresses", **{"filter[unsubscribedAt]": "2026-06-30T11:00:00Z..inf"})["data"]
    assert [one["relationships"]["prospect"]["data"]["id"] for one in found] == [2]
    assert (found[0]["attributes"]["unsubscribedAt"], found[0]["attributes"]["status"]) == (NOON, "unsubscribed")
    assert org.get("/api/v2/prospects/2").json()["data"]["attributes"]["emailOptedOut"] is False
    edit(org, {"op": "opt_in", "prospect": 2, "how": "address"})
    assert ids(org, "emailAddresses", **{"filter[unsubscribedAt]": "2026-06-30T11:00:00Z..inf"}) == []


def test_a_sweep_reads_ids_alone(org: httpx.Client) -> None:
    """A range of ids, sorted by id, without a count and without attributes or relations."""
    asked = {"filter[id]": "3..9", "sort": "id", "fields[prospect]": ""}
    found = page(org, "prospects", **asked)
    assert [one["id"] for one in found["data"]] == [3, 5, 6, 7, 8, 9]
    assert {tuple(one) for one in found["data"]} == {("type", "id", "attributes", "relationships", "links")}
    assert all(one["attributes"] == one["relationships"] == {} for one in found["data"])
    assert found["meta"] == {"count": None}
    assert ids(org, "prospects", **{"filter[id]": "neginf..5"}) == [1, 2, 3, 5]
    assert ids(org, "prospects", **{"filter[id]": "18..inf", "sort": "-id"}) == [20, 19, 18]


def test_hidden_records_look_like_none(org: httpx.Client) -> None:
    """Neither list, count, look-up nor include tells them; nothing says they were deleted; shown, they are back."""
    enrolled(org)
    everybody = ids(org, "prospects")
    edit(org, {"op": "hide", "type": "prospect", "ids": [1, 2], "hanging": True})
    assert ids(org, "prospects") == everybody[2:]
    assert page(org, "prospects", count="true")["meta"]["count"] == len(everybody) - 2
    assert org.get("/api/v2/prospects/2").json()["errors"][0]["id"] == "resourceNotFound"
    assert org.get("/api/v2/sequenceStates/900").status_code == 404
    assert ids(org, "prospects", **{"filter[id]": "1,2,3"}) == [3]
    assert not [name for name in events(org) if name.endswith("_destroyed")]
    edit(org, {"op": "show", "type": "sequenceState"})
    shown = page(org, "sequenceStates", **{"filter[id]": "900", "include": "prospect"})
    assert shown["included"] == []
    edit(org, {"op": "show"})
    assert ids(org, "prospects") == everybody


def test_lists_may_lag_behind(org: httpx.Client) -> None:
    """For so long lists show what was, by id is what is; a new record is missing, a deleted one still there."""
    title = {"op": "set", "type": "prospect", "id": 2, "attributes": {"title": "Baker"}}
    edit(org, {**title, "attributes": {"title": "Buyer"}})
    edit(org, {"op": "option", "name": "index_lag", "value": 10})
    edit(org, title, {"op": "delete", "type": "prospect", "id": 3})
    edit(org, {"op": "create", "type": "prospect", "id": 50, "attributes": {"firstName": "Ada"}})
    asked = {"filter[id]": "2,3,50"}
    assert ids(org, "prospects", **asked) == [2, 3]
    assert page(org, "prospects", **asked)["data"][0]["attributes"]["title"] == "Buyer"
    assert org.get("/api/v2/prospects/2").json()["data"]["attributes"]["title"] == "Baker"
    assert org.get("/api/v2/prospects/3").status_code == 404
    org.post("/_sim/clock", json={"shift": 11})
    assert ids(org, "prospects", **asked) == [2, 50]
    assert page(org, "prospects", **asked)["data"][0]["attributes"]["title"] == "Baker"


def test_one_write_alone_may_lag(org: httpx.Client) -> None:
    """The fault ``index_lag`` is about the call it hits."""
    fault = {"match": {"method": "POST"}, "kind": "index_lag", "times": 1, "args": {"seconds": 30}}
    org.post("/_sim/faults", json=[fault])
    for name in ("Ada", "Bea"):
        body = {"data": {"type": "prospect", "attributes": {"firstName": name}}}
        assert org.post("/api/v2/prospects", json=body, headers=JSON_API).status_code == 201
    assert ids(org, "prospects", **{"filter[firstName]": "Ada"}) == []
    assert len(ids(org, "prospects", **{"filter[firstName]": "Bea"})) == 1


def test_the_organisation_can_become_another(org: httpx.Client) -> None:
    """``GET /api/v2`` tells the seed's until told otherwise, and again after a reset."""

    def told() -> str:
        id_: str = org.get("/api/v2").json()["meta"]["org"]["id"]
        return id_

    assert told() == "org-demo"
    edit(org, {"op": "option", "name": "organisation", "value": "org-other"})
    assert told() == "org-other"
    org.post("/_sim/reset", json={})
    assert told() == "org-demo"
    assert org.post("/_sim/edit", json={"op": "option", "name": "organization", "value": 1}).status_code == 400


def test_scopes_can_be_taken_away_while_it_runs(org: httpx.Client) -> None:
    """An option changed by an edit holds for the next call."""
    edit(org, {"op": "option", "name": "scopes", "value": ["prospects.read"]})
    assert org.get("/api/v2/prospects").status_code == 200
    assert org.get("/api/v2/tasks").json()["errors"][0]["id"] == "unauthorizedOauthScope"
