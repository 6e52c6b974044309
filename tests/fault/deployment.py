"""The whole deployment set up from nothing and taken away again: vendors, store, proxy, broker, and what is ours."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
from sqlalchemy.engine import make_url

from tests.fault import postgres, settings
from tests.fault.disk import Disk
from tests.fault.postgres import Postgres
from tests.fault.rig import OURS, START_S, VENDORS, WEBHOOK_SECRET, Rig, Unsettled, heard
from worker import embedded

BROKER_MB, LOGS_MB = 24, 32
"""The disks of the broker and of the logs where disks are small."""


@contextlib.contextmanager
def running(
    directory: Path, store: str = "sqlite", more: Mapping[str, str] | None = None, *, disk_mb: int = 0
) -> Iterator[Rig]:
    """Set everything up and start it; nothing of it is left running in the end. ``more`` are further settings."""
    data = directory / "data"
    data.mkdir(mode=0o700)
    disks: list[Disk] = []
    for name in ("logs", "theirs"):
        (directory / name).mkdir()
    with httpx.Client(timeout=60) as http, contextlib.ExitStack() as mounts:

        def mount(at: Path, megabytes: int) -> None:
            at.mkdir(mode=0o700, exist_ok=True)
            disks.append(Disk.mounted(at, megabytes))
            mounts.callback(disks[-1].unmount)

        if disk_mb:
            mount(data, disk_mb)
            mount(directory / "broker", BROKER_MB)
            mount(directory / "logs", LOGS_MB)
        broker = embedded.Broker(directory / "broker" if disk_mb else data)
        made = Rig(directory, f"sqlite:///{data / 'outbook.db'}", http, broker, disks=disks)
        try:
            if store == "postgres":
                made.postgres = Postgres.made((lambda at: mount(at, disk_mb)) if disk_mb else None)
                made.database_url = made.postgres.url()
                made.start("postgres")
                made.postgres.run(f"CREATE DATABASE {postgres.NAME}")
            _start_vendors(made)
            made.start("proxy")
            made.environ = (
                _environment(made) | {"OUTBOOK_MAPPING": str(settings.without_brakes(directory))} | dict(more or {})
            )
            _start_ours(made)
            yield made
        finally:
            made.close()


def _start_vendors(rig: Rig) -> None:
    rig.start(*VENDORS)
    for vendor in VENDORS:
        rig.wait_for(lambda vendor=vendor: heard(rig, vendor), START_S)  # type: ignore[misc]
        rig.control(vendor, "reset", {"seed": "chaos", "records": 0})


def _start_ours(rig: Rig) -> None:
    code, _ = rig.outbook("db", "upgrade")
    if code:
        raise Unsettled(f"nothing to start with: {rig.words()}")
    try:
        rig.start(*OURS)
    except Unsettled as problem:
        raise Unsettled(f"not started, {problem}: {rig.words()}") from None


def _environment(rig: Rig) -> dict[str, str]:
    """Return the settings of ours: whomever they talk to, they do by way of the proxy."""
    ports = rig.wires.ports
    broker_url = make_url(rig.broker.url).set(port=ports["broker"])
    return {
        "OUTBOOK_OUTREACH__BASE_URL": f"http://127.0.0.1:{ports['outreach']}",
        "OUTBOOK_OUTREACH__ACCESS_TOKEN": "sim-access",
        "OUTBOOK_OUTREACH__WEBHOOK_SECRET": WEBHOOK_SECRET,
        "OUTBOOK_WORKBOOKS__BASE_URL": f"http://127.0.0.1:{ports['workbooks']}",
        "OUTBOOK_WORKBOOKS__API_KEY": "sim-key",
        "OUTBOOK_ALLOW_INSECURE_HOSTS": "1",
        "OUTBOOK_BROKER_URL": broker_url.render_as_string(hide_password=False),
        "OUTBOOK_DATABASE_URL": rig.postgres.url(port=ports["store"]) if rig.postgres else rig.database_url,
        "OUTBOOK_DATA_DIR": str(rig.directory / "data"),
        "OUTBOOK_CONSOLE__PORT": "0",
        "OUTBOOK_POLL_SECONDS": "1",
        "OUTBOOK_SECRET_KEY": secrets.token_urlsafe(32),
        "OUTBOOK_LOG_LEVEL": "INFO",
    }
