"""What an exception says is told only if it is one of ours: a bare name in any other never comes out, its type and place do."""

from __future__ import annotations

import ast
import contextlib
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from pathlib import Path

import celery
import duckdb
import httpx
import msgspec
import psycopg
import pydantic
import pytest
import redis
import sqlalchemy
import structlog
from sqlalchemy.exc import OperationalError

from tests.equipment.test_telemetry import _restore, configure
from worker import telemetry
from worker.cli import app as front
from worker.core import errors

__all__ = ["_restore"]

NAME = "Zyxashby"
"""Of nobody. It stands in no other line of this file, for tracebacks show lines."""
OURS = "Workbooks refused the field; look at its picklist"
ROOT = Path(__file__).parents[2]


class _Label(Enum):
    """A picklist."""

    FREE = "Free"


class _Row(pydantic.BaseModel):
    """A row with a number."""

    number: int


def _url() -> str:
    return f"http://vendor.example/people?name={NAME}"


def _in_database() -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    try:
        with engine.connect() as db:
            db.execute(sqlalchemy.text("create table person (name text unique)"))
            for _ in range(2):
                db.execute(sqlalchemy.text("insert into person values (:name)"), {"name": NAME})
    finally:
        engine.dispose()


def _missing() -> object:
    return dict[str, int]()[NAME]


def _noted() -> None:
    error = RuntimeError("odd")
    error.add_note(f"while {NAME} was read")
    raise error


def _caused() -> None:
    try:
        int(NAME)
    except ValueError as error:
        raise errors.RemoteDown(OURS) from error


def _amidst() -> None:
    try:
        int(NAME)
    except ValueError:
        _missing()


def _several() -> None:
    raise ExceptionGroup(f"about {NAME}", [KeyError(NAME), ExceptionGroup("inner", [ValueError(NAME)])])


def _raises(error: Exception) -> Callable[[], object]:
    def raised() -> None:
        raise error

    return raised


KINDS: dict[str, Callable[[], object]] = {
    "KeyError": _missing,
    "ValueError": lambda: int(NAME),
    "UnicodeDecodeError": lambda: f"{NAME}é".encode("latin-1").decode(),
    "AttributeError": lambda: getattr(object(), NAME),
    "TypeError": lambda: dict(**{NAME: 1}, **{NAME: 2}),
    "FileNotFoundError (ENOENT)": lambda: Path("/nowhere", NAME).read_bytes(),
    "SyntaxError": lambda: ast.parse(f"{NAME} {NAME}"),
    "ImportError": lambda: __import__(NAME),
    "AssertionError": _raises(AssertionError(f"{NAME} is not there")),
    "strptime": lambda: datetime.strptime(NAME, "%Y").astimezone(),
    "sqlalchemy.exc.IntegrityError (SQLITE_CONSTRAINT_UNIQUE)": _in_database,
    "psycopg.errors.InvalidTextRepresentation (22P02)": _raises(
        psycopg.errors.InvalidTextRepresentation(f'invalid input syntax for type bigint: "{NAME}"')
    ),
    "pydantic_core._pydantic_core.ValidationError": lambda: _Row.model_validate({"number": NAME}),
    "msgspec.ValidationError": lambda: msgspec.json.decode(f'"{NAME}"', type=_Label),
    "httpx.HTTPStatusError": lambda: httpx.Response(404, request=httpx.Request("GET", _url())).raise_for_status(),
    "httpx.ConnectError": _raises(httpx.ConnectError(f"no route for {_url()}")),
    "redis.exceptions.ResponseError": _raises(redis.ResponseError(f"unknown command '{NAME}'")),
    "ConversionException": lambda: duckdb.connect().execute("select cast(? as int)", [NAME]),
    "RuntimeError": _noted,
    "RemoteDown": _caused,
    "was being handled": _amidst,
    "ExceptionGroup": _several,
}


def _caught(kind: str) -> Exception:
    try:
        KINDS[kind]()
    except Exception as error:  # noqa: BLE001 - whatever this kind is
        return error
    raise AssertionError(kind)


def _by_celery(error: Exception) -> None:
    """Let Celery itself run a task that fails: it quotes the exception in its message, and hands it on."""
    app = celery.Celery("untold", set_as_current=False)

    @app.task(name="outbook.untold", shared=False)  # shared, it would be every other app's as well
    def fails(_who: str) -> None:
        raise error

    fails.apply(args=(NAME,))


