"""The stage of every end-to-end test: both vendors simulated on loopback, `outbook` run against them as a user runs it.

The simulators are real servers; only time is bent: whoever waits in a foreground pass moves every clock instead.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from tests.e2e import documents, shortcuts, worlds
from worker import bootstrap, config
from worker.cli import app as front_door
from worker.cli import stopper
from worker.sim import outreach, server, workbooks
from worker.sim.control import ControlApp

Answer = Iterable[bytes]


@dataclass(frozen=True, slots=True)
class Call:
    """One request on its way to a simulator. ``writes``: it means to change something."""

    method: str
    path: str
    query: str
    body: str

    @property
    def writes(self) -> bool:
        """Whether it means to change something: Workbooks tells that by a field of the form."""
        if self.path.endswith(".api"):
            return "_method=PUT" in self.body
        return self.method in {"POST", "PATCH", "DELETE"} and self.path.startswith("/api/")


@dataclass(slots=True)
class Hook:
    """Something that happens right before a call is answered, while ``times`` lasts."""

    when: Callable[[Call], bool]
    then: Callable[[], object]
    times: int


class Switch:
    """A WSGI application that stands for whichever simulator the test has set up; hooks see every call first."""

    def __init__(self) -> None:
        self.app: ControlApp | None = None
        self.hooks: list[Hook] = []
        self.page_size: int | None = None
        self.reshape: Callable[[Call, Any], Any] | None = None
        self.dated = True
        self.deaf_to = b""
        self._lock = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Answer:
        body = environ["wsgi.input"].read()
        if self.deaf_to:
            body = body.replace(self.deaf_to, b"ignored")
            environ["CONTENT_LENGTH"] = str(len(body))
        environ["wsgi.input"] = io.BytesIO(body)
        if self.page_size is not None:  # asked for a thousand, a page holds as many as the test wants
            short = f"page%5Bsize%5D={self.page_size}"
            environ["QUERY_STRING"] = re.sub(r"page(\[|%5B)size(\]|%5D)=\d+", short, environ["QUERY_STRING"])
        query = environ.get("QUERY_STRING", "")
        call = Call(environ["REQUEST_METHOD"], environ["PATH_INFO"], query, body.decode())
        with self._lock:
            for hook in self.hooks:
                if hook.times and hook.when(call):
                    hook.times -= 1
                    hook.then()
        assert self.app is not None
        if self.reshape is None:
            return self.app(environ, start_response)
        return self._reshaped(call, environ, start_response)

    def _reshaped(self, call: Call, environ: WSGIEnvironment, start_response: StartResponse) -> Answer:
        """Answer in other words: a JSON body goes through ``reshape``, and the server need not tell its time."""
        assert self.app is not None
        assert self.reshape is not None
        told: list[Any] = []
        body = b"".join(self.app(environ, lambda *head: told.extend(head)))  # type: ignore[arg-type]
        with contextlib.suppress(ValueError):
            body = json.dumps(self.reshape(call, json.loads(body))).encode()
        kept = [(name, text) for name, text in told[1] if name.lower() not in {"content-length", "date"}]
        dates = [(name, text) for name, text in told[1] if self.dated and name.lower() == "date"]
        start_response(told[0], [*kept, *dates, ("Content-Length", str(len(body)))])
        return [body]


@dataclass(frozen=True, slots=True)
class Servers:
    """Both simulators' places on loopback; what answers there changes from test to test."""

    outreach_url: str
    crm_url: str
    outreach: Switch
    crm: Switch


