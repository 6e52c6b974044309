from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from tests.sim.receiver import JSON_API, edit, listening, organisation, settled, signed, subscribe

NAME = {"op": "set", "type": "prospect", "id": 1, "attributes": {"firstName": "Ada"}}


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def test_an_update_is_delivered_as_captured() -> None:
    """Only what changed, the odd relations, a signature over the raw body, and the vendor's headers."""
    with listening() as (receiver, url), organisation() as client:
        hook = subscribe(client, url).json()["data"]
        edit(client, {**NAME, "relations": {"owner": 3}})
        settled(client)
        headers, raw = receiver.posts[0]
        body = receiver.bodies[0]
        assert body["data"] == {
            "type": "prospect",
            "id": 1,
            "attributes": {"firstName": "Ada", "name": "Ada Brenmore", "updatedAt": "2026-06-30T12:00:00.000Z"},
            "relationships": {"owner": {"type": "owner", "id": 3}},
        }
        assert (body["meta"]["eventName"], body["meta"]["deliveredAt"][:19]) == (
            "prospect.updated",
            "2026-06-30T12:00:00",
        )
        assert body["meta"]["deliveredAt"].endswith("+00:00")
        assert len(body["meta"]["jobId"]) == 36
        assert headers["outreach-webhook-signature"] == signed(raw)
        assert headers["content-type"] == "application/vnd.api+json"
        assert headers["user-agent"] == "Ruby"
        assert headers["outreach-webhook-id"] == str(hook["id"])
        assert headers["outreach-webhook-cleanup-token"] == hook["attributes"]["cleanupToken"]
        assert len(headers["outreach-webhook-event-id"]) == 36
        assert "beforeUpdate" not in body


def test_version_2_tells_what_was_before() -> None:
    """``beforeUpdate`` holds the former values of what changed."""
    with listening() as (receiver, url), organisation() as client:
        subscribe(client, url, payloadVersion=2, resource="prospect")
        edit(client, {"op": "set", "type": "prospect", "id": 1, "attributes": {"title": "Buyer"}, "touch": False})
        edit(client, {"op": "set", "type": "prospect", "id": 1, "attributes": {"title": "Baker"}, "touch": False})
        settled(client)
        assert len({headers["outreach-org-id"] for headers, _ in receiver.posts}) == 1
        assert receiver.bodies[1]["beforeUpdate"] == {"attributes": {"title": "Buyer"}, "relationships": {}}


def test_creations_and_destructions_tell_everything_set() -> None:
    """A created record comes with what differs from the defaults, a destroyed one with its last values."""
    with listening() as (receiver, url), organisation() as client:
        subscribe(client, url, resource="account")
        told = {"type": "account", "attributes": {"name": "Fenwick"}}
        made = client.post("/api/v2/accounts", json={"data": told}, headers=JSON_API).json()["data"]["id"]
        client.delete(f"/api/v2/accounts/{made}")
        settled(client)
        assert receiver.names == ["account.created", "account.updated", "account.destroyed"]
        created, empty, destroyed = (body["data"] for body in receiver.bodies)
        assert created["attributes"] == {
            "createdAt": "2026-06-30T12:00:00.000Z",
            "name": "Fenwick",
            "updatedAt": "2026-06-30T12:00:00.000Z",
        }
        assert created["relationships"] == {
            "creator": {"type": "creator", "id": 1},
            "owner": {"type": "owner", "id": 1},
            "updater": {"type": "updater", "id": 1},
        }
        assert (empty["attributes"], empty["relationships"]) == ({}, {})
        assert destroyed["attributes"]["name"] == "Fenwick"


def test_states_and_tasks_have_words_of_their_own() -> None:
    """A step done is ``completed`` and ``advanced``, the end ``finished``, each beside its ``updated``."""
    with listening() as (receiver, url), organisation() as client:
        edit(client, {"op": "create", "type": "sequenceState", "id": 900, "attributes": {"state": "active"},
                      "relations": {"prospect": 1, "sequence": 1, "sequenceStep": 2}})  # fmt: skip
        edit(client, {"op": "create", "type": "task", "id": 901, "relations": {"prospect": 1, "sequenceState": 900}})
        for resource, action in (("sequenceState", "advanced"), ("sequenceState", "finished"), ("task", "completed")):
            subscribe(client, url, resource=resource, action=action)
        edit(client, {"op": "complete_task", "task": 901}, {"op": "finish", "state": 900})
        settled(client)
        assert receiver.names == ["task.completed", "sequenceState.advanced", "sequenceState.finished"]
        assert receiver.bodies[1]["data"]["relationships"] == {"sequenceStep": {"type": "sequenceStep", "id": 3}}
        assert receiver.bodies[2]["data"]["attributes"] == {
            "state": "finished",
            "stateChangedAt": "2026-06-30T12:00:00.000Z",
            "updatedAt": "2026-06-30T12:00:00.000Z",
        }


