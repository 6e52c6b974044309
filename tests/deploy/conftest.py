"""A rig on the session's broker."""

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
