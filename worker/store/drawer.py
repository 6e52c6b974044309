"""The row in which one vendor's tokens lie: opened, changed, sealed again. When to do so is the vault's business."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from worker.store import database
from worker.store.seal import NO_SEEDS, TOKEN, Seal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Held:
    """What lies in the row. ``previous`` is the refresh token before this one; ``""`` is none, for all three."""

    refresh: str = field(default="", repr=False)
    access: str = field(default="", repr=False)
    previous: str = field(default="", repr=False)
    expires_at: datetime | None = None
    minted_at: datetime | None = None
    lease_until: datetime | None = None
    fence: int = 0


@dataclass(frozen=True, slots=True)
class Minted:
    """A new pair on its way into the row. ``began`` is what its minter found there, ``spent`` the token it cost."""

    began: Held
    spent: str = field(repr=False)
    refresh: str = field(repr=False)
    access: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Drawer:
    """One vendor's row. Every change of a token raises the fence, so that another may depend on there being none."""

    store: database.Store
    seal: Seal
    vendor: str

    def look(self) -> Held:
        """Return what the row holds, nothing if there is none; KeyMismatch if the key does not open it."""
        with self.store.read() as db:
            row = db.execute(sa.select(TOKEN).where(TOKEN.c.vendor == self.vendor)).one_or_none()
        return Held() if row is None else self._opened(row)

    def plant(self, seed: str) -> None:
        """Replace everything by a refresh token that was never planted before; leave all as it is if it was."""
        with self._change() as (db, row):
            if _digest(seed) not in self._seeds(row):
                times = {"expires_at": None, "minted_at": None, "lease_until": None}
                self._update(db, row, self._sealed(seed) | {"seeds": self._seeds_with(row, seed)} | times)

    def put(self, refresh: str, access: str, *, expires_at: datetime, now: datetime) -> None:
        """Replace everything by a pair; its refresh token counts as planted, for it may turn up in the settings."""
        with self._change() as (db, row):
            times = {"expires_at": expires_at, "minted_at": now, "lease_until": None}
            self._update(db, row, self._sealed(refresh, access) | {"seeds": self._seeds_with(row, refresh)} | times)

    def claim(self, held: Held, *, until: datetime) -> bool:
        """Lease the row if it is still as it was ``held``.

        The tokens are written again in full, so that a disk without room for the pair to come fails here, before the
        only good token is spent (facts, delivery C.1).
        """
        values = self._sealed(held.refresh, held.access, held.previous) | {
            "lease_until": until,
            "fence": held.fence + 1,
        }
        return self._change_of(held, values)

    def release(self, mine: Held) -> None:
        """Give the lease back if it is still mine."""
        self._change_of(mine, {"lease_until": None})

    def drop_previous(self, mine: Held) -> None:
        """Forget the refresh token before the current one, whose one try is over, and give the lease back."""
        self._change_of(mine, {"previous": None, "lease_until": None, "fence": mine.fence + 1})

    def save(self, minted: Minted, *, now: datetime) -> None:
        """Store the pair and end the lease, unless the row has moved on from what its minter found.

        What counts is the refresh token, not the fence: a minter that outlasted its lease still brings the only pair.
        """
        with self._change() as (db, row):
            if self._opened(row).refresh != minted.began.refresh:
                return
            previous = minted.spent if minted.spent != minted.refresh else ""
            times = {"expires_at": minted.expires_at, "minted_at": now, "lease_until": None}
            self._update(db, row, self._sealed(minted.refresh, minted.access, previous) | times)

    def _purpose(self, column: str) -> str:
        return f"{self.vendor} {column}"

    def _opened(self, row: sa.Row[Any]) -> Held:
        refresh, access = "", ""
        if row.sealed:
            refresh, access = json.loads(self.seal.open(row.sealed, self._purpose("tokens")))
        return Held(
            refresh=refresh,
            access=access,
            previous=self.seal.open(row.previous, self._purpose("previous")) if row.previous else "",
            expires_at=row.expires_at,
            minted_at=row.minted_at,
            lease_until=row.lease_until,
            fence=row.fence,
        )

    def _sealed(self, refresh: str, access: str = "", previous: str = "") -> dict[str, Any]:
        """Return the columns that hold tokens."""
        return {
            "sealed": self.seal.seal(json.dumps([refresh, access]), self._purpose("tokens")),
            "previous": self.seal.seal(previous, self._purpose("previous")) if previous else None,
        }

    def _seeds(self, row: sa.Row[Any]) -> list[str]:
        """Return the hashes of all refresh tokens ever planted; sealed too, lest the store confirm a guess."""
        return [] if row.seeds == NO_SEEDS else list(json.loads(self.seal.open(row.seeds, self._purpose("seeds"))))

    def _seeds_with(self, row: sa.Row[Any], seed: str) -> str:
        return self.seal.seal(json.dumps([*self._seeds(row), _digest(seed)]), self._purpose("seeds"))

    @contextmanager
    def _change(self) -> Iterator[tuple[sa.Connection, sa.Row[Any]]]:
        """Hold a transaction that outlives a power cut, with the row locked; an empty row is made if there is none."""
        with self._lasting() as db:
            empty = {"vendor": self.vendor, "sealed": "", "seeds": NO_SEEDS, "fence": 0}
            database.upsert(db, TOKEN, [empty], key=["vendor"], update=[])
            yield db, db.execute(sa.select(TOKEN).where(TOKEN.c.vendor == self.vendor).with_for_update()).one()

    def _update(self, db: sa.Connection, row: sa.Row[Any], values: dict[str, Any]) -> None:
        db.execute(sa.update(TOKEN).where(TOKEN.c.vendor == self.vendor).values(values | {"fence": row.fence + 1}))

    def _change_of(self, held: Held, values: dict[str, Any]) -> bool:
        """Change the row if its fence is still the one ``held``, and return whether it was."""
        mine = sa.update(TOKEN).where(TOKEN.c.vendor == self.vendor, TOKEN.c.fence == held.fence)
        with self._lasting() as db:
            return db.execute(mine.values(values)).rowcount == 1

    @contextmanager
    def _lasting(self) -> Iterator[sa.Connection]:
        """Hold a transaction whose commit outlives a power cut, which in SQLite's WAL mode takes synchronous=FULL."""
        with self.store.engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.connection.driver_connection.execute("PRAGMA synchronous=FULL")  # type: ignore[union-attr]
            db = connection.execution_options(outbook_writes=True)
            with db.begin():
                yield db


def _digest(seed: str) -> str:
    return hashlib.sha256(seed.encode()).hexdigest()
