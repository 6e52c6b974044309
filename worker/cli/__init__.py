"""The command `outbook`: one file a noun, each verb a few lines around a room below."""

from __future__ import annotations

from worker.cli.app import main

__all__ = ["main"]
