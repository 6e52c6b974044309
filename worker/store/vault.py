"""The OAuth tokens of one vendor: sealed at rest, renewed by one process at a time, never lost between mint and use.

Outreach: an access token lives 2 h, a refresh token 14 days; each mint answers with a new refresh token, and one mint a
minute is allowed (facts, outreach 1.1). The recipe is that of facts, delivery C.1: lease on the row, commit, mint with
no transaction open, store the new pair, only then use it. Whoever dies in between leaves a lease that runs out.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import sqlalchemy as sa

from worker.core import errors
from worker.core.records import System
from worker.store.drawer import Drawer, Held, Minted
from worker.store.seal import Seal

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from worker.store import database

EARLY = timedelta(minutes=5)
"""A token with less than this left is renewed."""
USABLE = timedelta(minutes=2)
"""A token with at least this left is handed out while somebody renews it, or when that has to wait."""
MINT_PAUSE = timedelta(seconds=60)
"""The vendor mints one token per user and application in this time, then answers 429."""
LEASE = timedelta(seconds=60)
"""Longer than any exchange takes, no shorter than the vendor's pause: whoever follows a dead holder meets no 429."""
WAIT_S = 75.0
CACHED_FOR = timedelta(seconds=30)
"""So long a token is handed out without a look at the row, which another process may have renewed."""
AFTER_FAULT = timedelta(seconds=2)
_STORE_TRIES = 4


class Pair(Protocol):
    """What a mint answers with. ``expires_at`` is aware UTC and that of the access token."""

    @property
    def access_token(self) -> str:
        """The bearer token."""

    @property
    def refresh_token(self) -> str:
        """The token that the next mint spends; empty if the one just spent goes on."""

    @property
    def expires_at(self) -> datetime:
        """When the access token ends."""


class FixedToken:
    """A bearer token out of the settings that nothing can renew."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __repr__(self) -> str:
        return "FixedToken(…)"

    def bearer(self) -> str:
        """Return the token."""
        return self._token

    def renew(self, refused: str) -> str:  # noqa: ARG002 - the protocol's own signature
        """Raise AuthRevoked: there is no other."""
        raise errors.AuthRevoked("the fixed access token is no longer accepted", system=System.OUTREACH)


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why the last mint failed: until then it is not tried again with the same refresh token."""

    refresh: str = field(repr=False)
    until: datetime
    error: errors.OutbookError


