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

from tests.fault import deployment
from tests.fault.disk import NoDisk
from tests.fault.invariants import Verdict
from tests.fault.play import play
from tests.fault.rig import Rig
from tests.fault.scenarios import BY_NAME, NOT_BUILT, SCENARIOS, Scenario
from tests.fault.scene import WAVES

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


SOLITARY = 1_000
"""From so many records on each scenario has a deployment of its own: looking at all that came before would take longest."""
EVERYTHING = 5_000
WAVES_A_MINUTE = 3
TOLD_MINUTES = 360.0


def main() -> int:
    """Play what is asked for; 1 if an invariant was violated."""
    asked = _asked()
    seeds = asked.seed or [secrets.randbelow(1_000_000) for _ in range(asked.seeds)]
    chosen = [BY_NAME[name] for name in asked.scenario] if asked.scenario else SCENARIOS
    left_out = [one.name for one in chosen if asked.store not in one.stores]
    chosen = [one for one in chosen if one.name not in left_out]
    about = f"seed {' '.join(map(str, seeds))}, {asked.records} records a scenario, store {asked.store}"
    about += ", as told" if asked.as_told else ""
    _say(f"{about}, {len(chosen)} of {len(SCENARIOS)} scenarios; load {os.getloadavg()[0]:.0f}")
    if left_out:
        _say(f"not with this store: {' '.join(left_out)}")
    signal.signal(signal.SIGTERM, _ended)
    began, lines, stand = time.monotonic(), [], _Stand(asked)
    with stand:
        for scenario in chosen:
            verdicts = {seed: _told(scenario, seed, stand.play(scenario, seed)) for seed in seeds}
            lines.append(_row(scenario, verdicts))
            if asked.markdown:
                page = f"{about}, {time.monotonic() - began:.0f} s in all, load {os.getloadavg()[0]:.0f} at the end"
                asked.markdown.write_text(_page(lines, _short(asked, chosen[: len(lines)]), page), encoding="utf-8")
    _say("", *_table(lines), "", f"not built: {' '.join(NOT_BUILT)}", out=sys.stdout)
    if any("VIOLATED" in line[-1] for line in lines):
        _say(f"violated; it repeats with --seed {' '.join(map(str, seeds))}")
        return 1
    return 0


def _told(scenario: Scenario, seed: int, verdict: Verdict) -> Verdict:
    for words in verdict.violated:
        _say(f"   {scenario.name} VIOLATED {words}")
    held = "held" if not verdict.violated else "VIOLATED"
    _say(f"{scenario.name:<5} {held} with seed {seed}, recovered after {verdict.seconds:.0f} s: {scenario.words}")
    return verdict


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev chaos", description=__doc__)
    names = ", ".join(BY_NAME)
    parser.add_argument(
        "--scenario", nargs="+", action="extend", choices=list(BY_NAME), metavar="F", help=f"of {names}"
    )
    parser.add_argument("--all", action="store_true", help=f"every scenario with {EVERYTHING} records")
    parser.add_argument("--seed", type=int, nargs="+", help="repeat a run; drawn and printed if not given")
    parser.add_argument(
        "--seeds", type=int, default=1, help="how many seeds to draw; each scenario is played with each (1)"
    )
    parser.add_argument("--records", type=int, help="how many people have a part in each (300)")
    parser.add_argument("--as-told", action="store_true", help="faults last as long as the facts ask for: hours in all")
    parser.add_argument("--minutes", type=float, help=f"how long the soak lasts, F53 (2; as told {TOLD_MINUTES:.0f})")
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite", help="what the store is (sqlite)")
    parser.add_argument("--markdown", type=Path, help="write the table into a file, anew after each scenario")
    asked = parser.parse_args()
    asked.minutes = (TOLD_MINUTES if asked.as_told else 2.0) if asked.minutes is None else asked.minutes
    asked.records = asked.records or (EVERYTHING if asked.all else 300)
    if asked.all and asked.scenario:
        parser.error("--all is every scenario, --scenario is some")
    if min(asked.records, asked.seeds) < 1 or asked.minutes <= 0:
        parser.error("--records, --seeds and --minutes must be at least 1")
    return asked


class _Stand(contextlib.ExitStack):
    """One deployment for scenario after scenario, each with people of its own; a new one after a violation."""

    def __init__(self, asked: argparse.Namespace) -> None:
        """Start nothing yet."""
        super().__init__()
        self.asked = asked
        self.rig: Rig | None = None
        self.first = 1

    def play(self, scenario: Scenario, seed: int) -> Verdict:
        """Play a scenario and return what came of it."""
        records = max(self.asked.records, scenario.told if self.asked.as_told else 0)
        apart = scenario.alone or scenario.environ or scenario.disk_mb or records >= SOLITARY
        if apart:
            self.end()
        waves = max(2, round(self.asked.minutes * WAVES_A_MINUTE)) if scenario.long else WAVES
        try:
            rig = self.rig or self._new(scenario)
            how = {"records": records, "first": self.first, "waves": waves, "as_told": self.asked.as_told}
            verdict = play(rig, scenario, seed=seed, **how)
            if verdict.violated:
                _say(rig.words())
        except NoDisk as problem:
            verdict = Verdict(violated=[f"not played: {problem}"])
        except Exception as error:  # noqa: BLE001 - one scenario that cannot be played must not hide the others
            verdict = Verdict(violated=[f"I1 not played to its end: {type(error).__name__}: {error}"[:600]])
        self.first = 1 if apart or verdict.violated else self.first + records
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
        self.rig = self.enter_context(
            deployment.running(directory, self.asked.store, scenario.environ, disk_mb=scenario.disk_mb)
        )
        return self.rig


def _row(scenario: Scenario, verdicts: dict[int, Verdict]) -> tuple[str, ...]:
    """Return a scenario's line: sums over the seeds, of calls and seconds the most."""
    every = list(verdicts.values())
    broken = {
        seed: sorted({words.split()[0] for words in verdict.violated})
        for seed, verdict in verdicts.items()
        if verdict.violated
    }
    held = "; ".join(f"{' '.join(names)} VIOLATED, seed {seed}" for seed, names in broken.items())
    counts = [sum(getattr(one, name) for one in every) for name in ("lost", "people", "tasks", "reverted")]
    calls, seconds = max(one.calls for one in every), max(one.seconds for one in every)
    return (scenario.name, scenario.words, *map(str, counts), f"{calls:.2f}", f"{seconds:.0f} s", held or "held")


def _table(lines: list[tuple[str, ...]]) -> list[str]:
    rows = [HEADINGS, *lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _short(asked: argparse.Namespace, chosen: list[Scenario]) -> list[str]:
    """Return what each is short of; played as told, only what it is always short of."""
    of = {one.name: [one.short_of, *([] if asked.as_told else [one.in_short])] for one in chosen}
    told = {name: "; ".join(words for words in every if words) for name, every in of.items()}
    return [f"* {name}: the facts ask for {words}" for name, words in told.items() if words]


def _page(lines: list[tuple[str, ...]], short: list[str], about: str) -> str:
    marks = [HEADINGS, ("---",) * len(HEADINGS), *lines]
    day = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return "\n".join(
        [
            "# Fault scenarios, measured",
            "",
            f"`./dev chaos`, {day}, {os.cpu_count()} cores; {about}.",
            "",
            "Calls a change: those that write, of both vendors together, whatever came of them; what reads is not counted.",
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
