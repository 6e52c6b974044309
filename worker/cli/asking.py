"""What cannot be taken back is asked about first; where nobody can be asked it is not done."""

from __future__ import annotations

import sys

import typer


def sure(would: str, does: str) -> bool:
    """Ask at the terminal whether to go on; without one say what ``would`` happen, and that it needs --yes."""
    if not sys.stdin.isatty():
        sys.stderr.write(f"outbook: {would}; without a terminal this needs --yes\n")
        return False
    return typer.confirm(f"{does}. Sure?")
