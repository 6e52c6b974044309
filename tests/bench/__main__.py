"""The benchmarks: ``python -m tests.bench [NAME …] [--scale S] [--json FILE]``. They report; nothing here passes or fails."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.bench import report, site

BENCHES = (
    "noop",
    "calls",
    "read",
    "memory",
    "deliver",
    "plan",
    "grow",
    "store",
    "fresh",
    "peers",
    "queue",
    "workers",
    "queries",
    "steady",
    "year",
)


def main() -> int:
    """Run the benches wanted, one after the other; the JSON is written again after each."""
    wanted = _wanted()
    site.quiet()
    logging.disable(logging.WARNING)
    console = Console(width=110)
    told: dict[str, Any] = {**report.machine(), "scale": wanted.scale, "benches": {}}
    for name in wanted.names or BENCHES:
        sys.stderr.write(f"bench: {name} ...\n")
        found = importlib.import_module(f"tests.bench.{name}").run(wanted.scale)
        report.show(name, found, console)
        told["benches"][name] = found.as_json()
        if wanted.json:
            wanted.json.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def _wanted() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHES)}; all without a name")
    parser.add_argument("--scale", type=float, default=0.1, help="1 is the size of the design's numbers (0.1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    wanted = parser.parse_args()
    unknown = [name for name in wanted.names if name not in BENCHES]
    if unknown:
        parser.error(f"there is no bench {unknown[0]}: {', '.join(BENCHES)}")
    if not wanted.scale > 0:
        parser.error("--scale must be above 0")
    return wanted


if __name__ == "__main__":
    raise SystemExit(main())
