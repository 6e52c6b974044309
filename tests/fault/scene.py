"""What a scenario is made of. Every scenario is data: what is done in each wave, and what must hold besides the invariants.

The invariants (`tests.fault.invariants`) are looked at after every scenario; a scenario of less than the facts ask for says so
in ``short_of``. Where it only takes too long for every day, ``in_short`` says it instead, and ``--as-told`` plays it all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fault import edits
from tests.fault.edits import Plan
from tests.fault.rig import Rig

WAVES = 4
"""Of a whole run."""


@dataclass(slots=True)
class Scene:
    """One wave of a scenario: the edits are made, and this is done while they are on their way.

    ``people``: the ids in the CRM of those who were there from the start, by prospect. ``since``: how far both journals had
    come before the first wave. ``notes`` is the scenario's own, kept from wave to wave. ``as_told``: everything is to last as
    long as the facts ask for.
    """

    rig: Rig
    chance: random.Random
    plan: Plan
    wave: int = 0
    people: dict[int, int] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    as_told: bool = False

    def span(self, told: float, short: float) -> float:
        """Return how many seconds something lasts that the facts ask ``told`` for, and an ordinary run ``short``."""
        return told if self.as_told else short

    def often(self, whole: int, quick: int = 1) -> int:
        """Return how often in this wave, for what is to happen so often in a ``whole`` run. A quick one has fewer waves."""
        return -(-whole // WAVES) if self.whole else quick

    @property
    def whole(self) -> bool:
        """Tell whether this is a whole run; a quick one has fewer waves."""
        return len(self.plan.waves) >= WAVES

    @property
    def last(self) -> bool:
        """Tell whether no wave comes after this one."""
        return self.wave == len(self.plan.waves) - 1


def nothing(_scene: Scene) -> None:
    """Nothing is done."""


def all_is_well(_scene: Scene) -> str:
    """Nothing besides the invariants is asked for."""
    return ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way in which things go wrong.

    ``first`` comes before the first wave's edits, ``strike`` after each wave's, ``check`` when all has come right again: it
    returns in words what did not hold besides the invariants, blank if all did. ``draw`` makes the edits:
    (seed, records, first, waves). ``settle_s`` is how long all may take to come right after the last fault. ``environ`` are
    settings that it needs, ``disk_mb`` the size of a disk for its data; it then has a deployment of its own, as has one that is
    ``alone`` because it leaves things behind. A ``long`` one has as many waves as the minutes asked for have thirds.
    ``in_short`` is what it is short of unless it is played as told, ``told`` how many records it then has at least.
    """

    name: str
    words: str
    strike: Callable[[Scene], None]
    first: Callable[[Scene], None] = nothing
    check: Callable[[Scene], str] = all_is_well
    draw: Callable[..., Plan] = edits.draw
    environ: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False
    disk_mb: int = 0
    calm: bool = False
    long: bool = False
    stores: tuple[str, ...] = ("sqlite", "postgres")
    settle_s: float = 120.0
    short_of: str = ""
    in_short: str = ""
    told: int = 0
