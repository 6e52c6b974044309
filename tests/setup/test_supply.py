"""What is shipped is listed and asked about: the bill of materials is the lock's, and silence is not taken for health."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.setup import audit
from tests.setup.test_locks import RUNTIME, entries

ROOT = Path(__file__).parents[2]
WELL: dict[str, Any] = {"name": "one", "version": "1.0", "vulns": []}
WEAK: dict[str, Any] = {"name": "two", "version": "2.0", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1"]}]}
UNKNOWN: dict[str, Any] = {"name": "three", "skip_reason": "Dependency not found"}


@pytest.mark.parametrize(
    "told, code, words",
    [
        ([WELL], 0, []),
        ([WELL, WEAK], 1, ["two 2.0: CVE-1, mended in 2.1"]),
        ([WELL, UNKNOWN], 75, ["1 of 2 packages could not be asked about"]),
        ([WEAK, UNKNOWN], 1, ["two 2.0: CVE-1", "1 of 2 packages could not be asked about"]),
        ([], 75, ["0 of 0 packages could not be asked about"]),
    ],
)
def test_only_an_answer_about_every_package_is_health(told: list[dict[str, Any]], code: int, words: list[str]) -> None:
    """A weakness is one whatever else is unknown; what could not be asked about is not called well."""
    found, lines = audit.verdict(told)
    assert found == code
    assert len(lines) == len(words)
    assert all(line.startswith(start) for line, start in zip(lines, words, strict=True))


@pytest.mark.skipif(importlib.util.find_spec("cyclonedx_py") is None, reason="cyclonedx-bom is not installed here")
def test_the_bill_of_materials_is_the_lock(tmp_path: Path) -> None:
    """Written by the very command of `./dev check`: each locked package with its version and its hashes, and nothing else."""
    (line,) = re.findall(
        r"^ +\"\$bin\"/python -W ignore -m cyclonedx_py (.*?)$", (ROOT / "dev").read_text(), re.MULTILINE
    )
    arguments = line.replace("build/outbook.cdx.json", str(tmp_path / "bill.json")).split()
    subprocess.run([sys.executable, "-W", "ignore", "-m", "cyclonedx_py", *arguments], cwd=ROOT, check=True, timeout=90)
    bill = json.loads((tmp_path / "bill.json").read_text())
    told = {
        one["purl"].partition(";")[0]: {h["content"] for ref in one["externalReferences"] for h in ref["hashes"]}
        for one in bill["components"]
    }
    locked = {
        f"pkg:pypi/{name}@{next(iter(pin.specifier)).version}": {one.removeprefix("sha256:") for one in hashes}
        for name, (pin, hashes) in entries(RUNTIME).items()
    }
    assert told == locked
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "outbook")
