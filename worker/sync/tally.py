"""What a pass did, in counts: the numbers of the report, added up batch by batch."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(slots=True)
class Tally:
    """Counts of one batch or of a whole pass. ``claimed`` tells whether there was anything to do at all."""

    claimed: int = 0
    created: int = 0
    updated: int = 0
    recreated: int = 0
    unchanged: int = 0
    tasks_cancelled: int = 0
    crm_opted_out: int = 0
    outreach_created: int = 0
    outreach_updated: int = 0
    outreach_opted_out: int = 0
    outreach_actions: int = 0
    overwritten: int = 0
    new_failed: int = 0

    def add(self, other: Tally) -> None:
        """Add another tally to this one."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def writes(self) -> dict[tuple[str, str], int]:
        """Return what was written, by vendor and action."""
        return {
            ("workbooks", "create"): self.created,
            ("workbooks", "update"): self.updated,
            ("workbooks", "recreate"): self.recreated,
            ("workbooks", "opt_out"): self.crm_opted_out,
            ("workbooks", "cancel_task"): self.tasks_cancelled,
            ("outreach", "create"): self.outreach_created,
            ("outreach", "update"): self.outreach_updated,
            ("outreach", "opt_out"): self.outreach_opted_out,
            ("outreach", "act"): self.outreach_actions,
        }

    def counts(self) -> dict[str, int]:
        """Return the counts that are not nought, for a log line."""
        return {one.name: count for one in fields(self) if (count := getattr(self, one.name))}

    @property
    def wrote_crm(self) -> bool:
        """Tell whether anything was written to the CRM."""
        return bool(self.created + self.updated + self.recreated + self.tasks_cancelled + self.crm_opted_out)

    @property
    def wrote_outreach(self) -> bool:
        """Tell whether anything was written to Outreach."""
        return bool(self.outreach_created + self.outreach_updated + self.outreach_opted_out + self.outreach_actions)
