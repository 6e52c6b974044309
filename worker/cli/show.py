"""What people see: progress while a pass runs, and its report as a table. Data on stdout, the rest on stderr."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any, Self

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

    from rich.console import RenderableType

    from worker.core.records import Kind
    from worker.sync.poll import Polled
    from worker.sync.run import Report
    from worker.sync.tally import Tally


SHOWN = 20
SIDES = {"outreach": "Outreach", "workbooks": "Workbooks"}
ENDLESS = 100_000
"""Letters of a line where there is no terminal: what reads a pipe wants one line a row."""


def page(*parts: RenderableType) -> None:
    """Print data on stdout: as wide as the terminal; in a pipe plain, each row one line, no blanks at its end."""
    console = Console(file=sys.stdout, highlight=False)
    if console.is_terminal:
        for part in parts:
            console.print(part)
        return
    console = Console(file=io.StringIO(), width=ENDLESS, highlight=False)
    with console.capture() as caught:
        for part in parts:
            console.print(part)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in caught.get().splitlines()))


def say_json(document: Mapping[str, Any]) -> None:
    """Print the one JSON document of `--json`."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")


def table(*headings: str, numbers: Collection[str] = ()) -> Table:
    """Return an empty table; the columns named in ``numbers`` stand to the right. In a pipe it has no lines."""
    ruled = Console(file=sys.stdout).is_terminal
    empty = Table(
        box=box.SIMPLE_HEAD if ruled else None,
        show_edge=False,
        pad_edge=False,
        padding=(0, 2 if ruled else 3, 0, 0),
        header_style="bold",
    )
    for heading in headings:
        empty.add_column(heading, overflow="fold", justify="right" if heading in numbers else "left")
    return empty


def pairs(rows: Iterable[tuple[str, str]]) -> Table:
    """Return names and what is said of each, the words below one another however long they are."""
    beside = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=False)
    beside.add_column(style="bold", no_wrap=True)
    beside.add_column(overflow="fold")
    for name, words in rows:
        beside.add_row(escape(name), escape(words))
    return beside


def indented(words: RenderableType, by: int = 2) -> Padding:
    """Return words a little to the right, also where they go on in the next line."""
    return Padding(words, (0, 0, 0, by))


def count(number: int, one: str, several: str | None = None) -> str:
    """Return how many there are: 1 record, 2 records."""
    return f"{number} {one if number == 1 else several or one + 's'}"


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
        # Bars that nobody sees would still bring every emoji in: 2 MB.
        self._bars = _bars(console) if console.is_terminal else None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        """Show the bars."""
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bars away."""
        if self._bars:
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

    def compared(self, read: int) -> None:
        """Tell how many records a comparison has read."""
        self._move("compare records", read, None)

    def _move(self, name: str, done: int, total: int | None) -> None:
        if self._bars is None:
            return
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total)
        self._bars.update(self._tasks[name], completed=done, total=total)


def _bars(console: Console) -> Bars:
    return Bars(
        SpinnerColumn(),
        TextColumn("{task.description:<22}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


def say_report(report: Report) -> None:
    """Print a pass as a person reads it, and what to type next."""
    told = report.as_json()
    if report.would_write is not None:
        page(*_would(report.would_write))
        return
    crm, outreach = told["crm"], told["outreach"]
    wrote = table("written", "Workbooks", "Outreach", numbers=("Workbooks", "Outreach"))
    rows = (
        ("created", crm["created"], outreach["created"]),
        ("updated", crm["updated"], outreach["updated"]),
        ("created again", crm["recreated"], ""),
        ("opted out", crm["opted_out"], outreach["opted_out"]),
        ("tasks cancelled", crm["tasks_cancelled"], ""),
        ("sequence actions, tasks finished", "", outreach["actions"]),
        ("unchanged", crm["unchanged"], ""),
        ("calls", told["calls"]["workbooks"], told["calls"]["outreach"]),
    )
    for name, left, right in rows:
        wrote.add_row(name, str(left), str(right))
    waiting = {name: told[name] for name in ("failed", "deferred", "held", "held_back", "excluded", "overwritten")}
    state = "both sides agree" if report.converged else "not everything is done yet"
    if report.converged and told["held_back"]:
        state = "both sides agree but for what is held back"
    page(
        wrote,
        "",
        ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in waiting.items()),
        f"{state}; read {count(sum(report.polled.values()), 'record')} in {report.seconds:.1f} s",
        *_next(told),
    )


def _next(told: Mapping[str, Any]) -> Iterator[str]:
    if told.get("troubles"):
        yield "next: outbook doctor"
    if told["failed"]:
        yield "next: outbook failures list"
    if told["held"]:
        yield "next: outbook held list"
    if told["paused"]:
        yield "next: outbook resume"


def _would(planned: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    if not planned:
        yield "nothing would be written"
        return
    yield f"{count(len(planned), 'record')} would be written:"
    listed = table("record", "action", "fields")
    for one in planned[:SHOWN]:
        kind = next(kind for kind in ("prospect", "task", "person") if kind in one)
        fields = ", ".join([*one["crm"], *one["outreach"]])
        listed.add_row(f"{kind} {one[kind]}", escape(one["action"]), escape(fields))
    yield listed
    if len(planned) > SHOWN:
        yield f"and {len(planned) - SHOWN} more; --json lists all"
    yield "next: outbook plan  (totals first, and each value before and after)"
