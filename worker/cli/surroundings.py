"""What lies around Outbook on this machine, looked at without changing it: settings, directory, store, key, broker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from worker import bootstrap, config
from worker.cli.show import local, span
from worker.config import Settings
from worker.core import lanes, mapping_file, pacing
from worker.core.checks import Check, fail, ok, warn
from worker.core.lanes import Slowed
from worker.core.mapping import Mapping
from worker.core.outlook import Outlook, Spent
from worker.store import copy, database, meta, seal, upgrade
from worker.store.upgrade import Standing
from worker.sync import in_force

BROKER_S = 5.0
EXPIRY_DAYS = 14
TOKEN_DAYS = 4.0


def settings(cwd: Path) -> tuple[Settings | None, list[Check]]:
    """Return the settings, as far as they can be used, and every problem they have."""
    try:
        found = config.load(os.environ, cwd)
    except config.SettingsInvalid as invalid:
        checks = [fail("settings", problem, "set it in the environment or in .env") for problem in invalid.problems]
        try:
            return config.load(os.environ, cwd, credentials=False), checks
        except config.SettingsInvalid:
            return None, checks
    return found, [ok("settings", "all that is needed is there")]


def data_dir(settings: Settings) -> Iterator[Check]:
    """Yield whether the data directory can be written."""
    path = settings.data_dir
    existing = next(one for one in (path, *path.parents) if one.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        yield fail("data directory", f"{existing} cannot be written", "change its owner, or set OUTBOOK_DATA_DIR")
    else:
        yield ok("data directory", f"{path}" + ("" if path.exists() else ", made with the first start"))


def is_there(settings: Settings) -> bool:
    """Tell whether there is a database at all; opening a SQLite file that is not there would make one."""
    name = sa.make_url(settings.database_url.get_secret_value()).database
    return settings.on_postgres or (name is not None and Path(name).exists())


def store(settings: Settings) -> tuple[Standing | None, list[Check]]:
    """Return how the store stands, None if it cannot be reached, and what is to be said of it."""
    url = sa.make_url(settings.database_url.get_secret_value())
    where = f"Postgres, {url.host}/{url.database}" if settings.on_postgres else f"SQLite, {url.database}"
    if not is_there(settings):
        return Standing.EMPTY, [ok("database", f"{where}, made with the first start")]
    opened = database.connect(settings.database_url.get_secret_value())
    try:
        standing = upgrade.standing(opened)
        version = upgrade.current(opened)
        why = copy.closed(opened) if standing is Standing.READY else None
    except sa.exc.SQLAlchemyError as error:
        words = f"{where} cannot be reached ({type(error).__name__})"
        return None, [fail("database", words, "start it, or mend OUTBOOK_DATABASE_URL")]
    finally:
        opened.engine.dispose()
    if why is not None:
        return None, [fail("database", why, "set OUTBOOK_DATABASE_URL")]
    if standing is Standing.READY:
        return standing, [ok("database", f"{where}, schema {version}")]
    if standing is Standing.AHEAD:
        return standing, [fail("database", f"{where}: a newer Outbook has upgraded it", "install that version")]
    words = (
        f"{where}: it is empty" if standing is Standing.EMPTY else f"{where}: schema {version}, behind {upgrade.head()}"
    )
    return standing, [warn("database", words, "run: outbook db upgrade")]


def key(settings: Settings) -> Iterator[Check]:
    """Yield whether the secret key opens the store."""
    if not settings.secret_key and not (settings.data_dir / "secret.key").exists():
        yield ok("secret key", "made with the first start")
        return
    opened = database.connect(settings.database_url.get_secret_value())
    try:
        with opened.read() as db:
            canary = meta.get(db, seal.CANARY)
        if canary is not None:
            seal.Seal(config.secret_key(settings)).open(canary, seal.CANARY)
    except seal.KeyMismatch as mismatch:
        yield fail("secret key", mismatch.words, "restore the key that this store was made with")
        return
    finally:
        opened.engine.dispose()
    yield ok("secret key", "opens the store" if canary else "there; the store has not been used yet")


def broker(settings: Settings) -> Iterator[Check]:
    """Yield whether the broker answers, keeps its messages through a restart, and throws none away."""
    url = settings.broker_url.get_secret_value()
    if not url:
        yield ok("broker", "none: started by `outbook up`; `outbook sync` needs none")
        return
    import redis

    try:
        client = redis.Redis.from_url(url, socket_timeout=BROKER_S, socket_connect_timeout=BROKER_S)
        with client:
            told = client.info()
    except (redis.RedisError, OSError, ValueError) as error:
        words = f"does not answer ({type(error).__name__})"
        yield fail("broker", words, "start it, or mend OUTBOOK_BROKER_URL; until then `outbook sync` goes without")
        return
    yield ok("broker", f"{told.get('server_name', 'redis')} {told.get('valkey_version') or told.get('redis_version')}")
    if not told.get("aof_enabled"):
        words = "forgets its messages when it restarts; nothing is lost, for the sweep rings again"
        yield warn("broker, persistence", words, "set: appendonly yes")
    if told.get("maxmemory_policy") != "noeviction":
        words = f"may throw messages away ({told.get('maxmemory_policy')})"
        yield warn("broker, eviction", words, "set: maxmemory-policy noeviction")


def mapping(settings: Settings, opened: database.Store | None) -> tuple[Mapping | None, list[Check]]:
    """Return the mapping that counts, None if none can be used, and what is to be said of it and its file."""
    file, checks = None, []
    try:
        file = bootstrap.read_mapping(settings.mapping)
    except mapping_file.MappingInvalid as invalid:
        fix = f"run: outbook mapping check {settings.mapping}"
        checks = [fail("mapping", words, fix) for words in str(invalid).splitlines()]
    if opened is None:
        return file, checks or [ok("mapping", f"{settings.mapping}: no mistake")]
    standing = in_force.standing(opened, settings.mapping)
    if not checks:
        checks = [
            warn("mapping", standing.words, f"run: outbook plan --mapping {settings.mapping}")
            if standing.differs
            else ok("mapping", standing.words)
        ]
    return bootstrap.known_mapping(settings, opened) if file or standing.version else None, checks


def standing(outlook: Outlook) -> Iterator[Check]:
    """Yield what the store tells: whether anybody works, how long keys last, how far the calls go."""
    ages = [one.polled_age_s for one in outlook.fresh.streams if one.polled_age_s is not None]
    silent = not ages or not any(one.reading or (one.polled_age_s or 0) <= 900 for one in outlook.fresh.streams)  # noqa: PLR2004
    if not ages:
        yield warn("workers", "nothing has been read yet", "run: outbook sync, or outbook up")
    elif silent:
        yield warn("workers", f"nobody has read anything for {span(min(ages))}", "run: outbook up, or look at its log")
    else:
        yield ok("workers", f"something was read {span(min(ages))} ago")
    for one in outlook.fresh.streams:
        if one.trouble:
            yield warn(f"stream {one.stream}", one.trouble, "it goes on by itself once what is said here is mended")
    yield from _keys(outlook)
    yield from _calls("Outreach, calls", outlook.budget.outreach)
    yield from _pace("Outreach, pace", outlook.budget.slowed)


def _pace(name: str, slowed: tuple[Slowed, ...]) -> Iterator[Check]:
    """Yield what goes slower for the calls to last; that streams are read more seldom than every five minutes is a warning."""
    words = "; ".join(one.words for one in slowed)
    if any(one.lane == lanes.POLLS and one.rate < pacing.MINUTE / pacing.LONGEST for one in slowed):
        yield warn(name, words, "set up webhooks (outbook webhooks setup), or buy more calls, if that is too slow")
    elif slowed:
        yield ok(name, words)


def expiry(settings: Settings, now: datetime) -> Iterator[Check]:
    """Yield how long the CRM's key lasts, as far as somebody has told."""
    until = settings.workbooks.api_key_expires
    if until is None:
        fix = "set OUTBOOK_WORKBOOKS__API_KEY_EXPIRES, to be told in time"
        yield warn("Workbooks, key", "it always expires, and when is not told", fix)
        return
    days = (until - now.date()).days
    words = f"expires on {until}, in {days} days" if days >= 0 else f"expired on {until}"
    fix = "make a new one in Workbooks (Configuration, Automation, API Keys) and set it"
    level = fail if days < 0 else warn
    yield ok("Workbooks, key", words) if days > EXPIRY_DAYS else level("Workbooks, key", words, fix)


def _keys(outlook: Outlook) -> Iterator[Check]:
    keys = outlook.credentials
    if keys.outreach_renewed_at is None or keys.outreach_days_left is None:
        return
    words = f"renewed {local(keys.outreach_renewed_at)}; left alone it lasts {keys.outreach_days_left:.1f} days more"
    if keys.outreach_days_left > TOKEN_DAYS:
        yield ok("Outreach, token", words)
    else:
        yield warn("Outreach, token", words, "keep the workers running, or run: outbook auth outreach")


def _calls(name: str, spent: Spent) -> Iterator[Check]:
    pace = spent.a_year_at_this_pace
    told = "the pace is not known before a day has passed" if pace is None else f"{pace} a year at this pace"
    if spent.year_limit is None:
        yield ok(name, f"{told}; no yearly limit is set (OUTBOOK_OUTREACH__YEARLY_CALLS)")
    elif spent.runs_out_on is not None:
        words = f"{told}, and {spent.year_left} of {spent.year_limit} are left: used up on {spent.runs_out_on}"
        yield warn(name, words, "raise OUTBOOK_POLL_SECONDS, or buy more")
    else:
        yield ok(name, f"{told}; {spent.year_left} of {spent.year_limit} are left")
