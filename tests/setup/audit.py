"""Asks for known weaknesses of what is shipped: `python -m tests.setup.audit`. Exit 0: none, 1: some, 75: not all told.

`pip-audit` alone ends with 0 where the index cannot be asked about a package, as if that had been found well.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[2] / "deploy" / "requirements.lock"
FOUND, NOBODY = 1, 75
ASK = ("--disable-pip", "--require-hashes", "--progress-spinner", "off", "--timeout", "10", "--format", "json", "-r")


def verdict(told: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """Return the exit code and what to say, from what pip-audit tells of each package."""
    weak = [(one, flaw) for one in told for flaw in one.get("vulns", ())]
    unknown = [one["name"] for one in told if "vulns" not in one]
    lines = [
        f"{one['name']} {one['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for one, flaw in weak
    ]
    if unknown or not told:
        lines.append(
            f"{len(unknown)} of {len(told)} packages could not be asked about: no service that knows can be reached"
        )
    if weak:
        return FOUND, lines
    return (NOBODY if unknown or not told else 0), lines


def main() -> int:
    """Ask, say what was found on stderr, and return the exit code."""
    command = [sys.executable, "-m", "pip_audit", *ASK, str(LOCK)]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
        told = json.loads(asked.stdout)["dependencies"]
    except (ValueError, subprocess.TimeoutExpired):
        told = []
    code, lines = verdict(told)
    for line in lines:
        sys.stderr.write(f"   {line}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
