"""Outbook's own rooms reading some streams to their end, as a process from its start to its end; told by its environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.bench import site
from worker import bootstrap, config
from worker.core.records import Kind


def main(*streams: str) -> None:
    """Read each stream once and tell how many records that was."""
    settings = config.load(os.environ, Path.cwd())
    with bootstrap.runtime(settings, bootstrap.read_mapping(settings.mapping)) as on:
        read = sum(site.polled(on, Kind(stream)).read for stream in streams)
        on.flush()
    sys.stdout.write(f"{read}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
