"""The store that every story starts from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.model import stage


@pytest.fixture(scope="session")
def prepared_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store just migrated, to be copied."""
    return stage.template(tmp_path_factory.mktemp("model"))
