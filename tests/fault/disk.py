"""A small disk for the data directory, which can be filled; only root can mount one. And a directory made read-only."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GET_FLAGS, SET_FLAGS, IMMUTABLE = 0x80086601, 0x40086602, 0x10
"""Linux' own: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IMMUTABLE_FL."""


class NoDisk(Exception):
    """It cannot be done on this machine, or by this user."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system in memory, mounted at a directory."""

    at: Path

    @classmethod
    def mounted(cls, at: Path, megabytes: int) -> Disk:
        """Mount one. NoDisk if this machine or user cannot."""
        mount = shutil.which("mount")
        if os.getuid() != 0 or mount is None:
            raise NoDisk("only root can mount a small disk")
        done = subprocess.run(
            [mount, "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "chaos", str(at)],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise NoDisk(f"no small disk can be mounted here: {done.stderr.decode(errors='replace')[:100]}")
        return cls(at)

    def fill(self) -> None:
        """Nothing more goes onto it."""
        with (self.at / "ballast").open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(b"\0" * 4096)

    def free(self) -> None:
        """There is room again."""
        (self.at / "ballast").unlink(missing_ok=True)

    def unmount(self) -> None:
        """Take it away; what still has a file open there keeps it until then."""
        subprocess.run(["umount", "--lazy", str(self.at)], capture_output=True, check=False)


@contextlib.contextmanager
def read_only(directory: Path, pattern: str) -> Iterator[None]:
    """Nothing goes into the directory, and its files of a pattern can only be read. Root minds no permission, but this.

    NoDisk if the file system knows nothing of it.
    """
    paths = [*directory.glob(pattern), directory]
    try:
        for path in paths:
            _set(path, locked=True)
        yield
    except OSError as error:
        raise NoDisk(f"nothing can be made read-only here: {error}") from None
    finally:
        for path in reversed(paths):
            with contextlib.suppress(OSError):
                _set(path, locked=False)


def _set(path: Path, *, locked: bool) -> None:
    if os.getuid() != 0:
        path.chmod((0o500 if locked else 0o700) if path.is_dir() else (0o400 if locked else 0o600))
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        (flags,) = struct.unpack("l", fcntl.ioctl(opened, GET_FLAGS, struct.pack("l", 0)))
        fcntl.ioctl(opened, SET_FLAGS, struct.pack("l", flags | IMMUTABLE if locked else flags & ~IMMUTABLE))
    finally:
        os.close(opened)
