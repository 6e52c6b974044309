"""The simulated Workbooks: ``build()`` returns the WSGI application, which the vendor's own clients can talk to.

Written from the public manual, the recorded requests of the vendor's clients and seen response shapes; what those
leave open is an option (:mod:`worker.sim.workbooks_options`). Controls are under ``/_sim/``
(:mod:`worker.sim.control`, :mod:`worker.sim.workbooks_edit`). Faults of this vendor, beside the common ones:

* ``throttle302`` ``{"seconds", "hops"}``: a redirect to a delaying address, which does what was asked when it is sent
  the same method and body
* ``dead_session302``, ``html_login200``: what a client meets whose session is gone
* ``omit_object`` ``{"index"}``: the reply to a batch leaves one saved object out
* ``partial_outcome`` ``{"indices", "message"}``: those objects are refused, the others saved, whatever the transaction
* ``half`` ``{"message"}``: every second object is refused so, the others saved, whatever the transaction
* ``search_lag`` or ``index_lag`` ``{"seconds"}``: lists do not know what this batch wrote for so long
* ``unreadable`` ``{"ids"}``: a list without these records, as without permission
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from worker.sim import workbooks_access as access
from worker.sim import workbooks_batch as batch
from worker.sim import workbooks_columns as columns
from worker.sim import workbooks_metadata as metadata
from worker.sim import workbooks_query as query
from worker.sim import workbooks_wire as wire
from worker.sim.control import ControlApp, Reply, Request, control_app, json_reply
from worker.sim.instruments import Clock, Faults, Journal
from worker.sim.workbooks_options import choices
from worker.sim.workbooks_sessions import Caller, Sessions
from worker.sim.workbooks_world import World

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.sim.instruments import Fault
    from worker.sim.workbooks_types import Kind
    from worker.sim.workbooks_wire import Parameters

_DELAY = re.compile(r"/delay/(\d+)/(\d+)(/.*)")
_CONTROLLER = re.compile(r"/([a-z_/]+?)(?:/(\d+))?(?:\.(?:api|wbjson))?")
_ABSOLUTE = re.compile(r"https?://[^/?]+")
_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})


class Workbooks:
    """The vendor's half of the application: one request in, one reply out."""

    def __init__(self, world: World) -> None:
        """Serve one database."""
        self.world = world
        self.sessions = Sessions(world)

    def __call__(self, request: Request, fault: Fault | None) -> Reply:
        """Answer one request."""
        request = replace(request, path=_ABSOLUTE.sub("", request.path))
        delayed = _DELAY.fullmatch(request.path)
        if delayed is not None:
            time.sleep(int(delayed[2]) / 1000)
            if int(delayed[1]) > 1:
                return _throttled(request, delayed[3], int(delayed[1]) - 1, int(delayed[2]))
            request = replace(request, path=delayed[3])
        elif fault is not None and fault.kind == "throttle302":
            wait = int(float(fault.args.get("seconds", 0.0)) * 1000)
            return _throttled(request, request.path, int(fault.args.get("hops", 1)), wait)
        try:
            with self.world.lock:
                return self._answer(request, fault)
        except wire.Stop as stop:
            return stop.reply

    def _answer(self, request: Request, fault: Fault | None) -> Reply:
        agent = request.headers.get("user-agent", "")
        if not agent.strip():
            raise wire.refused(403, "user_agent_required")
        if fault is not None and fault.kind == "dead_session302":
            return wire.redirected("/login")
        if (fault is not None and fault.kind == "html_login200") or request.path == "/login":
            return wire.login_page()
        asked = wire.parameters(request)
        if request.path == "/login.api":
            reply, pretty = self._login(request, asked), asked.get("json") == "pretty"
        elif request.path in {"/logout", "/logout.api"}:
            return self.sessions.logout(request)
        else:
            caller = self.sessions.caller(request, asked)
            reply, pretty = self._served(request, asked, caller, fault), caller.pretty
            if caller.session is not None:
                reply.headers.append(self.sessions.cookie(caller.session, request))
        encodings = request.headers.get("accept-encoding", "")
        return wire.dressed(reply, asked, pretty=pretty, agent=agent, encodings=encodings)

    def _login(self, request: Request, asked: Parameters) -> Reply:
        if wire.method(request, asked) != "POST":
            raise wire.unacceptable("login is a POST", 405)
        return self.sessions.login(request, asked)

    def _served(self, request: Request, asked: Parameters, caller: Caller, fault: Fault | None) -> Reply:
        """Answer a request whose caller is known: metadata, picklists, or the records of a controller."""
        method = wire.method(request, asked)
        if method not in _KNOWN_METHODS:
            raise wire.unacceptable(f"{method} is not implemented", 501)
        if request.path == "/metadata/types.api":
            return json_reply(200, metadata.types(self.world, asked, administrator=caller.administrator))
        entries = metadata.picklist_data(self.world, request.path, asked)
        if entries is not None:
            return json_reply(200, entries)
        found = _CONTROLLER.fullmatch(request.path)
        kind = self.world.kinds.get(found[1]) if found is not None else None
        if found is None or kind is None:
            raise wire.unacceptable(f"there is nothing at {request.path}", 404)
        if method in {"GET", "HEAD"}:
            return self._read(kind, found[2], asked, caller, fault)
        if method != "PUT" or found[2]:
            raise wire.unacceptable(f"{method} is not allowed here", 405)
        if access.needs_administrator(kind) and not caller.administrator:
            raise access.denied(self.world, kind)
        self.sessions.check_token(caller, asked)
        document, effects = batch.write(self.world, kind, asked, caller, fault)
        _omit(document, fault)
        reply = json_reply(200, document)
        reply.effect = effects
        return reply

    def _read(self, kind: Kind, number: str | None, asked: Parameters, caller: Caller, fault: Fault | None) -> Reply:
        hidden = fault.args.get("ids", []) if fault is not None and fault.kind == "unreadable" else []
        if kind.short == "custom_field":
            self.world.settle_fields()
        if number is None:
            return json_reply(200, query.page(self.world, kind, asked, caller, unreadable=hidden))
        row = self.world.tables[kind.short].rows.get(int(number))
        if row is None or row.is_deleted or row.hidden or row.id in hidden:
            raise wire.unacceptable(f"{kind.human[0]} {number} does not exist, or access was denied", 404)
        shown = query.chosen(self.world, kind, asked, strict=caller.strict)
        if kind.is_open and not asked.all("_select_columns"):
            shown += [one for name in row.values if (one := columns.column(self.world, kind, name)) is not None]
        data = {one.name: one.written(caller.formats)(row) for one in shown}
        return json_reply(200, {"success": True, "data": data, "layout": {}, "available_layouts": []})


def _throttled(request: Request, path: str, hops: int, wait_ms: int) -> Reply:
    query_string = f"?{request.query}" if request.query else ""
    return wire.redirected(f"{request.base_url}/delay/{hops}/{wait_ms}{path}{query_string}")


def _omit(document: dict[str, Any], fault: Fault | None) -> None:
    """Leave one object out of a reply, as the fault ``omit_object`` asks for."""
    if fault is None or fault.kind != "omit_object":
        return
    for name in ("affected_objects", "affected_object_information"):
        listed = document.get(name)
        if listed:
            del listed[int(fault.args.get("index", -1)) % len(listed)]


def build(seed: str = "demo", records: int = 200, *, options: Mapping[str, Any] | None = None) -> ControlApp:
    """Return the application of a fresh database with the CRM's share of ``records`` seeded people.

    ``options`` are those of :class:`~worker.sim.workbooks_options.Options`. ValueError for one that does not exist.
    """
    clock, journal, faults = Clock(), Journal(), Faults()
    world = World(clock=clock, options=choices(options), seed=seed, records=records)
    return control_app(
        Workbooks(world), clock=clock, journal=journal, faults=faults, world=world, operation_of=wire.operation
    )
