"""One scenario, played: people edit, things go wrong, everything is mended, and then it is looked whether all holds."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable
from typing import Any

from tests.fault import edits, invariants
from tests.fault.edits import Plan
from tests.fault.invariants import REFERENCE, Verdict
from tests.fault.rig import Rig, Unsettled
from tests.fault.scene import WAVES, Scenario, Scene

PATIENCE_S = 120.0
"""How long after the last fault everything may take to come right (I1)."""
CALM_S, LOAD_S = 600.0, 0.1
"""How long those who are there from the start may take to arrive, and each of them where they are many."""


def play(
    rig: Rig,
    scenario: Scenario,
    *,
    seed: int,
    records: int,
    first: int = 1,
    waves: int = WAVES,
    compares: bool = True,
    as_told: bool = False,
) -> Verdict:
    """Play a scenario with prospects from ``first`` on and return what came of it; the same seed gives the same edits.

    ``compares``: `outbook reconcile` must find nothing in the end. ``as_told``: faults last as long as the facts ask for.
    """
    plan = scenario.draw(f"{seed} {scenario.name}", records, first=first, waves=waves)
    scene = Scene(rig, random.Random(f"{seed} {scenario.name} strikes"), plan, as_told=as_told)
    try:
        scene.people = _prepared(rig, plan, max(CALM_S, records * LOAD_S))
    except Unsettled as problem:
        return Verdict(violated=[f"I1 the calm before the storm: {problem}; {rig.stuck()}"])
    scene.since = rig.mark()
    said = _storm(scenario, scene)
    rig.mend()
    began, settled = time.monotonic(), ""
    try:
        rig.wait_for(lambda: _stands(rig, plan), scenario.settle_s)
    except Unsettled as problem:
        settled = f"{problem}; {rig.stuck()}"
    took_s = time.monotonic() - began
    checked = scenario.check(scene)
    compared = _compared(rig) if compares and not settled else ""
    verdict = invariants.judged(rig.seen(scene.since), plan, calm=scenario.calm)
    verdict.seconds = took_s
    verdict.violated += said
    verdict.note(scenario.name, checked)
    verdict.note("I1", settled)
    verdict.note("I1", compared)
    verdict.note("I6", invariants.leaks(rig.texts()))
    verdict.note("I7", _left(rig))
    verdict.note("I8", rig.broken())
    return verdict


def _prepared(rig: Rig, plan: Plan, within_s: float) -> dict[int, int]:
    """Bring those who are there from the start into Outreach, wait until the CRM has them, and return their people's ids."""
    rig.edit("outreach", [one for prospect in plan.old for one in edits.newcomer(prospect)])
    wanted = [edits.Wanted(prospect, "crm", edits.LABEL, edits.RUNNING) for prospect in plan.old]
    rig.wait_for(lambda: rig.is_quiet() and not invariants.missing(rig.seen(), wanted), within_s)
    return {int(one[REFERENCE]): one["id"] for one in rig.seen().people if one.get(REFERENCE) and not one["is_deleted"]}


def _storm(scenario: Scenario, scene: Scene) -> list[str]:
    """Let people edit and things go wrong; return what did not hold meanwhile. After that people alone go on."""
    said: list[str] = []
    for number, wave in enumerate(scene.plan.waves):
        scene.wave = number
        deeds = (scenario.first,) if number == 0 else ()
        said += _tried(deeds, scene)
        scene.rig.edit("outreach", wave.outreach)
        typed = [{"op": "set", "type": "person", "id": scene.people[who], "fields": told} for who, told in wave.crm]
        scene.rig.edit("workbooks", typed)
        said += _tried(() if said else (scenario.strike,), scene)
    return said


def _tried(deeds: Iterable[Callable[[Scene], None]], scene: Scene) -> list[str]:
    try:
        for deed in deeds:
            deed(scene)
    except Unsettled as problem:
        return [str(problem)]
    return []


def _stands(rig: Rig, plan: Plan) -> bool:
    rig.supervise()
    return rig.is_quiet() and not invariants.missing(rig.seen(), plan.wanted)


def _left(rig: Rig) -> str:
    """Return what does not go away; what fell due just now is not stuck."""
    try:
        rig.wait_for(lambda: rig.is_quiet() and not rig.stuck(), PATIENCE_S)
    except Unsettled:
        return rig.stuck()
    return ""


def _compared(rig: Rig) -> str:
    """Return what `outbook reconcile` finds, blank if it has read everything and found nothing."""
    code, told = rig.outbook("reconcile", "--json")
    report: dict[str, Any] = json.loads(told) if told else {}
    if code == 0 and report.get("coverage") == 100.0 and report.get("differences") == 0:
        return ""
    said = {name: report.get(name) for name in ("coverage", "found", "troubles")}
    return f"reconcile ends with {code}: {said} {str(report.get('findings', ''))[:300]}"
