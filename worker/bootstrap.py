"""Put together in one place: Settings → Runtime. The only room that knows the clock and chance."""

from __future__ import annotations

import atexit
import contextlib
import gc
import random
import time
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from worker import config
from worker.core import errors, lanes, transforms
from worker.core.records import System
from worker.remote import base, deadline, outreach_tokens
from worker.remote.outreach import Outreach
from worker.remote.workbooks import Workbooks
from worker.store import clocks, copy, counters, database, pauses, seal, upgrade, vitals
from worker.store.budget import Budget
from worker.store.circuits import Circuits
from worker.store.counters import Counters
from worker.store.links import Names
from worker.store.respites import Respites
from worker.store.selection import Selection
from worker.store.vault import FixedToken, Vault
from worker.sync import in_force
from worker.sync.case import Applier, Permit, Pilot
from worker.sync.streams import Remotes
from worker.sync.tenants import Guard, WrongTenant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import httpx

    from worker.config import Settings
    from worker.core.mapping import Mapping
    from worker.remote.outreach_tokens import TokenPair, Tokens
    from worker.sync.tally import Tally

ORDINARY, OPT_OUT = lanes.CHANGES, lanes.OPT_OUT
ID_DIGITS = 19
"""A number of fewer digits is surely one that a 64-bit id can hold."""
VENDORS = {System.OUTREACH: "outreach", System.CRM: "workbooks"}
_lane: ContextVar[str] = ContextVar("lane", default=ORDINARY)


@contextlib.contextmanager
def lane(name: str) -> Iterator[None]:
    """Count the calls of the block under a lane; that of opt-outs may spend a reserve which no other touches."""
    token = _lane.set(name)
    try:
        yield
    finally:
        _lane.reset(token)


_steady_s = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class _Clock:
    """The present moment: this host's own until a store's server has told its, which all hosts then go by.

    Between two questions steady time goes on, whatever somebody sets the host's clock to.
    """

    EVERY_S = 5.0

    def __init__(self) -> None:
        self._told: tuple[datetime, float] | None = None

    def wanted(self) -> bool:
        told = self._told
        return told is None or _steady_s() - told[1] >= self.EVERY_S

    def tell(self, at: datetime) -> None:
        self._told = at.astimezone(UTC), _steady_s()

    def forget(self) -> None:
        self._told = None

    def now(self) -> datetime:
        told = self._told
        if told is None:
            return datetime.now(UTC)
        at, then = told
        return at + timedelta(seconds=_steady_s() - then)


_clock = _Clock()


def now() -> datetime:
    """Return the present moment, aware UTC: that of the store's server where there is one."""
    return _clock.now()


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything a door needs, opened once a process."""

    settings: Settings
    store: database.Store
    remotes: Remotes
    mapping: Mapping
    names: Names
    budgets: dict[System, Budget]
    guard: Guard
    counters: Counters
    ticks: vitals.Ticks
    tokens: Tokens

    def applier(self, permit: Permit | None = None) -> Applier:
        """Return what applying touches."""
        return Applier(
            store=self.store,
            remotes=self.remotes,
            mapping=self.mapping,
            names=self.names,
            now=now,
            jitter=random.random,
            permit=permit or self.permit(),
            count=self._count,
        )

    def _count(self, tally: Tally) -> None:
        for (vendor, action), writes in tally.writes().items():
            self.counters.add(counters.WRITES, vendor, action, by=writes)
        self.counters.add(counters.DEAD, by=tally.new_failed)
        self.counters.add(counters.OVERWRITTEN, by=tally.overwritten)

    def permit(self) -> Permit:
        """Return what the settings let a worker write."""
        may = self.settings.writes == "all"
        return Permit(may, may, read_pilot(self.settings.only) if self.settings.only else None)

    def reading(self) -> dict[str, Any]:
        """Return what polling touches."""
        return {
            "store": self.store,
            "remotes": self.remotes,
            "mapping": self.mapping,
            "names": self.names,
            "now": now,
        }

    def calls(self) -> dict[str, int]:
        """Return how many calls this process has made, by vendor."""
        return {VENDORS[system]: sum(budget.spent().values()) for system, budget in self.budgets.items()}

    def rate(self, lane: str) -> float:
        """Return the share of its normal rate at which a lane may call Outreach by itself just now, from 0 to 1."""
        return self.budgets[System.OUTREACH].rate(lane)

    def flush(self) -> None:
        """Write down the calls made so far, and every few seconds what else was counted."""
        for budget in self.budgets.values():
            budget.flush()
        self.counters.flush(now())


read_mapping = in_force.read


def begin_mapping(settings: Settings) -> Mapping:
    """Return the mapping in force for a process that starts; at the very first start that of the file is put in force."""
    store = open_store(settings)
    try:
        return in_force.begin(store, lambda: read_mapping(settings.mapping), now())
    finally:
        store.engine.dispose()


def known_mapping(settings: Settings, store: database.Store) -> Mapping:
    """Return the mapping in force, or that of the file while none is."""
    return in_force.stored(store) or read_mapping(settings.mapping)


def read_pilot(path: Path, setting: str = "OUTBOOK_ONLY") -> Pilot:
    """Return the people of a file: one e-mail address, ``prospect:ID`` or ``person:ID`` a line.

    ``setting`` is who names the file, for the problems: the one that says who alone may be written, or an option.
    """
    listed = _listed(path, setting, ("prospect", "person"))
    return Pilot(frozenset(listed.prospects), frozenset(listed.people), frozenset(listed.addresses))


def read_ids(path: Path) -> Selection:
    """Return what an ``--ids-from`` file names: as a pilot's, and ``sequence:ID`` or ``task:ID`` a line too."""
    return _listed(path, "--ids-from", ("prospect", "person", "sequence", "task"))


