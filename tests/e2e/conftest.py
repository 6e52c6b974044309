"""The stage, and a reader who lives by UTC."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.e2e.rig import servers, stage

__all__ = ["servers", "stage", "utc"]


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever reads lives by UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()
