"""What scenarios leave to other tests is really told there."""

from __future__ import annotations

import re

import pytest

from tests.fault.rig import ROOT
from tests.fault.scenarios import BY_NAME
from tests.fault.vendor_scenarios import TOLD_ELSEWHERE


@pytest.mark.parametrize("what", TOLD_ELSEWHERE)
def test_what_is_told_elsewhere_is_told(what: str) -> None:
    """The named test exists, and the scenario that leaves something to it says that it is short of that."""
    path, _, name = TOLD_ELSEWHERE[what].partition("::")
    assert re.search(rf"^def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), path
    assert BY_NAME[what.split(maxsplit=1)[0]].short_of
