"""What takes long and is the same each time is done once for all passes that run in this process."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import ssl
from pathlib import Path

import pytest
import typer

from worker.core import mapping_file
from worker.store import database, upgrade

MOST = 8
_opened: dict[str, database.Store] = {}
_connect, _upgrade = database.connect, upgrade.upgrade

read_mapping = functools.lru_cache(maxsize=50)(mapping_file.load)
trusted = functools.lru_cache(maxsize=5)(ssl.create_default_context)
head = functools.cache(upgrade.head)
command = functools.cache(typer.main.get_command)


def connect(url: str) -> database.Store:
    """Open a store that lasts for several passes, with its connections and what it has compiled; the oldest makes room."""
    store = _opened.pop(url, None) or _connect(url)
    _opened[url] = store
    if len(_opened) > MOST:
        _opened.pop(next(iter(_opened))).engine.dispose()
    return store


def take(patch: pytest.MonkeyPatch, template: Path) -> None:
    """Put the shortcuts in place; ``template`` is where the first store made is kept, empty, for the others."""

    def upgraded(store: database.Store) -> str:
        path = store.engine.url.database or ""
        if not template.exists():
            _upgrade(store)
            _copy(path, template)
        else:
            _copy(template, path)
        return head()

    patch.setattr(typer.main, "get_command", command)
    patch.setattr(mapping_file, "load", read_mapping)
    patch.setattr(ssl, "create_default_context", trusted)
    patch.setattr(database, "connect", connect)
    patch.setattr(upgrade, "head", head)
    patch.setattr(upgrade, "upgrade", upgraded)


def _copy(source: str | Path, target: str | Path) -> None:
    with contextlib.closing(sqlite3.connect(source)) as one, contextlib.closing(sqlite3.connect(target)) as other:
        one.backup(other)
