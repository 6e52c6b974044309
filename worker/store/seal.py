"""Secrets at rest: sealed with the operator's key, each for one purpose, and the proof that the key is the right one.

Fernet binds no context to what it encrypts (facts, delivery C.1), so the purpose is sealed along with the text.
"""

from __future__ import annotations

import base64
import json
import secrets
from typing import TYPE_CHECKING, cast

import sqlalchemy as sa
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from worker.core import errors
from worker.store import database, tables

if TYPE_CHECKING:
    from collections.abc import Callable

META = cast("sa.Table", tables.MetaRow.__table__)  # type: ignore[attr-defined]
TOKEN = cast("sa.Table", tables.TokenRow.__table__)  # type: ignore[attr-defined]
CANARY = "canary"
NO_SEEDS = "[]"
"""The column's default: the one value in it that is not sealed."""
_KEY_BYTES = 32


class KeyMismatch(errors.Halt):
    """The secret key does not open what this store holds: it is another key, or another store."""


class Seal:
    """Seals and opens short texts with a secret key; several keys, comma separated: the first seals, each opens."""

    def __init__(self, key: str) -> None:
        """ValueError without a key. A Fernet key is used as it is, any other text is stretched to one."""
        keys = [Fernet(_fernet_key(part.strip())) for part in key.split(",") if part.strip()]
        if not keys:
            raise ValueError("no secret key")
        self._first = keys[0]
        self._any = MultiFernet(keys)

    def __repr__(self) -> str:
        return "Seal(…)"

    def seal(self, text: str, purpose: str) -> str:
        """Return the text, readable only with the key and for the same purpose."""
        return self._first.encrypt(json.dumps([purpose, text]).encode()).decode()

    def open(self, sealed: str, purpose: str) -> str:
        """Return what was sealed for this purpose; KeyMismatch if the key does not open it or the purpose differs."""
        try:
            found, text = json.loads(self._any.decrypt(sealed))
        except (InvalidToken, ValueError, TypeError):
            raise KeyMismatch("OUTBOOK_SECRET_KEY does not open what this store holds") from None
        if found != purpose:
            raise KeyMismatch(f"what is stored for {purpose} was sealed for something else")
        return str(text)

    def renewed(self, sealed: str) -> str:
        """Return the same text sealed with the first key, unchanged if it is; KeyMismatch if no key opens it."""
        try:
            self._first.decrypt(sealed)
        except InvalidToken:
            pass
        else:
            return sealed
        try:
            return self._any.rotate(sealed).decode()
        except InvalidToken:
            raise KeyMismatch("OUTBOOK_SECRET_KEY does not open what this store holds") from None


def check_key(store: database.Store, key: str) -> bytes:
    """Prove that the key opens the store, and return the store's pepper: 32 random bytes for keyed hashes.

    The first call on a new store makes the pepper; sealed, it is the canary by which a wrong key is found. It never
    changes, so keyed hashes stay comparable when the key is rotated. With several keys everything is sealed again
    with the first, after which the others may go. Raises KeyMismatch and changes nothing if the key is a wrong one.
    """
    seal = Seal(key)
    with store.read() as db:
        canary = db.scalar(sa.select(META.c.value).where(META.c.key == CANARY))
    if canary is None or seal.renewed(canary) != canary:
        canary = _renew(store, seal)
    return bytes.fromhex(seal.open(canary, CANARY))


def _renew(store: database.Store, seal: Seal) -> str:
    """Seal everything with the first key, the canary too, and return that; it is made if there is none."""
    with store.write() as db:
        for row in db.execute(
            sa.select(TOKEN.c.vendor, TOKEN.c.sealed, TOKEN.c.previous, TOKEN.c.seeds).with_for_update()
        ):
            old = {"sealed": row.sealed, "previous": row.previous, "seeds": row.seeds}
            values = {name: _renew_text(text, seal.renewed) for name, text in old.items()}
            db.execute(sa.update(TOKEN).where(TOKEN.c.vendor == row.vendor).values(values))
        fresh = {"key": CANARY, "value": seal.seal(secrets.token_hex(_KEY_BYTES), CANARY)}
        database.upsert(db, META, [fresh], key=["key"], update=[])
        stored = db.execute(sa.select(META.c.value).where(META.c.key == CANARY).with_for_update()).scalar_one()
        canary = seal.renewed(stored)
        if canary != stored:
            db.execute(sa.update(META).where(META.c.key == CANARY).values(value=canary))
        return canary


def _renew_text(sealed: str | None, renewed: Callable[[str], str]) -> str | None:
    """Return a column sealed again; empty ones stay as they are."""
    return renewed(sealed) if sealed and sealed != NO_SEEDS else sealed


def _fernet_key(text: str) -> bytes:
    """Return the text if it is a Fernet key, else one derived from it."""
    try:
        if len(base64.b64decode(text, altchars=b"-_", validate=True)) == _KEY_BYTES:
            return text.encode()
    except ValueError:
        pass
    derived = HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=b"outbook store").derive(text.encode())
    return base64.urlsafe_b64encode(derived)
