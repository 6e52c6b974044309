from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from worker.sim import control


class Notebook:
    """A world that only remembers what it was told."""

    def __init__(self) -> None:
        self.resets: list[tuple[str | None, int | None]] = []

    def edit(self, document: control.Json) -> control.Json:
        if document.get("op") != "note":
            raise ValueError("no such edit")
        return {"noted": document["text"], "effect": [{"op": "update", "type": "note", "id": 1, "changes": {}}]}

    def dump(self) -> control.Json:
        return {"notes": 1}

    def reset(self, *, seed: str | None, records: int | None) -> None:
        self.resets.append((seed, records))


def answer(request: control.Request, fault: control.Fault | None) -> control.Reply:
    """A vendor whose every POST creates a thing."""
    reply = control.json_reply(200, {"path": request.path, "fault": fault.kind if fault else None})
    if request.method == "POST":
        reply.effect = [{"op": "create", "type": "thing", "id": 1, "changes": {}}]
    return reply


def app() -> control.ControlApp:
    """A fresh simulator of that vendor."""
    return control.control_app(
        answer, clock=control.Clock(), journal=control.Journal(), faults=control.Faults(), world=Notebook()
    )


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    """A client in-process."""
    with httpx.Client(transport=httpx.WSGITransport(app()), base_url="http://sim.test") as opened:
        yield opened


@pytest.fixture(scope="module")
def served() -> Iterator[httpx.Client]:
    """A client over a socket."""
    with control.running(app()) as url, httpx.Client(base_url=url, timeout=90) as opened:
        yield opened


def arm(client: httpx.Client, *faults: dict[str, Any]) -> None:
    """Arm these faults alone."""
    assert client.post("/_sim/faults", json=list(faults)).status_code == 200


def journal(client: httpx.Client, **wanted: str) -> list[dict[str, Any]]:
    """The journal's entries."""
    entries: list[dict[str, Any]] = client.get("/_sim/journal", params=wanted).json()["entries"]
    return entries


def test_the_clock_can_be_shifted_set_and_frozen() -> None:
    """A frozen clock stands, moves by what it is shifted, and runs on from there."""
    clock = control.Clock()
    clock.set("2026-03-01T10:00:00Z")
    clock.freeze()
    stood = clock.now()
    assert stood.replace(microsecond=0) == datetime(2026, 3, 1, 10, 0, tzinfo=UTC)
    clock.shift(3600)
    assert (clock.now() - stood).total_seconds() == 3600
    clock.freeze(on=False)
    assert 0 <= (clock.now() - stood).total_seconds() - 3600 < 120


def test_every_answer_bears_the_simulated_date(client: httpx.Client) -> None:
    """The Date header tells the clock's time, not the machine's."""
    client.post("/_sim/clock", json={"set": "2020-05-04T03:02:01Z", "freeze": True})
    assert client.get("/x").headers["date"] == "Mon, 04 May 2020 03:02:01 GMT"
    client.post("/_sim/clock", json={"shift": 60})
    assert client.get("/x").headers["date"] == "Mon, 04 May 2020 03:03:01 GMT"


def test_the_journal_tells_calls_and_effects(client: httpx.Client) -> None:
    """Calls are numbered from 1 and found by number and by path; controls that only look leave no entry."""
    client.get("/a?b=c")
    client.post("/d")
    first, second = journal(client)
    assert (first["n"], first["method"], first["path"], first["query"]) == (1, "GET", "/a", "b=c")
    assert (first["status"], first["effect"], first["fault"]) == (200, [], None)
    assert (first["op"], second["op"]) == ("read", "write")
    assert second["effect"] == [{"op": "create", "type": "thing", "id": 1, "changes": {}}]
    assert [entry["path"] for entry in journal(client, since="1")] == ["/d"]
    assert [entry["path"] for entry in journal(client, path="^/a")] == ["/a"]


def test_the_journal_keeps_the_newest() -> None:
    """A full journal drops its oldest entries and numbers on."""
    kept = control.Journal(keeps=2)
    for path in ("/1", "/2", "/3"):
        kept.record({"path": path})
    assert [(entry["n"], entry["path"]) for entry in kept.entries()] == [(2, "/2"), (3, "/3")]
    assert kept.entries(since=3) == []


def test_an_edit_is_done_and_journalled(client: httpx.Client) -> None:
    """The world answers an edit, its effect stands in the journal, and a bad one is a 400 with words."""
    assert client.post("/_sim/edit", json={"op": "note", "text": "hello"}).json()["noted"] == "hello"
    assert journal(client)[0]["effect"][0]["type"] == "note"
    refused = client.post("/_sim/edit", json={"op": "dance"})
    assert (refused.status_code, refused.json()) == (400, {"error": "ValueError: no such edit"})


def test_a_reset_starts_everything_anew(client: httpx.Client) -> None:
    """Journal, faults and clock are as at the start, and the world is told."""
    client.get("/a")
    arm(client, {"kind": "status", "args": {"code": 500}})
    client.post("/_sim/clock", json={"set": "2020-01-01"})
    assert client.post("/_sim/reset", json={"seed": "other", "records": 5}).status_code == 200
    assert client.get("/b").status_code == 200
    assert [entry["n"] for entry in journal(client)] == [1]
    assert parsedate_to_datetime(client.get("/c").headers["date"]).year > 2020


def test_state_and_unknown_controls(client: httpx.Client) -> None:
    """The world's state can be read, and what is no control is a 404."""
    assert client.get("/_sim/state").json() == {"notes": 1}
    assert client.get("/_sim/nothing").status_code == 404


