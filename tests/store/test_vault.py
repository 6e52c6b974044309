"""A token is never lost, never minted twice, and never readable in the store."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from worker.core import errors
from worker.store import database, seal, tables, upgrade, vault

ROOT = Path(__file__).resolve().parents[2]
START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
KEY = "a key of any form, 1"
TWO_HOURS = timedelta(hours=2)
sqlite_is_enough = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what happens above the row."""


@dataclass
class Pair:
    access_token: str
    refresh_token: str
    expires_at: datetime


@dataclass
class Clock:
    """A clock that moves when somebody sleeps."""

    at: datetime = START

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Vendor:
    """A strict vendor: each refresh token works once. ``before`` and ``after`` are run around each mint."""

    clock: Clock
    good: set[str] = field(default_factory=lambda: {"refresh-0"})
    spent: list[str] = field(default_factory=list)
    life: timedelta = TWO_HOURS
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None

    def mint(self, refresh: str) -> Pair:
        self.before()
        self.spent.append(refresh)
        if refresh not in self.good:
            raise errors.AuthRevoked("invalid_grant")
        n = len(self.spent)
        self.good = {f"refresh-{n}"}
        self.after()
        return Pair(f"access-{n}", f"refresh-{n}", self.clock.now() + self.life)


@pytest.fixture
def store(database_url: str) -> Iterator[database.Store]:
    """A store with its tables."""
    opened = database.connect(database_url)
    tables.metadata.create_all(opened.engine)
    yield opened
    opened.engine.dispose()


@pytest.fixture
def clock() -> Clock:
    """A clock that stands at nine."""
    return Clock()


@pytest.fixture
def vendor(clock: Clock) -> Vendor:
    """A vendor that knows the seed."""
    return Vendor(clock)


@pytest.fixture
def open_vault(store: database.Store, vendor: Vendor, clock: Clock) -> Callable[..., vault.Vault]:
    """Open the vault as a process that has just started would."""

    def opened(*, key: str = KEY, name: str = "outreach", seed: str | None = "refresh-0") -> vault.Vault:
        return vault.Vault(store, key=key, vendor=name, mint=vendor.mint, seed=seed, now=clock.now, sleep=clock.sleep)

    return opened


def fail(error: BaseException) -> Callable[[], object]:
    """Return something that fails."""

    def failing() -> object:
        raise error

    return failing


def token_row(store: database.Store) -> sa.Row[Any]:
    """Return the one row of the tokens."""
    with store.read() as db:
        return db.execute(sa.select(seal.TOKEN)).one()


def at_once(count: int, work: Callable[[], str]) -> list[str | BaseException]:
    """Run the work in threads that start together and return what each returned or raised."""
    barrier, results = threading.Barrier(count), list[str | BaseException]()

    def run() -> None:
        barrier.wait(10)
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - a thread's failure must reach the test
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def test_first_token_is_minted_from_the_seed_and_kept(open_vault: Callable[..., vault.Vault], vendor: Vendor) -> None:
    """The seed is spent once; every later process finds the token in the store."""
    assert open_vault().bearer() == "access-1"
    assert open_vault().bearer() == "access-1"
    assert vendor.spent == ["refresh-0"]


@sqlite_is_enough
def test_token_is_renewed_five_minutes_before_its_end(
    open_vault: Callable[..., vault.Vault], vendor: Vendor, clock: Clock
) -> None:
    """With more than five minutes left the token stays, with less the next is minted from the rotated refresh token."""
    tokens = open_vault()
    tokens.bearer()
    clock.at = START + timedelta(minutes=114)
    assert tokens.bearer() == "access-1"
    clock.at = START + timedelta(minutes=116)
    assert tokens.bearer() == "access-2"
    assert vendor.spent == ["refresh-0", "refresh-1"]


def test_refused_token_is_replaced_at_once(open_vault: Callable[..., vault.Vault], vendor: Vendor) -> None:
    """The server's word counts more than our clock, and more than the vendor's one mint a minute."""
    tokens = open_vault()
    assert tokens.renew(tokens.bearer()) == "access-2"
    assert tokens.bearer() == "access-2"
    assert len(vendor.spent) == 2


