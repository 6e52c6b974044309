"""Every kind of removal in Outreach ends as the contract says, with webhooks, without, and with a fifth of them lost.

No events: the token may not read them. What no webhook tells the rolling sweep finds within a day, and nothing else could.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e import nets
from tests.e2e.rig import Stage
from tests.e2e.worlds import ALL, COLD, FIVE, INBOUND, NO_EMAIL, NOT_ACTIVE, OPTED_OUT, RUNNING, STATE
from worker.sim import outreach
from worker.sim.outreach_options import Options

DESTROYED = ("prospect.destroyed", "sequenceState.destroyed", "task.destroyed")
EACH = 3
"""How many of every kind are removed: enough for a fifth of them to be some."""


@dataclass(slots=True)
class Cast:
    """Who is removed from where: prospects by what happens to them, and the tasks of those whose task is deleted."""

    out_of_the_only: list[int] = field(default_factory=list)
    out_of_one_of_two: list[int] = field(default_factory=list)
    deleted: list[int] = field(default_factory=list)
    deleted_opted_out: list[int] = field(default_factory=list)
    skipped: list[tuple[int, int]] = field(default_factory=list)
    idle: list[int] = field(default_factory=list)
    states: list[int] = field(default_factory=list)
    tasks: list[int] = field(default_factory=list)


def cast(stage: Stage) -> Cast:
    """Put everybody into Outreach, in one sequence or two."""
    made = Cast()
    for number in range(EACH):
        only = stage.prospect(f"only{number}@example.com")
        made.states.append(stage.state(only))
        made.out_of_the_only.append(only)
        two = stage.prospect(f"two{number}@example.com")
        made.states.append(stage.state(two, COLD))
        stage.state(two, INBOUND)
        made.out_of_one_of_two.append(two)
        made.deleted.append(stage.enrolled(f"deleted{number}@example.com"))
        made.deleted_opted_out.append(stage.enrolled(f"out{number}@example.com", emailOptedOut=True))
        busy = stage.prospect(f"busy{number}@example.com")
        of_busy = stage.state(busy, COLD, step=1)
        made.tasks.append(stage.task(of_busy, order=1))
        made.skipped.append((busy, of_busy))
        idle = stage.prospect(f"idle{number}@example.com")
        made.tasks.append(stage.task(stage.state(idle), order=1))
        made.idle.append(made.tasks[-1])
    return made


def removed(stage: Stage, made: Cast) -> None:
    """Somebody removes all of it in Outreach, and the sequences of those whose task is gone go on."""
    for state in made.states:
        stage.tell({"op": "delete", "type": "sequenceState", "id": state})
    for prospect in (*made.deleted, *made.deleted_opted_out):
        stage.tell({"op": "delete", "type": "prospect", "id": prospect})
    for task in made.tasks:
        stage.tell({"op": "delete", "type": "task", "id": task})
    for _, state in made.skipped:
        stage.tell({"op": "advance", "state": state})


def first_seen(stage: Stage) -> dict[tuple[str, str], int]:
    """How many changes of each stream each channel showed first."""
    told = stage.rows("SELECT stream, channel, sum(records) FROM sight GROUP BY stream, channel")
    return {(stream, channel): count for stream, channel, count in told}


def lost(told: list[dict[str, Any]], but: set[int]) -> Counter[str]:
    """How many words of destruction were lost, by stream; but for some tasks, which are looked for when the step moves."""
    letters = [json.loads(one["body"])["data"] for one in told if one["mark"] == "lost" and one["name"] in DESTROYED]
    return Counter(f"{one['type']}s" for one in letters if one["type"] != "task" or one["id"] not in but)


@pytest.mark.parametrize("webhooks", ["on", "off", "lossy"])
def test_whatever_is_removed_ends_as_it_should(stage: Stage, webhooks: str) -> None:
    """Not Active, one line less, unlinked, opted out for ever, cancelled: the same three times, and then nothing more."""
    stage.use(outreach_app=outreach.build(records=0, options=Options(scopes=nets.ALONE)))
    made = cast(stage)
    stage.sync()
    with nets.listening(stage) if webhooks != "off" else contextlib.nullcontext():
        if webhooks == "lossy":
            nets.courier(stage, lose=0.2, seed=8)
        removed(stage, made)
        told = nets.delivered(stage) if webhooks != "off" else []
        stage.sync()
        if webhooks != "on":
            nets.one_round(stage)
            stage.sync()
    assert ends(stage, made) == {
        "only": [NOT_ACTIVE] * EACH,
        "two": [(RUNNING, "Inbound follow-up: Active – Running (step 1)")] * EACH,
        "deleted": [NOT_ACTIVE] * EACH,
        "out": [(OPTED_OUT, True)] * EACH,
        "skipped": [1] * EACH,
        "idle": [0] * EACH,
    }
    assert not any(stage.person_of(one).get(name) for one in made.out_of_the_only for name in FIVE if name != STATE)
    caught = {stream: count for (stream, channel), count in first_seen(stage).items() if channel == "sweep"}
    every = {"sequenceStates": 4 * EACH, "prospects": 2 * EACH, "tasks": EACH}
    assert (
        caught
        == {"on": {}, "off": every, "lossy": lost(told, {one for one in made.tasks if one not in made.idle})}[webhooks]
    )
    assert webhooks != "lossy" or 0 < sum(caught.values()) < sum(every.values())
    stage.settled()


def ends(stage: Stage, made: Cast) -> dict[str, list[Any]]:
    """What the CRM shows of everybody."""
    out = [stage.person_of(one) for one in made.deleted_opted_out]
    two = [stage.person_of(one) for one in made.out_of_one_of_two]
    return {
        "only": [stage.person_of(one)[STATE] for one in made.out_of_the_only],
        "two": [(one[STATE], one[ALL]) for one in two],
        "deleted": [stage.person_of(one)[STATE] for one in made.deleted],
        "out": [(one[STATE], one[NO_EMAIL]) for one in out],
        "skipped": [len(stage.cancelled(task)) for task in made.tasks if task not in made.idle],
        "idle": [len(stage.cancelled(task)) for task in made.idle],
    }
