from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from worker.sim import control, outreach, seed
from worker.sim.outreach import Options

START = datetime(2026, 6, 30, 12, 0, tzinfo=UTC)


def open_world(records: int = 60, **options: control.Json) -> httpx.Client:
    """A client of a world that starts at START."""
    clock = control.Clock(START)
    clock.set("2026-06-30T12:00:00Z")
    clock.freeze()
    app = outreach.build(records=records, options=Options(**options), clock=clock)
    headers = {"Authorization": "Bearer sim-access"}
    return httpx.Client(transport=httpx.WSGITransport(app), base_url="http://sim.test", headers=headers)


def listed(client: httpx.Client, path: str, **parameters: str) -> list[dict[str, Any]]:
    """One page of up to a thousand."""
    found = client.get(f"/api/v2/{path}", params={"page[size]": "1000", **parameters})
    data: list[dict[str, Any]] = found.json()["data"]
    return data


def edit(client: httpx.Client, *documents: dict[str, Any]) -> httpx.Response:
    """The answer to edits."""
    return client.post("/_sim/edit", json=list(documents))


@pytest.fixture(scope="module")
def large() -> dict[str, Any]:
    """Everything in a world of a thousand people."""
    with open_world(records=1000) as client:
        state: dict[str, Any] = client.get("/_sim/state").json()
        return state


def test_the_same_seed_tells_the_same_world() -> None:
    """Built twice it is equal to the last attribute; another seed is another world."""
    with open_world() as one, open_world() as two:
        assert one.get("/_sim/state").json() == two.get("/_sim/state").json()
        two.post("/_sim/reset", json={"seed": "other", "records": 20})
        assert one.get("/_sim/state").json()["prospect"] != two.get("/_sim/state").json()["prospect"]


def test_prospects_are_those_the_seed_places_in_outreach(large: dict[str, Any]) -> None:
    """A prospect's id is its person's number, with that person's name and address."""
    people = {str(one.n): one for one in seed.everyone("demo", 1000) if one.in_outreach}
    assert set(large["prospect"]) == set(people)
    for id_, person in people.items():
        told = large["prospect"][id_]["attributes"]
        assert (told["firstName"], told["emails"][0]) == (person.first_name, person.email)
        assert told.get("optedOut", False) is person.opted_out


def test_the_seeded_sequences(large: dict[str, Any]) -> None:
    """Six of three steps, one transactional, one disabled; three users with a mailbox each."""
    sequences = large["sequence"].values()
    assert len(sequences) == 6
    assert [one["id"] for one in sequences if one["attributes"]["transactional"]] == [5]
    assert [one["id"] for one in sequences if not one["attributes"]["enabled"]] == [6]
    kinds = [step["attributes"]["stepType"] for step in large["sequenceStep"].values()]
    assert kinds == ["auto_email", "call", "task"] * 6
    assert (len(large["user"]), len(large["mailbox"])) == (3, 3)


def test_the_seeded_states_are_a_realistic_mix(large: dict[str, Any]) -> None:
    """Every state occurs; about 80 % of the prospects are in one sequence, 12 % in two, 8 % in none."""
    states = Counter(one["attributes"]["state"] for one in large["sequenceState"].values())
    assert set(states) == {"active", "paused", "pending", "failed", "bounced", "disabled", "finished"}
    each = Counter(one["relations"]["prospect"] for one in large["sequenceState"].values())
    shares = Counter(each[int(id_)] for id_ in large["prospect"])
    assert 0.75 < shares[1] / 900 < 0.85
    assert 0.08 < shares[2] / 900 < 0.16
    assert 0.05 < shares[0] / 900 < 0.11


def test_nobody_opted_out_runs_in_an_ordinary_sequence(large: dict[str, Any]) -> None:
    """Their states are finished with an opt-out counted."""
    out = {one["id"] for one in large["prospect"].values() if one["attributes"].get("optedOut")}
    states = [one for one in large["sequenceState"].values() if one["relations"]["prospect"] in out]
    ordinary = [one["attributes"] for one in states if one["relations"]["sequence"] != 5]
    assert ordinary
    assert {(told["state"], told["optOutCount"]) for told in ordinary} == {("finished", 1)}


def test_seeded_times_lie_in_the_last_month(large: dict[str, Any]) -> None:
    """Whole seconds, none later than the start, some equal."""
    stamps = [one["attributes"]["updatedAt"] for one in large["sequenceState"].values()]
    assert all(stamp.endswith(".000Z") for stamp in stamps)
    assert min(stamps) > f"{START - timedelta(days=31):%Y-%m-%d}"
    assert max(stamps) < "2026-06-30T12:00:00.000Z"
    assert len(set(stamps)) < len(stamps)


def test_seeded_tasks_are_open_completed_or_autoskipped(large: dict[str, Any]) -> None:
    """The three kinds of them, and the autoskipped ones were completed by nobody in time."""
    tasks = [(one["attributes"], one["relations"]) for one in large["task"].values()]
    skipped = [told for told, related in tasks if told.get("completed") and related["completer"] is None]
    assert skipped
    assert all(told["autoskipAt"] <= told["completedAt"] for told in skipped)
    assert any(not told.get("completed") for told, _ in tasks)
    assert any(told.get("completed") and related["completer"] for told, related in tasks)


