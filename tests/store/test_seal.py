"""What is sealed opens with the right key for the right purpose, and with nothing else."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from worker.store import database, drawer, seal, tables

NOW = datetime(2026, 11, 21, tzinfo=UTC)
FERNET_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


@pytest.mark.parametrize(
    "key", ["x", "a longer pass phrase – with any letter", "ab" * 32, FERNET_KEY, "9" * 43, "=" * 44]
)
def test_any_text_is_a_key(key: str) -> None:
    """Whatever form a key has, what it seals opens with it and with no other."""
    sealed = seal.Seal(key).seal("secret", "test")
    assert "secret" not in sealed
    assert seal.Seal(f" {key} ").open(sealed, "test") == "secret"
    with pytest.raises(seal.KeyMismatch):
        seal.Seal(key + "x").open(sealed, "test")


def test_fernet_key_is_used_as_it_is() -> None:
    """What a Fernet key sealed elsewhere opens here."""
    sealed = Fernet(FERNET_KEY).encrypt(b'["test", "secret"]').decode()
    assert seal.Seal(FERNET_KEY).open(sealed, "test") == "secret"


@pytest.mark.parametrize("key", ["", " ", ",", " , "])
def test_no_key_is_refused(key: str) -> None:
    """An empty key seals nothing."""
    with pytest.raises(ValueError, match="no secret key"):
        seal.Seal(key)


@pytest.mark.parametrize("sealed", ["", "x", "gAAAAA", "[]", "ü"])
def test_garbage_does_not_open(sealed: str) -> None:
    """Anything that was never sealed is a mismatch, not some other error."""
    with pytest.raises(seal.KeyMismatch):
        seal.Seal("key").open(sealed, "test")


def test_purpose_is_part_of_the_seal() -> None:
    """A text sealed for one purpose does not open for another."""
    sealed = seal.Seal("key").seal("secret", "one")
    with pytest.raises(seal.KeyMismatch):
        seal.Seal("key").open(sealed, "other")


def test_first_key_seals_and_all_open() -> None:
    """While a key is rotated, texts of both keys open and new ones need the new key only."""
    old = seal.Seal("old").seal("secret", "test")
    both = seal.Seal("new, old")
    assert both.open(old, "test") == "secret"
    assert seal.Seal("new").open(both.seal("secret", "test"), "test") == "secret"
    assert both.renewed(both.renewed(old)) != old
    assert seal.Seal("new").open(both.renewed(old), "test") == "secret"
    with pytest.raises(seal.KeyMismatch):
        seal.Seal("new").renewed(old)


def test_key_is_checked_against_the_store(store: database.Store) -> None:
    """The first key a store sees is its key; another is told at once and changes nothing."""
    pepper = seal.check_key(store, "right")
    assert len(pepper) == 32
    for wrong in ("wrong", "wrong,worse"):
        with pytest.raises(seal.KeyMismatch):
            seal.check_key(store, wrong)
    assert seal.check_key(store, "right") == pepper


def test_pepper_differs_from_store_to_store(store: database.Store, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two stores with the same key hash the same address differently."""
    other = database.connect(f"sqlite:///{tmp_path_factory.mktemp('other') / 'store.db'}")
    tables.metadata.create_all(other.engine)
    assert seal.check_key(store, "key") != seal.check_key(other, "key")


def test_rotation_leaves_nothing_to_the_old_key(store: database.Store) -> None:
    """After one start with both keys the old one may go: tokens, seeds and pepper open with the new one alone."""
    pepper = seal.check_key(store, "old")
    row = drawer.Drawer(store, seal.Seal("old"), "outreach")
    row.plant("seed")
    held = row.look()
    row.claim(held, until=NOW)
    row.save(
        drawer.Minted(began=held, spent="seed", refresh="refresh", access="access", expires_at=NOW),
        now=NOW,
    )
    assert seal.check_key(store, "new,old") == pepper
    assert seal.check_key(store, "new") == pepper
    renewed = drawer.Drawer(store, seal.Seal("new"), "outreach")
    renewed.plant("seed")
    found = renewed.look()
    assert (found.refresh, found.access, found.previous) == ("refresh", "access", "seed")
    with pytest.raises(seal.KeyMismatch):
        seal.check_key(store, "old")


def test_tokens_under_another_key_are_found_without_a_canary(store: database.Store) -> None:
    """A store whose canary is missing is not taken over by a key that cannot open its tokens."""
    drawer.Drawer(store, seal.Seal("right"), "outreach").plant("seed")
    with pytest.raises(seal.KeyMismatch):
        seal.check_key(store, "wrong")
    with store.read() as db:
        assert db.scalar(sa.select(sa.func.count()).select_from(seal.META)) == 0
    seal.check_key(store, "right")


def test_first_checks_at_once_agree(store: database.Store) -> None:
    """Processes that start together on a new store end with one pepper."""
    barrier, peppers = threading.Barrier(4), list[bytes]()

    def check() -> None:
        barrier.wait(60)
        peppers.append(seal.check_key(store, "key"))

    threads = [threading.Thread(target=check) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(peppers) == 4
    assert len(set(peppers)) == 1
