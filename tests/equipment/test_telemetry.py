"""Logs: nothing that must stay out comes out, whichever way it went in."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import sqlalchemy
import structlog

from worker import telemetry

CANARIES = (
    "ada.canary@example.com",
    "ada.canary%40example.com",
    "+44 20 7946 0018",
    "+442079460018",
    "020 7946 0018",
    "(020) 7946-0018",
    "02079460018",
    "(212) 555-0123",
    "212-555-0123",
    "Bearer canary-bearer-1",
    "Basic Y2FuYXJ5OmNhbmFyeQ==",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl",
    "api_key=canary-key-1",
    "access_token=canary-token-1&x=1",
    '"refresh_token": "canary-token-2"',
    "'client_secret': 'canary secret 3'",
    "password = canary-password",
    "X-Api-Key: canary-key-2",
    "redis://:canary-pw@127.0.0.1:6379/0",
    "postgresql+psycopg://outbook:canary-pw@db.example/outbook",
    "https://outreach.example/callback?code=canary-code&state=canary-state",
)
NEEDLES = (
    *("canary", "7946", "555-0123", "79460018", "Y2FuYXJ5", "eyJhbGci", "eyJzdWIi", "c2lnbmF0dXJl"),
    *("Lovelace", "c2VjcmV0", "SELECTED-VALUE"),
)


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    """Put the process's logging back as it was."""
    root, hooks = logging.getLogger(), (sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning)
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning = hooks
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def configure(level: str = "INFO", *, as_json: bool | None = None) -> None:
    """Configure as a program does, without pytest's own handlers: those print records as they are."""
    logging.getLogger().handlers.clear()
    telemetry.configure(level, as_json=as_json)


def assert_clean(text: str) -> None:
    """Fail if anything planted came through."""
    text = re.sub(r"\.\d{6}Z", "Z", text)  # a fraction of a second may hold any digits
    assert [line for line in text.splitlines() if any(needle in line for needle in NEEDLES)] == []


@pytest.mark.parametrize("canary", CANARIES)
def test_each_kind_of_secret_is_cut_from_any_text(canary: str) -> None:
    """A credential, an address or a phone number vanishes, and what stands around it stays."""
    told = telemetry.scrub(f"before {canary}, after")
    assert_clean(told)
    assert told.startswith("before ")
    assert told.endswith("after")


@pytest.mark.parametrize(
    "plain",
    [
        "prospects:7001 applied in 0.123456789 s",
        "run 5f2b1c9e-0123-4567-89ab-0123456789ab",
        "2026-11-20T15:00:00.123456Z to 2026-11-20 15:00:00+00:00",
        "lease 1763650800 fence 12 calls 10000 of 5000000",
        "listening on http://127.0.0.1:8080",
        "GET https://outreach.example/api/v2/prospects?page[size]=1000&count=false",
        "mappings/outreach-workbooks.yaml:14:10: unknown CRM state",
        "Active – Running",
        "stream sequenceStates is primed",
    ],
)
def test_what_operators_need_stays(plain: str) -> None:
    """Ids, times, durations, addresses of servers and places in files are not taken for something else."""
    assert telemetry.scrub(plain) == plain


@pytest.mark.parametrize("as_json", [True, False])
def test_nothing_planted_comes_out(capfd: pytest.CaptureFixture[str], *, as_json: bool) -> None:
    """Through structlog, stdlib logging, exceptions, threads, httpx and SQLAlchemy, no canary reaches the output."""
    configure("DEBUG", as_json=as_json)
    log, plain = structlog.get_logger("test"), logging.getLogger("somebody.else")
    structlog.contextvars.bind_contextvars(email="Lovelace", stream="prospects")
    for canary in CANARIES:
        log.info("event %s", canary, value=canary, deep=[{"x": (canary, {canary})}], **{canary: 1})
        plain.info("event %s", canary)
        plain.info("event %r", {"inner": canary})
        try:
            _fail()
        except RuntimeError:
            log.exception("failed")
            plain.exception("failed", extra={"data": canary})
    for key in (
        "first_name",
        "firstName",
        "emails",
        "workPhones",
        "token",
        "api_key",
        "Authorization",
        "body",
        "params",
    ):
        log.warning("denied", **{key: "Lovelace"})
        log.warning("denied", inner={key: ["Lovelace"]})
    thread = threading.Thread(target=_fail, name="canary-thread")
    thread.start()
    thread.join()
    sys.excepthook(ValueError, ValueError(CANARIES[0]), None)
    _speak_http()
    _speak_sql()
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") > len(CANARIES) * 5
    assert "prospects" in err
    assert_clean(err)


def _fail() -> None:
    raise RuntimeError("; ".join(CANARIES))


def _speak_http() -> None:
    logging.getLogger("httpx").setLevel(logging.DEBUG)  # as a curious operator might
    logging.getLogger("httpcore").setLevel(logging.DEBUG)
    transport = httpx.MockTransport(lambda request: httpx.Response(200, request=request))
    with httpx.Client(transport=transport, headers={"Authorization": "Bearer canary-bearer-1"}) as client:
        client.get("http://outreach.example/api?filter[emails]=ada.canary@example.com&api_key=canary-key-1")


