"""What goes wrong with the database (facts, delivery D.3: F17 to F23)."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

from sqlalchemy.engine import make_url

from tests.fault.scene import Scenario, Scene


def store_locked(scene: Scene) -> None:
    """Somebody else holds the database's write lock for a while."""
    with closing(sqlite3.connect(str(make_url(scene.rig.database_url).database), timeout=30)) as db:
        db.isolation_level = None
        db.execute("BEGIN IMMEDIATE")
        time.sleep(20 if scene.last else 5)
        db.execute("ROLLBACK")


SCENARIOS = [
    Scenario("F18", "database locked by somebody else", store_locked, stores=("sqlite",)),
]
