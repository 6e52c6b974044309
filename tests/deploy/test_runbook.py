"""What the runbook and the alerts tell people to type is there, and its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main

from worker.cli import app as front_door
from worker.core import alerts

DEPLOY = Path(__file__).parents[2] / "deploy"
TEXT = (DEPLOY / "runbook.md").read_text(encoding="utf-8")
FLAT = re.sub(r"\s+", " ", TEXT)
PLACEHOLDER = re.compile(r"[A-Z]{2,}")


def typed() -> list[str]:
    """Return every command of `outbook` in the runbook and the alerts, in order."""
    found = re.findall(r"`(outbook [^`]+)`", FLAT) + re.findall(r"^\$ (outbook [^;\n]+)", TEXT, re.MULTILINE)
    found += [one.do for one in alerts.ALERTS]
    plain = (one.partition(" >")[0].strip() for one in found)
    return sorted({one for one in plain if "…" not in one})


@pytest.mark.parametrize("line", typed())
def test_what_is_to_be_typed_is_a_command(line: str) -> None:
    """Verb and options are those of the program."""
    left = [PLACEHOLDER.sub("7", word) for word in shlex.split(line)][1:]
    command: Any = typer.main.get_command(front_door.app)
    while hasattr(command, "get_command"):
        command = command.get_command(None, left.pop(0))
    context = click.Context(command) if isinstance(command, click.Command) else command.context_class(command)
    assert command.parse_args(context, left) == []


def test_there_is_something_to_type() -> None:
    """The commands are found at all: those of restore, keys, watch and each alert among them."""
    wanted = {"outbook doctor --alerts", "outbook sync --full --dry-run", "outbook db rebind", "outbook resume"}
    wanted |= {"outbook auth outreach --manual"}  # a staging copy's own tokens
    assert wanted <= set(typed())
    assert len(typed()) > 30


@pytest.mark.parametrize("page", ["README.md", "deploy/runbook.md", "deploy/scaling.md", "deploy/threat-model.md"])
def test_links_lead_somewhere(page: str) -> None:
    """Each file that is linked to is there, and each heading in it."""
    path = DEPLOY.parent / page
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
        name, _, heading = target.partition("#")
        file = path.parent / name if name else path
        assert file.is_file(), target
        assert not heading or heading in headings(file), target


def headings(file: Path) -> set[str]:
    """Return by what a page's headings are linked to."""
    found = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in found}