def test_a_fault_hits_only_what_it_matches(client: httpx.Client) -> None:
    """Method, path, query and kind of operation all have to match."""
    teapot = {"kind": "status", "args": {"code": 418}}
    arm(client, {**teapot, "match": {"method": "POST", "path": "^/a$", "op": "write"}})
    assert [client.get("/a").status_code, client.post("/ab").status_code, client.post("/a").status_code] == [
        200,
        200,
        418,
    ]
    arm(client, {**teapot, "match": {"query": r"page\[after\]"}})
    assert [client.get("/a").status_code, client.get("/a?page%5Bafter%5D=1").status_code] == [200, 418]
    arm(client)
    assert client.post("/a").status_code == 200


def test_a_fault_waits_and_wears_off(client: httpx.Client) -> None:
    """``after`` lets calls through first, ``times`` ends it."""
    arm(client, {"kind": "status", "args": {"code": 503}, "after": 1, "times": 2})
    assert [client.get("/a").status_code for _ in range(5)] == [200, 503, 503, 200, 200]


def test_chance_can_be_repeated(client: httpx.Client) -> None:
    """The same armed probability hits the same calls again."""
    fault = {"kind": "status", "args": {"code": 500}, "probability": 0.5}
    arm(client, fault)
    once = [client.get("/a").status_code for _ in range(20)]
    arm(client, fault)
    assert [client.get("/a").status_code for _ in range(20)] == once
    assert {200, 500} == set(once)


def test_a_malformed_fault_is_refused(client: httpx.Client) -> None:
    """A fault without a kind, or with a broken pattern, is a 400 and arms nothing."""
    assert client.post("/_sim/faults", json=[{"times": 1}]).status_code == 400
    assert client.post("/_sim/faults", json=[{"kind": "drop", "match": {"path": "("}}]).status_code == 400
    assert client.get("/_sim/faults").json() == []


def test_common_faults_shape_the_answer(client: httpx.Client) -> None:
    """``status`` answers as told, ``html200`` with a page, ``truncate`` with half a document; each is journalled."""
    told = {"code": 429, "headers": {"Retry-After": "7"}, "body": {"error": "slow down"}}
    arm(client, {"kind": "status", "args": told, "times": 1})
    refused = client.get("/a")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
    assert refused.json() == {"error": "slow down"}
    arm(client, {"kind": "html200", "times": 1})
    assert client.get("/a").text.startswith("<!DOCTYPE html>")
    arm(client, {"kind": "truncate", "times": 1})
    assert client.get("/a").text == '{"path":"/a","fa'
    assert [entry["fault"] for entry in journal(client)] == ["status", "html200", "truncate"]


def test_a_lost_reply_leaves_its_effect(client: httpx.Client) -> None:
    """The handler has run although in-process its caller only sees a 502; a dropped call has no effect."""
    arm(client, {"kind": "lost_reply", "times": 1})
    assert client.post("/a").status_code == 502
    arm(client, {"kind": "drop", "times": 1})
    assert client.post("/b").status_code == 502
    lost, dropped = journal(client)
    assert (lost["status"], len(lost["effect"]), lost["fault"]) == (0, 1, "lost_reply")
    assert (dropped["status"], dropped["effect"], dropped["fault"]) == (0, [], "drop")


def test_an_unknown_kind_reaches_the_handler(client: httpx.Client) -> None:
    """What is no common fault is the vendor's to play."""
    arm(client, {"kind": "special", "times": 1})
    assert client.get("/a").json()["fault"] == "special"


@pytest.mark.parametrize("kind", ["drop", "lost_reply", "reset"])
def test_a_served_connection_really_breaks(served: httpx.Client, kind: str) -> None:
    """Over a socket there is no answer at all, and the next call works."""
    arm(served, {"kind": kind, "times": 1})
    with pytest.raises(httpx.TransportError):
        served.post("/a")
    assert served.get("/a").status_code == 200


def test_a_delay_makes_a_caller_wait(served: httpx.Client) -> None:
    """A caller with less patience than the delay times out."""
    arm(served, {"kind": "delay", "args": {"seconds": 0.3}, "times": 1})
    with pytest.raises(httpx.ReadTimeout):
        served.get("/a", timeout=0.05)
    arm(served)


def test_serve_says_where_and_ends_on_sigterm() -> None:
    """A served simulator prints its address on stderr, answers there, waits its latency, and ends with exit 0."""
    program = "from worker.sim import outreach, control;control.serve(outreach.build(records=3), port=0, latency_ms=50)"
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        try:
            assert said.startswith("listening on http://127.0.0.1:")
            url, before = said.removeprefix("listening on ").strip(), time.monotonic()
            assert httpx.get(f"{url}/api/v2/users", headers={"Authorization": "Bearer sim-access"}).status_code == 200
            assert time.monotonic() - before >= 0.05
        finally:
            process.terminate()
        assert process.wait(timeout=90) == 0


def test_an_answer_may_drip(served: httpx.Client) -> None:
    """``slow_drip`` sends the whole body, in pieces over its seconds."""
    arm(served, {"kind": "slow_drip", "times": 1, "args": {"seconds": 0.2, "pieces": 4}})
    with served.stream("GET", "/drip") as answer:
        pieces = [(time.monotonic(), piece) for piece in answer.iter_raw()]
    assert b"".join(piece for _, piece in pieces) == b'{"path":"/drip","fault":"slow_drip"}'
    assert pieces[-1][0] - pieces[0][0] >= 0.1
