"""The quickest fault scenarios against real processes, and the invariants themselves, each violated on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.celery.rig import is_alive
from tests.fault import deployment, edits, invariants
from tests.fault.disk import NoDisk
from tests.fault.edits import Wanted
from tests.fault.invariants import Seen
from tests.fault.play import play
from tests.fault.scenarios import BY_NAME, SCENARIOS

RECORDS, SEED = 50, 20261121
QUICK = ("F24", "F15", "F28", "F01", "F02", "F10")
"""Those of the facts' quick run (delivery D.4) that these processes play: 300 records in all. The others are slow."""
SLOW = [one.name for one in SCENARIOS if one.name not in QUICK and "sqlite" in one.stores]
PERSON = {"id": 7, "is_deleted": False, "cf_person_outreach_id": "1", "no_email_soliciting": True}


@pytest.mark.broker
@pytest.mark.processes
@pytest.mark.timeout(900)
def test_the_quick_scenarios_hold(tmp_path: Path) -> None:
    """One after the other in one deployment: nothing lost, doubled, taken back or left behind; in the end nothing runs."""
    with deployment.running(tmp_path) as running:
        for number, name in enumerate(QUICK):
            verdict = play(
                running,
                BY_NAME[name],
                seed=SEED,
                records=RECORDS,
                first=1 + number * RECORDS,
                waves=2,
                compares=number == len(QUICK) - 1,
            )
            assert verdict.violated == [], f"{name} {verdict.violated}\n{running.words()}"
        pids = [process.pid for process in running.processes.values()]
    assert len(pids) == 8
    assert not any(is_alive(pid) for pid in pids)


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.processes
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("name", SLOW)
def test_a_scenario_holds(name: str, tmp_path: Path) -> None:
    """As above, each in a deployment of its own."""
    scenario = BY_NAME[name]
    try:
        with deployment.running(tmp_path, more=scenario.environ, disk_mb=scenario.disk_mb) as running:
            verdict = play(running, scenario, seed=SEED, records=RECORDS)
            assert verdict.violated == [], f"{verdict.violated}\n{running.words()}"
    except NoDisk as problem:
        pytest.skip(str(problem))


def journal(path: str, effect: dict[str, Any] | None, *, fault: str | None = None) -> dict[str, Any]:
    """Return a write as a simulator notes it."""
    return {"path": path, "op": "write", "effect": [effect] if effect else [], "fault": fault}


def created(type_: str, reference: str, told: str) -> dict[str, Any]:
    """Return the effect of a creation."""
    return {"op": "create", "type": type_, "changes": {reference: [None, told]}}


OPTED_IN = {"op": "update", "type": "person", "changes": {"no_email_soliciting": [True, False]}}
TWICE = [journal("/crm/people.api", created("person", "cf_person_outreach_id", "1"))] * 2
CASES = [
    ("all is well", [PERSON], [], []),
    ("lost", [{**PERSON, "no_email_soliciting": False}], [], ["I2"]),
    ("deleted and not made again", [{**PERSON, "is_deleted": True}], [], ["I2"]),
    ("somebody twice", [PERSON, {**PERSON, "id": 8}], [], ["I3"]),
    ("made twice, one removed since", [PERSON, {**PERSON, "id": 8, "is_deleted": True}], TWICE, ["I3"]),
    ("opted in by us", [PERSON], [journal("/crm/people.api", OPTED_IN)], ["I4"]),
    ("opted in by a user", [PERSON], [journal("/_sim/edit", OPTED_IN)], []),
    ("too many calls", [PERSON], [journal("/crm/people.api", None, fault="status")] * 7, ["I5"]),
    ("as many as may be", [PERSON], [journal("/crm/people.api", None, fault="status")] * 6, []),
    ("reading", [PERSON], [{**journal("/crm/people.api", None, fault="status"), "op": "read"}] * 99, []),
]


@pytest.mark.parametrize("what, people, calls, violated", CASES, ids=[case[0] for case in CASES])
def test_a_violated_invariant_is_seen(
    what: str, people: list[dict[str, Any]], calls: list[dict[str, Any]], violated: list[str]
) -> None:
    """Each way in which it can go wrong is told by its number, and what users do themselves is not held against us."""
    plan = edits.Plan(range(1, 2), range(2, 2), [], [Wanted(1, "crm", "no_email_soliciting", True)], changes=2)
    verdict = invariants.judged(Seen(people, [], {}, calls), plan, calm=False)
    assert [one.split()[0] for one in verdict.violated] == violated


def test_a_seed_gives_the_same_edits() -> None:
    """A run can be repeated: the same seed, the same plan; another, another; everybody has something to expect."""
    one, same, other = (edits.draw(seed, 60, first=1, waves=3) for seed in ("5", "5", "6"))
    assert one == same
    assert one.waves != other.waves
    assert {wanted.prospect for wanted in one.wanted} == set(range(1, 61))
    assert (len(one.old), len(one.new), one.changes) == (40, 20, 78)


def test_the_canary_is_heard() -> None:
    """A name or an address of somebody in a text is found, however it is written."""
    texts = {"good": b"prospect 5", "bad": b"p5@canaryquill.example", "worse": b"Canaryquill5"}
    assert invariants.leaks(texts) == ["bad", "worse"]