class Vault:
    """Hands out bearer tokens of one vendor. Threads may share one; processes share the row."""

    def __init__(
        self,
        store: database.Store,
        *,
        key: str,
        vendor: str,
        mint: Callable[[str], Pair],
        seed: str | None,
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
    ) -> None:
        """Touch nothing yet. ``mint`` spends a refresh token; ``seed``, if never seen before, replaces what is held."""
        self._row = Drawer(store, Seal(key), vendor)
        self._system = next((system for system in System if system == vendor), None)
        self._mint = mint
        self._seed = seed
        self._now = now
        self._sleep = sleep
        self._cached: tuple[datetime, Held] | None = None
        self._trouble: _Trouble | None = None
        self._unsaved: Minted | None = None

    def __repr__(self) -> str:
        return f"Vault({self._row.vendor})"

    def bearer(self) -> str:
        """Return a token good for at least two minutes, if the vendor's clock agrees with ours; may mint, or wait.

        Raises AuthRevoked when no refresh token works, Throttled when the vendor lets us wait, KeyMismatch, and what
        ``mint`` raises.
        """
        now = self._now()
        if self._cached is not None:
            read_at, held = self._cached
            if timedelta(0) <= now - read_at < CACHED_FOR and _lasts(held, EARLY, now):
                return held.access
        return self._fresh(None)

    def renew(self, refused: str) -> str:
        """Return another token than the one that the vendor has just refused. Raises as ``bearer`` does."""
        return self._fresh(refused)

    def put(self, pair: Pair) -> None:
        """Keep a pair that a person has authorised, in place of whatever is held; running processes take it up.

        The seed of the settings counts as planted before, lest a process that starts later put it in the pair's place.
        """
        if self._seed is not None:
            self._row.plant(self._seed)
            self._seed = None
        self._row.put(pair.refresh_token, pair.access_token, expires_at=pair.expires_at, now=self._now())
        self._cached = self._trouble = self._unsaved = None

    def _fresh(self, refused: str | None) -> str:
        """Return a token that serves: the row's if it has one, else one minted here or by whoever is at it."""
        if self._seed is not None:
            self._row.plant(self._seed)
            self._seed = None
        waited, pause, mints = 0.0, 0.05, 0
        while True:
            self._save()
            held = self._row.look()
            if self._serves(held, refused):
                self._cached = (self._now(), held)
                return held.access
            usable = refused is None and _lasts(held, USABLE, self._now())
            try:
                if not self._leased(held) and self._renewed(held, mints):
                    mints += 1
                    continue
            except errors.Transient:
                if not usable:
                    raise
            if usable:
                return held.access
            if waited >= WAIT_S:
                raise errors.Throttled("another process is renewing the token", retry_after_s=5.0, system=self._system)
            self._sleep(pause)
            waited, pause = waited + pause, min(0.2, pause * 1.5)

    def _serves(self, held: Held, refused: str | None) -> bool:
        """Return whether the token needs no mint; one just minted needs none, whatever our clock says of its end."""
        if not held.access or held.access == refused:
            return False
        now = self._now()
        if held.minted_at is not None and timedelta(0) <= now - held.minted_at < MINT_PAUSE:
            return True
        return _lasts(held, EARLY if refused is None else timedelta(0), now)

    def _leased(self, held: Held) -> bool:
        """Return whether somebody is minting. A lease longer than any is a broken clock's and does not count."""
        return held.lease_until is not None and timedelta(0) < held.lease_until - self._now() <= LEASE

    def _renewed(self, held: Held, mints: int) -> bool:
        """Take the lease, mint, store; True if the row should now hold another token, False if somebody was faster."""
        self._check_may_mint(held, mints)
        if not self._row.claim(held, until=self._now() + LEASE):
            return False
        mine, minted = replace(held, fence=held.fence + 1), None
        try:
            minted = self._exchange(mine)
        except errors.OutbookError as error:
            self._note_trouble(held, error)
            raise
        finally:
            if minted is None:
                with contextlib.suppress(sa.exc.SQLAlchemyError):  # it runs out by itself
                    self._row.release(mine)
        if minted is not None:
            self._unsaved = minted
            self._save_stubbornly()
        return True

    def _exchange(self, mine: Held) -> Minted | None:
        """Mint with the refresh token, or once with the one before; None if the row has moved on meanwhile."""
        try:
            return self._spend(mine, mine.refresh)
        except errors.AuthRevoked as refusal:
            if self._row.look().refresh != mine.refresh:
                return None
            if not mine.previous:
                raise
            with contextlib.suppress(errors.AuthRevoked):
                return self._spend(mine, mine.previous)
            self._row.drop_previous(mine)
            raise refusal from None

    def _spend(self, mine: Held, refresh: str) -> Minted:
        pair = self._mint(refresh)
        if not pair.access_token:
            raise errors.ContractBroken("the vendor's answer to a mint holds no access token", system=self._system)
        return Minted(
            began=mine,
            spent=refresh,
            refresh=pair.refresh_token or refresh,
            access=pair.access_token,
            expires_at=pair.expires_at,
        )

    def _save_stubbornly(self) -> None:
        """Store the pair, trying more than once: the old one may be spent."""
        for attempt in range(_STORE_TRIES):
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                self._save()
                return
            self._sleep(0.1 * 2**attempt)
        self._save()

    def _save(self) -> None:
        """Store the pair that was minted here, if one waits. Until then nobody uses it, and every call tries."""
        minted = self._unsaved
        if minted is None:
            return
        self._row.save(minted, now=self._now())
        if self._unsaved is minted:
            self._unsaved = None

    def _check_may_mint(self, held: Held, mints: int) -> None:
        """Raise what became of the last mint, while it is too early for another with the same refresh token."""
        if not held.refresh:
            raise errors.AuthRevoked("no refresh token is stored; run: outbook auth outreach", system=self._system)
        if mints > 1:
            raise errors.AuthRevoked("the vendor refuses the tokens that it has just minted", system=self._system)
        trouble, now = self._trouble, self._now()
        if trouble is None or trouble.refresh != held.refresh or now >= trouble.until:
            return
        if isinstance(trouble.error, errors.AuthRevoked):
            raise errors.AuthRevoked(trouble.error.words, system=self._system)
        left_s = (trouble.until - now).total_seconds()
        raise errors.Throttled(trouble.error.words, retry_after_s=left_s, system=self._system)

    def _note_trouble(self, held: Held, error: errors.OutbookError) -> None:
        """Remember a failure that would only be repeated by an early second try."""
        if isinstance(error, errors.AuthRevoked):
            pause = MINT_PAUSE
        elif isinstance(error, errors.Throttled):
            pause = timedelta(seconds=error.retry_after_s)
        elif isinstance(error, errors.Transient):
            pause = AFTER_FAULT
        else:
            return
        self._trouble = _Trouble(held.refresh, self._now() + pause, error)


def _lasts(held: Held, time: timedelta, now: datetime) -> bool:
    """Return whether the access token lasts that much longer at least."""
    return held.expires_at is not None and held.expires_at - now > time
