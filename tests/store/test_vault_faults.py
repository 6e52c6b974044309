"""A token is never lost: not by a crash, a full disk, a slow holder, or a vendor that refuses."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.store.token_doubles import (
    KEY,
    START,
    TWO_HOURS,
    Clock,
    OpenVault,
    Pair,
    Vendor,
    fail,
    sqlite_is_enough,
    token_row,
)
from worker.core import errors
from worker.store import database, seal, upgrade, vault

ROOT = Path(__file__).resolve().parents[2]


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
    return [process.communicate(timeout=90)[0].strip() for process in processes]


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
    open_vault: OpenVault,
) -> None:
    """The lease of a process that died between mint and store runs out, and the next one then mints."""
    assert start_processes(1, database_url, tmp_path, then="die") == [""]
    lease_until = token_row(store).lease_until
    clock.at = lease_until - timedelta(seconds=59)
    assert open_vault().bearer() == "access-1"
    assert lease_until <= clock.at < lease_until + timedelta(seconds=1)


@sqlite_is_enough
def test_waiting_for_another_process_ends(
    store: database.Store, open_vault: OpenVault, clock: Clock, vendor: Vendor
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
def test_lease_from_a_broken_clock_does_not_block(store: database.Store, open_vault: OpenVault, clock: Clock) -> None:
    """A lease that ends further ahead than any lease lasts is ignored."""
    tokens = open_vault()
    tokens.bearer()
    with store.write() as db:
        db.execute(sa.update(seal.TOKEN).values(lease_until=START + timedelta(days=400)))
    assert tokens.renew("access-1") == "access-2"
    assert clock.at == START


@sqlite_is_enough
def test_failed_mint_gives_the_lease_back(
    store: database.Store, open_vault: OpenVault, vendor: Vendor, clock: Clock
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
    store: database.Store, open_vault: OpenVault, vendor: Vendor, clock: Clock
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


def test_full_disk_fails_before_a_token_is_spent(store: database.Store, open_vault: OpenVault, vendor: Vendor) -> None:
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


def test_previous_refresh_token_is_tried_once(open_vault: OpenVault, vendor: Vendor, clock: Clock) -> None:
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
def test_reply_lost_in_a_crash_falls_back_to_the_token_before(open_vault: OpenVault, vendor: Vendor) -> None:
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
def test_refused_refresh_token_is_not_hammered(open_vault: OpenVault, vendor: Vendor, clock: Clock) -> None:
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
def test_refusal_is_none_if_another_has_renewed_meanwhile(open_vault: OpenVault, vendor: Vendor) -> None:
    """Whoever's refresh token is refused because it was just replaced takes the new pair."""
    tokens = open_vault()
    tokens.bearer()
    vendor.good = set()
    vendor.before = lambda: open_vault(seed=None).put(Pair("by hand", "refresh by hand", START + TWO_HOURS))
    assert tokens.renew("access-1") == "by hand"


def test_minter_that_outlasted_its_lease_still_brings_the_only_pair(
    store: database.Store, open_vault: OpenVault, vendor: Vendor
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
    store: database.Store, open_vault: OpenVault, vendor: Vendor
) -> None:
    """What comes back from a mint gives way to a pair that a person has put there meanwhile."""
    tokens = open_vault()
    tokens.bearer()
    vendor.after = lambda: open_vault(seed=None).put(Pair("by hand", "refresh by hand", START + TWO_HOURS))
    assert tokens.renew("access-1") == "by hand"
    assert tokens._row.look().refresh == "refresh by hand"


@sqlite_is_enough
def test_wait_asked_for_by_the_vendor_passes_through(open_vault: OpenVault, vendor: Vendor, clock: Clock) -> None:
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
def test_early_renewal_that_must_wait_disturbs_nobody(open_vault: OpenVault, vendor: Vendor, clock: Clock) -> None:
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
def test_vendor_that_mints_what_it_refuses_is_not_asked_for_ever(open_vault: OpenVault, vendor: Vendor) -> None:
    """The same refused token minted again ends as a refusal, not as a loop."""
    tokens = open_vault()
    tokens.bearer()
    tokens._mint = lambda refresh: replace(vendor.mint(refresh), access_token="access-1")
    with pytest.raises(errors.AuthRevoked):
        tokens.renew("access-1")
    assert len(vendor.spent) <= 3
