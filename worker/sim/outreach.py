"""A simulator of the Outreach REST API v2 and its OAuth endpoints, seeded and on loopback.

:func:`build` returns a WSGI application with ``.clock``, ``.journal``, ``.faults`` and ``.world``. Beside the common
faults (:mod:`worker.sim.control`) it knows ``throttle`` (429; args ``seconds``, ``retry_after`` a form or literal text,
``headers`` false leaves the ``X-RateLimit-*`` out), ``omit_relation_data``, ``drop_record`` (args ``id`` or ``index``),
``wrong_next_host`` (args ``host``), ``expired_cursor`` (args ``code``; only calls with a cursor), ``duplicate_page`` (a
page is served once more), ``empty_middle_page`` (an empty page whose next link leads on) and ``index_lag`` (args
``seconds``: lists do not know what this write changed for so long). ``/_sim/webhooks`` looks
after deliveries (:mod:`worker.sim.outreach_courier`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec

from worker.sim import outreach_document, outreach_query, outreach_seeded, outreach_story, outreach_write
from worker.sim import outreach_schema as schema
from worker.sim.control import Clock, ControlApp, Fault, Faults, Journal, Reply, Request, control_app
from worker.sim.outreach_auth import throttled
from worker.sim.outreach_errors import JSON_API, Refusal, invalid, no_route, not_found, refusal
from worker.sim.outreach_options import Options
from worker.sim.outreach_world import World

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.sim.instruments import Json
    from worker.sim.outreach_store import Record

__all__ = ["Options", "build"]

CLEANUP_TOKEN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ENCODE = msgspec.json.Encoder().encode


def build(
    seed: str = "demo", records: int = 200, *, options: Options | None = None, clock: Clock | None = None
) -> ControlApp:
    """Return the simulator of the world ``seed`` with ``records`` people, those of the CRM alone among them."""
    wanted, clock = options or Options(), clock or Clock()
    journal = Journal()
    world = World(
        clock=clock,
        options=wanted,
        seed=seed,
        records=records,
        fill=outreach_seeded.fill,
        tell=outreach_story.tell,
        journal=journal,
    )
    app = control_app(Outreach(world), clock=clock, journal=journal, faults=Faults(), world=world)
    app.more["webhooks"] = world.courier.control
    app.at_close.append(world.courier.close)
    app.latency_s = wanted.latency_ms / 1000
    return app


class Outreach:
    """The vendor's half: routes a call, answers it, and turns refusals into replies."""

    def __init__(self, world: World) -> None:
        """Answer for ``world``."""
        self.world = world

    def __call__(self, request: Request, fault: Fault | None) -> Reply:
        """Answer one call."""
        headers: list[tuple[str, str]] = []
        with self.world.lock:
            self.world.taken_effect()
            self.world.lag.seconds = _lag_s(fault, self.world.options)
            try:
                reply = self._route(request, fault, headers)
            except Refusal as refused:
                reply = refused.reply()
            reply.effect = self.world.taken_effect()
        told = {name.lower() for name, _ in reply.headers}
        reply.headers += [(name, value) for name, value in headers if name.lower() not in told]
        return reply

    def _route(self, request: Request, fault: Fault | None, headers: list[tuple[str, str]]) -> Reply:
        if (request.method, request.path) == ("GET", "/oauth/authorize"):
            return self.world.gate.authorize(request)
        if (request.method, request.path) == ("POST", "/oauth/token"):
            return self.world.gate.token(request)
        if (request.method, request.path) == ("POST", f"{schema.API}/webhooks/cleanup"):
            return self._cleanup(request)
        bearer = self.world.gate.check(request)
        headers += self.world.gate.count()
        _throttle(fault, request, headers)
        path = request.path.rstrip("/")
        if path == schema.API and request.method == "GET":
            return _reply(200, self._identity())
        if not path.startswith(f"{schema.API}/"):
            raise no_route(request.path)
        self.world.tick()
        return self._resource(request, path.removeprefix(f"{schema.API}/").split("/"), bearer, fault)

    def _resource(self, request: Request, parts: list[str], bearer: str, fault: Fault | None) -> Reply:
        plural, rest = parts[0], parts[1:]
        if plural in schema.EMPTY and not rest and request.method == "GET":
            self.world.gate.allow(bearer, "GET", plural)
            return _reply(200, {"data": [], "meta": {"count": 0, "count_truncated": False}})
        type_ = schema.TYPES.get(plural)
        if type_ is None:
            raise no_route(request.path)
        self.world.gate.allow(bearer, request.method, plural)
        self._accepts(request)
        if rest[1:2] == ["actions"] and len(rest) == len(("id", "actions", "verb")) and request.method == "POST":
            record = self._find(type_, rest[0])
            outreach_write.act(self.world, record, rest[2], _action_params(request))
            return self._one(200, record, request, fault)
        methods = schema.METHODS[type_][1 if rest else 0].split()
        if len(rest) > 1 or request.method not in methods:
            raise no_route(request.path)
        if rest:
            return self._member(self._find(type_, rest[0]), request, fault)
        if request.method == "POST":
            return self._one(201, outreach_write.create(self.world, type_, request), request, fault)
        return self._list(type_, request, fault)

    def _find(self, type_: str, id_: str) -> Record:
        record = self.world.store[type_].rows.get(int(id_)) if id_.isdecimal() else None
        if record is None or record.id in self.world.store[type_].hidden:
            raise not_found(type_, id_)
        return record

    def _accepts(self, request: Request) -> None:
        kind = request.headers.get("content-type", "").partition(";")[0].strip()
        if self.world.options.strict_content_type and request.method in {"POST", "PATCH"} and kind != JSON_API:
            refused = refusal(415, "unsupportedMediaType", "")
            error = refused.document["errors"][0]
            error["details"] = f"Requests must be sent as {JSON_API}."  # plural here alone, as documented
            del error["detail"]
            raise refused

    def _member(self, record: Record, request: Request, fault: Fault | None) -> Reply:
        if request.method == "DELETE":
            self.world.delete(record)
            return Reply(204)
        if request.method == "PATCH":
            outreach_write.update(self.world, record, request)
        return self._one(200, record, request, fault)

    def _one(self, status: int, record: Record, request: Request, fault: Fault | None) -> Reply:
        parameters = dict(parse_qsl(request.query, keep_blank_values=True))
        writer = self._writer(request, parameters, fault)
        paths = parameters.get("include", "") if request.method == "GET" else ""
        writer.check(record.type, paths)
        document: dict[str, Any] = {"data": writer.resource(record)}
        if paths:
            document["included"] = writer.included([record], paths)
        return _reply(status, document)

    def _writer(self, request: Request, parameters: Mapping[str, str], fault: Fault | None) -> outreach_document.Writer:
        bare = fault is not None and fault.kind == "omit_relation_data"
        return outreach_document.Writer(self.world.store, request.base_url, parameters, without_data=bare)

    def _list(self, type_: str, request: Request, fault: Fault | None) -> Reply:
        query = outreach_query.read(type_, request.query, self.world.options)
        _expire(fault, query)
        writer = self._writer(request, {**query.parameters, **dict(query.repeated)}, fault)
        writer.check(type_, query.parameters.get("include", ""))
        with self.world.lag.past(self.world.store, self.world.clock.now()):
            return self._page(query, request, fault, writer)

    def _page(
        self, query: outreach_query.Query, request: Request, fault: Fault | None, writer: outreach_document.Writer
    ) -> Reply:
        paths = query.parameters.get("include", "")
        page = outreach_query.run(self.world.store, query)
        links = self._links(request, query, page)
        records, links = _misserved(fault, query, page.records, links, request)
        document: dict[str, Any] = {"data": [writer.resource(record) for record in records]}
        if paths:
            document["included"] = writer.included(records, paths)
        document["meta"] = {"count": None}
        if query.count:
            total = page.total or 0
            cap = outreach_query.COUNT_CAP
            document["meta"] = {"count": min(total, cap), "count_truncated": total > cap}
        document["links"] = links
        return _reply(200, document)

    def _links(self, request: Request, query: outreach_query.Query, page: outreach_query.Page) -> dict[str, str]:
        """Return absolute links to the neighbouring pages, each with every parameter of the request."""
        base = f"{request.base_url}{request.path}?"
        links = {"first": base + query.link()}
        table = self.world.store[query.type]
        if query.offset is not None:
            last = max(0, (page.total or 0) - 1) // query.size * query.size
            around = {"prev": query.offset - query.size, "next": query.offset + query.size, "last": last}
            links["first"] = base + query.link(limit=str(query.size), offset="0")
            shown = {"last", *(("prev",) if page.more_before else ()), *(("next",) if page.more_after else ())}
            told = {name: str(max(0, at)) for name, at in around.items() if name in shown}
            return links | {name: base + query.link(limit=str(query.size), offset=at) for name, at in told.items()}
        size = str(query.size)
        if page.more_before and page.records:
            links["prev"] = base + query.link(size=size, before=outreach_query.cursor(query, page.records[0], table))
        if page.more_after and page.records:
            links["next"] = base + query.link(size=size, after=outreach_query.cursor(query, page.records[-1], table))
        return links

    def _cleanup(self, request: Request) -> Reply:
        """Remove the webhook whose cleanup token is shown, without a bearer; how it is shown is not documented."""
        shown = {*dict(parse_qsl(request.query)).values(), request.headers.get("outreach-webhook-cleanup-token", "")}
        shown |= set(CLEANUP_TOKEN.findall(request.body.decode("utf-8", "replace")))
        for hook in list(self.world.store["webhook"].rows.values()):
            if hook.get("cleanupToken") in shown:
                self.world.delete(hook)
                return Reply(204)
        raise refusal(404, "resourceNotFound", "Could not find a webhook with that cleanup token.")

    def _identity(self) -> dict[str, Any]:
        """Return what ``GET /api/v2`` tells: organisation, user, application. Their exact shape is not documented."""
        seed = self.world.seed
        user = self.world.store["user"].rows[1]
        return {
            "meta": {
                "org": {"id": self.world.organisation, "name": seed.title(), "shortname": seed},
                "user": {"id": user.id, "email": user.get("email")},
                "application": {"id": self.world.options.client_id, "name": "Simulated application"},
            },
            "links": {"self": schema.API},
        }


