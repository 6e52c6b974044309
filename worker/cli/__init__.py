"""The command `outbook`: one file a noun, each verb a few lines around a room below."""

from __future__ import annotations

import gc


def main() -> None:
    """Run the command. What its imports make stays to the end: nobody looks through it for garbage, then or later."""
    gc.disable()
    from worker.cli import app

    gc.freeze()
    gc.enable()
    app.main()