def test_addresses_follow_the_prospect() -> None:
    """Another address is one destroyed and one created; sending a prospect away destroys all that hangs on it."""
    with listening() as (receiver, url), organisation() as client:
        subscribe(client, url, resource="emailAddress")
        edit(client, {"op": "set", "type": "prospect", "id": 1, "attributes": {"emails": ["new@fen.example"]}})
        edit(client, {"op": "delete", "type": "prospect", "id": 1})
        settled(client)
        spoken = [name for name in receiver.names if name != "emailAddress.updated"]
        assert spoken[-2:] == ["emailAddress.created", "emailAddress.destroyed"]
        assert receiver.bodies[-1]["data"]["attributes"]["email"] == "new@fen.example"


@pytest.mark.parametrize(
    "attributes, pointer",
    [
        ({"resource": "stage"}, "resource"),
        ({"resource": "prospect", "action": "finished"}, "action"),
        ({"payloadVersion": 3}, "payloadVersion"),
        ({"url": "http://receiver.example/hooks"}, "url"),
    ],
)
def test_a_subscription_that_makes_no_sense_is_refused(attributes: dict[str, Any], pointer: str) -> None:
    """422, pointing at the attribute."""
    with organisation() as client:
        answer = subscribe(client, **{"url": "https://receiver.example/hooks", **attributes})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["source"] == {"pointer": f"/data/attributes/{pointer}"}


def test_subscriptions_are_filtered_changed_and_removed() -> None:
    """Filters by resource, action and active; inactive ones hear nothing; the cleanup token needs no bearer."""
    with listening() as (receiver, url), organisation() as client:
        first = subscribe(client, url, resource="prospect").json()["data"]
        subscribe(client, url, resource="task", action="completed")
        found = client.get("/api/v2/webhooks?filter[resource]=task&filter[action]=completed").json()["data"]
        assert [one["id"] for one in found] == [2]
        change = {"type": "webhook", "id": first["id"], "attributes": {"active": False}}
        client.patch(f"/api/v2/webhooks/{first['id']}", json={"data": change}, headers=JSON_API)
        edit(client, NAME)
        settled(client)
        assert receiver.posts == []
        token = first["attributes"]["cleanupToken"]
        path, stranger = "/api/v2/webhooks/cleanup", {"Authorization": ""}
        assert client.post(path, json={"token": token}, headers=stranger).status_code == 204
        assert client.post(path, json={"token": token}, headers=stranger).status_code == 404
        assert [one["id"] for one in client.get("/api/v2/webhooks").json()["data"]] == [2]


@pytest.mark.parametrize("status", [302, 429, 500])
def test_any_answer_is_final(status: int) -> None:
    """Whatever the status, it is sent once, and the journal tells url, event and status."""
    with listening() as (receiver, url), organisation() as client:
        receiver.status = status
        subscribe(client, url)
        edit(client, NAME)
        settled(client)
        assert len(receiver.posts) == 1
        entry = next(one for one in client.get("/_sim/journal").json()["entries"] if one["method"] == "WEBHOOK")
        assert (entry["path"], entry["status"], entry["webhook"]["attempt"]) == (url, status, 1)
        assert entry["webhook"]["event"] == receiver.posts[0][0]["outreach-webhook-event-id"]


def test_without_an_answer_it_is_tried_four_times() -> None:
    """Nobody listens: four attempts of one event, and it is lost."""
    with organisation() as client:
        subscribe(client, f"http://127.0.0.1:{closed_port()}/hooks")
        edit(client, NAME)
        told = settled(client)["deliveries"]
        assert [(one["attempt"], one["status"], one["error"]) for one in told] == [
            (1, 0, "refused"),
            (2, 0, "refused"),
            (3, 0, "refused"),
            (4, 0, "refused"),
        ]
        assert len({one["event"] for one in told}) == 1


def test_an_answer_that_comes_too_late_is_none() -> None:
    """It is sent again under the same event, though the receiver has it."""
    with listening() as (receiver, url), organisation() as client:
        receiver.wait_s = 0.2
        subscribe(client, url)
        client.post("/_sim/webhooks", json={"timeout_s": 0.05, "attempts": 2})
        edit(client, NAME)
        told = settled(client)["deliveries"]
        assert [(one["status"], one["error"]) for one in told] == [(0, "timeout"), (0, "timeout")]
        assert len({headers["outreach-webhook-event-id"] for headers, _ in receiver.posts}) == 1


def test_an_unknown_host_suspends_for_a_minute_and_nobody_is_called() -> None:
    """No look-up is made; what falls due within the minute is lost; success later clears all three attributes."""
    with listening() as (receiver, url), organisation() as client:
        hook = f"/api/v2/webhooks/{subscribe(client, 'https://receiver.example/hooks').json()['data']['id']}"
        edit(client, NAME)
        settled(client)
        told = client.get(hook).json()["data"]["attributes"]
        assert told["active"] is True
        assert told["disabledSince"] == "2026-06-30T12:00:00.000Z"
        assert told["disabledUntil"] == "2026-06-30T12:01:00.000Z"
        assert told["disabledReason"]
        edit(client, {"op": "set", "type": "webhook", "id": 1, "attributes": {"url": url}})
        edit(client, NAME)
        assert settled(client)["deliveries"][-1]["error"] == "suspended"
        client.post("/_sim/clock", json={"shift": 61})
        edit(client, NAME)
        settled(client)
        told = client.get(hook).json()["data"]["attributes"]
        assert [told[name] for name in ("disabledReason", "disabledSince", "disabledUntil")] == [None, None, None]
        assert len(receiver.posts) == 1


