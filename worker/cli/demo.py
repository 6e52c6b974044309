"""`./dev demo`: the whole product against both simulators, with a real broker, and a short script of changes."""

from __future__ import annotations

import math
import os
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from worker import bootstrap, config, embedded
from worker.cli import processes, story
from worker.cli.stopper import Stopper
from worker.store import backlog, cursors, database, upgrade
from worker.sync import subscriptions

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_PASS_S, SCENE_S = 120.0, 60.0
LOOK_S = 0.2
TABLE_WIDTH = 110
"""Columns of the table where there is no terminal to fold it."""
POLL_SECONDS = "2"
CREDENTIALS = {
    "OUTBOOK_OUTREACH__CLIENT_ID": "sim-client",
    "OUTBOOK_OUTREACH__CLIENT_SECRET": "sim-secret",
    "OUTBOOK_OUTREACH__REDIRECT_URI": "http://127.0.0.1/callback",
    "OUTBOOK_OUTREACH__REFRESH_TOKEN": "sim-refresh",
    "OUTBOOK_WORKBOOKS__API_KEY": "sim-key",
    "OUTBOOK_ALLOW_INSECURE_HOSTS": "1",
    "OUTBOOK_OUTREACH__WEBHOOK_SECRET": "sim-webhooks",
    "OUTBOOK_POLL_SECONDS": POLL_SECONDS,
}


@dataclass(frozen=True, slots=True)
class _Seen:
    """How one scene ended."""

    scene: story.Scene
    seconds: float | None


def demo(
    *,
    once: bool = typer.Option(False, "--once", help="End by itself: exit 0 only if every expected result was seen."),
    records: int = typer.Option(300, min=60, help="How many invented people there are."),
) -> None:
    """Run everything against two simulated vendors and show changes arriving on the other side."""
    console = Console(stderr=True)
    data_dir = _data_dir()
    broker = embedded.Broker(data_dir)  # taken first: a second demo must not empty the world of a running one
    settings = _settings(data_dir)
    log_path = settings.data_dir / "demo.log"
    children = [broker.child, *processes.processes(_environment(settings, broker.url))]
    with log_path.open("w", encoding="utf-8") as log, Stopper() as stopper:
        vendors = embedded.Supervisor(_simulators(settings, records), out=log)
        supervisor = embedded.Supervisor(children, out=log)
        watch = _Watch(supervisor, stopper)
        try:
            console.print("starting both simulators, the broker, the workers, beat and web …")
            vendors.start()
            with httpx.Client(timeout=30) as http:
                story.World(settings.outreach.base_url, settings.workbooks.base_url, http).prepare()
            supervisor.start()
            _subscribe(settings)
            failed = not _play(settings, watch, console)
            if not once:
                console.print(_addresses(settings, log_path))
                watch.until(lambda: False, math.inf)
        finally:
            console.print("stopping …")
            supervisor.stop()
            vendors.stop()
            broker.close()
    if stopper.wanted():
        raise typer.Exit(stopper.exit_code)
    if failed:
        sys.stderr.write(f"outbook: not everything was seen; the processes' own words are in {log_path}\n")
        raise typer.Exit(1)


def _data_dir() -> Path:
    """Return the demo's own corner of the data directory."""
    base = config.load({**_quiet(), **CREDENTIALS}, Path.cwd(), credentials=False).data_dir / "demo"
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    return base


def _settings(base: Path) -> config.Settings:
    """Return settings for an empty store: the simulators start anew each time, too."""
    for old in base.glob("outbook.*"):
        old.unlink()
    default = config.shipped_mapping().read_text(encoding="utf-8")
    mapping = base / "mapping.yaml"  # the default one, with people in the CRM allowed to ask for sequence actions
    mapping.write_text(default.replace("  enabled: false", "  enabled: true", 1), encoding="utf-8")
    environ = {
        **CREDENTIALS,
        "OUTBOOK_DATA_DIR": str(base),
        "OUTBOOK_MAPPING": str(mapping),
        "OUTBOOK_OUTREACH__BASE_URL": f"http://127.0.0.1:{_free_port()}",
        "OUTBOOK_WORKBOOKS__BASE_URL": f"http://127.0.0.1:{_free_port()}",
        "OUTBOOK_CONSOLE__PORT": str(_free_port()),
    }
    settings = config.load(environ, base)
    bootstrap.open_store(settings).engine.dispose()
    return settings


def _quiet() -> dict[str, str]:
    """Return the environment without a user's real settings: the demo talks to its simulators and to nothing else."""
    return {name: value for name, value in os.environ.items() if name == "OUTBOOK_DATA_DIR"}


def _environment(settings: config.Settings, broker_url: str) -> dict[str, str]:
    mine = {name: "" for name in os.environ if name.startswith("OUTBOOK_")}
    return mine | {
        **CREDENTIALS,
        "OUTBOOK_DATA_DIR": str(settings.data_dir),
        "OUTBOOK_MAPPING": str(settings.mapping),
        "OUTBOOK_DATABASE_URL": settings.database_url.get_secret_value(),
        "OUTBOOK_OUTREACH__BASE_URL": settings.outreach.base_url,
        "OUTBOOK_WORKBOOKS__BASE_URL": settings.workbooks.base_url,
        "OUTBOOK_BROKER_URL": broker_url,
        "OUTBOOK_CONSOLE__PORT": str(settings.console.port),
    }


