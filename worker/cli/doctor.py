"""`outbook doctor`: one line a check, ok or what is wrong and how to mend it. It writes nothing to either vendor."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import typer
from pydantic import SecretStr
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from worker import bootstrap, config, telemetry
from worker.cli import surroundings, watching
from worker.cli.show import page, say_json
from worker.config import Settings
from worker.core import errors
from worker.core.checks import Check, Level, fail, ok, warn
from worker.core.mapping import Mapping
from worker.core.outlook import as_json
from worker.remote import base
from worker.store import database
from worker.store.upgrade import Standing
from worker.sync import alerts, checkup
from worker.sync import outlook as drawing

FAILED = 1
DEADLINE_S = 35.0
"""So long a vendor's checks may take; the requests themselves give up after 30 s."""
INSECURE = "OUTBOOK_ALLOW_INSECURE_HOSTS is on: keys may travel by http://, and a new store does not start paused"
SHOWN = {Level.OK: "[green]ok[/]", Level.WARN: "[bold yellow]WARN[/]", Level.FAIL: "[bold red]FAIL[/]"}
OUTREACH, WORKBOOKS = "Outreach", "Workbooks"


def doctor(
    *,
    as_document: bool = typer.Option(False, "--json", help="Print the checks as one JSON document."),
    alert_test: bool = typer.Option(False, "--alert-test", help="Send a test alert, and look at nothing else."),
    alert_now: bool = typer.Option(
        False, "--alerts", help="Alert of what stands, and look at nothing else: for a timer."
    ),
) -> None:
    """Check everything that Outbook needs, and tell how to mend what is wrong. Safe in production: it only reads."""
    if alert_test and alert_now:
        raise config.SettingsInvalid(["--alert-test and --alerts exclude each other"])
    examine = alerted if alert_test else watching.looked if alert_now else examined
    checks = examine(Path.cwd())
    if as_document:
        document = {"ok": all(one.level is not Level.FAIL for one in checks), "checks": as_json(checks)}
        say_json(document)
    else:
        page(*drawn(checks))
    if any(one.level is Level.FAIL for one in checks):
        raise typer.Exit(FAILED)


def drawn(checks: Sequence[Check]) -> Iterator[RenderableType]:
    """Yield a line for each check, its fix below it, and a closing one."""
    lines = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        lines.add_column(overflow="fold")
    for one in checks:
        lines.add_row(SHOWN[one.level], escape(one.name), escape(one.words))
        if one.fix:
            lines.add_row("", "", f"→ {escape(one.fix)}")
    yield lines
    counts = {level: sum(one.level is level for one in checks) for level in Level}
    yield ""
    yield f"{counts[Level.OK]} ok, {counts[Level.WARN]} WARN, {counts[Level.FAIL]} FAIL"
    if counts[Level.FAIL]:
        yield "next: mend what says FAIL, then outbook doctor again"


def examined(cwd: Path) -> list[Check]:
    """Return every check. One that fails hides no other."""
    settings, checks = surroundings.settings(cwd)
    if settings is None:
        return [*checks, warn("everything else", "not looked at", "mend the settings first")]
    lacking = {name for name in (OUTREACH, WORKBOOKS) if any(f"_{name.upper()}__" in one.words for one in checks)}
    checks += guarded("data directory", lambda: surroundings.data_dir(settings))
    standing, told = surroundings.store(settings)
    checks += told
    ready = standing is Standing.READY
    sealed = guarded("secret key", lambda: surroundings.key(settings)) if ready else []
    checks += sealed
    checks += guarded("broker", lambda: surroundings.broker(settings))
    ready = ready and not any(one.level is Level.FAIL for one in sealed)
    opened = database.connect(settings.database_url.get_secret_value()) if ready else None
    try:
        mapping, told = surroundings.mapping(settings, opened)
        checks += told
        checks += vendors(settings, standing, mapping, lacking=lacking, ready=ready)
        checks += guarded("Workbooks, key", lambda: surroundings.expiry(settings, bootstrap.now()))
        if opened is not None:
            checks += guarded("the store", lambda: _of_the_store(settings, opened))
    finally:
        if opened is not None:
            opened.engine.dispose()
    return checks


def _of_the_store(settings: Settings, opened: database.Store) -> Iterator[Check]:
    outlook = drawing.look(opened, drawing.terms(settings, opened), bootstrap.now())
    yield from surroundings.standing(outlook)


def alerted(cwd: Path) -> list[Check]:
    """Return whether whoever is to be alerted took a test alert."""
    settings, checks = surroundings.settings(cwd)
    if settings is None:
        return [*checks, warn("alerts", "not tried", "mend the settings first")]
    told = alerts.try_out(alerts.receivers_of(settings), bootstrap.now())
    fix = "look at that receiver; `outbook doctor --alert-test` tries again"
    found = [
        fail(f"alert by {who}", wrong, fix) if wrong else ok(f"alert by {who}", "taken") for who, wrong in told.items()
    ]
    return found or [warn("alerts", "nobody is named", "set OUTBOOK_ALERT_URL or OUTBOOK_ALERT_COMMAND")]


