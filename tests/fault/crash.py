"""F08: a process dies at every point there is, another one comes, and all ends as if nobody had died.

Both vendors, the store and all clocks are the same before each death: they are a copy of this process and of its directory,
made when nothing runs. `python -m tests.fault.crash` plays all points and prints how many there are of each step.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from tests.conftest import _end_with_parent
from tests.fault import crash_points, crash_story, invariants
from tests.fault.crash_points import Point
from tests.fault.edits import Plan
from tests.fault.invariants import Seen
from worker.cli import app as front_door
from worker.remote.outreach import Outreach
from worker.sim import outreach, server, workbooks
from worker.sim.control import ControlApp
from worker.sim.outreach_options import Options
from worker.store import database, upgrade

NOW = "2026-11-20T09:00:00+00:00"
LEASE_S = 75.0
"""Longer than any lease, and than a new record that nobody confirmed is waited for."""
PAGE = 3
"""Records a page of Outreach, so that a run has several."""
STEPS = ("poll", "identify", "apply", "refresh", "around")


@dataclass(slots=True)
class World:
    """Both vendors, in this process, and the directory of our store."""

    outreach: ControlApp
    crm: ControlApp
    directory: Path
    story: str
    time: str = NOW

    def later(self, seconds: float) -> None:
        """Let time pass everywhere."""
        for app in (self.outreach, self.crm):
            app.clock.shift(seconds)
        self.time = self.outreach.clock.now().isoformat()


@dataclass(slots=True)
class Death:
    """What came of dying at a point: ``wrong`` in words, blank if all ended well."""

    point: int
    what: str = ""
    wrong: str = ""


@dataclass(slots=True)
class Played:
    """All that was played of one story."""

    story: str
    points: list[Point]
    deaths: list[Death] = field(default_factory=list)

    def steps(self) -> dict[str, int]:
        """Return how many points each step has."""
        counted = Counter(point.step for point in self.points)
        return {step: counted[step] for step in STEPS}

    def wrong(self) -> list[str]:
        """Return what did not end as if nobody had died."""
        return [f"{self.story}, point {one.point}, {one.what}: {one.wrong}" for one in self.deaths if one.wrong]


@contextlib.contextmanager
def staged(story: str) -> Iterator[World]:
    """Set a story up to just before its last act, everything before it synced, in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="outbook-crash-") as made:
        world = World(
            outreach.build("crash", 0, options=Options(hourly_calls=None)),
            workbooks.build("crash", 0),
            Path(made),
            story,
        )
        for app in (world.outreach, world.crm):
            app.clock.freeze()
            app.clock.set(NOW)
            app.world.reset(seed=None, records=0)
        upgrade.upgrade(database.connect(f"sqlite:///{world.directory / 'outbook.db'}"))
        *before, last = crash_story.STORIES[story]
        for act in before:
            act(world)
            with serving(world) as urls:
                code, words = _end(_start(world, urls, "before"), world, "before")
            assert code == 0, words
            world.time = world.outreach.clock.now().isoformat()
        last(world)
        yield world


@contextlib.contextmanager
def serving(world: World) -> Iterator[tuple[str, str]]:
    """Answer as both vendors while the block lasts."""
    with server.running(world.outreach, threads=2) as left, server.running(world.crm, threads=2) as right:
        yield left, right


def _start(world: World, urls: tuple[str, str], name: str, dies_at: int | None = None) -> int:
    """Start `outbook sync` as a process of its own, forked from this one, which has read the program already."""
    pid = os.fork()
    if pid:
        return pid
    _end_with_parent(signal.SIGKILL)
    try:
        _become(world, urls, name, dies_at)
    except BaseException:  # noqa: BLE001 - nothing of the parent's may run in the child
        traceback.print_exc()
    finally:
        os._exit(70)


def _become(world: World, urls: tuple[str, str], name: str, dies_at: int | None) -> NoReturn:
    out = os.open(world.directory / f"{name}.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(out, number)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    for setting in [one for one in os.environ if one.startswith("OUTBOOK_")]:
        del os.environ[setting]
    os.environ |= {
        "OUTBOOK_OUTREACH__BASE_URL": urls[0],
        "OUTBOOK_OUTREACH__CLIENT_ID": "sim-client",
        "OUTBOOK_OUTREACH__CLIENT_SECRET": "sim-secret",
        "OUTBOOK_OUTREACH__REDIRECT_URI": "https://localhost/back",
        "OUTBOOK_OUTREACH__REFRESH_TOKEN": "sim-refresh",
        "OUTBOOK_WORKBOOKS__BASE_URL": urls[1],
        "OUTBOOK_WORKBOOKS__API_KEY": "sim-key",
        "OUTBOOK_ALLOW_INSECURE_HOSTS": "1",
        "OUTBOOK_DATA_DIR": str(world.directory),
    }
    os.chdir(world.directory)
    sys.argv = ["outbook", "sync", "--json"]
    Outreach.page = functools.partialmethod(Outreach.page, size=PAGE)  # type: ignore[assignment]
    crash_points.bend(world.time, urls)
    crash_points.hook(crash_points.Life(world.directory / f"{name}.tsv", dies_at))
    code = 70
    try:
        front_door.main()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _end(pid: int, world: World, name: str) -> tuple[int, str]:
    """Wait for a process and return its exit code, negative for a signal, and what it said."""
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), (world.directory / f"{name}.out").read_text(encoding="utf-8")


def ends(world: World) -> dict[str, Any]:
    """Return what both sides hold, without ids, versions and times, which differ from life to life."""
    crm, held = world.crm.world.dump(), world.outreach.world.dump()
    people = sorted((_plain(one) for one in crm["people"]), key=str)
    tasks = sorted((_plain(one) for one in crm["tasks"]), key=str)
    prospects = {number: _plain(one["attributes"]) for number, one in held["prospect"].items()}
    return {"people": people, "tasks": tasks, "prospects": prospects}


