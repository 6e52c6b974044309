"""Which Outbook this is: its version, and the commit it was built from as far as that is known."""

from __future__ import annotations

import os
import re
from functools import cache
from importlib import metadata
from pathlib import Path

COMMIT = "OUTBOOK_COMMIT"
"""Set in the image when it is built."""
SHORT = 12
_HASH = re.compile(r"[0-9a-f]{7,64}")


@cache
def version() -> str:
    """Return the version that is installed."""
    try:
        return metadata.version("outbook")
    except metadata.PackageNotFoundError:
        return "0"


def commit() -> str:
    """Return the commit, shortened; blank if nobody knows. In a checkout it is the one checked out, edits or not."""
    told = os.environ.get(COMMIT, "").strip().lower()
    found = told if _HASH.fullmatch(told) else _checked_out(Path(__file__).parents[1] / ".git")
    return found[:SHORT]


def told() -> str:
    """Return both as a person reads them."""
    known = commit()
    return f"outbook {version()}" + (f" ({known})" if known else "")


def _checked_out(git: Path) -> str:
    """Return the commit that a repository has checked out, read without running git."""
    try:
        if git.is_file():  # a work tree beside its repository
            git = (git.parent / git.read_text(encoding="utf-8").partition("gitdir:")[2].strip()).resolve()
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        name = head.removeprefix("ref: ")
        return head if name == head and _HASH.fullmatch(head) else _named(git, name)
    except (OSError, ValueError):
        return ""


def _named(git: Path, name: str) -> str:
    common = git / "commondir"
    places = [git, (git / common.read_text(encoding="utf-8").strip()).resolve()] if common.is_file() else [git]
    for place in places:
        loose, packed = place / name, place / "packed-refs"
        if loose.is_file():
            text = loose.read_text(encoding="utf-8").strip()
            return text if _HASH.fullmatch(text) else ""
        lines = packed.read_text(encoding="utf-8").splitlines() if packed.is_file() else []
        for line in lines:
            found, _, its = line.partition(" ")
            if its == name and _HASH.fullmatch(found):
                return found
    return ""
