"""What people see: progress while a pass runs, and its report as a table. Data on stdout, the rest on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from worker.core.records import Kind
    from worker.sync.poll import Polled
    from worker.sync.run import Report
    from worker.sync.tally import Tally


WIDE = 200
"""Letters of a line where there is no terminal."""


def paper() -> Console:
    """Return where data is printed: a terminal's own width, else wide enough that nothing is cut."""
    console = Console(file=sys.stdout)
    return console if console.is_terminal else Console(file=sys.stdout, width=WIDE)


def span(seconds: float) -> str:
    """Return a span of time in the unit that fits: 12 s, 5 min, 3 h, 2 days."""
    for unit, size, up_to in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < up_to:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def local(at: datetime | None) -> str:
    """Return a moment by the clock of whoever reads it; a dash for none."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if at else "–"


class Progress:
    """Bars on stderr while a pass runs; nothing where stderr is no terminal."""

    def __init__(self) -> None:
        """Touch the terminal only when entered."""
        console = Console(stderr=True)
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        """Show the bars."""
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bars away."""
        self._bars.stop()

    def polled(self, stream: Kind, polled: Polled) -> None:
        """Tell how far a stream has been read; how much there is, nobody knows before its end."""
        self._move(f"read {stream.value}", polled.read, None)

    def applied(self, tally: Tally, left: int) -> None:
        """Tell how many changes are done and how many are left."""
        done = tally.claimed
        self._move("apply changes", done, done + left)

    def swept(self, kind: str, read: int) -> None:
        """Tell how far the look for what is gone has come."""
        self._move(f"look for gone {kind}", read, None)

    def _move(self, name: str, done: int, total: int | None) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total)
        self._bars.update(self._tasks[name], completed=done, total=total)


def say_report(report: Report) -> None:
    """Print a pass as a person reads it."""
    told = report.as_json()
    console = Console(file=sys.stdout)
    if report.would_write is not None:
        _say_plan(console, report)
        return
    crm, outreach = told["crm"], told["outreach"]
    table = Table(show_header=True, header_style="bold")
    table.add_column("")
    table.add_column("Workbooks", justify="right")
    table.add_column("Outreach", justify="right")
    rows = (
        ("created", crm["created"], outreach["created"]),
        ("updated", crm["updated"], outreach["updated"]),
        ("created again", crm["recreated"], ""),
        ("opted out", crm["opted_out"], outreach["opted_out"]),
        ("tasks cancelled", crm["tasks_cancelled"], ""),
        ("unchanged", crm["unchanged"], ""),
        ("calls", told["calls"]["workbooks"], told["calls"]["outreach"]),
    )
    for name, left, right in rows:
        table.add_row(name, str(left), str(right))
    console.print(table)
    waiting = {name: told[name] for name in ("failed", "deferred", "held", "held_back", "excluded", "overwritten")}
    console.print(", ".join(f"{name.replace('_', ' ')} {count}" for name, count in waiting.items()))
    state = "both sides agree" if report.converged else "not everything is done yet"
    console.print(f"{state}; read {sum(report.polled.values())} records in {report.seconds:.1f} s")


def _say_plan(console: Console, report: Report) -> None:
    planned = report.would_write or []
    counts: dict[str, int] = {}
    for one in planned:
        counts[one["action"]] = counts.get(one["action"], 0) + 1
    words = ", ".join(f"{action} {count}" for action, count in sorted(counts.items())) or "nothing"
    console.print(f"would write: {words}")
    for one in planned[:20]:
        fields = ", ".join([*one["crm"], *one["outreach"]])
        kind = next(kind for kind in ("prospect", "task", "person") if kind in one)
        who = f"{kind} {one[kind]}"
        console.print(f"  {who}: {one['action']} ({fields})", soft_wrap=True)
    if len(planned) > 20:  # noqa: PLR2004 - what fits a screen
        console.print(f"  and {len(planned) - 20} more; --json lists all")
