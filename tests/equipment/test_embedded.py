"""Owned processes: the broker keeps its data, what dies is started again, and nothing is left behind."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker import embedded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
SLEEPER = (sys.executable, "-S", "-c", "import time; print('up', flush=True); time.sleep(300)")
DEAF = (
    sys.executable,
    "-S",
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(300)",
)
PARENT = (
    sys.executable,
    "-S",
    "-c",
    "import subprocess as s; one = s.Popen(['sleep', '300']); print('grandchild', one.pid, flush=True); one.wait()",
)


def wait_for(claim: Callable[[], bool], seconds: float = 60) -> None:
    """Return once the claim holds; fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Tell whether a process of that id runs; one that is dead but not reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture
def out() -> io.StringIO:
    """Return what the children write."""
    return io.StringIO()


@pytest.fixture
def kept(out: io.StringIO) -> Iterator[Callable[..., embedded.Supervisor]]:
    """Return a maker of supervisors, all of which are stopped in the end."""
    made: list[embedded.Supervisor] = []

    def make(*children: embedded.Child, grace_s: float = 5) -> embedded.Supervisor:
        made.append(embedded.Supervisor(children, grace_s=grace_s, out=out))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@contextlib.contextmanager
def program(code: str) -> Iterator[subprocess.Popen[str]]:
    """Run a Python program that imports ours, and end it in the end."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


UP = """
import sys
from pathlib import Path
from worker import embedded
broker = embedded.Broker(Path({directory!r}))
supervisor = embedded.Supervisor([broker.child, embedded.Child("sleeper", {sleeper!r})])
told = []
def tell():
    if not told:
        print(broker.url, *supervisor.pids.values())
    told.append(True)
    return False
