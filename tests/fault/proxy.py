"""A TCP proxy on loopback that behaves badly when told to; a process of its own, so that it outlives what it hurts.

It stands between ours and each of the vendors, the broker and Postgres: a *wire* each. Nothing beyond the standard library,
run by its path: ``proxy.py NAME=PORT ...`` says ``listening on {"NAME": PORT, ..., "control": PORT}`` and obeys lines of JSON
on the control port, each answered by one: ``{"wire", "mode", ...}`` → how often each mode has struck there.

Modes: ``pass`` · ``delay`` (``seconds`` before each piece) · ``drip`` (``rate`` bytes a second) · ``truncate`` (``after`` so
many bytes of an answer the connection ends) · ``half_close`` (the same, but it stays open and nobody listens any more) ·
``reset`` (RST ``after`` so many bytes of an answer) · ``hole`` (nothing arrives; what was sent arrives once it heals) ·
``deaf`` (old connections are dead for ever and nobody says so; new ones pass) · ``refuse`` (nobody listens, old connections
are reset) · ``unheard`` (the same, and new ones never come about: whoever tries runs into a time-out) · ``cut`` (old
connections are reset; new ones pass). ``probability`` is the share of the connections that are hit, drawn from ``seed``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

PIECE, MOST = 65_536, 512
"""Bytes handed on at once, and connections of a wire that may be open at the same time."""
HOST = "127.0.0.1"
ANSWERED = ("truncate", "half_close", "reset", "drip")
"""What happens to answers alone."""
ABSENT = ("refuse", "unheard")
"""Nobody listens."""


@dataclass(slots=True)
class Mode:
    """How a wire behaves."""

    name: str = "pass"
    seconds: float = 0.0
    rate: int = 1
    after: int = 0
    probability: float = 1.0


@dataclass(slots=True, eq=False)
class Pair:
    """A connection to us, and the one to the other side. It is hit where its ``chance`` is below the mode's probability."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    chance: float
    dead: bool = False
    told: int = 0

    def reset(self) -> None:
        """End both by RST."""
        for one in (self.near, self.far):
            with contextlib.suppress(OSError):
                one.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.transport.abort()


