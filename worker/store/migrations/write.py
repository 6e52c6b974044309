"""A new migration is written: ``python -m worker.store.migrations.write "What now holds"``; then ``ruff format`` it.

It holds the difference between the migrations so far, run on an empty database, and ``worker.store.tables``. Until the
first release ``0001`` is deleted and written again instead.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from alembic import command

from worker.store import database, migrating, upgrade


def main(message: str) -> None:
    """Write ``versions/NNNN_message.py`` with the next number."""
    number = 1 + len(upgrade.versions())
    with tempfile.TemporaryDirectory() as directory:
        store = database.connect(f"sqlite:///{Path(directory) / 'empty.db'}")
        if number > 1:
            migrating.up(store)
        with store.write() as db:
            command.revision(migrating.settings(db), message, autogenerate=True, rev_id=f"{number:04d}")


if __name__ == "__main__":
    main(sys.argv[1])