def _spoken(error: Exception) -> None:
    """Tell of an exception in every way that a line can be written."""
    log, library = structlog.get_logger("outbook"), logging.getLogger("somebody.else")
    try:
        _raises(error)()
    except Exception:
        log.exception("by structlog")
        library.exception("by logging")
        library.exception("put in already: %s", f"{error} or {error!r}")
    log.error("handed on", exc_info=error)
    log.error("as a value", error=error, several=[{"of": error}])
    log.error("in the words: %s, %r", error, [error])
    log.error(error)
    library.error("in the words: %s, %r, %s", error, (error, {1: error}), [error])
    library.error(error)
    with contextlib.suppress(Exception):
        _by_celery(error)


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_no_name_in_an_exception_comes_out(capfd: pytest.CaptureFixture[str], kind: str, *, as_json: bool) -> None:
    """Whoever raised it, however it is told of, by whichever library: its kind and its place are there, the name is not."""
    configure(as_json=as_json)
    error = _caught(kind)
    _spoken(error)
    told = capfd.readouterr().err
    assert [line for line in told.splitlines() if NAME.lower() in line.lower()] == []
    assert told.count(errors.told(error)) > 10
    assert "in raised" in told or "test_untold.py" in told
    assert f"raised unexpected: {telemetry.CUT}" in told or OURS in told
    if kind not in {"strptime", "ConversionException", "was being handled", "ImportError"}:
        assert kind in told


def test_our_own_sentences_stay(capfd: pytest.CaptureFixture[str]) -> None:
    """What was written with care is told in full, with what led to it."""
    configure(as_json=False)
    _spoken(_caught("RemoteDown"))
    told = capfd.readouterr().err
    assert told.count(OURS) > 10
    assert re.search(r"in _caused\n +int\(NAME\)\n.*ValueError\n\nled to:\n\nTraceback", told, re.DOTALL)


def test_the_place_is_told_where_the_words_are_not() -> None:
    """Where in our code it came up, and nothing for what never came by there."""
    with pytest.raises(TypeError) as found:
        errors.decide(ValueError(), attempt=1, first_tried=NAME, now=NAME, jitter=0.0)  # type: ignore[arg-type]
    assert re.fullmatch(r"worker/core/errors\.py:\d+", telemetry.place(found.value))
    assert telemetry.place(_caught("KeyError")) == ""


def test_odd_codes_are_not_told() -> None:
    """An error number that is none, a state that is a word: left out."""
    odd = psycopg.Error()
    odd.sqlstate = NAME
    assert errors.told(odd) == "psycopg.Error"
    assert errors.told(OSError(NAME, NAME)) == "OSError"
    assert errors.told(OSError([NAME], NAME)) == "OSError"
    assert errors.told(OSError(NAME)) == "OSError"


PROGRAM = """
import gc, sys, threading, warnings
from worker import telemetry
from worker.cli import app as front
name = "Zyxashby"
class Last:
    def __del__(self):
        int(name)
def verb(**_):
    warnings.warn(f"{name} is odd", stacklevel=1)
    Last()
    thread = threading.Thread(target=int, args=[name])
    thread.start()
    thread.join()
    try:
        int(name)
    except ValueError:
        raise KINDS[sys.argv[1]](name)
from sqlalchemy.exc import DataError
KINDS = {
    "ctrl-c": KeyboardInterrupt,
    "row": lambda said: DataError("insert", {"name": said}, ValueError(said)),
}
front.app = verb
front.main()
"""


@pytest.mark.processes
@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    "kind, told",
    [
        ("ctrl-c", "KeyboardInterrupt"),
        ("row", "outbook: the database: sqlalchemy.exc.DataError at "),
    ],
)
def test_what_a_command_says_as_it_breaks(kind: str, told: str) -> None:
    """On stderr of a real process: nobody caught it, or the database refused a row, a thread broke, a finalizer, a warning."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind], env=environ, capture_output=True, text=True, timeout=180, check=False
    )
    assert ended.returncode != 0
    assert (ended.stdout, NAME in ended.stderr) == ("", False), ended.stderr
    assert told in ended.stderr
    assert "warned of UserWarning at <string>:" in ended.stderr
    assert ended.stderr.count('"event": "uncaught"') == (2 if kind == "row" else 3)


def test_a_database_that_cannot_be_reached_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No statement was sent yet, so its words are of the server; once one was, the kind, the code and the place are told."""
    words = []
    for statement in (None, "insert"):
        error = OperationalError(statement, {}, psycopg.OperationalError("connection refused"))
        monkeypatch.setattr(front, "app", lambda _error=error, **_: _raises(_error)())
        with pytest.raises(SystemExit):
            front.main()
        words.append(re.sub(r"\d+", "N", capsys.readouterr().err))
    assert words == [
        "outbook: the database: connection refused\n",
        "outbook: the database: sqlalchemy.exc.OperationalError at worker/cli/app.py:N\n",
    ]
