"""How a verb ends: the contract's exit codes (section 3), and trouble on the way that ends it early but loses nothing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from worker import bootstrap
from worker.core import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

UNEXPECTED, CHANGES, UNFINISHED, INVALID = 1, 2, 3, 4
"""The codes 5 (authorisation needed) and 6 (stopped by a budget) come with their halts: ``bootstrap.exit_code``."""


class Told(Protocol):
    """What a verb tells in the end: its troubles, a line each, and its exit code."""

    troubles: list[str]
    code: int


@contextlib.contextmanager
def noted(runtime: bootstrap.Runtime, told: Told) -> Iterator[None]:
    """Write a vendor's trouble down and go on to the report: what was done stays done, and its calls are counted."""
    try:
        yield
    except errors.Halt as halt:
        told.troubles.append(halt.words)
        told.code = bootstrap.exit_code(halt)
    except errors.OutbookError as error:
        told.troubles.append(error.words)
        told.code = UNFINISHED
    finally:
        runtime.flush()
