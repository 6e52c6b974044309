"""Logs where there is no room for them: the work that they tell of goes on."""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from worker import telemetry

FULL = Path("/dev/full")


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root, hooks = logging.getLogger(), (sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning)
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()  # pytest's own print records as they are
    yield
    root.handlers[:] = handlers
    sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning = hooks
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.skipif(not FULL.exists(), reason="no device here is always full")
def test_no_line_that_cannot_be_written_ends_the_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a full disk a line is lost, and nothing else; once there is room the next one is written."""
    telemetry.configure("INFO")
    log, file = structlog.get_logger("outbook"), tmp_path / "log"
    full = FULL.open("w", buffering=1)
    monkeypatch.setattr(sys, "stderr", full)
    log.info("polled", stream="prospects")
    logging.getLogger("outbook").warning("put_off")
    with file.open("w", buffering=1) as roomy:
        monkeypatch.setattr(sys, "stderr", roomy)
        log.info("swept")
    monkeypatch.undo()
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), full.fileno())  # its last words have somewhere to go
    full.close()
    assert "swept" in file.read_text(encoding="utf-8")
