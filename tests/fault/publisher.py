"""Rings again and again as ours do, and says how long each ring took: nobody who publishes may hang."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from worker import app, config, tasks

BETWEEN_S = 0.5


def main() -> None:
    """Ring until killed; a line of seconds for each ring."""
    app.configure(config.load(os.environ, Path.cwd()))
    while True:
        began = time.monotonic()
        tasks.ring("outbook.apply")
        sys.stdout.write(f"{time.monotonic() - began:.3f}\n")
        sys.stdout.flush()
        time.sleep(BETWEEN_S)


if __name__ == "__main__":
    main()
