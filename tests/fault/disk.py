"""A small disk for the data directory, which can be filled and made read-only; as root, for only root may mount one."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

TRIES_S = 20.0


class NoDisk(Exception):
    """None can be mounted here."""


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

    def turn(self, way: str) -> None:
        """Mount it again, ``ro`` or ``rw``; while somebody has a file open to write, it is tried again for a while."""
        deadline = time.monotonic() + TRIES_S
        while subprocess.run(
            ["mount", "-o", f"remount,{way}", str(self.at)], capture_output=True, check=False
        ).returncode:
            if time.monotonic() > deadline:
                raise NoDisk(f"it could not be mounted {way}")
            time.sleep(0.01)

    def unmount(self) -> None:
        """Take it away; what still has a file open there keeps it until then."""
        subprocess.run(["umount", "--lazy", str(self.at)], capture_output=True, check=False)
