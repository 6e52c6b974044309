"""A flood of webhooks, as many a second as asked, whatever the receiver does: times count from when each was due."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import sys
import time
from dataclasses import dataclass, field

SECRET = "flood-secret"


@dataclass(slots=True)
class Told:
    """What became of a flood: the answers' times in seconds, and the numbers of the events that were not answered with 200."""

    times: list[float] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def percentile(self, share: float) -> float:
        """Return the time within which this share was answered."""
        return sorted(self.times)[min(len(self.times) - 1, int(len(self.times) * share))]


def body(number: int, *, resource: str = "prospect", action: str = "updated", version: int = 1) -> bytes:
    """Return one delivery (facts, outreach-api 7.2): only what changed, and relationships without data."""
    document: dict[str, object] = {
        "data": {
            "type": resource,
            "id": number,
            "attributes": {"title": f"Title {number}", "updatedAt": "2026-11-20T09:00:00.000Z"},
            "relationships": {"owner": {"type": "owner", "id": 2}},
        },
        "meta": {
            "deliveredAt": "2026-11-20T09:00:00.412+00:00",
            "eventName": f"{resource}.{action}",
            "jobId": f"4f0c1a52-0000-4000-8000-{number:012d}",
        },
    }
    if version == 2:
        document["beforeUpdate"] = {"title": "another"}
    return json.dumps(document).encode()


def signed(text: bytes, secret: str = SECRET) -> str:
    """Return the signature of a body."""
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def request(number: int, *, close: bool) -> bytes:
    """Return one webhook as bytes."""
    text = body(number)
    head = (
        "POST /webhooks/outreach HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/vnd.api+json\r\n"
        f"User-Agent: Ruby\r\nOutreach-Webhook-Event-Id: {number:032x}\r\nOutreach-Webhook-Signature: {signed(text)}\r\n"
        f"Connection: {'close' if close else 'keep-alive'}\r\nContent-Length: {len(text)}\r\n\r\n"
    )
    return head.encode() + text


@dataclass(slots=True)
class _Wire:
    """One connection, while there is one."""

    ends: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def hang_up(self) -> None:
        """Close it."""
        if self.ends is not None:
            self.ends[1].close()
            with contextlib.suppress(OSError):
                await self.ends[1].wait_closed()
            self.ends = None


async def _pour(port: int, rate: int, seconds: float, *, connections: int, close: bool, first: int) -> Told:
    told, waiting = Told(), asyncio.Queue[tuple[int, float, bytes]]()
    ready = [request(number, close=close) for number in range(first, first + int(rate * seconds))]

    async def deliver(wire: _Wire, number: int, text: bytes) -> None:
        try:
            reader, writer = wire.ends or await asyncio.open_connection("127.0.0.1", port)
            wire.ends = (reader, writer)
            writer.write(text)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
            if head.split()[1] != b"200":
                told.refused.append(number)
            if close:
                await wire.hang_up()
        except (OSError, EOFError):
            told.refused.append(number)
            await wire.hang_up()

    async def carrier() -> None:
        wire = _Wire()
        try:
            while True:
                number, due, text = await waiting.get()
                await deliver(wire, number, text)
                told.times.append(time.perf_counter() - due)
                waiting.task_done()
        finally:
            await wire.hang_up()

    carriers = [asyncio.create_task(carrier()) for _ in range(connections)]
    began = time.perf_counter()
    for place, text in enumerate(ready):
        due = began + place / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        waiting.put_nowait((first + place, due, text))
    await waiting.join()
    told.seconds = time.perf_counter() - began
    for one in carriers:
        one.cancel()
    await asyncio.gather(*carriers, return_exceptions=True)
    return told


def pour(port: int, rate: int, seconds: float, *, connections: int = 64, close: bool = False, first: int = 0) -> Told:
    """Send ``rate`` webhooks a second, numbered from ``first``, over standing connections or each over a new one."""
    return asyncio.run(_pour(port, rate, seconds, connections=connections, close=close, first=first))


if __name__ == "__main__":
    result = pour(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), close=sys.argv[4:] == ["close"])
    sys.stdout.write(
        f"{len(result.times)} in {result.seconds:.2f} s, {len(result.refused)} refused, "
        f"p50 {result.percentile(0.5) * 1000:.1f} ms, "
        f"p99 {result.percentile(0.99) * 1000:.1f} ms, worst {result.percentile(1.0) * 1000:.1f} ms\n"
    )
