"""Both vendors in this process, one store, and passes that can be watched, hindered and killed at any point.

The clocks of both vendors and ours stand still until somebody waits. Nothing of this is in the product: a test wraps the
store and the transport from outside.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import httpx
import sqlalchemy as sa

from tests.sync.vendors import Vendors
from worker import config
from worker.core import mapping_file
from worker.core.mapping import Mapping
from worker.core.records import Kind, System
from worker.remote import base
from worker.remote.outreach import Outreach
from worker.remote.workbooks import Workbooks
from worker.sim import outreach, workbooks
from worker.sim.control import Clock, ControlApp
from worker.sim.outreach_options import Options
from worker.store import cursors, database, tables
from worker.store.links import Names
from worker.store.vault import FixedToken
from worker.sync import apply, poll, run, skips
from worker.sync.case import Applier, Permit
from worker.sync.poll import Polled
from worker.sync.streams import Remotes
from worker.sync.tally import Tally

NOW = "2026-11-20T09:00:00+00:00"
OUTREACH, CRM = "http://outreach.test", "http://crm.test"
QUIET = Options(
    scopes=frozenset(
        f"{plural}.all" for plural in ("prospects", "sequences", "sequenceSteps", "sequenceStates", "tasks", "users")
    )
)
"""A token that may read no feed: nothing but polls and sweeps shows what happens."""
NAMES = Names(b"a key of thirty-two bytes or more")
LEASE_S = 16.0
"""A little more than any lease lasts."""
UNSEEN_S = 36.0
"""A little more than a new record that nobody confirmed is waited for."""


read_mapping = functools.lru_cache(maxsize=50)(mapping_file.load)
"""The same few texts are read by every scene; that takes longer than all else of setting one up."""


class Killed(BaseException):
    """The process is dead: nothing of it may run any more."""


class Life:
    """What a process does, point by point, and when it dies: at the ``dies_at``-th point, if ever."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.points: list[str] = []
        self.dies_at = dies_at
        self.over = False

    def at(self, what: str) -> None:
        """Go through one point; raise Killed there if it is the last one, and ever after."""
        if not self.over:
            self.points.append(what)
            self.over = len(self.points) - 1 == self.dies_at
        if self.over:
            raise Killed(what)


@dataclass(frozen=True, slots=True)
class MortalStore(database.Store):
    """The store as a process uses it that may die before a transaction and after its commit."""

    life: Life

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Hold a writing transaction, between two points of the life."""
        self.life.at("begin")
        with database.Store.write(self) as db:
            yield db
        self.life.at("commit")

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Hold a reading transaction; dying there is as dying before the next point."""
        if self.life.over:
            raise Killed("read")
        with database.Store.read(self) as db:
            yield db


@dataclass(frozen=True, slots=True)
class Call:
    """One request on the wire."""

    system: System
    method: str
    path: str
    query: str
    body: str

    @property
    def writes(self) -> bool:
        """Whether it means to change something."""
        if self.system is System.CRM:
            return "_method=PUT" in self.body
        return self.method in {"PATCH", "POST", "DELETE"}

    def __str__(self) -> str:
        """Return it in short."""
        return f"{'write' if self.writes else 'read'} {self.system.value} {self.path}"


Hook = Callable[[Call], None]


