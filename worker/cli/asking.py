"""What cannot be taken back is asked about first; where nobody can be asked, or nothing may be written, it is not done."""

from __future__ import annotations

import sys

import typer

from worker import config


def may_write(settings: config.Settings, vendor: str) -> None:
    """Return only if a verb may change something at a vendor by itself; raise SettingsInvalid under OUTBOOK_WRITES=none."""
    if settings.writes == "none":
        raise config.SettingsInvalid([f"OUTBOOK_WRITES: none, and this verb writes to {vendor}; nothing was done"])


def sure(would: str, does: str) -> bool:
    """Ask at the terminal whether to go on; without one say what ``would`` happen, and that it needs --yes."""
    if not sys.stdin.isatty():
        sys.stderr.write(f"outbook: {would}; without a terminal this needs --yes\n")
        return False
    return typer.confirm(f"{does}. Sure?")
