"""Doubles for the vault: a vendor that mints, a clock that moves when somebody sleeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest
import sqlalchemy as sa

from worker.core import errors
from worker.store import database, seal, vault

START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
KEY = "a key of any form, 1"
TWO_HOURS = timedelta(hours=2)
sqlite_is_enough = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what happens above the rows."""


class OpenVault(Protocol):
    """Opens the vault as a process that has just started would."""

    def __call__(self, *, key: str = KEY, name: str = "outreach", seed: str | None = "refresh-0") -> vault.Vault:
        """Return a vault with nothing in its memory."""


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


def fail(error: BaseException) -> Callable[[], object]:
    """Return something that fails."""

    def failing() -> object:
        raise error

    return failing


def token_row(store: database.Store) -> sa.Row[Any]:
    """Return the one row of the tokens."""
    with store.read() as db:
        return db.execute(sa.select(seal.TOKEN)).one()
