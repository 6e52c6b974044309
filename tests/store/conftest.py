"""A store with its tables, and what a vault needs beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.store.token_doubles import KEY, Clock, OpenVault, Vendor
from worker.store import database, tables, vault


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
def open_vault(store: database.Store, vendor: Vendor, clock: Clock) -> OpenVault:
    """Open the vault as a process that has just started would."""

    def opened(*, key: str = KEY, name: str = "outreach", seed: str | None = "refresh-0") -> vault.Vault:
        return vault.Vault(store, key=key, vendor=name, mint=vendor.mint, seed=seed, now=clock.now, sleep=clock.sleep)

    return opened
