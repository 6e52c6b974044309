"""What people see, kept byte for byte: commands run on a scripted world whose clocks stand still, compared with a file.

A file under ``golden/`` is a transcript: ``$ outbook …`` as it looks on a terminal of 100 columns, ``$ outbook … | cat`` as it
looks in a pipe, what went to stderr after ``!``, and the exit code unless it is 0. ``RENEW_GOLDEN=1 ./dev test
tests/e2e/test_golden.py`` writes the files anew; read the difference before you commit it.
"""

from __future__ import annotations

import io
import os
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.e2e.rig import Pass, Stage
from worker.sim import outreach
from worker.sim.instruments import Clock

GOLDEN = Path(__file__).parent / "golden"
NOON = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
COLUMNS = "100"
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\]8;[^\x1b]*\x1b\\)")
HASHES = re.compile(r"(sha256:|plan:)[0-9a-f]+")
COUNTED = (
    r"(?m)^calls +\d+ +\d+$",
    r"\d+ calls this hour|\d+ within a year",
    r"read \d+ records in \d+\.\d s|about \d+ calls of Outreach",
    r"(?m)^\w+ +\d+ +[0-9a-f]{12}$",
)
"""Numbers that are nobody's promise, such as how many requests it took: their digits are told as noughts."""


def _nought(found: re.Match[str]) -> str:
    return "0" * len(found[0])


class Terminal(io.StringIO):
    """Somebody looks at it."""

    def isatty(self) -> bool:
        """Say that this is a terminal."""
        return True


class Transcript:
    """What was typed and what came of it."""

    def __init__(self, stage: Stage) -> None:
        """Stop every clock at noon, in a directory and with addresses as long as they always are."""
        self.stage = stage
        self._lines: list[str] = []
        clock = Clock(NOON)
        clock.freeze()
        clock.set(NOON.isoformat())
        stage.use(outreach_app=outreach.build(records=0, clock=clock))
        stage.crm.clock.freeze()
        stage.crm.clock.set(NOON.isoformat())
        stage.mapping()
        stage.monkeypatch.setattr(Stage, "now", lambda self: NOON + timedelta(seconds=self.skipped_s))
        stage.store("data")

    def seen(self, *arguments: str) -> Pass:
        """Run a command on a terminal of 100 columns and keep what it shows."""
        stage = self.stage
        stage.paper = Terminal
        stage.environ |= {"COLUMNS": COLUMNS, "TERM": "xterm-256color"}
        told = stage.outbook(*arguments)
        stage.paper = io.StringIO
        for name in ("COLUMNS", "TERM"):
            del stage.environ[name]
        self._keep(arguments, "", told)
        return told

    def piped(self, *arguments: str) -> Pass:
        """Run a command in a pipe and keep what comes out of it."""
        told = self.stage.outbook(*arguments)
        assert "\x1b" not in told.out + told.err, f"{arguments}: colour where there is no terminal"
        self._keep(arguments, " | cat", told)
        return told

    def both(self, *arguments: str) -> Pass:
        """Run a command that changes nothing, on a terminal and in a pipe."""
        self.seen(*arguments)
        return self.piped(*arguments)

    def hidden(self, *arguments: str) -> Pass:
        """Run a command of which nothing is kept."""
        return self.stage.outbook(*arguments)

    def typed(self, words: str) -> None:
        """Keep what somebody did beside the command."""
        self._lines += [f"# {words}", ""]

    def matches(self, name: str) -> None:
        """Fail unless the file holds these very bytes; write it if that was asked for."""
        path, text = GOLDEN / f"{name}.txt", "\n".join(self._lines)
        if os.environ.get("RENEW_GOLDEN"):
            path.write_bytes(text.encode())
        assert path.read_bytes().decode() == text, f"RENEW_GOLDEN=1 writes {path.name} anew"

    def _keep(self, arguments: tuple[str, ...], pipe: str, told: Pass) -> None:
        self._lines.append(self._plain(f"$ outbook {shlex.join(arguments)}{pipe}"))
        out = self._plain(told.out).splitlines()
        assert not pipe or all(line == line.rstrip() for line in out), f"{arguments}: blanks at the end of a line"
        self._lines += [line.rstrip() for line in out]
        self._lines += [f"! {line}" for line in self._plain(told.err).splitlines()]
        self._lines += [f"[exit {told.code}]", ""] if told.code else [""]

    def _plain(self, text: str) -> str:
        text = ESCAPES.sub("", text)
        for before, after in self._places():
            text = text.replace(before, after)
        text = re.sub(r"\bschema \d{4}\b", "schema 0000", text)
        for pattern in COUNTED:
            text = re.sub(pattern, lambda found: re.sub(r"\b[0-9a-f]*\d[0-9a-f]*\b", _nought, found[0]), text)
        return HASHES.sub(lambda found: found[1] + "0" * (len(found[0]) - len(found[1])), text)

    def _places(self) -> Iterator[tuple[str, str]]:
        """Yield what differs from machine to machine, and what stands for it."""
        servers = self.stage.servers
        yield servers.outreach_url, "http://127.0.0.1:10001"
        yield servers.crm_url, "http://127.0.0.1:10002"
        yield str(self.stage.directory), "/srv/outbook-12345678"
