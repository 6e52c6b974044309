"""Thousands at once: both worlds filled and edited in bulk, and what a step took, in seconds and calls."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.e2e.rig import Pass, Stage
from tests.e2e.worlds import COLD, EMAIL, ID, Fields
from worker import config
from worker.remote import base


def populate(stage: Stage, many: int) -> list[int]:
    """Put so many into Outreach, each in a sequence and with a job title; return their ids in order."""
    told = [{"firstName": f"P{n}", "lastName": "Ashby", "emails": [f"p{n}@example.com"]} for n in range(many)]
    made = stage.tell(
        *(
            {"op": "create", "type": "prospect", "attributes": {**one, "title": f"Title {n}"}}
            for n, one in enumerate(told)
        )
    )
    ids = [int(one["id"]) for one in made]
    running = {"state": "active", "stateChangedAt": "2026-01-05T10:00:00.000Z", "activeAt": "2026-01-02T09:00:00.000Z"}
    step = stage.step(COLD, 1)
    states: list[Fields] = []
    for one in ids:
        related = {"prospect": one, "sequence": COLD, "sequenceStep": step}
        states.append({"op": "create", "type": "sequenceState", "attributes": running, "relations": related})
    stage.tell(*states)
    return ids


def pairs(stage: Stage) -> dict[int, int]:
    """Return the living person of each prospect that one bears the id of."""
    return {int(one[ID]): int(one["id"]) for one in stage.people() if one.get(ID)}


def by_hand(stage: Stage, op: str, people: Iterable[int], **more: object) -> None:
    """Do the same to many people of the CRM at once."""
    stage.crm.world.edit([{"op": op, "type": "person", "id": one, **more} for one in people])


def doubled(stage: Stage) -> list[str]:
    """Return the addresses and prospects' ids that more than one living person bears."""
    living = stage.people()
    borne = Counter(str(one.get(EMAIL)).lower() for one in living) + Counter(str(one.get(ID)) for one in living)
    return [name for name, times in borne.items() if times > 1]


def linked(stage: Stage) -> dict[int, int]:
    """Return the store's links that stand, by prospect."""
    return dict(stage.rows("SELECT outreach_id, crm_id FROM link WHERE kind = 'prospects' AND NOT gone"))


def timed(stage: Stage, what: str, step: Callable[[], Pass]) -> Pass:
    """Do a step and tell on stderr what it took: seconds, CPU seconds (a process's and the simulators'), calls, exit code."""
    stage.forget_calls()
    wall, cpu = time.perf_counter(), _cpu_s()
    ended = step()
    took = f"{time.perf_counter() - wall:.1f} s, {_cpu_s() - cpu:.1f} s of CPU"
    calls = f"{stage.outreach_calls()} + {stage.crm_calls()} calls"
    sys.stderr.write(f"\n{what}: {took}, {calls}, exit {ended.code}")
    return ended


def _cpu_s() -> float:
    told = os.times()
    return told.user + told.system + told.children_user + told.children_system


def entries(stage: Stage) -> list[dict[str, Any]]:
    """Return everything that waits for a person."""
    found: list[dict[str, Any]] = stage.outbook("held", "list", "--json").report["held"]
    return found


@contextlib.contextmanager
def real_hosts(stage: Stage) -> Iterator[None]:
    """Let the simulators pass for real hosts: nothing in the settings says that they are none."""
    checked = config._check_together

    def believing(values: dict[str, str], problems: list[str], **more: bool) -> None:
        checked({**values, "OUTBOOK_ALLOW_INSECURE_HOSTS": "1"}, problems, **more)

    allowed = stage.environ.pop("OUTBOOK_ALLOW_INSECURE_HOSTS", None)
    with stage.monkeypatch.context() as patch:
        patch.setattr(base, "check_host", lambda *_told, **_more: None)
        patch.setattr(config, "_check_together", believing)
        yield
    if allowed is not None:
        stage.environ["OUTBOOK_ALLOW_INSECURE_HOSTS"] = allowed


def other_tenants(stage: Stage) -> None:
    """Let both hosts answer as another organisation and another database."""
    for world, change in ((stage.outreach.world, {"organisation": "org-live"}), (stage.crm.world, {"database_id": 99})):
        lively: Any = world
        lively.options = dataclasses.replace(lively.options, **change)
