"""Stories without end: whatever people do and whatever breaks, both sides come to agree."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Machine

NIGHTLY = 5_000
EXAMPLES, STEPS = (120, 14) if hypothesis.settings().max_examples < NIGHTLY else (10_000, 30)


@pytest.mark.timeout(86_400)
def test_whatever_happens_both_sides_come_to_agree(prepared_store: Path) -> None:
    """After any story one pass settles everything, the next does nothing, and no edit, opt-out or person is lost."""
    Machine.template = prepared_store
    run_state_machine_as_test(Machine, settings=hypothesis.settings(max_examples=EXAMPLES, stateful_step_count=STEPS))