def _lag_s(fault: Fault | None, options: Options) -> float:
    return float(fault.args.get("seconds", 5.0)) if fault and fault.kind == "index_lag" else options.index_lag


def _reply(status: int, document: Json) -> Reply:
    return Reply(status, ENCODE(document), [("Content-Type", JSON_API)])


def _action_params(request: Request) -> dict[str, str]:
    found = parse_qsl(request.query, keep_blank_values=True)
    prefix = "actionParams["
    return {key[len(prefix) : -1]: value for key, value in found if key.startswith(prefix)}


def _throttle(fault: Fault | None, request: Request, headers: list[tuple[str, str]]) -> None:
    if fault is None or fault.kind != "throttle":
        return
    told = headers if fault.args.get("headers", True) else []
    refused = throttled(
        request.at, float(fault.args.get("seconds", 2)), str(fault.args.get("retry_after", "seconds")), list(told)
    )
    headers.clear()
    raise refused


def _expire(fault: Fault | None, query: outreach_query.Query) -> None:
    if fault is not None and fault.kind == "expired_cursor" and (query.after or query.before):
        code = int(fault.args.get("code", 410))
        refused = invalid("page cursor has expired.")
        refused.status = code
        raise refused


def _misserved(
    fault: Fault | None,
    query: outreach_query.Query,
    records: list[Record],
    links: dict[str, str],
    request: Request,
) -> tuple[list[Record], dict[str, str]]:
    """Return records and links as a fault leaves them."""
    if fault is None:
        return records, links
    here = f"{request.base_url}{request.path}?{query.link(after=query.parameters.get('page[after]'))}"
    if fault.kind == "duplicate_page":
        return records, {**links, "next": here}
    if fault.kind == "empty_middle_page":
        return [], {**links, "next": here}
    if fault.kind == "wrong_next_host" and "next" in links:
        foreign = str(fault.args.get("host", "https://elsewhere.example"))
        return records, {**links, "next": links["next"].replace(request.base_url, foreign, 1)}
    if fault.kind == "drop_record" and records:
        left_out = fault.args.get("id", records[int(fault.args.get("index", len(records) // 2)) % len(records)].id)
        return [record for record in records if record.id != left_out], links
    return records, links
