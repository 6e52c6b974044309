"""The rig's hand on the proxy: turns a wire bad, and all of them good again."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("proxy.py")
SAID = re.compile(r"listening on (\{.*\})")


@dataclass(slots=True)
class Wires:
    """Where the proxy listens for each wire, and how to tell it what to do."""

    ports: dict[str, int] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)

    def heard(self, log: Path) -> bool:
        """Tell whether the proxy has said where it listens, and keep it."""
        found = SAID.search(log.read_text())
        if found is not None:
            self.ports = json.loads(found[1])
        return found is not None

    def turn(self, wire: str, mode: str, **how: Any) -> dict[str, int]:  # noqa: ANN401 - seconds, bytes, shares, seeds
        """Let a wire behave like this from now on; return how often each mode has struck there so far."""
        (self.bad.discard if mode == "pass" else self.bad.add)(wire)
        return self._told({"wire": wire, "mode": mode, **how})

    def struck(self, wire: str) -> dict[str, int]:
        """Return how often each mode has struck a wire."""
        return self._told({"wire": wire})

    def heal(self) -> None:
        """Let every wire be good again; connections that were lost stay lost."""
        for wire in sorted(self.bad):
            self.turn(wire, "pass")

    def _told(self, document: dict[str, Any]) -> dict[str, int]:
        with socket.create_connection(("127.0.0.1", self.ports["control"]), timeout=10) as control:
            control.sendall(json.dumps(document).encode() + b"\n")
            with control.makefile("rb") as answers:
                told: dict[str, int] = json.loads(answers.readline())
        return told