def _speak_sql() -> None:
    logging.getLogger("sqlalchemy").setLevel(logging.INFO)
    engine = sqlalchemy.create_engine("sqlite://")
    try:
        with engine.connect() as db:
            db.execute(
                sqlalchemy.text("select :name, :note from nowhere"), {"name": "Lovelace", "note": "SELECTED-VALUE)"}
            )
    except sqlalchemy.exc.OperationalError:
        structlog.get_logger("test").exception("failed")
    finally:
        engine.dispose()
    detail = 'DETAIL:  Key (last_name)=(Lovelace) already exists.\nFailing row contains (7, "Lovelace", null).'
    logging.getLogger("psycopg").warning(detail)


def test_json_lines_hold_one_event_each(capfd: pytest.CaptureFixture[str]) -> None:
    """Each line is one JSON object with its event, level, logger, time and keys."""
    configure(as_json=True)
    structlog.get_logger("worker.sync").info("applied", ref="people:7", seconds=0.5, ok=True, none=None)
    line = json.loads(capfd.readouterr().err)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "applied",
        "level": "info",
        "logger": "worker.sync",
        "ref": "people:7",
        "seconds": 0.5,
        "ok": True,
        "none": None,
    }


def test_configuring_again_does_not_double_the_lines(capfd: pytest.CaptureFixture[str]) -> None:
    """The last call holds, and a line is written once."""
    configure("DEBUG", as_json=True)
    telemetry.configure("INFO", as_json=True)
    structlog.get_logger("test").debug("unheard")
    structlog.get_logger("test").info("heard")
    logging.getLogger("test").info("heard too")
    assert [json.loads(line)["event"] for line in capfd.readouterr().err.splitlines()] == ["heard", "heard too"]


def test_json_is_written_when_nobody_watches(capfd: pytest.CaptureFixture[str]) -> None:
    """Without a terminal on stderr the lines are JSON."""
    configure()
    logging.getLogger("test").warning("plain")
    assert json.loads(capfd.readouterr().err)["event"] == "plain"


def test_chatty_libraries_are_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    """The informational lines of the HTTP client, the database and Celery are not heard, their warnings are."""
    configure("DEBUG", as_json=True)
    for name in ("httpx", "httpcore.connection", "sqlalchemy.engine.Engine", "celery.worker.strategy", "kombu"):
        logging.getLogger(name).setLevel(logging.NOTSET) if "." in name else None
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("warning")
    assert [json.loads(line)["event"] for line in capfd.readouterr().err.splitlines()] == ["warning"] * 5


@pytest.mark.parametrize("name", ["alembic.runtime", "celery.app", "httpcore.http11", "httpx", "kombu", "sqlalchemy"])
def test_an_opened_library_stays_quiet(capfd: pytest.CaptureFixture[str], name: str) -> None:
    """Whoever opens a library's logger by hand hears its warnings, and none of the rows, headers and bodies below them."""
    configure("DEBUG", as_json=True)
    library = logging.getLogger(name)
    library.setLevel(logging.DEBUG)
    try:
        library.debug("Row %r", (7, "Lovelace"))
        library.info("Headers %r", {"x": "Lovelace"})
        library.warning("a warning")
    finally:
        library.setLevel(logging.WARNING)
    assert [json.loads(line)["event"] for line in capfd.readouterr().err.splitlines()] == ["a warning"]


def test_opened_rows_of_a_real_query_stay_inside(capfd: pytest.CaptureFixture[str]) -> None:
    """SQLAlchemy shows every row it reads on its logger at DEBUG: names cannot be told from other words there."""
    configure("DEBUG", as_json=True)
    opened = logging.getLogger("sqlalchemy.engine")
    opened.setLevel(logging.DEBUG)
    engine = sqlalchemy.create_engine("sqlite://", hide_parameters=True)
    try:
        with engine.connect() as db:
            assert db.execute(sqlalchemy.text("select 'Lovelace'")).scalar_one() == "Lovelace"
    finally:
        engine.dispose()
        opened.setLevel(logging.NOTSET)
    assert_clean(capfd.readouterr().err)


def test_a_line_that_cannot_be_formatted_tells_only_its_place(capfd: pytest.CaptureFixture[str]) -> None:
    """A wrong format string neither raises nor prints its arguments."""
    configure(as_json=True)
    logging.getLogger("test").info("%d things", CANARIES[0])
    told = capfd.readouterr().err
    assert "a log line of test at test_telemetry.py" in told
    assert_clean(told)


def test_an_object_is_written_as_its_scrubbed_text(capfd: pytest.CaptureFixture[str]) -> None:
    """What JSON does not know goes out by its str, scrubbed, and very deep values are cut."""
    configure(as_json=True)
    deep: Any = "end"
    for _ in range(9):
        deep = [deep]
    structlog.get_logger("test").info("odd", error=ValueError(CANARIES[0]), raw=CANARIES[0].encode(), deep=deep)
    told = capfd.readouterr().err
    assert_clean(told)
    assert "end" not in json.loads(told)["deep"]