def _listed(path: Path, setting: str, kinds: Sequence[str]) -> Selection:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        raise config.SettingsInvalid([f"{setting}: {path} cannot be read"]) from None
    ids: dict[str, list[int]] = {"prospect": [], "person": [], "sequence": [], "task": []}
    addresses: list[str] = []
    problems = []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        kind, _, record_id = text.partition(":")
        address = transforms.address(text)
        if kind in kinds and record_id.strip().isdecimal() and len(record_id.strip()) < ID_DIGITS:
            ids[kind].append(int(record_id))
        elif address:
            addresses.append(address)
        elif text:
            forms = " nor ".join(f"{one}:ID" for one in kinds)
            problems.append(f"{setting}: {path}:{number}: neither an e-mail address nor {forms}")
    if problems:
        raise config.SettingsInvalid(problems)
    return Selection(
        prospects=tuple(dict.fromkeys(ids["prospect"])),
        people=tuple(dict.fromkeys(ids["person"])),
        addresses=tuple(dict.fromkeys(addresses)),
        sequences=tuple(dict.fromkeys(ids["sequence"])),
        tasks=tuple(dict.fromkeys(ids["task"])),
    )


def open_store(settings: Settings) -> database.Store:
    """Open the store and bring it to the newest schema where that is safe: SQLite by itself, Postgres only when empty."""
    if not settings.on_postgres:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = database.connect(settings.database_url.get_secret_value())
    _clock.forget()
    clocks.ask(store, _clock.wanted, _clock.tell)
    standing = upgrade.standing(store)
    if standing is upgrade.Standing.AHEAD:
        raise upgrade.StoreAhead("a newer Outbook has upgraded this store: install that version")
    if standing is upgrade.Standing.BEHIND and settings.on_postgres:
        raise config.SettingsInvalid(
            ["OUTBOOK_DATABASE_URL: the store is of an older version; run `outbook db upgrade`"]
        )
    if standing is not upgrade.Standing.READY:
        upgrade.upgrade(store)
    elif (why := copy.closed(store)) is not None:
        raise config.SettingsInvalid([f"OUTBOOK_DATABASE_URL: {why}"])
    if not settings.allow_insecure_hosts:
        pauses.begin(store, now())
    return store