@sqlite_is_enough
def test_refused_token_that_another_has_replaced_costs_no_mint(
    open_vault: Callable[..., vault.Vault], vendor: Vendor
) -> None:
    """Who is refused with an old token gets the one that lies in the store."""
    one, other = open_vault(), open_vault()
    old = one.bearer()
    assert other.renew(old) == "access-2"
    assert one.renew(old) == "access-2"
    assert len(vendor.spent) == 2


@sqlite_is_enough
def test_token_renewed_elsewhere_is_taken_up_within_half_a_minute(
    open_vault: Callable[..., vault.Vault], clock: Clock
) -> None:
    """A process does not live on its own memory for longer than thirty seconds."""
    one, other = open_vault(), open_vault()
    other.renew(one.bearer())
    assert one.bearer() == "access-1"
    clock.sleep(31)
    assert one.bearer() == "access-2"


@pytest.mark.parametrize("refused", [False, True])
def test_sixteen_threads_mint_once(
    store: database.Store, clock: Clock, vendor: Vendor, open_vault: Callable[..., vault.Vault], refused: bool
) -> None:
    """Sixteen threads in need of a token at the same moment cause one mint and all get its token."""
    vaults = [
        vault.Vault(
            store, key=KEY, vendor="outreach", mint=vendor.mint, seed="refresh-0", now=clock.now, sleep=time.sleep
        )
        for _ in range(4)
    ]
    if refused:
        open_vault().bearer()
    vendor.before = lambda: time.sleep(0.15)
    turns = iter(vaults * 4)
    results = at_once(16, lambda: next(turns).renew("access-1") if refused else next(turns).bearer())
    assert results == ["access-2" if refused else "access-1"] * 16
    assert len(vendor.spent) == (2 if refused else 1)


PROCESS = """
import os, sys, time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from worker.store import database, vault

url, journal, gate, key, then = sys.argv[1:]
def mint(refresh):
    with open(journal, "a") as file:
        file.write(refresh + "\\n")
    time.sleep(0.3)
    if then == "die":
        os._exit(9)
    return SimpleNamespace(access_token="access-" + refresh, refresh_token="next-" + refresh,
                           expires_at=datetime.now(UTC) + timedelta(hours=2))
tokens = vault.Vault(database.connect(url), key=key, vendor="outreach", mint=mint, seed="refresh-0",
                     now=lambda: datetime.now(UTC), sleep=time.sleep)
print("ready", flush=True)
while not os.path.exists(gate):
    time.sleep(0.005)
print(tokens.bearer())
"""


