"""Each line of the threat model names what proves it, and that is there."""

from __future__ import annotations

import re
from pathlib import Path

from worker import config

ROOT = Path(__file__).parents[2]
MODEL = (ROOT / "deploy" / "threat-model.md").read_text(encoding="utf-8")
CITED = re.compile(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`")


def test_every_proof_is_there() -> None:
    """A test that is renamed or taken out takes its line of the threat model with it."""
    lines = [
        line for line in MODEL.partition("## Who attacks")[2].partition("\n## ")[0].splitlines() if line[:1] == "|"
    ]
    assert len(lines) > 15
    for line in lines[2:]:
        path, told = "", 0
        for file, test in CITED.findall(line):
            path = file or path
            if not (file or test):
                continue
            text = (ROOT / path).read_text(encoding="utf-8")
            assert not test or f"def {test}(" in text, (path, test)
            told += 1
        assert told, f"nothing proves: {line}"


def test_what_it_tells_of_is_there() -> None:
    """Variables, verbs and files that it names exist."""
    assert set(re.findall(r"OUTBOOK_[A-Z_]+", MODEL)) <= set(config.VARIABLES)
    for path in re.findall(r"`(deploy/[\w./-]+)`", MODEL):
        assert (ROOT / path).exists(), path
