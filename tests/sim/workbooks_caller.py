"""A bare caller of the simulated CRM for its tests: it spells requests out and asserts nothing."""

from __future__ import annotations

from typing import Any

import httpx

from worker.sim import workbooks
from worker.sim.control import ControlApp

Pairs = list[tuple[str, str]]
NOW = "2026-11-20T15:00:00+00:00"


class Caller:
    """Talks to one fresh database in-process; the clock stands at ``NOW``."""

    def __init__(self, *, records: int = 0, **options: object) -> None:
        self.app: ControlApp = workbooks.build(records=records, options=options)
        self.app.clock.set(NOW)
        self.app.clock.freeze()
        self.app.world.reset(seed=None, records=None)
        transport = httpx.WSGITransport(app=self.app)
        self.key = "sim-key"
        self.http = httpx.Client(transport=transport, base_url="http://crm.test", headers={"User-Agent": "Checker/1.0"})

    def form(self, path: str, pairs: Pairs, *, key: str | None = "sim-key", method: str = "POST") -> httpx.Response:
        """Send a form, with the API key unless None."""
        body = httpx.QueryParams([*pairs, *([("api_key", key)] if key else [])])
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.http.request(method, path, content=str(body).encode(), headers=headers)

    def page(self, path: str, *pairs: tuple[str, str]) -> dict[str, Any]:
        """Return the JSON of a list request."""
        reply: dict[str, Any] = self.form(path, [("_method", "GET"), *pairs]).json()
        return reply

    def filtered(self, path: str, *triples: tuple[str, str, str], fm: str = "and", columns: str = "id") -> list[Any]:
        """Return the rows that filters select, as the values of the columns (a single column bare)."""
        pairs: Pairs = [("_fm", fm)]
        for triple in triples:
            pairs += zip(("_ff[]", "_ft[]", "_fc[]"), triple, strict=True)
        names = columns.split()
        pairs += [("_select_columns[]", name) for name in names]
        rows = self.page(path, *pairs)["data"]
        return [row[names[0]] if len(names) == 1 else tuple(row[name] for name in names) for row in rows]

    def put(self, path: str, *objects: dict[str, str], more: Pairs | None = None) -> httpx.Response:
        """Send a batch; an object without ``__method`` is an update, or a create if it has no id."""
        names = sorted({name for one in objects for name in one} | {"__method", "id", "lock_version"})
        pairs: Pairs = [("_method", "PUT"), ("_fm", "or")]
        for one in objects:
            pairs += [("_ff[]", "id"), ("_ft[]", "eq"), ("_fc[]", one.get("id", "0"))]
        for one in objects:
            basics = {"__method": "PUT" if "id" in one else "POST", "id": "0", "lock_version": "0"}
            pairs += [(f"{name}[]", {**basics, **one}.get(name, ":no_value:")) for name in names]
        return self.form(path, [*pairs, *(more or [])], key=self.key)

    def person(self, **fields: str) -> dict[str, Any]:
        """Create a person and return what the reply says of it."""
        reply = self.put("/crm/people.api", {"name": "Test Person", **fields}).json()
        created: dict[str, Any] = reply["affected_objects"][0]
        return created

    def edit(self, **document: object) -> dict[str, Any]:
        """Change the database by hand."""
        answer: dict[str, Any] = self.http.post("/_sim/edit", json=document).json()
        return answer

    def arm(self, kind: str, **args: object) -> None:
        """Arm a fault for one call."""
        self.http.post("/_sim/faults", json=[{"kind": kind, "times": 1, "args": args}])
