from __future__ import annotations

from pathlib import Path

import pytest

from worker import release

HASH, OTHER = "0123456789abcdef0123456789abcdef01234567", "f" * 40


def test_an_image_tells_the_commit_it_was_built_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable of the image goes before any checkout; what is no commit is as good as nothing."""
    monkeypatch.setattr(release, "__file__", "/nowhere/worker/release.py")
    monkeypatch.setenv("OUTBOOK_COMMIT", HASH)
    assert release.told() == f"outbook {release.version()} (0123456789ab)"
    monkeypatch.setenv("OUTBOOK_COMMIT", "main; rm")
    assert release.told() == f"outbook {release.version()}"


def _repository(root: Path, head: str) -> Path:
    git = root / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text(head)
    return git


def test_a_checkout_tells_what_is_checked_out(tmp_path: Path) -> None:
    """A branch with a file of its own or among the packed ones, a detached head, a second work tree, and none at all."""
    git = _repository(tmp_path, "ref: refs/heads/main\n")
    assert release._checked_out(git) == ""
    (git / "packed-refs").write_text(f"# pack-refs\n{OTHER} refs/heads/other\n{HASH} refs/heads/main\n")
    assert release._checked_out(git) == HASH
    (git / "refs" / "heads" / "main").write_text(f"{OTHER}\n")
    assert release._checked_out(git) == OTHER
    (git / "HEAD").write_text(f"{HASH}\n")
    assert release._checked_out(git) == HASH
    beside = git / "worktrees" / "beside"
    beside.mkdir(parents=True)
    (beside / "HEAD").write_text("ref: refs/heads/main\n")
    (beside / "commondir").write_text("../..\n")
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / ".git").write_text(f"gitdir: {beside}\n")
    assert release._checked_out(tmp_path / "second" / ".git") == OTHER
    assert release._checked_out(tmp_path / "third" / ".git") == ""