def _simulators(settings: config.Settings, records: int) -> list[embedded.Child]:
    def child(vendor: str, url: str) -> embedded.Child:
        port = url.rsplit(":", 1)[1]
        argv = (sys.executable, "-m", "worker", "sim", vendor, "--port", port, "--records", str(records))
        return embedded.Child(f"sim-{vendor}", argv, ready=lambda: _answers(url))

    return [child("outreach", settings.outreach.base_url), child("workbooks", settings.workbooks.base_url)]


def _subscribe(settings: config.Settings) -> None:
    """Let the simulated Outreach deliver its webhooks to our receiver, as `outbook webhooks setup` does."""
    secret = subscriptions.secret_of(settings)
    if secret is not None:
        with bootstrap.runtime(settings) as on:
            place = f"{_web(settings)}/webhooks/outreach"
            subscriptions.setup(on.store, on.remotes.outreach, place, secret, bootstrap.now())


def _web(settings: config.Settings) -> str:
    return f"http://127.0.0.1:{settings.console.port}"


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/_sim/faults", timeout=1).status_code < 500  # noqa: PLR2004 - any answer at all
    except httpx.HTTPError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _play(settings: config.Settings, watch: _Watch, console: Console) -> bool:
    """Wait for the first pass, play the script, show the table; return whether all was seen."""
    with httpx.Client(timeout=30) as http:
        world = story.World(settings.outreach.base_url, settings.workbooks.base_url, http)
        began = time.monotonic()
        if not _first_pass(settings, watch, console):
            console.print(f"the first pass did not end within {FIRST_PASS_S:.0f} s")
            return False
        console.print(f"first pass done in {time.monotonic() - began:.1f} s; now somebody edits things …")
        scenes = story.script(world)
        for scene in scenes:
            scene.edit()
        seen = _watch(scenes, watch)
    _show(seen)
    return all(one.seconds is not None for one in seen)


@dataclass(frozen=True, slots=True)
class _Watch:
    """Waits for something to become true, keeping the processes alive meanwhile."""

    supervisor: embedded.Supervisor
    stopper: Stopper

    def until(self, true: Callable[[], bool], seconds: float) -> bool:
        """Tell whether it came true in time, and before somebody wanted an end."""
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() >= deadline or self.stopper.wanted():
                return False
            self.supervisor.mend()
            self.stopper.sleep(LOOK_S)
        return True


def _first_pass(settings: config.Settings, watch: _Watch, console: Console) -> bool:
    store = database.connect(settings.database_url.get_secret_value())
    if upgrade.standing(store) is not upgrade.Standing.READY:  # pragma: no cover - made by _settings
        return False
    columns = (TextColumn("{task.description:<26}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        reading = bars.add_task("streams read to their end", total=len(cursors.STREAMS))
        applying = bars.add_task("people brought up to date", total=None)
        most = 0

        def primed() -> bool:
            nonlocal most
            with store.read() as db:
                left = cursors.unprimed(db)
                counts = backlog.count(db, bootstrap.now())
            most = max(most, counts.due + counts.leased)
            bars.update(reading, completed=len(cursors.STREAMS) - len(left))
            bars.update(applying, total=most, completed=most - counts.due - counts.leased)
            return not left and counts.due + counts.leased == 0

        ended = watch.until(primed, FIRST_PASS_S)
    store.engine.dispose()
    return ended


def _watch(scenes: list[story.Scene], watch: _Watch) -> list[_Seen]:
    began = time.monotonic()
    seen: dict[str, float] = {}

    def all_seen() -> bool:
        for scene in scenes:
            if scene.what not in seen and scene.seen() == scene.expected:
                seen[scene.what] = time.monotonic() - began
        return len(seen) == len(scenes)

    watch.until(all_seen, SCENE_S)
    return [_Seen(scene, seen.get(scene.what)) for scene in scenes]


def _show(seen: list[_Seen]) -> None:
    table = Table(title="what was done on one side, and when it was seen on the other", title_justify="left")
    for heading in ("done", "expected in", "expected", "seen after"):
        table.add_column(heading, overflow="fold")
    for one in seen:
        expected = one.scene.expected
        words = ", ".join(str(part) for part in expected) if isinstance(expected, list) else str(expected)
        when = f"{one.seconds:.1f} s" if one.seconds is not None else f"not seen; there is {one.scene.seen()!r}"
        table.add_row(one.scene.what, one.scene.where, words, when)
    console = Console(file=sys.stdout)
    console.width = max(console.width, TABLE_WIDTH) if not console.is_terminal else console.width
    console.print(table)


def _addresses(settings: config.Settings, log_path: Path) -> str:
    return (
        f"still running; Ctrl-C ends it\n"
        f"  simulated Outreach   {settings.outreach.base_url}/_sim/journal\n"
        f"  simulated Workbooks  {settings.workbooks.base_url}/_sim/state\n"
        f"  webhooks, health     {_web(settings)}/readyz\n"
        f"  log                  {log_path}"
    )