class Wire(httpx.BaseTransport):
    """Carries requests to the two simulators; hooks run before a request leaves and after its reply is there."""

    def __init__(self, outreach_app: ControlApp, crm_app: ControlApp) -> None:
        self.calls: list[Call] = []
        self.before: list[Hook] = []
        self.after: list[Hook] = []
        self._vendors: dict[str, tuple[System, httpx.BaseTransport]] = {
            "outreach.test": (System.OUTREACH, httpx.WSGITransport(app=outreach_app)),
            "crm.test": (System.CRM, httpx.WSGITransport(app=crm_app)),
        }

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Carry one request."""
        system, vendor = self._vendors[request.url.host]
        told = (request.method, request.url.path, request.url.query.decode(), request.read().decode())
        call = Call(system, *told)
        for hook in tuple(self.before):
            hook(call)
        self.calls.append(call)
        reply = vendor.handle_request(request)
        for hook in tuple(self.after):
            hook(call)
        return reply


@dataclass(slots=True)
class Scene(Vendors):
    """Two simulated vendors and a store; ``outbook`` as one process after the other."""

    url: str
    records: int = 0
    seed: str = "scene"
    crm_options: dict[str, Any] = field(default_factory=dict)
    options: Options = field(default_factory=Options)
    page_size: int = 1000
    mapping: Mapping = field(init=False)
    store: database.Store = field(init=False)
    wire: Wire = field(init=False)
    slept: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start both vendors with frozen clocks, and an empty store."""
        clock = Clock(datetime.fromisoformat(NOW))
        clock.freeze()
        self.outreach = outreach.build(self.seed, self.records, options=self.options, clock=clock)
        self.crm = workbooks.build(self.seed, 0, options=self.crm_options)
        self.crm.clock.set(NOW)
        self.crm.clock.freeze()
        self.crm.clock.set(NOW)
        self.crm.world.reset(seed=None, records=self.records)
        self.mapping = self.mapped()
        self.store = database.connect(self.url)
        tables.metadata.create_all(self.store.engine)
        self.wire = Wire(self.outreach, self.crm)

    def close(self) -> None:
        """Let the store go."""
        self.store.engine.dispose()

    def mapped(self, *edits: tuple[str, str]) -> Mapping:
        """Return the default mapping with some texts replaced."""
        text = config.shipped_mapping().read_text(encoding="utf-8")
        for before, after in edits:
            assert before in text, before
            text = text.replace(before, after)
        return read_mapping(text, "mapping.yaml")

    def now(self) -> datetime:
        """The one time there is."""
        return self.outreach.clock.now()

    def later(self, seconds: float) -> None:
        """Let time pass everywhere."""
        self.slept.append(seconds)
        self.outreach.clock.shift(seconds)
        self.crm.clock.shift(seconds)

    def remotes(self, wire: httpx.BaseTransport | None = None) -> Remotes:
        """Return both clients as a process has them."""
        http = base.http_client(wire or self.wire)
        jitter = iter(range(10**9))

        def client(system: System, url: str) -> base.Client:
            return base.Client(
                system=system,
                base_url=url,
                http=http,
                before_call=lambda: None,
                sleep=self.later,
                jitter=lambda: (next(jitter) % 10) / 10,
                now=self.now,
            )

        vendor = Outreach(client(System.OUTREACH, OUTREACH), FixedToken("sim-access"))
        vendor.page = partial(vendor.page, size=self.page_size)  # type: ignore[method-assign]
        return Remotes(
            outreach=vendor,
            crm=Workbooks(client(System.CRM, CRM), "sim-key"),
        )

    def applier(self, life: Life | None = None, *, permit: Permit | None = None) -> Applier:
        """Return what a process applies with; with a ``life`` it dies when that is over."""
        store, wire = self.store, None
        if life is not None:
            store = MortalStore(self.store.engine, life)
            wire = Wire(self.outreach, self.crm)
            wire.before += [*self.wire.before, lambda call: life.at(f"ask: {call}")]
            wire.after += [lambda call: life.at(f"told: {call}"), *self.wire.after]
        return Applier(
            store=store,
            remotes=self.remotes(wire),
            mapping=self.mapping,
            names=NAMES,
            now=self.now,
            jitter=lambda: 0.5,
            permit=permit or Permit(),
        )

    def poll(self, *streams: Kind, on: Applier | None = None) -> list[Polled]:
        """Poll streams, all of them in the order of a pass if none is named."""
        on = on or self.applier()
        return [
            poll.poll(stream, store=on.store, remotes=on.remotes, mapping=on.mapping, names=on.names, now=on.now)
            for stream in (streams or cursors.STREAMS)
        ]

    def apply(self, on: Applier | None = None) -> Tally:
        """Apply one batch of people and one of tasks."""
        on = on or self.applier()
        told = apply.apply_people(on)
        told.add(skips.apply_tasks(on))
        return told

    def sync(self, life: Life | None = None, *, wait_s: float = 30.0, full: bool = False) -> run.Report:
        """Make one foreground pass; waiting moves the clocks. A life that ends in it raises Killed."""
        return run.run(run.Pass(on=self.applier(life), sleep=self.later, calls=dict, wait_s=wait_s, full=full))


def fault(
    kind: str, *, path: str = "", op: str | None = None, times: int | None = 1, after: int = 0, **args: object
) -> dict[str, Any]:
    """Return one fault for a simulator."""
    match = {"path": path or None, "op": op}
    told = {name: value for name, value in match.items() if value}
    return {"match": told, "kind": kind, "times": times, "after": after, "args": args}


def form(call: Call) -> list[tuple[str, str]]:
    """Return a CRM request's form as decoded pairs."""
    return parse_qsl(call.body, keep_blank_values=True)


def reads_of(calls: list[Call], path: str) -> list[Call]:
    """Return the reads of a path among some calls."""
    return [call for call in calls if not call.writes and re.search(path, call.path)]


def at(text: str) -> datetime:
    """Return an ISO time as aware UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


__all__ = [
    "CRM",
    "LEASE_S",
    "NAMES",
    "NOW",
    "OUTREACH",
    "QUIET",
    "UNSEEN_S",
    "Call",
    "Killed",
    "Life",
    "MortalStore",
    "Scene",
    "Wire",
    "at",
    "fault",
    "form",
    "reads_of",
]