sys.exit(supervisor.run(until=tell))
"""


def announced(process: subprocess.Popen[str]) -> tuple[str, list[int]]:
    """Return the broker's address and the children's ids, once they run."""
    assert process.stdout is not None
    url, *pids = process.stdout.readline().split()
    return url, [int(pid) for pid in pids]


@pytest.mark.broker
def test_the_broker_takes_and_gives(tmp_path: Path, out: io.StringIO) -> None:
    """A broker on loopback answers to its password alone, keeps an append-only file and never evicts."""
    handle = embedded.start_broker(tmp_path, out=out)
    try:
        with redis.Redis.from_url(handle.url, decode_responses=True) as db:
            db.set("key", "value")
            assert db.get("key") == "value"
            assert db.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert db.config_get("appendonly") == {"appendonly": "yes"}
            assert db.config_get("appendfsync") == {"appendfsync": "everysec"}
            assert db.config_get("bind") == {"bind": "127.0.0.1"}
        port = int(handle.url.rpartition(":")[2].partition("/")[0])
        with redis.Redis(port=port, retry=Retry(NoBackoff(), 0)) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.get("key")
        for name in ("address", "valkey.conf"):
            assert stat.S_IMODE((tmp_path / "broker" / name).stat().st_mode) == 0o600
    finally:
        handle.stop()
    assert not is_alive(handle.pid)


@pytest.mark.broker
def test_data_and_address_outlive_the_broker(tmp_path: Path, out: io.StringIO) -> None:
    """After an orderly stop the next start has the same address and the same data, in a directory with a space too."""
    directory = tmp_path / 'a "quoted" place'
    handle = embedded.start_broker(directory, out=out)
    with redis.Redis.from_url(handle.url) as db:
        db.rpush("queue", "one", "two")
    handle.stop()
    again = embedded.start_broker(directory, out=out)
    try:
        assert again.url == handle.url
        with redis.Redis.from_url(again.url) as db:
            assert db.lrange("queue", 0, -1) == [b"one", b"two"]
    finally:
        again.stop()


@pytest.mark.broker
def test_a_killed_broker_comes_back_with_its_data(
    tmp_path: Path, kept: Callable[..., embedded.Supervisor], out: io.StringIO
) -> None:
    """Kill -9 of the broker loses nothing that was written a moment before, and its address stays."""
    broker = embedded.Broker(tmp_path)
    supervisor = kept(broker.child)
    supervisor.start()
    with redis.Redis.from_url(broker.url) as db:
        db.set("key", "value")
    first = supervisor.pids["broker"]
    os.kill(first, signal.SIGKILL)
    supervisor.run(until=lambda: supervisor.pids.get("broker", first) != first and broker.answers() and read(broker))
    assert "ended with -9; starting again" in out.getvalue()
    broker.close()


def read(broker: embedded.Broker) -> bool:
    """Tell whether the value is there."""
    with redis.Redis.from_url(broker.url) as db:
        return bool(db.get("key") == b"value")


@pytest.mark.broker
def test_one_broker_a_data_directory(tmp_path: Path, out: io.StringIO) -> None:
    """A second start beside a running one is refused in words and disturbs nothing."""
    handle = embedded.start_broker(tmp_path, out=out)
    try:
        with pytest.raises(embedded.NotStarted, match="another Outbook already runs its broker"):
            embedded.start_broker(tmp_path, out=out)
        with redis.Redis.from_url(handle.url) as db:
            assert db.ping()
    finally:
        handle.stop()


@pytest.mark.broker
def test_a_taken_port_is_left_to_its_owner(tmp_path: Path, out: io.StringIO) -> None:
    """If somebody else listens on the last port, the next start takes another."""
    handle = embedded.start_broker(tmp_path, out=out)
    handle.stop()
    address = tmp_path / "broker" / "address"
    other = embedded.start_broker(tmp_path / "other", out=out)
    port = other.url.rpartition(":")[2].partition("/")[0]
    address.write_text(f"{port} {address.read_text().split()[1]}\n")
    try:
        again = embedded.start_broker(tmp_path, out=out)
        assert again.url != handle.url
        again.stop()
    finally:
        other.stop()


@pytest.mark.broker
def test_sigterm_leaves_nothing_behind(tmp_path: Path) -> None:
    """After SIGTERM the exit code is 143 and no child runs, the broker least of all."""
    with program(UP.format(directory=str(tmp_path), sleeper=SLEEPER)) as process:
        _url, pids = announced(process)
        assert all(is_alive(pid) for pid in pids)
        assert process.stderr is not None
        assert any("[sleeper] up" in line for line in process.stderr)
        process.terminate()
        assert process.wait(60) == 143
        assert [pid for pid in pids if is_alive(pid)] == []


@pytest.mark.broker
def test_sigint_ends_with_130(tmp_path: Path) -> None:
    """Ctrl-C is 130 and as tidy."""
    with program(UP.format(directory=str(tmp_path), sleeper=SLEEPER)) as process:
        _url, pids = announced(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert [pid for pid in pids if is_alive(pid)] == []


@pytest.mark.broker
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_killed_supervisor_takes_its_children_along(tmp_path: Path) -> None:
    """Kill -9 of the supervisor ends every child, and the next start finds the data."""
    code = UP.format(directory=str(tmp_path), sleeper=SLEEPER)
    with program(code) as process:
        url, pids = announced(process)
        with redis.Redis.from_url(url) as db:
            db.set("key", "value")
        process.kill()
        process.wait(60)
        with program(code) as successor:
            url, new = announced(successor)
            assert set(new).isdisjoint(pids)
            with redis.Redis.from_url(url) as db:
                assert db.get("key") == b"value"
            successor.terminate()
            successor.wait(60)
        wait_for(lambda: not any(is_alive(pid) for pid in pids))


@pytest.mark.broker
def test_a_broker_whose_owner_is_gone_is_ended_first(tmp_path: Path, out: io.StringIO) -> None:
    """Two brokers never write the same file: a leftover with our password is shut down before the next start."""
    broker = embedded.Broker(tmp_path)
    leftover = subprocess.Popen(broker.child.argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(broker.answers)
        with redis.Redis.from_url(broker.url) as db:
            db.set("key", "value")
        broker.close()
        handle = embedded.start_broker(tmp_path, out=out)
        assert leftover.wait(60) == 0
        with redis.Redis.from_url(handle.url) as db:
            assert db.get("key") == b"value"
        handle.stop()
    finally:
        leftover.kill()
        leftover.wait()


def test_a_child_that_dies_is_started_again(kept: Callable[..., embedded.Supervisor], out: io.StringIO) -> None:
    """The name stays, the process is new, and its end is told with its code."""
    supervisor = kept(embedded.Child("sleeper", SLEEPER))
    supervisor.start()
    first = supervisor.pids["sleeper"]
    wait_for(lambda: "[sleeper] up" in out.getvalue())
    os.kill(first, signal.SIGKILL)
    assert supervisor.run(until=lambda: out.getvalue().count("[sleeper] up") == 2) == 0
    assert "[sleeper] ended with -9; starting again in 0.5 s" in out.getvalue()
    assert not is_alive(first)
    assert supervisor.pids == {}


def test_waiting_grows_with_each_short_life() -> None:
    """The pause doubles from half a second and stops growing at half a minute."""
    assert [embedded.backoff_s(failures) for failures in (0, 1, 2, 3, 7, 50)] == [0, 0.5, 1, 2, 30, 30]


def test_a_deaf_child_is_killed_after_its_grace(kept: Callable[..., embedded.Supervisor], out: io.StringIO) -> None:
    """A child that ignores SIGTERM does not outlive its grace."""
    supervisor = kept(embedded.Child("deaf", DEAF), grace_s=0.2)
    supervisor.start()
    wait_for(lambda: "deaf" in out.getvalue())
    pid = supervisor.pids["deaf"]
    supervisor.stop()
    assert not is_alive(pid)


def test_what_a_child_started_goes_with_it(kept: Callable[..., embedded.Supervisor], out: io.StringIO) -> None:
    """A grandchild is no orphan once its parent was stopped."""
    supervisor = kept(embedded.Child("parent", PARENT))
    supervisor.start()
    wait_for(lambda: "grandchild" in out.getvalue())
    grandchild = int(out.getvalue().split()[-1])
    assert is_alive(grandchild)
    supervisor.stop()
    wait_for(lambda: not is_alive(grandchild))


def test_children_stop_in_the_reverse_of_their_order(
    kept: Callable[..., embedded.Supervisor], out: io.StringIO
) -> None:
    """What was started last, and may need the others, is ended first."""
    code = "import signal, sys, time; signal.signal(15, lambda *_: (print('bye', flush=True), sys.exit())); "
    code += "print('up', flush=True); time.sleep(300)"
    argv = (sys.executable, "-S", "-c", code)
    supervisor = kept(*(embedded.Child(name, argv) for name in ("broker", "worker", "web")))
    supervisor.start()
    wait_for(lambda: out.getvalue().count("up") == 3)
    supervisor.stop()
    wait_for(lambda: out.getvalue().count("bye") == 3)
    assert [line for line in out.getvalue().splitlines() if "bye" in line] == [
        "[web] bye",
        "[worker] bye",
        "[broker] bye",
    ]


def test_a_child_that_will_not_start_is_told(kept: Callable[..., embedded.Supervisor], out: io.StringIO) -> None:
    """One that ends before it is ready raises, its words are heard, and what ran before it is ended."""
    failing = (sys.executable, "-S", "-c", "import sys; sys.exit('no such luck')")
    supervisor = kept(embedded.Child("sleeper", SLEEPER), embedded.Child("failing", failing, ready=lambda: False))
    with pytest.raises(embedded.NotStarted, match="failing did not start"):
        supervisor.start()
    assert supervisor.pids == {}
    wait_for(lambda: "[failing] no such luck" in out.getvalue())


def test_a_childs_environment_goes_on_top(kept: Callable[..., embedded.Supervisor], out: io.StringIO) -> None:
    """A child sees ours and what its own entry adds."""
    code = "import os; print(os.environ['OUTBOOK_BROKER_URL'], 'PATH' in os.environ, flush=True)"
    child = embedded.Child("one", (sys.executable, "-S", "-c", code), env={"OUTBOOK_BROKER_URL": "redis://x"})
    kept(child).start()
    wait_for(lambda: "[one] redis://x True" in out.getvalue())
