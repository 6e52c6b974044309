"""All scenarios by the facts' number (delivery D.3), and which of the facts are not built.

Each room of faults is a module of its own with its ``SCENARIOS``; :mod:`tests.fault.scene` says what one is made of.
"""

from __future__ import annotations

import importlib
import importlib.util

from tests.fault.scene import Scenario, Scene

__all__ = ["BY_NAME", "NOT_BUILT", "SCENARIOS", "Scenario", "Scene"]

ROOMS = ("process", "broker", "store", "network", "vendor", "operator", "crash", "clock", "calendar", "mapping")
FACTS = 54


def _collected() -> list[Scenario]:
    names = [f"tests.fault.{room}_scenarios" for room in ROOMS]
    found = [importlib.import_module(name) for name in names if importlib.util.find_spec(name)]
    told = [one for module in found for one in module.SCENARIOS]
    return sorted(told, key=lambda one: one.name)


SCENARIOS: list[Scenario] = _collected()
BY_NAME = {one.name: one for one in SCENARIOS}
ELSEWHERE = {
    "F23": "tests/store/test_migrations.py",
    "F47": "tests/web/test_receiver.py",
    "F52": "tests/remote/test_base.py",
    "F54": "tests/model",
}
"""What these processes do not play, and the test that tells it."""
_FACTS = [f"F{number:02}" for number in range(1, FACTS + 1)]
NOT_BUILT = [f"{name} ({ELSEWHERE.get(name, 'nowhere')})" for name in _FACTS if name not in BY_NAME]
