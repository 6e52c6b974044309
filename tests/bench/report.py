"""What a bench tells: figures, each a count or a ratio with what is to be reached; as a table and as JSON."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One number. ``most`` and ``least`` are what the design wants of it; None of either: it is only told."""

    what: str
    value: float
    unit: str = ""
    most: float | None = None
    least: float | None = None

    @property
    def met(self) -> bool | None:
        """Tell whether it is reached; None where nothing is wanted."""
        if self.most is None and self.least is None:
            return None
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)

    @property
    def wanted(self) -> str:
        """What the design wants, in a word."""
        return f"≤ {self.most:g}" if self.most is not None else f"≥ {self.least:g}" if self.least is not None else ""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        told = {"what": self.what, "value": self.value, "unit": self.unit}
        return told | {"wanted": self.wanted or None, "met": self.met}


@dataclass(slots=True)
class Findings:
    """What one bench has measured, and ``size``: over how much of what."""

    size: dict[str, float] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def tell(
        self, what: str, value: float, unit: str = "", *, most: float | None = None, least: float | None = None
    ) -> None:
        """Add a figure, to four digits."""
        self.figures.append(Figure(what, float(f"{value:.4g}") if value % 1 else value, unit, most, least))

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {"size": self.size, "figures": [one.as_json() for one in self.figures], "notes": self.notes}


def machine() -> dict[str, Any]:
    """Tell when and on what this runs."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "load": [round(one, 1) for one in os.getloadavg()],
        "python": platform.python_version(),
        "system": platform.system(),
    }


def show(name: str, found: Findings, console: Console) -> None:
    """Print the table of one bench."""
    size = ", ".join(f"{value:g} {what}" for what, value in found.size.items())
    table = Table(title=f"{name} ({size})", title_justify="left")
    for title in ("figure", "measured", "wanted", ""):
        table.add_column(title, justify="right" if title == "measured" else "left")
    for one in found.figures:
        table.add_row(one.what, f"{one.value:,.6g} {one.unit}".strip(), one.wanted, MARKS[one.met])
    console.print(table)
    for note in found.notes:
        console.print(f"  {note}")


MARKS = {None: "", True: "met", False: "MISSED"}