def vendors(
    settings: Settings, standing: Standing | None, mapping: Mapping | None, *, lacking: set[str], ready: bool
) -> list[Check]:
    """Return what the vendors show, less those ``lacking`` credentials, looked at side by side, each within its time."""
    checks, wrong = _hosts(settings)
    wrong |= lacking
    fresh = standing is Standing.EMPTY and not settings.on_postgres
    fixed = bool(settings.outreach.access_token.get_secret_value())
    # A token that has to be renewed must be kept, so only then the store of a new installation is made.
    real = ready or (fresh and not fixed)
    with tempfile.TemporaryDirectory(prefix="outbook-doctor-", ignore_cleanup_errors=True) as scratch:
        used = _without(settings if real else _beside(settings, Path(scratch)), wrong)
        try:
            checks += _ask(used, mapping, wrong, renewing=real or fixed)
        except (errors.Halt, config.SettingsInvalid) as refusal:
            checks.append(fail("both vendors", str(refusal), "mend that first; neither was asked"))
    return checks


def _ask(settings: Settings, mapping: Mapping | None, wrong: set[str], *, renewing: bool) -> list[Check]:
    shown = mapping or bootstrap.read_mapping(config.shipped_mapping())
    with bootstrap.runtime(settings, shown) as runtime:
        remotes, now = runtime.remotes, bootstrap.now
        asked: dict[str, Callable[[], Iterable[Check]]] = {
            OUTREACH: (lambda: checkup.outreach(remotes.outreach, shown, now)) if renewing else _untried,
            WORKBOOKS: lambda: checkup.workbooks(remotes.crm, mapping, now),
        }
        return side_by_side({name: ask for name, ask in asked.items() if name not in wrong})


def _untried() -> Iterator[Check]:
    yield warn("Outreach", "not asked: a token renewed now could not be kept", "mend the database or the key first")


def _hosts(settings: Settings) -> tuple[list[Check], set[str]]:
    """Return what is wrong with the base URLs, and whose."""
    checks, wrong = [], set()
    for name, url in ((OUTREACH, settings.outreach.base_url), (WORKBOOKS, settings.workbooks.base_url)):
        try:
            base.check_host(url, allow_insecure=settings.allow_insecure_hosts)
        except ValueError as error:
            wrong.add(name)
            checks.append(fail(name, str(error), f"mend OUTBOOK_{name.upper()}__BASE_URL"))
            continue
        if settings.allow_insecure_hosts and base.is_public_host(url):
            words = f"{INSECURE}, and {urlsplit(url).hostname} is no simulator"
            checks.append(warn(f"{name}, host", words, "unset it, and start the workers again: it is for simulators"))
    return checks, wrong


def _without(settings: Settings, wrong: set[str]) -> Settings:
    """Return the settings with a place that leads nowhere where the given one must not be used."""
    groups = {OUTREACH: "outreach", WORKBOOKS: "workbooks"}
    nowhere = {
        groups[name]: getattr(settings, groups[name]).model_copy(update={"base_url": "https://unusable.invalid"})
        for name in wrong
    }
    return settings.model_copy(update=nowhere)


def _beside(settings: Settings, scratch: Path) -> Settings:
    """Return settings under which nothing of the real store is touched, and no refresh token is spent."""
    return settings.model_copy(
        update={
            "data_dir": scratch,
            "database_url": SecretStr(config.sqlite_url(scratch / "outbook.db")),
            "secret_key": SecretStr("scratch"),
            "outreach": settings.outreach.model_copy(update={"refresh_token": SecretStr("")}),
        }
    )


def side_by_side(asked: dict[str, Callable[[], Iterable[Check]]]) -> list[Check]:
    """Return what each found, in order; one that has not answered in time is a failure and holds up nothing."""
    found: dict[str, list[Check]] = {name: [] for name in asked}
    threads = {
        name: threading.Thread(target=lambda n=name, a=ask: collect(n, a, found[n]), name=f"doctor-{name}", daemon=True)
        for name, ask in asked.items()
    }
    for thread in threads.values():
        thread.start()
    until = time.monotonic() + DEADLINE_S
    checks: list[Check] = []
    for name, thread in threads.items():
        thread.join(max(0.0, until - time.monotonic()))
        told = list(found[name])
        if thread.is_alive():
            words = f"no answer within {DEADLINE_S:.0f} s; the rest of its checks was not made"
            told.append(fail(name, words, "look at the network and at the vendor's status page"))
        checks += told
    return checks


def guarded(name: str, checks: Callable[[], Iterable[Check]]) -> list[Check]:
    """Return what a look finds; whatever goes wrong with it is a finding, too."""
    found: list[Check] = []
    collect(name, checks, found)
    return found


def collect(name: str, checks: Callable[[], Iterable[Check]], found: list[Check]) -> None:
    """Add what a look finds, as it finds it."""
    try:
        found.extend(checks())
    except errors.Transient as error:
        words = f"{error.words}; the rest of its checks was not made"
        found.append(fail(name, words, "look at the network and at the vendor's status page"))
    except errors.BudgetSpent as error:
        found.append(warn(name, error.words, "wait, or raise the budget"))
    except errors.OutbookError as error:
        found.append(fail(name, error.words, "mend that, then look again"))
    except Exception as error:  # noqa: BLE001 - a check that nobody foresaw to fail must not hide the others
        words = f"{errors.told(error)} at {telemetry.place(error)}"
        found.append(fail(name, f"could not be looked at ({words})", "tell the maintainers"))