@dataclass(frozen=True, slots=True)
class Pass:
    """How one `outbook …` ended: exit code, both outputs, and the report if stdout is one."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        told: dict[str, Any] = json.loads(self.out)
        return told

    @property
    def crm(self) -> dict[str, int]:
        """What was written to the CRM, without what is nought."""
        return {name: count for name, count in self.report["crm"].items() if count and name != "unchanged"}

    @property
    def outreach(self) -> dict[str, int]:
        """What was written to Outreach, without what is nought."""
        return {name: count for name, count in self.report["outreach"].items() if count}


@dataclass(slots=True)
class Stage(worlds.World):
    """Both worlds, a data directory, and the command."""

    servers: Servers
    directory: Path
    template: Path
    monkeypatch: pytest.MonkeyPatch
    outreach: ControlApp
    crm: ControlApp
    environ: dict[str, str] = field(default_factory=dict)
    skipped_s: float = 0.0
    paper: Callable[[], io.StringIO] = io.StringIO

    def use(self, *, outreach_app: ControlApp | None = None, crm_app: ControlApp | None = None) -> None:
        """Put simulators in place, with the time that has passed so far."""
        self.outreach, self.crm = outreach_app or self.outreach, crm_app or self.crm
        self.servers.outreach.app, self.servers.crm.app = self.outreach, self.crm

    def store(self, name: str) -> None:
        """Go on with a data directory of this name, a fresh one if there is none."""
        self.environ["OUTBOOK_DATA_DIR"] = str(self.directory / name)

    def mapping(self, *edits: tuple[str, str]) -> Path:
        """Put in force the default mapping with some texts replaced; each stands there exactly once."""
        text = config.shipped_mapping().read_text(encoding="utf-8")
        for before, after in edits:
            assert text.count(before) == 1, f"{before!r} stands {text.count(before)} times in the mapping"
            text = text.replace(before, after)
        path = self.directory / "mapping.yaml"
        path.write_text(text, encoding="utf-8")
        self.environ["OUTBOOK_MAPPING"] = str(path)
        return path

    def later(self, seconds: float) -> None:
        """Let time pass everywhere."""
        self.skipped_s += seconds
        self.outreach.clock.shift(seconds)
        self.crm.clock.shift(seconds)

    def outbook(self, *arguments: str) -> Pass:
        """Run the command in this process, as ``python -m worker`` does, its waits taking no time."""
        out, err = self.paper(), io.StringIO()
        with self.monkeypatch.context() as patch, _loggers_kept(), _handlers_kept():
            for name, text in self.environ.items():
                patch.setenv(name, text)
            patch.setattr(sys, "argv", ["outbook", *arguments])
            shortcuts.take(patch, self.template)
            patch.setattr(bootstrap, "now", self.now)
            waiting = types.SimpleNamespace(sleep=self.later, time=time.time, monotonic=time.monotonic)
            patch.setattr(bootstrap, "time", waiting)
            patch.setattr(stopper.Stopper, "sleep", lambda _self, seconds: self.later(seconds))
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as left:
                front_door.main()
        code = left.value.code
        told = Pass(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())
        if "--json" in arguments and told.out:
            documents.held_against(arguments, told.report)
        return told

    def now(self) -> datetime:
        """The time of the foreground pass."""
        return datetime.now().astimezone() + timedelta(seconds=self.skipped_s)

    def sync(self, *arguments: str, code: int | None = 0) -> Pass:
        """One pass of `outbook sync --json`, which must end with this code (None: whatever)."""
        told = self.outbook("sync", "--json", *arguments)
        assert code is None or told.code == code, (told.code, told.out, told.err)
        return told

    def settled(self) -> Pass:
        """One pass that must write nothing and queue nothing; fails otherwise."""
        self.forget_calls()
        told = self.sync(code=None)
        assert not any([*told.report["crm"].values(), *told.report["outreach"].values()]), told.out
        assert told.report["queued"] == 0, told.out
        assert self.crm_writes() == [], self.crm_writes()
        assert self.outreach_writes() == [], self.outreach_writes()
        return told

    def process(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command as a process of its own; ``end_of`` waits for it."""
        ours = {name: text for name, text in os.environ.items() if not name.startswith("OUTBOOK_")}
        return subprocess.Popen(
            [sys.executable, "-m", "worker", *arguments],
            env={**ours, **self.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"},
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the store answers to a query."""
        path = Path(self.environ["OUTBOOK_DATA_DIR"]) / "outbook.db"
        with contextlib.closing(sqlite3.connect(path)) as db:
            return list(db.execute(query))

    def before_crm_write(self, then: Callable[[], object], *, times: int = 1, path: str = "people") -> None:
        """Let something happen between the decision and the CRM's taking the write."""
        self.servers.crm.hooks.append(Hook(lambda call: call.writes and path in call.path, then, times))

    def before_outreach_write(self, then: Callable[[], object], *, times: int = 1) -> None:
        """Let something happen right before Outreach takes a write."""
        self.servers.outreach.hooks.append(Hook(lambda call: call.writes, then, times))

    def before_call(self, side: Switch, path: str, then: Callable[[], object], *, times: int = 1) -> None:
        """Let something happen right before a call whose path and query fit."""
        pattern = re.compile(path)
        hook = Hook(lambda call: pattern.search(f"{call.path}?{call.query}") is not None, then, times)
        side.hooks.append(hook)


ROOT = Path(__file__).parents[2]


def end_of(process: subprocess.Popen[str], *, within_s: float = 40.0) -> Pass:
    """Wait for a process to end by itself."""
    out, err = process.communicate(timeout=within_s)
    return Pass(process.returncode, out, err)


@contextlib.contextmanager
def _loggers_kept() -> Iterator[None]:
    """Leave logging as it was."""
    root = logging.getLogger()
    held = root.level, root.handlers[:]
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning
    try:
        yield
    finally:
        root.setLevel(held[0])
        root.handlers[:] = held[1]
        sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning = hooks


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """Leave signals as they were."""
    held = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        yield
    finally:
        for number, handler in held:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Both simulators' servers, started once."""
    left, right = Switch(), Switch()
    with server.running(left) as outreach_url, server.running(right) as crm_url:
        yield Servers(outreach_url, crm_url, left, right)


@pytest.fixture
def stage(
    servers: Servers, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """An Outreach with two sequences and nobody in it, an empty CRM, an empty store."""
    servers.outreach.hooks, servers.crm.hooks = [], []
    servers.outreach.page_size = None
    servers.outreach.reshape = servers.crm.reshape = None
    servers.outreach.dated = servers.crm.dated = True
    servers.crm.deaf_to = b""
    template = tmp_path_factory.getbasetemp() / "empty-store.db"
    built = Stage(servers, tmp_path, template, monkeypatch, outreach.build(records=0), workbooks.build(records=0))
    built.environ = {
        "OUTBOOK_OUTREACH__BASE_URL": servers.outreach_url,
        "OUTBOOK_OUTREACH__ACCESS_TOKEN": "sim-access",
        "OUTBOOK_WORKBOOKS__BASE_URL": servers.crm_url,
        "OUTBOOK_WORKBOOKS__API_KEY": "sim-key",
        "OUTBOOK_ALLOW_INSECURE_HOSTS": "1",
    }
    built.store("data")
    built.use()
    yield built
    servers.outreach.hooks, servers.crm.hooks = [], []
