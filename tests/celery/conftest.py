"""A rig on the session's broker, and one with a broker of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.celery import rig as rigs
from tests.celery.rig import Rig


@pytest.fixture
def rig(tmp_path: Path, broker_url: str) -> Iterator[Rig]:
    """Return a rig on a real, empty broker; no process runs yet."""
    with rigs.rig(tmp_path, broker_url) as made:
        yield made


@pytest.fixture
def boxed(tmp_path: Path) -> Iterator[Rig]:
    """Return a rig that starts its own broker, as one box does."""
    with rigs.rig(tmp_path) as made:
        yield made
