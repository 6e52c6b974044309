"""A token is minted once, whoever asks, and never readable in the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
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
    sqlite_is_enough,
    token_row,
)
from worker.core import errors
from worker.store import database, seal, upgrade, vault


def at_once(count: int, work: Callable[[], str]) -> list[str | BaseException]:
    """Run the work in threads that start together and return what each returned or raised."""
    barrier, results = threading.Barrier(count), list[str | BaseException]()

    def run() -> None:
        barrier.wait(60)
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - a thread's failure must reach the test
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_first_token_is_minted_from_the_seed_and_kept(open_vault: OpenVault, vendor: Vendor) -> None:
    """The seed is spent once; every later process finds the token in the store."""
    assert open_vault().bearer() == "access-1"
    assert open_vault().bearer() == "access-1"
    assert vendor.spent == ["refresh-0"]


@sqlite_is_enough
def test_token_is_renewed_five_minutes_before_its_end(open_vault: OpenVault, vendor: Vendor, clock: Clock) -> None:
    """With more than five minutes left the token stays, with less the next is minted from the rotated refresh token."""
    tokens = open_vault()
    tokens.bearer()
    clock.at = START + timedelta(minutes=114)
    assert tokens.bearer() == "access-1"
    clock.at = START + timedelta(minutes=116)
    assert tokens.bearer() == "access-2"
    assert vendor.spent == ["refresh-0", "refresh-1"]


def test_refused_token_is_replaced_at_once(open_vault: OpenVault, vendor: Vendor) -> None:
    """The server's word counts more than our clock, and more than the vendor's one mint a minute."""
    tokens = open_vault()
    assert tokens.renew(tokens.bearer()) == "access-2"
    assert tokens.bearer() == "access-2"
    assert len(vendor.spent) == 2


@sqlite_is_enough
def test_refused_token_that_another_has_replaced_costs_no_mint(open_vault: OpenVault, vendor: Vendor) -> None:
    """Who is refused with an old token gets the one that lies in the store."""
    one, other = open_vault(), open_vault()
    old = one.bearer()
    assert other.renew(old) == "access-2"
    assert one.renew(old) == "access-2"
    assert len(vendor.spent) == 2


@sqlite_is_enough
def test_token_renewed_elsewhere_is_taken_up_within_half_a_minute(open_vault: OpenVault, clock: Clock) -> None:
    """A process does not live on its own memory for longer than thirty seconds."""
    one, other = open_vault(), open_vault()
    other.renew(one.bearer())
    assert one.bearer() == "access-1"
    clock.sleep(31)
    assert one.bearer() == "access-2"


@pytest.mark.parametrize("refused", [False, True])
def test_sixteen_threads_mint_once(
    store: database.Store, clock: Clock, vendor: Vendor, open_vault: OpenVault, refused: bool
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


@sqlite_is_enough
def test_others_use_the_old_token_while_it_is_renewed_early(
    open_vault: OpenVault, vendor: Vendor, clock: Clock
) -> None:
    """While one renews a token with four minutes left, the others go on with it and wait for nobody."""
    one, other = open_vault(), open_vault()
    one.bearer()
    clock.at = START + timedelta(minutes=116)
    seen: list[str] = []
    vendor.before = lambda: seen.append(other.bearer())
    assert one.bearer() == "access-2"
    assert seen == ["access-1"]


def test_no_transaction_is_open_during_a_mint(store: database.Store, open_vault: OpenVault, vendor: Vendor) -> None:
    """While the vendor is asked, anybody may write to the store."""

    def write() -> None:
        with store.write() as db:
            db.execute(sa.update(seal.TOKEN).values(expires_at=None))

    vendor.before = write
    assert open_vault().bearer() == "access-1"


@sqlite_is_enough
def test_short_lived_token_is_not_minted_twice_a_minute(open_vault: OpenVault, vendor: Vendor, clock: Clock) -> None:
    """A token that ends too soon, by its own account or by our clock, is used for a minute all the same."""
    vendor.life = timedelta(seconds=-10)
    tokens = open_vault()
    assert (tokens.bearer(), tokens.bearer()) == ("access-1", "access-1")
    clock.sleep(59)
    assert tokens.bearer() == "access-1"
    clock.sleep(2)
    assert tokens.bearer() == "access-2"


def test_unseen_seed_replaces_what_the_vault_holds(open_vault: OpenVault, vendor: Vendor) -> None:
    """A new refresh token in the settings counts once; the old ones, seen again, change nothing."""
    open_vault(seed="refresh-0").bearer()
    vendor.good.add("refresh of another account")
    assert open_vault(seed="refresh of another account").bearer() == "access-2"
    assert open_vault(seed="refresh-0").bearer() == "access-2"
    assert open_vault(seed=None).bearer() == "access-2"
    assert vendor.spent == ["refresh-0", "refresh of another account"]


@sqlite_is_enough
def test_unseen_seed_that_is_refused_does_not_fall_back(open_vault: OpenVault, vendor: Vendor) -> None:
    """A wrong new seed is told, never covered up by the account before it."""
    open_vault().bearer()
    with pytest.raises(errors.AuthRevoked):
        open_vault(seed="mistyped").bearer()
    assert vendor.spent == ["refresh-0", "mistyped"]


@sqlite_is_enough
def test_authorised_pair_is_no_news_as_a_seed(open_vault: OpenVault, vendor: Vendor) -> None:
    """A pair put by a person is used at once, and its refresh token in the settings replaces nothing later."""
    open_vault(seed=None).put(Pair("by hand", "refresh-0", START + TWO_HOURS))
    assert open_vault().bearer() == "by hand"
    assert open_vault().renew("by hand") == "access-1"
    assert open_vault().bearer() == "access-1"
    assert vendor.spent == ["refresh-0"]


@sqlite_is_enough
def test_vault_without_any_token_says_what_to_do(open_vault: OpenVault) -> None:
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
def test_no_token_in_any_words(store: database.Store, open_vault: OpenVault, vendor: Vendor) -> None:
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


def test_wrong_key_is_told_and_changes_nothing(store: database.Store, open_vault: OpenVault, vendor: Vendor) -> None:
    """A key that does not open the row is no fresh start, not even with an unseen seed."""
    open_vault().bearer()
    before = token_row(store)
    for seed in (None, "refresh-0", "unseen"):
        with pytest.raises(seal.KeyMismatch):
            open_vault(key="another", seed=seed).bearer()
    assert token_row(store) == before
    assert vendor.spent == ["refresh-0"]


@sqlite_is_enough
def test_row_moved_to_another_vendor_does_not_open(store: database.Store, open_vault: OpenVault) -> None:
    """What was sealed for one vendor is refused under the name of another."""
    open_vault().bearer()
    with store.write() as db:
        db.execute(sa.update(seal.TOKEN).values(vendor="elsewhere"))
    with pytest.raises(seal.KeyMismatch):
        open_vault(name="elsewhere", seed=None).bearer()


def test_moments_survive_the_store(store: database.Store, open_vault: OpenVault) -> None:
    """The row tells when the token ends and when it was minted, without the key."""
    open_vault().bearer()
    assert (token_row(store).expires_at, token_row(store).minted_at) == (START + TWO_HOURS, START)
