"""`./dev`: sets up once, whole or not at all, and says what is missing. A stand-in for python3 notes its calls."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Plays python3, pip and the .venv's python: notes each installation in `log`, and fails while a file `broken` is there.
PYTHON = """#!/bin/sh
case "$*" in
-c*) exit 0 ;;
*--version) exit 0 ;;
'-m venv '*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
*' -e .')
    echo outbook >>log
    printf '#!/bin/sh\\necho "outbook $*"\\n' >.venv/bin/outbook
    chmod +x .venv/bin/outbook
    ;;
*requirements-dev.lock) [ ! -e broken ] || exit 7; echo packages >>log ;;
'-m pytest'* | '-m tests.fault'*) echo "$*" ;;
*) echo "not expected: $*" >&2; exit 99 ;;
esac
"""
OLD = """#!/bin/sh
[ "$1" = --version ] || exit 1
echo 'Python 3.9.2'
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with nothing set up, and the stand-in in ``bin``."""
    place = tmp_path / "a checkout"
    (place / "deploy").mkdir(parents=True)
    for name in ("dev", "pyproject.toml", "deploy/requirements-dev.lock"):
        shutil.copy(ROOT / name, place / name)
    program(place, PYTHON)
    return place


def program(place: Path, text: str) -> None:
    """Every name under which an interpreter is looked for is the given program."""
    (place / "bin").mkdir(exist_ok=True)
    for name in ("python3", "python3.14", "python3.13", "python3.12", "python3.11", "python"):
        path = place / "bin" / name
        path.write_text(text)
        path.chmod(0o755)


def dev(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``./dev`` from another directory."""
    return subprocess.run(
        [place / "dev", *arguments],
        env={"PATH": f"{place / 'bin'}{os.pathsep}{os.defpath}"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def log(place: Path) -> list[str]:
    """Return what was installed."""
    return (place / "log").read_text().split()


def test_a_fresh_checkout_is_set_up_once(checkout: Path) -> None:
    """The first verb installs the packages and the command, the second nothing; arguments reach what is run."""
    first = dev(checkout, "test", "-k", "two words")
    assert (first.returncode, first.stdout) == (0, "-m pytest -n 3 --dist worksteal -k two words\n")
    assert "Setting up .venv" in first.stderr
    second = dev(checkout, "demo", "--once")
    assert (second.returncode, second.stdout, second.stderr) == (0, "outbook demo --once\n", "")
    third = dev(checkout, "chaos", "--seed", "7")
    assert (third.returncode, third.stdout) == (0, "-m tests.fault --seed 7\n")
    assert log(checkout) == ["packages", "outbook"]
    assert not (checkout / ".venv.lock").exists()


def test_another_lock_sets_up_anew(checkout: Path) -> None:
    """A changed lock file replaces .venv; a changed pyproject.toml only renews the command."""
    dev(checkout, "test")
    with (checkout / "pyproject.toml").open("a") as file:
        file.write("# more\n")
    dev(checkout, "test")
    assert log(checkout) == ["packages", "outbook", "outbook"]
    with (checkout / "deploy" / "requirements-dev.lock").open("a") as file:
        file.write("# more\n")
    dev(checkout, "test")
    assert log(checkout) == ["packages", "outbook", "outbook", "packages", "outbook"]


def test_a_set_up_that_broke_off_is_done_again(checkout: Path) -> None:
    """A failed installation ends with its error, leaves no lock, and the next run starts from nothing."""
    (checkout / "broken").touch()
    assert dev(checkout, "test").returncode == 7
    assert not (checkout / ".venv.lock").exists()
    (checkout / ".venv" / "half").touch()
    (checkout / "broken").unlink()
    assert dev(checkout, "test").returncode == 0
    assert not (checkout / ".venv" / "half").exists()


def test_a_moved_checkout_is_set_up_anew(checkout: Path, tmp_path: Path) -> None:
    """A .venv holds absolute paths, so it is made again where the checkout was moved."""
    dev(checkout, "test")
    moved = checkout.rename(tmp_path / "moved")
    dev(moved, "test")
    assert log(moved) == ["packages", "outbook", "packages", "outbook"]


def test_the_lock_of_a_dead_set_up_is_taken_over(checkout: Path) -> None:
    """Somebody killed half way does not keep the next one waiting."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    (checkout / ".venv.lock").mkdir()
    (checkout / ".venv.lock" / "pid").write_text(f"{gone.pid}\n")
    assert dev(checkout, "test").returncode == 0


def test_two_at_once_set_up_once(checkout: Path) -> None:
    """The second waits for the first and then finds everything there."""
    command = [str(checkout / "dev"), "test"]
    env = {"PATH": f"{checkout / 'bin'}{os.pathsep}{os.defpath}"}
    both = [subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [one.wait(60) for one in both] == [0, 0]
    assert log(checkout) == ["packages", "outbook"]


def test_an_old_python_is_told(checkout: Path) -> None:
    """Without a Python of 3.11 or newer, the message says which was found and what is needed."""
    program(checkout, OLD)
    told = dev(checkout, "test")
    assert told.returncode == 1
    assert told.stderr == (
        "dev: Python 3.11 or newer is needed; found Python 3.9.2. Install it, or put it first on the PATH.\n"
    )
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("argument", ["", "--help", "help"])
def test_usage_needs_no_set_up(checkout: Path, argument: str) -> None:
    """Asking how it works installs nothing."""
    told = dev(checkout, argument)
    assert told.returncode == 0
    assert told.stdout.startswith("usage: ./dev demo [--once]")
    assert not (checkout / ".venv").exists()


def test_an_unknown_verb_is_refused(checkout: Path) -> None:
    """A misspelt verb shows the usage on stderr and fails."""
    told = dev(checkout, "tset")
    assert (told.returncode, told.stdout) == (2, "")
    assert "./dev test" in told.stderr