@dataclass(slots=True, eq=False)
class Wire:
    """One way from us to somebody."""

    upstream: int
    chance: random.Random
    mode: Mode = field(default_factory=Mode)
    pairs: set[Pair] = field(default_factory=set)
    struck: Counter[str] = field(default_factory=Counter)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    server: asyncio.Server | None = None
    port: int = 0
    full: list[socket.socket] = field(default_factory=list)

    async def listen(self) -> None:
        """Listen, at the same port as ever."""
        for one in self.full:
            one.close()
        self.full.clear()
        self.server = await asyncio.start_server(self.serve, HOST, self.port, limit=PIECE)
        self.port = self.server.sockets[0].getsockname()[1]

    async def turn(self, mode: Mode) -> None:
        """Behave differently from now on."""
        was, self.mode = self.mode.name, mode
        self.changed.set()
        self.changed = asyncio.Event()
        if mode.name in {*ABSENT, "cut", "deaf"}:
            for pair in [*self.pairs]:
                self.struck[mode.name] += 1
                pair.dead = True
                if mode.name != "deaf":
                    pair.reset()
        if mode.name in ABSENT and self.server is not None:
            self.server.close()
            self.server = None
        elif was in ABSENT and mode.name not in ABSENT:
            await self.listen()
        if mode.name == "unheard" and not self.full:
            self.full = crowded(self.port)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to its end."""
        try:
            answers, far = await asyncio.open_connection(HOST, self.upstream, limit=PIECE)
        except OSError:
            Pair(writer, writer, 0).reset()
            return
        pair = Pair(writer, far, self.chance.random())
        if len(self.pairs) >= MOST:
            pair.reset()
            return
        self.pairs.add(pair)
        try:
            await asyncio.gather(
                self.carry(pair, reader, far, answers=False), self.carry(pair, answers, writer, answers=True)
            )
        finally:
            self.pairs.discard(pair)
            for one in (writer, far):
                one.close()

    async def carry(
        self, pair: Pair, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        """Hand on what comes, until it ends or a fault ends it."""
        with contextlib.suppress(OSError):
            while piece := await source.read(PIECE):
                if not await self.handed_on(pair, piece, sink, answers=answers):
                    return
        await self.held(pair)
        if pair.dead:
            pair.reset()
        with contextlib.suppress(OSError):
            sink.write_eof()

    async def handed_on(self, pair: Pair, piece: bytes, sink: asyncio.StreamWriter, *, answers: bool) -> bool:
        """Hand a piece on as the mode has it; False if nothing more goes this way."""
        await self.held(pair)
        if pair.dead:
            return True
        mode = self.mode
        if mode.name in {"pass", "deaf", "cut", *ABSENT} or pair.chance >= mode.probability:
            await _sent(sink, piece)
            return True
        if mode.name in ANSWERED and not answers:
            await _sent(sink, piece)
            return True
        self.struck[mode.name] += 1
        if mode.name == "delay":
            await self.waited(mode.seconds)
        elif mode.name == "drip":
            return await self.dripped(piece, sink, mode)
        elif mode.name in {"truncate", "half_close", "reset"}:
            return await self.ended(pair, piece, sink, mode)
        await _sent(sink, piece)
        return True

    async def held(self, pair: Pair) -> None:
        """Wait as long as nothing gets through."""
        while self.mode.name == "hole" and pair.chance < self.mode.probability and not pair.dead:
            self.struck["hole"] += 1
            await self.changed.wait()

    async def waited(self, seconds: float) -> None:
        """Wait, or until the mode changes."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.changed.wait(), seconds)

    async def dripped(self, piece: bytes, sink: asyncio.StreamWriter, mode: Mode) -> bool:
        """Hand a piece on in drops, ten a second at most, and the rest at once when the mode changes."""
        step = max(1, mode.rate // 10)
        for start in range(0, len(piece), step):
            if self.mode is not mode:
                await _sent(sink, piece[start:])
                return True
            await _sent(sink, piece[start : start + step])
            await self.waited(step / mode.rate)
        return True

    async def ended(self, pair: Pair, piece: bytes, sink: asyncio.StreamWriter, mode: Mode) -> bool:
        """Hand on what may still pass of an answer, and end it as the mode has it once that is used up."""
        left = max(0, mode.after - pair.told)
        pair.told += len(piece)
        await _sent(sink, piece[:left])
        if len(piece) < left:
            return True
        if mode.name == "reset":
            pair.reset()
        elif mode.name == "truncate":
            pair.near.close()
            pair.far.close()
        else:
            pair.near.write_eof()
            pair.dead = True
        return False


def crowded(port: int) -> list[socket.socket]:
    """Return who fills the queue of a port at which nobody accepts: the kernel answers no connection after these."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    listener.listen(0)
    waiting = [socket.socket() for _ in range(3)]
    for one in waiting:
        one.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            one.connect((HOST, port))
    return [listener, *waiting]


async def _sent(sink: asyncio.StreamWriter, piece: bytes) -> None:
    if piece:
        sink.write(piece)
        await sink.drain()


async def _obeyed(wires: dict[str, Wire], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Do what the lines ask for, one after the other."""
    with contextlib.suppress(OSError):
        while line := await reader.readline():
            told: dict[str, Any] = json.loads(line)
            wire = wires[told.pop("wire")]
            if "seed" in told:
                wire.chance = random.Random(told.pop("seed"))
            if mode := told.pop("mode", None):
                await wire.turn(Mode(mode, **told))
            writer.write(json.dumps(wire.struck).encode() + b"\n")
            await writer.drain()
    writer.close()


async def main(arguments: list[str]) -> None:
    """Serve until killed."""
    wires = {name: Wire(int(port), random.Random(name)) for name, port in (one.split("=") for one in arguments)}
    for wire in wires.values():
        await wire.listen()
    control = await asyncio.start_server(lambda reader, writer: _obeyed(wires, reader, writer), HOST, 0)
    ports = {name: wire.port for name, wire in wires.items()} | {"control": control.sockets[0].getsockname()[1]}
    sys.stdout.write(f"listening on {json.dumps(ports)}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
