"""The package: one version, one command, and the mapping within."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    """What pyproject.toml says of the project."""
    found: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def test_the_version_stands_in_one_place(project: dict[str, object]) -> None:
    """What is installed says the version of pyproject.toml, and no other file repeats it as its own."""
    assert metadata.version("outbook") == project["version"]
    assert [path for path in (ROOT / "worker").rglob("*.py") if "__version__ =" in path.read_text()] == []


def test_the_command_is_outbook() -> None:
    """The installation has one command, which is the package's main."""
    (entry,) = metadata.entry_points(group="console_scripts", name="outbook")
    assert entry.value == "worker.cli:main"


def test_an_installation_holds_the_default_mapping(tmp_path: Path) -> None:
    """The built wheel has the package with every file of ours in it, and the mapping that `mapping init` copies."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("outbook-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert (
            archive.read("worker/mappings/outreach-workbooks.yaml")
            == (ROOT / "mappings" / "outreach-workbooks.yaml").read_bytes()
        )
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "worker").rglob("*.py")} <= names
    assert [name for name in names if name.startswith("tests")] == []
