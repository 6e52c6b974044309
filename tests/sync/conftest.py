"""Scenes: one over SQLite for most tests, one over each database where the database matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sync.scene import Scene
from worker.sim.outreach_options import Options

MakeScene = Callable[..., Scene]


@pytest.fixture
def make_scene(tmp_path: Path) -> Iterator[MakeScene]:
    """Make scenes, each with a store of its own in one SQLite file."""
    made: list[Scene] = []

    def make(
        records: int = 0,
        crm_options: dict[str, object] | None = None,
        options: Options | None = None,
        page_size: int = 1000,
    ) -> Scene:
        url = f"sqlite:///{tmp_path / f'scene{len(made)}.db'}"
        made.append(
            Scene(url, records, crm_options=crm_options or {}, options=options or Options(), page_size=page_size)
        )
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def scene(make_scene: MakeScene) -> Scene:
    """Return a scene without people."""
    return make_scene()


@pytest.fixture
def on_both(database_url: str) -> Iterator[Scene]:
    """Return a scene without people, once over each database."""
    made = Scene(database_url)
    yield made
    made.close()
