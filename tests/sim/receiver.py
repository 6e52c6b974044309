"""A receiver of webhooks on loopback, and a client of a simulated Outreach that tells it."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import httpx

from worker.sim import control, outreach
from worker.sim.outreach import Options

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

SECRET = "shared"
JSON_API = {"Content-Type": "application/vnd.api+json"}


class Receiver:
    """Remembers each POST as its headers (lower case) and raw body, and answers ``status`` after ``wait_s``."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.status, self.wait_s = 200, 0.0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name[:5] == "HTTP_"}
        headers["content-type"] = environ["CONTENT_TYPE"]
        self.posts.append((headers, environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))))
        time.sleep(self.wait_s)
        start_response(f"{self.status} Told", [("Content-Length", "0")])
        return [b""]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What came, decoded."""
        return [json.loads(body) for _, body in self.posts]

    @property
    def names(self) -> list[str]:
        """The events' names."""
        return [body["meta"]["eventName"] for body in self.bodies]


@contextmanager
def listening() -> Iterator[tuple[Receiver, str]]:
    """A receiver and its URL."""
    receiver = Receiver()
    with control.running(receiver) as url:
        yield receiver, f"{url}/hooks"


@contextmanager
def organisation(records: int = 20, **options: control.Json) -> Iterator[httpx.Client]:
    """A client of a small organisation whose clock stands at noon of 30 June 2026."""
    clock = control.Clock()
    clock.set("2026-06-30T12:00:00Z")
    clock.freeze()
    app = outreach.build(records=records, options=Options(**options), clock=clock)
    bearer = {"Authorization": "Bearer sim-access"}
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://sim.test", headers=bearer) as client:
        client.post("/_sim/webhooks", json={"lanes": 1, "retry_s": 0})
        yield client
    app.close()


def subscribe(client: httpx.Client, url: str, **attributes: control.Json) -> httpx.Response:
    """The answer to a subscription."""
    told = {"url": url, "secret": SECRET, **attributes}
    return client.post("/api/v2/webhooks", json={"data": {"type": "webhook", "attributes": told}}, headers=JSON_API)


def edit(client: httpx.Client, *documents: dict[str, Any]) -> None:
    """Do these edits."""
    assert client.post("/_sim/edit", json=list(documents)).status_code == 200


def settled(client: httpx.Client) -> dict[str, Any]:
    """The controls' answer once nothing is left to send."""
    for _ in range(500):
        told: dict[str, Any] = client.get("/_sim/webhooks").json()
        if not told["pending"]:
            return told
        time.sleep(0.01)
    raise AssertionError("deliveries are still pending")


def signed(body: bytes, secret: str = SECRET) -> str:
    """The signature the vendor's documents ask for."""
    return hmac.new(secret.encode(), body, sha256).hexdigest()
