"""What a look at one thing has found, as values: one line each, and how to mend what is not well."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How well it is: ``warn`` will do harm later, ``fail`` does so now."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One look. ``fix`` says what to do; blank where there is nothing to do. Neither holds a secret or a person's data."""

    name: str
    level: Level
    words: str
    fix: str = ""


def ok(name: str, words: str) -> Check:
    """Return a look at what is well."""
    return Check(name, Level.OK, words)


def warn(name: str, words: str, fix: str) -> Check:
    """Return a look at what will do harm later."""
    return Check(name, Level.WARN, words, fix)


def fail(name: str, words: str, fix: str) -> Check:
    """Return a look at what does harm now."""
    return Check(name, Level.FAIL, words, fix)
