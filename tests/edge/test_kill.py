from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable

import pytest

from tests.e2e import worlds
from tests.e2e.rig import Hook, Stage, end_of
from tests.e2e.worlds import ID, NO_EMAIL, STATE, TITLE

pytestmark = [pytest.mark.processes]

PEOPLE = 110
"""More than one batch."""


def _populate(stage: Stage) -> list[int]:
    """People in Outreach, some in the CRM already, some opted out, one with a skipped task."""
    made = []
    for n in range(PEOPLE):
        made.append(stage.prospect(f"p{n}@example.com", first=f"P{n}", emailOptedOut=n % 20 == 0))
        state = stage.state(made[-1])
        if n % 10 == 0:
            stage.task(state, state="skipped")
        if n % 5 == 0:
            stage.person(first=f"P{n}", last="Ashby", email=f"p{n}@example.com")
    return made


def _assert_whole(stage: Stage, made: list[int]) -> None:
    """Everybody is there once with the final label, every skipped task once, every opt-out on."""
    assert sorted(one.get(ID, "") for one in stage.people()) == sorted(str(one) for one in made)
    for n, one in enumerate(made):
        person = stage.person_of(one)
        expected = (worlds.OPTED_OUT, True) if n % 20 == 0 else (worlds.RUNNING, False)
        assert (person[STATE], bool(person.get(NO_EMAIL))) == expected
    references = [one["cf_task_outreach_id"] for one in stage.cancelled()]
    assert len(references) == len(set(references)) == PEOPLE // 10


def _killer(victim: list[subprocess.Popen[str]], number: signal.Signals) -> Callable[[], None]:
    def strike() -> None:
        victim[0].send_signal(number)
        if number is signal.SIGKILL:
            time.sleep(0.05)  # the vendor goes on with what it was asked, but nobody hears the answer

    return strike


MOMENTS = [
    ("reading states", "outreach", lambda call: "sequenceStates" in call.path),
    ("reading people", "crm", lambda call: "people" in call.path and not call.writes),
    ("the first batch", "crm", lambda call: "people" in call.path and call.writes),
    ("writing tasks", "crm", lambda call: "tasks" in call.path and call.writes),
]


@pytest.mark.parametrize("_what, side, when", MOMENTS, ids=[row[0] for row in MOMENTS])
def test_killed_in_the_first_pass_it_goes_on(
    stage: Stage, _what: str, side: str, when: Callable[[object], bool]
) -> None:
    """Kill -9 at that very moment, then a pass again: it converges, nobody is lost, nobody doubled."""
    made = _populate(stage)
    victim: list[subprocess.Popen[str]] = []
    switch = stage.servers.outreach if side == "outreach" else stage.servers.crm
    switch.hooks.append(Hook(when, _killer(victim, signal.SIGKILL), 1))
    victim.append(stage.process("sync", "--json"))
    assert end_of(victim[0]).code == -signal.SIGKILL
    again = stage.sync("--wait", "90")  # a create that was cut off is looked for once more, a while later
    assert again.report["converged"] is True
    _assert_whole(stage, made)
    stage.settled()


def test_killed_again_and_again_it_converges(stage: Stage) -> None:
    """Killed at the second write, time after time: each pass gets further, and the end is whole."""
    made = _populate(stage)
    for _ in range(2):
        victim: list[subprocess.Popen[str]] = []
        stage.servers.crm.hooks = [Hook(lambda call: call.writes, lambda: None, 1)]
        stage.servers.crm.hooks.append(Hook(lambda call: call.writes, _killer(victim, signal.SIGKILL), 1))
        victim.append(stage.process("sync", "--json"))
        end_of(victim[0])
        stage.servers.crm.hooks = []
    stage.sync()
    _assert_whole(stage, made)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_batch(stage: Stage, number: signal.Signals) -> None:
    """SIGTERM 143, SIGINT 130: soon, in order, stdout holds no half document; the next pass does the rest."""
    made = _populate(stage)
    victim: list[subprocess.Popen[str]] = []
    stage.before_crm_write(_killer(victim, number))
    victim.append(stage.process("sync", "--json"))
    ended = end_of(victim[0], within_s=60)
    assert ended.code == 128 + number
    assert "Traceback" not in ended.err
    assert ended.out == ""
    assert 0 < len(stage.people()) < PEOPLE + 1
    stage.sync()
    _assert_whole(stage, made)


def test_two_at_once_share_the_work_and_double_nothing(stage: Stage) -> None:
    """Two passes over one store, started together: both end with 0, together they write everybody once."""
    made = _populate(stage)
    both = [stage.process("sync", "--json") for _ in range(2)]
    ended = [end_of(one) for one in both]
    assert [one.code for one in ended] == [0, 0], [one.err for one in ended]
    _assert_whole(stage, made)
    creates = [write for write in stage.crm_writes("person") if write["op"] == "create"]
    assert len(creates) == PEOPLE - PEOPLE // 5
    assert sum(one.report["crm"]["created"] for one in ended) == len(creates)
    stage.settled()


def test_two_at_once_while_somebody_edits(stage: Stage) -> None:
    """Edits on both sides while two passes run: after one more pass all of them have arrived."""
    made = [stage.enrolled(f"p{n}@example.com", first=f"P{n}") for n in range(40)]
    stage.sync()
    ids = [stage.person_of(one)["id"] for one in made]
    done = threading.Event()

    def edit() -> None:
        for n, (one, person) in enumerate(zip(made, ids, strict=True)):
            stage.set_prospect(one, title=f"T{n}")
            stage.set_person(person, last=f"L{n}")
        done.set()

    stage.before_call(stage.servers.crm, "people", lambda: threading.Thread(target=edit).start())
    both = [stage.process("sync", "--json") for _ in range(2)]
    assert {end_of(one).code for one in both} <= {0, 3}
    assert done.wait(60)
    stage.sync()
    assert [stage.of_person(person)[TITLE] for person in ids] == [f"T{n}" for n in range(40)]
    assert [stage.of_prospect(one)["lastName"] for one in made] == [f"L{n}" for n in range(40)]
    stage.settled()


def test_a_lost_data_directory_creates_nobody(stage: Stage) -> None:
    """A new store links everybody by the reference, writes no person and no task anew, and settles."""
    made = _populate(stage)
    stage.sync()
    before = stage.people()
    stage.store("second")
    stage.forget_calls()
    told = stage.sync()
    assert not {"created", "recreated", "tasks_cancelled"} & told.crm.keys()
    assert [one["id"] for one in stage.people()] == [one["id"] for one in before]
    assert stage.crm_writes() == []
    _assert_whole(stage, made)
    stage.settled()