def start_processes(count: int, url: str, directory: Path, *, then: str = "go on") -> list[str]:
    """Run processes that ask for a token at the same moment; return what each printed last."""
    gate, journal = directory / "gate", directory / "journal"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, url, journal, gate, KEY, then],
            env={"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    gate.touch()
    return [process.communicate(timeout=30)[0].strip() for process in processes]


@pytest.mark.processes
def test_processes_mint_once(store: database.Store, database_url: str, tmp_path: Path) -> None:
    """Real processes in need of a token at the same moment cause one mint and all get its token."""
    assert start_processes(3, database_url, tmp_path) == ["access-refresh-0"] * 3
    assert (tmp_path / "journal").read_text() == "refresh-0\n"


@pytest.mark.processes
def test_holder_killed_while_minting_is_followed_by_another(
    store: database.Store,
    database_url: str,
    tmp_path: Path,
    vendor: Vendor,
    clock: Clock,
    open_vault: Callable[..., vault.Vault],
) -> None:
    """The lease of a process that died between mint and store runs out, and the next one then mints."""
    assert start_processes(1, database_url, tmp_path, then="die") == [""]
    lease_until = token_row(store).lease_until
    clock.at = lease_until - timedelta(seconds=59)
    assert open_vault().bearer() == "access-1"
    assert lease_until <= clock.at < lease_until + timedelta(seconds=1)


@sqlite_is_enough
def test_waiting_for_another_process_ends(
    store: database.Store, open_vault: Callable[..., vault.Vault], clock: Clock, vendor: Vendor
) -> None:
    """Behind a holder that keeps its lease for ever one waits for 75 seconds, then tries later."""
    tokens = open_vault()
    tokens.bearer()
    kept_until = START

    def sleep(seconds: float) -> None:
        nonlocal kept_until
        clock.sleep(seconds)
        if kept_until < clock.now() + timedelta(seconds=10):
            kept_until = clock.now() + timedelta(seconds=40)
            with store.write() as db:
                db.execute(sa.update(seal.TOKEN).values(lease_until=kept_until))

    tokens._sleep = sleep
    sleep(0)
    with pytest.raises(errors.Throttled):
        tokens.renew("access-1")
    assert timedelta(seconds=75) <= clock.at - START < timedelta(seconds=76)
    assert len(vendor.spent) == 1


@sqlite_is_enough
def test_lease_from_a_broken_clock_does_not_block(
    store: database.Store, open_vault: Callable[..., vault.Vault], clock: Clock
) -> None:
    """A lease that ends further ahead than any lease lasts is ignored."""
    tokens = open_vault()
    tokens.bearer()
    with store.write() as db:
        db.execute(sa.update(seal.TOKEN).values(lease_until=START + timedelta(days=400)))
    assert tokens.renew("access-1") == "access-2"
    assert clock.at == START


@sqlite_is_enough
def test_others_use_the_old_token_while_it_is_renewed_early(
    open_vault: Callable[..., vault.Vault], vendor: Vendor, clock: Clock
) -> None:
    """While one renews a token with four minutes left, the others go on with it and wait for nobody."""
    one, other = open_vault(), open_vault()
    one.bearer()
    clock.at = START + timedelta(minutes=116)
    seen: list[str] = []
    vendor.before = lambda: seen.append(other.bearer())
    assert one.bearer() == "access-2"
    assert seen == ["access-1"]


def test_no_transaction_is_open_during_a_mint(
    store: database.Store, open_vault: Callable[..., vault.Vault], vendor: Vendor
) -> None:
    """While the vendor is asked, anybody may write to the store."""

    def write() -> None:
        with store.write() as db:
            db.execute(sa.update(seal.TOKEN).values(expires_at=None))

    vendor.before = write
    assert open_vault().bearer() == "access-1"


@sqlite_is_enough
def test_failed_mint_gives_the_lease_back(
    store: database.Store, open_vault: Callable[..., vault.Vault], vendor: Vendor, clock: Clock
) -> None:
    """After a mint that failed in a way that nobody foresaw, the next call need not wait for the lease."""
    vendor.before = fail(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        open_vault().bearer()
    assert token_row(store).lease_until is None
    vendor.before = lambda: None
    assert open_vault().bearer() == "access-1"
    assert clock.at == START


def test_pair_that_cannot_be_stored_is_not_used_and_not_lost(
    store: database.Store, open_vault: Callable[..., vault.Vault], vendor: Vendor, clock: Clock
) -> None:
    """When the disk fills up during a mint nobody gets the new token until it is stored, which every call tries."""
    tokens = open_vault()

    def full(_db: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE token"):
            raise sa.exc.OperationalError(statement, None, Exception("disk is full"))

    vendor.after = lambda: sa.event.listen(store.engine, "before_cursor_execute", full)
    for _ in range(2):
        with pytest.raises(sa.exc.OperationalError):
            tokens.bearer()
    sa.event.remove(store.engine, "before_cursor_execute", full)
    assert tokens.bearer() == "access-1"
    assert open_vault().bearer() == "access-1"
    assert vendor.spent == ["refresh-0"]


def test_full_disk_fails_before_a_token_is_spent(
    store: database.Store, open_vault: Callable[..., vault.Vault], vendor: Vendor
) -> None:
    """Nothing is minted that could not be stored: the whole row is written first."""
    tokens = open_vault()
    tokens.bearer()
    written: list[str] = []

    def full(_db: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE token"):
            written.append(statement)
            raise sa.exc.OperationalError(statement, None, Exception("disk is full"))

    sa.event.listen(store.engine, "before_cursor_execute", full)
    with pytest.raises(sa.exc.OperationalError):
        tokens.renew("access-1")
    assert vendor.spent == ["refresh-0"]
    assert "sealed" in written[0]


def test_read_only_database_fails_before_a_token_is_spent(tmp_path: Path, vendor: Vendor, clock: Clock) -> None:
    """A SQLite file that has become read-only costs no token either."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    upgrade.upgrade(url)
    frozen = database.connect(f"sqlite:///file:{tmp_path / 'store.db'}?mode=ro&uri=true")
    tokens = vault.Vault(
        frozen, key=KEY, vendor="outreach", mint=vendor.mint, seed="refresh-0", now=clock.now, sleep=clock.sleep
    )
    with pytest.raises(sa.exc.OperationalError):
        tokens.bearer()
    assert vendor.spent == []


def test_previous_refresh_token_is_tried_once(
    open_vault: Callable[..., vault.Vault], vendor: Vendor, clock: Clock
) -> None:
    """When the current refresh token is refused the one before gets one try, and no more than one."""
    tokens = open_vault()
    tokens.renew(tokens.bearer())
    vendor.good = {"refresh-1"}
    assert tokens.renew("access-2") == "access-4"
    assert vendor.spent == ["refresh-0", "refresh-1", "refresh-2", "refresh-1"]
    vendor.good = set()
    with pytest.raises(errors.AuthRevoked):
        tokens.renew("access-4")
    assert vendor.spent[4:] == ["refresh-4", "refresh-1"]
    clock.sleep(61)
    with pytest.raises(errors.AuthRevoked):
        open_vault().renew("access-4")
    assert vendor.spent[6:] == ["refresh-4"]


@sqlite_is_enough
def test_reply_lost_in_a_crash_falls_back_to_the_token_before(
    open_vault: Callable[..., vault.Vault], vendor: Vendor
) -> None:
    """After a crash between mint and store the spent token is tried, then the one before."""
    tokens = open_vault()
    tokens.renew(tokens.bearer())
    vendor.after = fail(SystemExit())
    with pytest.raises(SystemExit):
        tokens.renew("access-2")
    vendor.after = lambda: None
    vendor.good = {"refresh-1"}
    assert open_vault().renew("access-2") == "access-5"


@sqlite_is_enough
def test_refused_refresh_token_is_not_hammered(
    open_vault: Callable[..., vault.Vault], vendor: Vendor, clock: Clock
) -> None:
    """A refusal stands for a minute, unless somebody stores another token meanwhile."""
    vendor.good = set()
    tokens = open_vault()
    for _ in range(3):
        with pytest.raises(errors.AuthRevoked):
            tokens.bearer()
    assert len(vendor.spent) == 1
    open_vault(seed=None).put(Pair("by hand", "refresh by hand", START + TWO_HOURS))
    assert tokens.bearer() == "by hand"


@sqlite_is_enough
def test_refusal_is_none_if_another_has_renewed_meanwhile(
    open_vault: Callable[..., vault.Vault], vendor: Vendor
) -> None:
    """Whoever's refresh token is refused because it was just replaced takes the new pair."""
    tokens = open_vault()
    tokens.bearer()
    vendor.good = set()
    vendor.before = lambda: open_vault(seed=None).put(Pair("by hand", "refresh by hand", START + TWO_HOURS))
    assert tokens.renew("access-1") == "by hand"


def test_minter_that_outlasted_its_lease_still_brings_the_only_pair(
    store: database.Store, open_vault: Callable[..., vault.Vault], vendor: Vendor
) -> None:
    """A pair that comes after the lease was taken over is stored as long as nothing newer lies there."""
    tokens = open_vault()
    tokens.bearer()

    def take_over() -> None:
        with store.write() as db:
            db.execute(sa.update(seal.TOKEN).values(fence=seal.TOKEN.c.fence + 1))

    vendor.after = take_over
    assert tokens.renew("access-1") == "access-2"
    assert open_vault().bearer() == "access-2"


@sqlite_is_enough
def test_pair_minted_from_a_replaced_token_replaces_nothing(
    store: database.Store, open_vault: Callable[..., vault.Vault], vendor: Vendor
) -> None:
    """What comes back from a mint gives way to a pair that a person has put there meanwhile."""
    tokens = open_vault()
    tokens.bearer()
    vendor.after = lambda: open_vault(seed=None).put(Pair("by hand", "refresh by hand", START + TWO_HOURS))
    assert tokens.renew("access-1") == "by hand"
    assert tokens._row.look().refresh == "refresh by hand"


@sqlite_is_enough
def test_wait_asked_for_by_the_vendor_passes_through(
    open_vault: Callable[..., vault.Vault], vendor: Vendor, clock: Clock
) -> None:
    """A 429 of the token endpoint is told with its wait, and nobody asks again before it is over."""
    asked: list[int] = []

    def busy() -> None:
        asked.append(1)
        raise errors.Throttled("one mint a minute", retry_after_s=40)

    vendor.before = busy
    tokens = open_vault()
    for left_s in (40, 30):
        with pytest.raises(errors.Throttled) as caught:
            tokens.bearer()
        assert caught.value.retry_after_s == left_s
        clock.sleep(10)
    assert len(asked) == 1
    vendor.before = lambda: None
    clock.sleep(20)
    assert tokens.bearer() == "access-1"


@sqlite_is_enough
def test_early_renewal_that_must_wait_disturbs_nobody(
    open_vault: Callable[..., vault.Vault], vendor: Vendor, clock: Clock
) -> None:
    """While the token still lasts two minutes, a vendor that is down or busy does not stop the work."""
    tokens = open_vault()
    tokens.bearer()
    clock.at = START + timedelta(minutes=116)
    vendor.before = fail(errors.RemoteDown("no answer"))
    assert tokens.bearer() == "access-1"
    clock.at = START + timedelta(minutes=119)
    with pytest.raises(errors.RemoteDown):
        tokens.bearer()


@sqlite_is_enough
def test_short_lived_token_is_not_minted_twice_a_minute(
    open_vault: Callable[..., vault.Vault], vendor: Vendor, clock: Clock
) -> None:
    """A token that ends too soon, by its own account or by our clock, is used for a minute all the same."""
    vendor.life = timedelta(seconds=-10)
    tokens = open_vault()
    assert (tokens.bearer(), tokens.bearer()) == ("access-1", "access-1")
    clock.sleep(59)
    assert tokens.bearer() == "access-1"
    clock.sleep(2)
    assert tokens.bearer() == "access-2"


@sqlite_is_enough
def test_vendor_that_mints_what_it_refuses_is_not_asked_for_ever(
    open_vault: Callable[..., vault.Vault], vendor: Vendor
) -> None:
    """The same refused token minted again ends as a refusal, not as a loop."""
    tokens = open_vault()
    tokens.bearer()
    tokens._mint = lambda refresh: replace(vendor.mint(refresh), access_token="access-1")
    with pytest.raises(errors.AuthRevoked):
        tokens.renew("access-1")
    assert len(vendor.spent) <= 3


def test_unseen_seed_replaces_what_the_vault_holds(open_vault: Callable[..., vault.Vault], vendor: Vendor) -> None:
    """A new refresh token in the settings counts once; the old ones, seen again, change nothing."""
    open_vault(seed="refresh-0").bearer()
    vendor.good.add("refresh of another account")
    assert open_vault(seed="refresh of another account").bearer() == "access-2"
    assert open_vault(seed="refresh-0").bearer() == "access-2"
    assert open_vault(seed=None).bearer() == "access-2"
    assert vendor.spent == ["refresh-0", "refresh of another account"]


@sqlite_is_enough
def test_unseen_seed_that_is_refused_does_not_fall_back(open_vault: Callable[..., vault.Vault], vendor: Vendor) -> None:
    """A wrong new seed is told, never covered up by the account before it."""
    open_vault().bearer()
    with pytest.raises(errors.AuthRevoked):
        open_vault(seed="mistyped").bearer()
    assert vendor.spent == ["refresh-0", "mistyped"]


@sqlite_is_enough
def test_authorised_pair_is_no_news_as_a_seed(open_vault: Callable[..., vault.Vault], vendor: Vendor) -> None:
    """A pair put by a person is used at once, and its refresh token in the settings replaces nothing later."""
    open_vault(seed=None).put(Pair("by hand", "refresh-0", START + TWO_HOURS))
    assert open_vault().bearer() == "by hand"
    assert open_vault().renew("by hand") == "access-1"
    assert open_vault().bearer() == "access-1"
    assert vendor.spent == ["refresh-0"]


@sqlite_is_enough
def test_vault_without_any_token_says_what_to_do(open_vault: Callable[..., vault.Vault]) -> None:
    """Without a seed and without a row the authorisation is named as missing."""
    with pytest.raises(errors.AuthRevoked, match="outbook auth outreach"):
        open_vault(seed=None).bearer()


def test_fixed_token_is_never_renewed() -> None:
    """A fixed token is what it is; refused, it is over."""
    tokens = vault.FixedToken("fixed-token")
    assert tokens.bearer() == "fixed-token"
    with pytest.raises(errors.AuthRevoked) as caught:
        tokens.renew("fixed-token")
    assert "fixed-token" not in f"{caught.value}{tokens!r}"


def test_nothing_is_readable_in_the_file(tmp_path: Path, vendor: Vendor, clock: Clock) -> None:
    """Neither tokens nor seeds nor their plain hashes stand in the database's files."""
    path = tmp_path / "store.db"
    upgrade.upgrade(f"sqlite:///{path}")
    tokens = vault.Vault(
        database.connect(f"sqlite:///{path}"),
        key=KEY,
        vendor="outreach",
        mint=vendor.mint,
        seed="refresh-0",
        now=clock.now,
        sleep=clock.sleep,
    )
    tokens.renew(tokens.bearer())
    everything = b"".join(file.read_bytes() for file in tmp_path.glob("store.db*"))
    assert b"outreach" in everything
    for word in ("refresh-", "access-", KEY, "47a07fe72c52e036"):
        assert word.encode() not in everything


@sqlite_is_enough
def test_no_token_in_any_words(store: database.Store, open_vault: Callable[..., vault.Vault], vendor: Vendor) -> None:
    """Neither what is raised nor what an object says of itself holds a token."""
    tokens = open_vault()
    tokens.bearer()
    held = tokens._row.look()
    said = [repr(tokens), repr(held), repr(tokens._row)]
    vendor.good = set()
    for _ in range(2):
        with pytest.raises(errors.AuthRevoked) as refused:
            tokens.renew("access-1")
        said.append(f"{refused.value!r} {refused.value} {refused.value.__cause__} {tokens._trouble!r}")
    with pytest.raises(seal.KeyMismatch) as mismatch:
        open_vault(key="wrong").bearer()
    said.append(f"{mismatch.value!r} {mismatch.value}")
    assert held.refresh == "refresh-1"
    assert not [words for words in said if "refresh-" in words or "access-" in words or KEY in words]


def test_wrong_key_is_told_and_changes_nothing(
    store: database.Store, open_vault: Callable[..., vault.Vault], vendor: Vendor
) -> None:
    """A key that does not open the row is no fresh start, not even with an unseen seed."""
    open_vault().bearer()
    before = token_row(store)
    for seed in (None, "refresh-0", "unseen"):
        with pytest.raises(seal.KeyMismatch):
            open_vault(key="another", seed=seed).bearer()
    assert token_row(store) == before
    assert vendor.spent == ["refresh-0"]


@sqlite_is_enough
def test_row_moved_to_another_vendor_does_not_open(
    store: database.Store, open_vault: Callable[..., vault.Vault]
) -> None:
    """What was sealed for one vendor is refused under the name of another."""
    open_vault().bearer()
    with store.write() as db:
        db.execute(sa.update(seal.TOKEN).values(vendor="elsewhere"))
    with pytest.raises(seal.KeyMismatch):
        open_vault(name="elsewhere", seed=None).bearer()


def test_moments_survive_the_store(store: database.Store, open_vault: Callable[..., vault.Vault]) -> None:
    """The row tells when the token ends and when it was minted, without the key."""
    open_vault().bearer()
    assert (token_row(store).expires_at, token_row(store).minted_at) == (START + TWO_HOURS, START)
