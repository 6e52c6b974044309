from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from tests.web.conftest import MakeWeb, Web
from worker import config
from worker.core.records import Kind
from worker.store import cursors, outbox
from worker.store.outbox import Lane
from worker.web import server
from worker.web.wire import Answer, Application, Request

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_every_route_says_what_it_takes(web: Web) -> None:
    """Another method is told which would do, another path that there is nothing; a HEAD is a GET without its body."""
    told = web.http.get("/webhooks/outreach")
    assert (told.status_code, told.headers["Allow"]) == (405, "POST")
    assert web.http.post("/healthz").headers["Allow"] == "GET"
    assert web.http.get("/nowhere").status_code == 404
    head = web.http.head("/healthz")
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", "3")
    assert web.http.get("/healthz").text == "ok\n"


def test_it_is_ready_while_work_that_is_due_is_taken_up(make_web: MakeWeb) -> None:
    """Ready with nothing to do; not ready, with the reason, once a change has been due for two minutes and nobody came."""
    clock = [NOON]
    web = make_web(now=lambda: clock[0])
    assert web.http.get("/readyz").json() == {"ready": True, "troubles": []}
    with web.store.write() as db:
        for stream in cursors.STREAMS:
            reading = cursors.lease(db, stream, NOON)
            assert reading is not None
            cursors.finish(db, reading, watermark=NOON, now=NOON)
        outbox.open_changes(db, Kind.PROSPECT, [1], lane=Lane.EDIT, now=NOON)
    assert web.http.get("/readyz").status_code == 200
    clock[0] += timedelta(seconds=150)
    late = web.http.get("/readyz")
    assert late.status_code == 503
    assert late.json()["troubles"] == ["changes are due since 2026-11-20T12:00:00Z, and nobody takes anything up"]
    with web.store.write() as db:
        outbox.claim(db, Kind.PROSPECT, now=clock[0])
    assert web.http.get("/readyz").status_code == 200


def test_it_is_not_ready_without_its_database_but_alive(make_web: MakeWeb) -> None:
    """A database that refuses, or lacks its tables: 503 soon, and the process itself is well."""
    nobody = make_web(url="postgresql+psycopg://outbook@127.0.0.1:1/none", tables_too=False)
    began = time.monotonic()
    told = nobody.http.get("/readyz")
    assert time.monotonic() - began < 60
    assert (told.status_code, told.json()["troubles"]) == (503, ["the database cannot be reached"])
    assert nobody.http.get("/healthz").status_code == 200
    bare = make_web(tables_too=False)
    assert bare.http.get("/readyz").status_code == 503


def asked(application: Application, path: str, method: str = "GET") -> tuple[str, bytes]:
    """Return status and body of one request without a server."""
    told: list[str] = []
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path}
    body = b"".join(application(environ, lambda status, _headers: told.append(status)))  # type: ignore[arg-type]
    return told[0], body


def test_the_longest_path_that_fits_answers() -> None:
    """A path that ends in a star stands for all below it, but not for itself, and not before what is named exactly."""

    def say(words: bytes) -> object:
        return lambda _request: Answer(200, words)

    table = {
        ("GET", "/"): say(b"all"),
        ("GET", "/a/*"): say(b"a"),
        ("GET", "/a/b/*"): say(b"ab"),
        ("GET", "/a/c"): say(b"c"),
    }
    application = Application(table)  # type: ignore[arg-type]
    told = {path: asked(application, path)[1] for path in ("/", "/a/x", "/a/b/x/y", "/a/c")}
    assert told == {"/": b"all", "/a/x": b"a", "/a/b/x/y": b"ab", "/a/c": b"c"}
    assert asked(application, "/a")[0] == "404 Not Found"


def test_what_nobody_foresaw_is_told_to_the_log_alone() -> None:
    """A page that fails answers 500 without a word of why."""

    def fails(_request: Request) -> Answer:
        raise RuntimeError("a secret of ours")

    with structlog.testing.capture_logs() as logs:
        status, body = asked(Application({("GET", "/"): fails}), "/")
    assert status == "500 Internal Server Error"
    assert b"secret" not in body
    assert [line["event"] for line in logs] == ["unforeseen"]


@pytest.mark.parametrize(
    "host, password, told",
    [
        ("127.0.0.1", "", ""),
        ("localhost", "", ""),
        ("::1", "", ""),
        ("0.0.0.0", "", "OUTBOOK_CONSOLE__PASSWORD_HASH: missing"),
        ("web.example", "", "OUTBOOK_CONSOLE__PASSWORD_HASH: missing"),
        ("0.0.0.0", "$hash", ""),
    ],
)
def test_only_loopback_needs_no_password(host: str, password: str, told: str) -> None:
    """Whoever can reach it from elsewhere has to know a password; what is no loopback address for sure counts as elsewhere."""
    said = server.lacking({"OUTBOOK_CONSOLE__HOST": host, "OUTBOOK_CONSOLE__PASSWORD_HASH": password})
    assert [one.partition(",")[0] for one in said] == [told][: bool(told)]


def test_a_place_where_nobody_can_listen_is_a_setting_to_mend(web: Web) -> None:
    """A port that is taken, an address of another machine: the problem names the setting."""
    taken = int(web.url.rpartition(":")[2])
    for console in (config.Console(port=taken), config.Console(host="192.0.2.1", port=0)):
        with pytest.raises(config.SettingsInvalid, match=r"OUTBOOK_CONSOLE__PORT: .* cannot be listened on"):
            server.bound(console)


@pytest.mark.parametrize("length", ["-1", "many", "1e3"])
def test_a_length_that_is_none_is_refused(length: str) -> None:
    """What the header says of the body is not believed blindly."""
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "CONTENT_LENGTH": length}
    assert Request("POST", "/", "", environ).length() is None