def test_more_states_can_be_forced() -> None:
    """``states_per_prospect`` puts everybody into that many sequences."""
    with open_world(records=20, states_per_prospect=3) as client:
        assert len(listed(client, "sequenceStates")) == 3 * len(listed(client, "prospects")) == 54


def open_task(client: httpx.Client) -> dict[str, Any]:
    """A call that waits on the second step of an active state."""
    wanted = {"filter[state]": "incomplete", "filter[taskType]": "sequence_step_call"}
    for task in listed(client, "tasks", **wanted, include="sequenceState"):
        state = task["relationships"]["sequenceState"]["data"]["id"]
        if client.get(f"/api/v2/sequenceStates/{state}").json()["data"]["attributes"]["state"] == "active":
            return task
    pytest.fail("no such task is seeded")


@pytest.mark.parametrize("how", ["state", "autoskip", "gone"])
def test_a_task_can_be_skipped_in_each_way_it_may_look(how: str) -> None:
    """Whatever becomes of the task, its state stands on the next step."""
    with open_world() as client:
        task = open_task(client)
        state = task["relationships"]["sequenceState"]["data"]["id"]
        step = task["relationships"]["sequenceStep"]["data"]["id"]
        assert edit(client, {"op": "skip_task", "task": task["id"], "how": how}).status_code == 200
        found = client.get(f"/api/v2/tasks/{task['id']}")
        now = client.get(f"/api/v2/sequenceStates/{state}").json()["data"]["relationships"]["sequenceStep"]["data"]
        assert now["id"] == step + 1
        if how == "gone":
            assert found.status_code == 404
        elif how == "state":
            assert found.json()["data"]["attributes"]["state"] == "skipped"
        else:
            told = found.json()["data"]
            assert (told["attributes"]["completed"], told["attributes"]["autoskipAt"]) == (
                True,
                "2026-06-30T12:00:00.000Z",
            )
            assert told["relationships"]["completer"] == {"data": None}


def test_a_raw_set_bumps_unless_told_otherwise() -> None:
    """``touch`` false leaves ``updatedAt``; relations are set by id; nothing is checked."""
    with open_world() as client:
        prospect = listed(client, "prospects")[0]
        base = {"op": "set", "type": "prospect", "id": prospect["id"]}
        edit(client, {**base, "attributes": {"title": "A"}, "relations": {"owner": 2}, "touch": False})
        told = client.get(f"/api/v2/prospects/{prospect['id']}").json()["data"]
        assert told["attributes"]["updatedAt"] == prospect["attributes"]["updatedAt"]
        assert (told["attributes"]["title"], told["relationships"]["owner"]["data"]["id"]) == ("A", 2)
        edit(client, {**base, "attributes": {"title": "B"}})
        told = client.get(f"/api/v2/prospects/{prospect['id']}").json()["data"]
        assert told["attributes"]["updatedAt"] == "2026-06-30T12:00:00.000Z"


def test_states_can_be_moved_anywhere() -> None:
    """The story knows no preconditions, and answers the changed resource."""
    with open_world() as client:
        state = listed(client, "sequenceStates")[0]["id"]
        for verb, value in (("finish", "finished"), ("pause", "paused"), ("resume", "active"), ("bounce", "bounced")):
            changed = edit(client, {"op": verb, "state": state}).json()["changed"]
            assert (changed[0]["id"], changed[0]["attributes"]["state"]) == (state, value)


def test_a_merge_moves_everything_to_the_winner() -> None:
    """States and addresses change hands, the loser is gone, and an opt-out survives."""
    with open_world() as client:
        winner, loser = (one["id"] for one in listed(client, "prospects")[:2])
        lost = listed(client, "sequenceStates", **{"filter[prospect][id]": str(loser)})
        edit(client, {"op": "opt_out", "prospect": loser}, {"op": "merge", "winner": winner, "loser": loser})
        assert client.get(f"/api/v2/prospects/{loser}").status_code == 404
        told = client.get(f"/api/v2/prospects/{winner}").json()["data"]["attributes"]
        assert told["emailOptedOut"] is True
        held = {one["id"] for one in listed(client, "sequenceStates", **{"filter[prospect][id]": str(winner)})}
        assert held >= {one["id"] for one in lost}


def test_a_story_that_makes_no_sense_is_a_400() -> None:
    """Unknown verbs, types and ids are named; what was refused says why."""
    with open_world() as client:
        assert "no verb 'dance'" in edit(client, {"op": "dance"}).json()["error"]
        assert edit(client, {"op": "pause", "state": 99999}).status_code == 400
        assert edit(client, {"op": "set", "type": "unicorn", "id": 1}).status_code == 400
        state = listed(client, "sequenceStates")[0]["relationships"]
        pair = {name: state[name]["data"]["id"] for name in ("prospect", "sequence")}
        assert "already been in this sequence" in edit(client, {"op": "enrol", **pair}).json()["error"]