@contextlib.contextmanager
def runtime(settings: Settings, mapping: Mapping | None = None, *, guarded: bool = True) -> Iterator[Runtime]:
    """Hold everything open for one process, and close it at the end.

    Without ``mapping`` the one in force counts, or the file in the settings while none is. Not ``guarded``: whom the vendors
    answer for is not compared with whom the store belongs to, for a verb that only reads, or that is to change just this.
    """
    for name, url in (("OUTREACH", settings.outreach.base_url), ("WORKBOOKS", settings.workbooks.base_url)):
        try:
            base.check_host(url, allow_insecure=settings.allow_insecure_hosts)
        except ValueError as error:
            raise config.SettingsInvalid([f"OUTBOOK_{name}__BASE_URL: {error}"]) from None
    store = open_store(settings)
    mapping = in_force.named(store, mapping) if mapping else known_mapping(settings, store)
    key = config.secret_key(settings)
    names = Names(seal.check_key(store, key))
    budgets = {
        System.OUTREACH: Budget(
            store,
            system=System.OUTREACH,
            hourly=settings.outreach.hourly_calls,
            yearly=settings.outreach.yearly_calls,
            now=now,
        ),
        System.CRM: Budget(store, system=System.CRM, hourly=None, yearly=None, now=now),
    }
    counted = Counters(store)
    resting = {system: Respites(store, system, now) for system in System}
    counting = _Counting(budgets, counted, {system: Circuits(store, system, now) for system in System}, resting)
    with base.http_client() as outreach_http, base.http_client() as crm_http:
        outreach = partial(_client, System.OUTREACH, settings.outreach.base_url, outreach_http, counting)
        crm = partial(_client, System.CRM, settings.workbooks.base_url, crm_http, counting)
        tokens, api_key = _tokens(settings, store, outreach(), key), settings.workbooks.api_key.get_secret_value()
        who, whose = Outreach(outreach(), tokens), Workbooks(crm(), api_key)
        guard = Guard(store, now, {System.OUTREACH: who.identity, System.CRM: lambda: whose.login().database_id})
        watch = guard.before_call if guarded else None
        remotes = Remotes(outreach=Outreach(outreach(watch=watch), tokens), crm=Workbooks(crm(watch=watch), api_key))
        _pass_over()
        try:
            yield Runtime(
                settings, store, remotes, mapping, names, budgets, guard, counted, vitals.Ticks(store), tokens
            )
        finally:
            for budget in budgets.values():
                budget.flush()
            counted.flush()
            store.engine.dispose()


@cache
def _pass_over() -> None:
    """Let the garbage collector pass over what was brought in so far, a sixth of a page's CPU; at the end it may look again."""
    gc.freeze()
    atexit.register(gc.unfreeze)


@dataclass(frozen=True, slots=True)
class _Counting:
    """What the calls of a process are counted by."""

    budgets: dict[System, Budget]
    counters: Counters
    circuits: dict[System, Circuits]
    respites: dict[System, Respites]


def _client(
    system: System,
    url: str,
    http: httpx.Client,
    counting: _Counting,
    *,
    watch: Callable[[System], None] | None = None,
) -> base.Client:
    """Return a client whose every request is counted, and watched by the guard unless that is who asks.

    One that is watched makes no call while its circuit is open, or the vendor wants to be left alone.
    """
    budget, circuits, respites = counting.budgets[system], counting.circuits[system], counting.respites[system]
    noted: base.RateLimit | None = None

    def after_call(operation: str, outcome: str, seconds: float) -> None:
        counting.counters.called(VENDORS[system], operation, outcome, seconds)
        circuits.note(operation, outcome, seconds)

    def heed(operation: str) -> None:
        deadline.heed(system)
        respites.heed(operation)
        circuits.heed(operation)

    def before_call() -> None:
        nonlocal noted
        if watch:
            watch(system)
        told = client.rate_limit
        if told is not None and told is not noted and told.remaining is not None and told.reset is not None:
            noted = told
            budget.corrected(told.remaining, told.reset)
        budget.spend(_lane.get())

    client = base.Client(
        system=system,
        base_url=url,
        http=http,
        before_call=before_call,
        sleep=time.sleep,
        jitter=random.random,
        now=now,
        after_call=after_call,
        heed=heed if watch else lambda _operation: None,
        asked=respites.asked,
    )
    return client


def _tokens(settings: Settings, store: database.Store, client: base.Client, key: str) -> Tokens:
    mine = settings.outreach
    fixed = mine.access_token.get_secret_value()
    if fixed:
        return FixedToken(fixed)

    def mint(refresh_token: str) -> TokenPair:
        return outreach_tokens.refresh(
            client,
            client_id=mine.client_id,
            client_secret=mine.client_secret.get_secret_value(),
            redirect_uri=mine.redirect_uri,
            refresh_token=refresh_token,
        )

    seed = mine.refresh_token.get_secret_value() or None
    return Vault(store, key=key, vendor=System.OUTREACH, mint=mint, seed=seed, now=now, sleep=time.sleep)


def exit_code(error: errors.Halt) -> int:
    """Return the contract's exit code for a halt."""
    if isinstance(error, errors.BudgetSpent):
        return 6
    if isinstance(error, errors.AuthRevoked):
        return 5
    if isinstance(error, seal.KeyMismatch | upgrade.StoreAhead | WrongTenant):
        return 4
    return 3
