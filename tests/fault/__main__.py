"""`./dev chaos`: fault scenarios against real processes; a table of what held, exit 1 if something did not."""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from tests.fault import rig as rigs
from tests.fault.invariants import Verdict
from tests.fault.play import play
from tests.fault.rig import Rig
from tests.fault.scenarios import BY_NAME, NOT_BUILT, SCENARIOS, Scenario

HEADINGS: tuple[str, ...] = (
    "scenario",
    "what goes wrong",
    "lost",
    "double people",
    "double tasks",
    "opt-outs reverted",
    "calls a change",
    "recovered after",
    "verdict",
)


def main() -> int:
    """Play what is asked for; 1 if an invariant was violated."""
    asked = _asked()
    seed = asked.seed if asked.seed is not None else secrets.randbelow(1_000_000)
    chosen = [BY_NAME[name] for name in asked.scenario] if asked.scenario else SCENARIOS
    chosen = [one for one in chosen if asked.store in one.stores]
    _say(f"seed {seed}, {asked.records} records, store {asked.store}, {len(chosen)} of {len(SCENARIOS)} scenarios")
    signal.signal(signal.SIGTERM, _ended)
    began, lines, stand = time.monotonic(), [], _Stand(seed, asked.records, asked.store)
    with stand:
        for scenario in chosen:
            verdict = stand.play(scenario)
            lines.append(_row(scenario, verdict))
            for words in verdict.violated:
                _say(f"   {scenario.name} VIOLATED {words}")
            held = "held" if not verdict.violated else "VIOLATED"
            _say(f"{scenario.name:<5} {held}, recovered after {verdict.seconds:.0f} s: {scenario.words}")
            if asked.markdown:
                about = f"seed {seed}, {asked.records} records a scenario, store {asked.store}"
                about += f", {time.monotonic() - began:.0f} s in all"
                asked.markdown.write_text(_page(lines, chosen[: len(lines)], about), encoding="utf-8")
    _say("", *_table(lines), "", f"not built: {' '.join(NOT_BUILT)}", out=sys.stdout)
    if any(line[-1] != "held" for line in lines):
        _say(f"violated; it repeats with --seed {seed}")
        return 1
    return 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev chaos", description=__doc__)
    names = ", ".join(BY_NAME)
    parser.add_argument(
        "--scenario", nargs="+", action="extend", choices=list(BY_NAME), metavar="F", help=f"of {names}"
    )
    parser.add_argument("--seed", type=int, help="repeat a run; drawn and printed if not given")
    parser.add_argument("--records", type=int, default=300, help="how many people have a part in each (300)")
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite", help="what the store is (sqlite)")
    parser.add_argument("--markdown", type=Path, help="write the table into a file, anew after each scenario")
    asked = parser.parse_args()
    if asked.records < 1:
        parser.error("--records must be at least 1")
    return asked


class _Stand(contextlib.ExitStack):
    """One deployment for scenario after scenario, each with people of its own; a new one after a violation."""

    def __init__(self, seed: int, records: int, store: str) -> None:
        """Start nothing yet."""
        super().__init__()
        self.seed, self.records, self.store = seed, records, store
        self.rig: Rig | None = None
        self.first = 1

    def play(self, scenario: Scenario) -> Verdict:
        """Play a scenario and return what came of it."""
        apart = scenario.alone or bool(scenario.environ) or bool(scenario.disk_mb)
        if apart:
            self.end()
        try:
            rig = self.rig or self._new(scenario)
            verdict = play(rig, scenario, seed=self.seed, records=self.records, first=self.first)
            if verdict.violated:
                _say(rig.words())
        except Exception as error:  # noqa: BLE001 - one scenario that cannot be played must not hide the others
            verdict = Verdict(violated=[f"I1 not played to its end: {type(error).__name__}: {error}"[:600]])
        self.first += self.records
        if verdict.violated or apart:
            self.end()
        return verdict

    def end(self) -> None:
        """End the deployment; the next scenario gets a new one."""
        self.close()
        self.rig = None

    def _new(self, scenario: Scenario) -> Rig:
        made = tempfile.TemporaryDirectory(prefix="outbook-chaos-", ignore_cleanup_errors=True)
        directory = Path(self.enter_context(made))
        self.rig = self.enter_context(rigs.running(directory, self.store, scenario.environ, disk_mb=scenario.disk_mb))
        return self.rig


def _row(scenario: Scenario, verdict: Verdict) -> tuple[str, ...]:
    held = (
        "held"
        if not verdict.violated
        else "; ".join(sorted({one.split()[0] for one in verdict.violated})) + " VIOLATED"
    )
    counts = (verdict.lost, verdict.people, verdict.tasks, verdict.reverted)
    return (scenario.name, scenario.words, *map(str, counts), f"{verdict.calls:.2f}", f"{verdict.seconds:.0f} s", held)


def _table(lines: list[tuple[str, ...]]) -> list[str]:
    rows = [HEADINGS, *lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _page(lines: list[tuple[str, ...]], chosen: list[Scenario], about: str) -> str:
    marks = [HEADINGS, ("---",) * len(HEADINGS), *lines]
    short = [f"* {one.name}: the facts ask for {one.short_of}" for one in chosen if one.short_of]
    day = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return "\n".join(
        [
            "# Fault scenarios, measured",
            "",
            f"`./dev chaos`, {day}, {os.cpu_count()} cores; {about}.",
            "",
            "Calls a change: those that wrote something or failed, of both vendors together; reading is not counted.",
            "Recovered after: from the end of the last fault, with the start of whatever had died, until both sides agreed.",
            "After each, `outbook reconcile` has read everything again and found nothing, or the scenario counts as violated.",
            "",
            *(f"| {' | '.join(row)} |" for row in marks),
            "",
            "Shorter than the facts ask for:",
            "",
            *short,
            "",
            f"Not built: {' '.join(NOT_BUILT)}.",
            "",
        ]
    )


def _say(*lines: str, out: TextIO | None = None) -> None:
    stream = out or sys.stderr
    stream.write("".join(f"{line}\n" for line in lines))
    stream.flush()


def _ended(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
