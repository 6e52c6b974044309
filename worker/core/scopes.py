"""Which OAuth scopes of Outreach a mapping needs; none implies another (facts, outreach-api 1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.core.mapping import Mapping

ALWAYS = (
    "prospects.read",
    "prospects.write",
    "sequences.read",
    "sequenceSteps.read",
    "sequenceStates.read",
    "tasks.read",
    "users.read",
)
BETTER = ("events.read", "emailAddresses.read", "webhooks.all")
"""Further evidence of opt-outs and of what is gone; being told instead of asking. It goes without."""


def needed(mapping: Mapping) -> tuple[str, ...]:
    """Return the scopes, and no more: what writes to sequences or tasks only where the mapping does so."""
    found = list(ALWAYS)
    if mapping.actions is not None:
        found += ["sequenceStates.write", "sequenceStates.delete"]
        found += ["mailboxes.read"] if mapping.actions.mailbox is not None else []
    if mapping.task.back is not None:
        found.append("tasks.write")
    return tuple(found)
