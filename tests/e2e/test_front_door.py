"""The front door: what is typed wrongly is exit 4 and a sentence, who interrupts is told that nothing is lost."""

from __future__ import annotations

import signal

import pytest

from tests.e2e.rig import Stage, end_of


@pytest.mark.parametrize(
    "typed, told",
    [
        (
            "resync --sequense 1",
            "outbook: No such option: --sequense (Possible options: --sequence); see outbook resync --help",
        ),
        ("plan --limit none", "see outbook plan --help"),
        ("sync --direction up", "'up' is not one of 'both', 'to-crm', 'to-outreach'; see outbook sync --help"),
        ("failures show", "outbook: Missing argument 'ID'; see outbook failures show --help"),
        ("synk", "Did you mean 'sync', 'resync'; see outbook --help"),
    ],
)
def test_what_is_typed_wrongly_is_invalid_input(stage: Stage, typed: str, told: str) -> None:
    """Exit 4, not 2, which means that a plan found changes; one line, no box, where help is."""
    ended = stage.outbook(*typed.split())
    assert (ended.code, ended.out) == (4, "")
    assert told in ended.err
    assert ended.err.count("\n") == 1


def test_a_noun_alone_shows_its_verbs(stage: Stage) -> None:
    """With the exit code of invalid input, for nothing was asked."""
    ended = stage.outbook("failures")
    assert ended.code == 4
    assert "Usage: outbook failures" in ended.out + ended.err


def test_ctrl_c_says_that_nothing_is_lost(stage: Stage) -> None:
    """In the middle of a verb that waits for a vendor: a sentence, exit 130, no traceback, and the next run goes on."""
    stage.enrolled("ada@example.com")
    stage.outreach.latency_s = 0.5
    process = stage.process("doctor")
    stage.before_call(stage.servers.outreach, "/api/v2", lambda: process.send_signal(signal.SIGINT))
    ended = end_of(process)
    assert (ended.code, ended.err) == (
        130,
        "outbook: interrupted; what was done is kept, and the next run goes on from here\n",
    )
    stage.outreach.latency_s = 0.0
    assert stage.sync().report["converged"] is True
