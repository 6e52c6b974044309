"""The stage."""

from __future__ import annotations

from tests.e2e.rig import servers, stage

__all__ = ["servers", "stage"]