OF_THE_ROW = {"id", "updated_at", "lock_version", "updated_by", "updatedAt", "createdAt", "primary_contact_id"}
WHEN = {"optedOutAt", "emailsOptedAt", "callsOptedAt", "cf_person_sequence_state_updated_at"}
"""Times at which Outreach was told of an opt-out: they differ from life to life."""


def _plain(held: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in held.items() if name not in OF_THE_ROW}
    return {name: bool(value) if name in WHEN else value for name, value in kept.items()}


def died(world: World, dies_at: int | None) -> tuple[Death, dict[str, Any], list[Point]]:
    """Let one process die at a point and another one come; return what is wrong, how all ends, and the first one's points."""
    death = Death(dies_at or 0)
    with serving(world) as urls:
        code, words = _end(_start(world, urls, "first", dies_at), world, "first")
        points = crash_points.read(world.directory / "first.tsv")
        if points:
            death.what = f"{points[-1].place} {points[-1].what}"
        if code != (-signal.SIGKILL if dies_at else 0):
            death.wrong = f"the first one ended with {code}: {words[-400:]}"
        world.later(LEASE_S)
        code, words = _end(_start(world, urls, "second"), world, "second")
    if code != 0 or '"converged": true' not in words:
        death.wrong = death.wrong or f"the second one ended with {code}: {words[-400:]}"
    death.wrong = death.wrong or "; ".join(_violated(world))
    return death, ends(world), points


def _violated(world: World) -> list[str]:
    """Return the invariants that do not hold."""
    crm, held = world.crm.world.dump(), world.outreach.world.dump()
    journal = [*world.outreach.journal.entries(), *world.crm.journal.entries()]
    plan = Plan(
        range(1, 10), range(10, 10), [], crash_story.WANTED_OF[world.story], changes=crash_story.CHANGES[world.story]
    )
    seen = Seen(crm["people"], crm["tasks"], held["prospect"], journal)
    return invariants.judged(seen, plan, calm=False).violated


def listed(world: World) -> tuple[list[Point], dict[str, Any]]:
    """Return every point of a process that nobody kills, and how all ends then."""
    told = _apart(world, None)
    assert not told["wrong"], told["wrong"]
    return [Point(*one) for one in told["points"]], told["ends"]


def play(story: str, chosen: Iterable[int] | None = None, *, say: Any = None) -> Played:  # noqa: ANN401 - a writer of lines
    """Let a process die at each point of a story's last act, or at the chosen ones, counted modulo their number."""
    with staged(story) as world:
        points, wanted = listed(world)
        played = Played(story, points)
        numbers = range(1, len(points) + 1) if chosen is None else sorted({n % len(points) + 1 for n in chosen})
        for number in numbers:
            told = _apart(world, number)
            death = Death(number, told["what"], told["wrong"])
            if not death.wrong and told["ends"] != wanted:
                death.wrong = f"ends otherwise: {_difference(wanted, told['ends'])}"
            played.deaths.append(death)
            if say:
                say(f"{story} {number}/{len(points)} {death.what}: {death.wrong or 'held'}")
        return played


def _difference(wanted: Any, ended: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    for name in wanted:
        if wanted[name] != ended[name]:
            return f"{name}: wanted {str(wanted[name])[:1500]}, is {str(ended[name])[:1500]}"
    return ""


def _apart(world: World, dies_at: int | None) -> dict[str, Any]:
    """Play one death in a copy of this process and of the store, and return what it tells."""
    directory = Path(tempfile.mkdtemp(prefix="outbook-death-"))
    told = directory / "told.json"
    pid = os.fork()
    if not pid:
        _end_with_parent(signal.SIGKILL)
        try:
            shutil.copytree(world.directory, directory / "store")
            world.directory = directory / "store"
            death, ended, points = died(world, dies_at)
            listed_points = [[one.number, one.step, one.place, one.what] for one in points]
            answer = {"wrong": death.wrong, "what": death.what, "ends": ended, "points": listed_points}
            told.write_text(json.dumps(answer, default=_jsonable), encoding="utf-8")
        except BaseException:  # noqa: BLE001 - nothing of the parent's may run in the copy
            traceback.print_exc()
        finally:
            os._exit(0)
    try:
        _wait(pid)
        if not told.exists():
            return {"wrong": "could not be played", "what": "", "ends": {}, "points": []}
        found: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
        return found
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _wait(pid: int) -> None:
    """Wait for a copy of this process, and end it if that is broken off; what it has started ends with it."""
    try:
        os.waitpid(pid, 0)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _jsonable(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def table(stories: Iterable[Played]) -> list[str]:
    """Return how many points there are of each step, and how many were played."""
    lines = [f"{'story':<8}" + "".join(f"{step:>10}" for step in (*STEPS, "points", "played", "wrong"))]
    for one in stories:
        counts = [*one.steps().values(), len(one.points), len(one.deaths), len(one.wrong())]
        lines.append(f"{one.story:<8}" + "".join(f"{count:>10}" for count in counts))
    return lines


def main() -> int:
    """Play all points; 1 if one did not end well."""

    def say(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    signal.signal(signal.SIGTERM, _ended)
    chosen = [int(one) for one in sys.argv[1:]] or None
    done = [play(story, chosen, say=say) for story in crash_story.STORIES]
    sys.stdout.write("".join(f"{line}\n" for line in [*table(done), *(w for one in done for w in one.wrong())]))
    return int(any(one.wrong() for one in done))


def _ended(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