def test_seven_bad_days_switch_it_off_until_it_is_changed() -> None:
    """Off after seven days without a success by the simulator's clock; any update clears the marks."""
    with organisation() as client:
        hook = f"/api/v2/webhooks/{subscribe(client, f'http://127.0.0.1:{closed_port()}/').json()['data']['id']}"
        edit(client, NAME)
        settled(client)
        client.post("/_sim/clock", json={"shift": 7 * 86_400 - 1})
        assert client.get(hook).json()["data"]["attributes"]["active"] is True
        client.post("/_sim/clock", json={"shift": 1})
        told = client.get(hook).json()["data"]["attributes"]
        assert (told["active"], told["disabledSince"]) == (False, "2026-06-30T12:00:00.000Z")
        change = {"data": {"type": "webhook", "id": 1, "attributes": {"active": True}}}
        told = client.patch(hook, json=change, headers=JSON_API).json()["data"]["attributes"]
        assert (told["active"], told["disabledReason"], told["disabledSince"]) == (True, None, None)


def test_losses_and_doubles_are_drawn_from_the_seed() -> None:
    """The same seed loses and doubles the same deliveries of the same edits; a double has its original's event."""
    runs = []
    for _ in range(2):
        with listening() as (receiver, url), organisation() as client:
            subscribe(client, url, resource="prospect")
            client.post("/_sim/webhooks", json={"lose": 0.3, "duplicate": 0.3, "seed": 7})
            edit(client, *({**NAME, "id": id_} for id_ in (1, 2, 3, 5, 6, 8, 9, 10, 11, 12)))
            marks = [one["mark"] for one in settled(client)["deliveries"]]
            runs.append([(headers["outreach-webhook-event-id"]) for headers, _ in receiver.posts])
            assert marks.count("lost") > 0 < marks.count("duplicate")
            assert len(runs[-1]) == len(marks) - marks.count("lost")
            assert len(runs[-1]) - len(set(runs[-1])) == marks.count("duplicate")
    assert sorted(runs[0]) == sorted(runs[1])


def test_some_come_late() -> None:
    """What is reordered arrives behind what followed."""
    with listening() as (receiver, url), organisation() as client:
        subscribe(client, url, resource="prospect")
        client.post("/_sim/webhooks", json={"reorder": 1, "reorder_s": 0.1})
        edit(client, NAME)
        client.post("/_sim/webhooks", json={"reorder": 0})
        edit(client, {**NAME, "id": 2})
        settled(client)
        assert [body["data"]["id"] for body in receiver.bodies] == [2, 1]


def test_forgeries_and_replays() -> None:
    """A forgery has a wrong signature or none; a replay is the old letter, byte by byte."""
    with listening() as (receiver, url), organisation() as client:
        subscribe(client, url)
        edit(client, NAME)
        event = settled(client)["deliveries"][0]["event"]
        forged = {"hook": 1, "type": "prospect", "id": 2, "action": "destroyed"}
        client.post("/_sim/webhooks", json={"forge": [forged, {**forged, "signature": "none"}], "replay": event})
        settled(client)
        genuine, wrong, bare, again = receiver.posts
        assert wrong[0]["outreach-webhook-signature"] != signed(wrong[1])
        assert "outreach-webhook-signature" not in bare[0]
        assert receiver.names[1:3] == ["prospect.destroyed", "prospect.destroyed"]
        assert (again[1], again[0]["outreach-webhook-event-id"]) == (genuine[1], event)
        assert client.get("/api/v2/prospects/2").status_code == 200


def test_no_thread_without_work() -> None:
    """Threads live while something is to be sent, and end with the server."""

    def carriers() -> int:
        return sum(thread.name == "webhooks" for thread in threading.enumerate())

    with listening() as (_, url), organisation() as client:
        edit(client, NAME)
        assert carriers() == 0
        subscribe(client, url)
        client.post("/_sim/webhooks", json={"delay": 1, "delay_s": 60})
        edit(client, NAME)
        assert carriers() == 1
    assert carriers() == 0


def test_a_malformed_control_is_a_400() -> None:
    """An unknown setting or event is told, nothing is changed."""
    with organisation() as client:
        assert client.post("/_sim/webhooks", json={"loose": 1}).status_code == 400
        assert client.post("/_sim/webhooks", json={"replay": "nothing"}).status_code == 400
        assert client.post("/_sim/webhooks", json={"unreachable": "moon"}).status_code == 400


def test_hidden_records_are_not_told() -> None:
    """What the token may not see reaches no webhook."""
    with listening() as (receiver, url), organisation() as client:
        subscribe(client, url)
        edit(client, {"op": "hide", "type": "prospect", "ids": [1]}, NAME, {**NAME, "id": 2})
        settled(client)
        assert [body["data"]["id"] for body in receiver.bodies] == [2]
