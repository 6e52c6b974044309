"""The proxy behaves badly exactly as it is told to, and well again afterwards."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault import wires
from tests.fault.wires import Wires

ANSWER = b"x" * 1000


@contextlib.contextmanager
def echoing() -> Iterator[int]:
    """A server that answers each piece with a thousand bytes; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(one: socket.socket) -> None:
        with one, contextlib.suppress(OSError):
            while one.recv(1000):
                one.sendall(ANSWER)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Wires]:
    """A proxy with the wire ``it``."""
    log = tmp_path / "log"
    with echoing() as port, log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-I", "-S", str(wires.SCRIPT), f"it={port}"], stdout=out)
        made = Wires()
        try:
            while not made.heard(log):
                time.sleep(0.02)
            yield made
        finally:
            process.kill()
            process.wait(60)


def dialled(proxy: Wires) -> socket.socket:
    """Return a new connection by way of the proxy."""
    return socket.create_connection(("127.0.0.1", proxy.ports["it"]), timeout=5)


def answer(line: socket.socket, *, within_s: float = 5.0) -> bytes:
    """Ask, and return what comes until all is there, it ends, or the time is up."""
    line.sendall(b"?")
    return heard(line, within_s=within_s)


def heard(line: socket.socket, *, within_s: float = 5.0) -> bytes:
    """Return what comes until an answer is there, the connection ends, or the time is up."""
    told, until = b"", time.monotonic() + within_s
    with contextlib.suppress(TimeoutError):
        while len(told) < len(ANSWER) and (left := until - time.monotonic()) > 0:
            line.settimeout(left)
            piece = line.recv(1000)
            if not piece:
                break
            told += piece
    return told


def test_what_is_well_passes(proxy: Wires) -> None:
    """Questions and answers pass unchanged, and nothing counts as struck."""
    with dialled(proxy) as line:
        assert [answer(line), answer(line)] == [ANSWER, ANSWER]
    assert proxy.struck("it") == {}


def test_a_late_answer_comes_whole(proxy: Wires) -> None:
    """Each piece waits, on the way there and on the way back; a mode that changes meanwhile ends the wait."""
    proxy.turn("it", "delay", seconds=0.3)
    with dialled(proxy) as line:
        began = time.monotonic()
        assert answer(line) == ANSWER
        assert time.monotonic() - began >= 0.6
        proxy.turn("it", "delay", seconds=60)
        line.sendall(b"?")
        proxy.heal()
        assert heard(line) == ANSWER


def test_an_answer_in_drops(proxy: Wires) -> None:
    """A hundred bytes a second come as a hundred bytes a second; the rest at once when it is over."""
    proxy.turn("it", "drip", rate=100)
    with dialled(proxy) as line:
        assert 0 < len(answer(line, within_s=0.5)) < 100
        proxy.heal()
        assert len(heard(line, within_s=1.0)) > 800


def test_an_answer_cut_short(proxy: Wires) -> None:
    """After ten bytes the connection ends in order."""
    proxy.turn("it", "truncate", after=10)
    with dialled(proxy) as line:
        assert answer(line) == ANSWER[:10]


def test_a_half_closed_connection(proxy: Wires) -> None:
    """After ten bytes nothing more comes; what is said then vanishes without an error."""
    proxy.turn("it", "half_close", after=10)
    with dialled(proxy) as line:
        assert answer(line) == ANSWER[:10]
        line.sendall(b"?")
        assert line.recv(10) == b""
        line.sendall(b"?")


def test_a_reset(proxy: Wires) -> None:
    """After ten bytes the connection is reset, not ended in order."""
    proxy.turn("it", "reset", after=10)
    with dialled(proxy) as line, pytest.raises(ConnectionResetError):
        answer(line)


def test_a_black_hole_heals(proxy: Wires) -> None:
    """Nothing comes, on old and new connections alike; when it heals, what was sent arrives."""
    with dialled(proxy) as old:
        answer(old)
        proxy.turn("it", "hole")
        with dialled(proxy) as new:
            assert answer(old, within_s=0.2) == answer(new, within_s=0.2) == b""
            proxy.heal()
            for line in (old, new):
                line.settimeout(5)
                assert heard(line) == ANSWER


def test_an_old_connection_is_dead_for_ever(proxy: Wires) -> None:
    """Nobody tells an old connection that it is dead; a new one is well."""
    with dialled(proxy) as old:
        answer(old)
        proxy.turn("it", "deaf")
        assert answer(old, within_s=0.2) == b""
        proxy.heal()
        assert answer(old, within_s=0.2) == b""
        with dialled(proxy) as new:
            assert answer(new) == ANSWER
    assert proxy.struck("it") == {"deaf": 1}


def test_nobody_listens(proxy: Wires) -> None:
    """Old connections are reset and new ones refused; then it listens where it did."""
    with dialled(proxy) as old:
        answer(old)
        proxy.turn("it", "refuse")
        with pytest.raises(ConnectionResetError):
            answer(old)
    with pytest.raises(ConnectionRefusedError):
        dialled(proxy)
    proxy.heal()
    with dialled(proxy) as new:
        assert answer(new) == ANSWER


def test_old_connections_are_cut(proxy: Wires) -> None:
    """Old connections are reset; new ones are well, without healing."""
    with dialled(proxy) as old:
        answer(old)
        proxy.turn("it", "cut")
        with pytest.raises(ConnectionResetError):
            answer(old)
    with dialled(proxy) as new:
        assert answer(new) == ANSWER


def test_chance_strikes_as_the_seed_has_it(proxy: Wires) -> None:
    """Of forty connections about half end early, the same ones for the same seed."""

    def drawn(seed: int) -> list[int]:
        proxy.turn("it", "truncate", probability=0.5, seed=seed)
        told = []
        for _ in range(40):
            with dialled(proxy) as line:
                told.append(len(answer(line)))
        return told

    one, same, other = drawn(5), drawn(5), drawn(6)
    assert one == same != other
    assert 10 < one.count(0) < 30
    assert set(one) == {0, 1000}


def test_nobody_answers_a_connection(proxy: Wires) -> None:
    """A new connection runs into its time-out, an old one is reset; healed, new ones pass."""
    with dialled(proxy) as line:
        assert answer(line) == ANSWER
        proxy.turn("it", "unheard")
        with pytest.raises(OSError, match=r"timed out|reset"):
            socket.create_connection(("127.0.0.1", proxy.ports["it"]), timeout=0.5).close()
        with contextlib.suppress(ConnectionError):
            assert answer(line) == b""
    proxy.heal()
    with dialled(proxy) as line:
        assert answer(line) == ANSWER
