"""One pair in agreement, and ways of changing it: what most tests of plans begin with."""

from __future__ import annotations

from dataclasses import replace

from tests.core.makers import at, link, mapping, person, prospect, state
from worker.core import plan
from worker.core.plan import PersonPlan, PersonView
from worker.core.records import Snapshot, Value

RUNNING = state("active", changed=at(9), active=at(8), step=3)

AGREED: dict[str, Value] = {
    "person_first_name": "Ada",
    "person_last_name": "Byron",
    "person_job_title": "Analyst",
    "main_location[email]": "ada@example.com",
    "main_location[telephone]": "+44 20 7946 0000",
}
SHOWN: dict[str, Value] = {
    **AGREED,
    "cf_person_outreach_id": "7",
    "cf_person_sequence_state": "Active \u2013 Running",
    "cf_person_sequence_state_updated_at": "Mon Mar 02 09:00:00 UTC 2026",
    "cf_person_sequence_name": "Cold outreach",
    "cf_person_sequence_step": 3,
    "cf_person_sequences": "Cold outreach: Active \u2013 Running (step 3)",
}


def pair(**changes: object) -> PersonView:
    """Return a linked pair in full agreement, in one running sequence."""
    halves = {**SHOWN, "main_location[mobile]": None, "cf_person_outreach_error": None}
    view = PersonView(7, prospect(), (RUNNING,), person(SHOWN), link(halves, halves))
    return replace(view, **changes)  # type: ignore[arg-type]


def unlinked(**changes: object) -> PersonView:
    """Return a prospect in one running sequence, of whom the CRM knows nothing."""
    return replace(PersonView(7, prospect(), (RUNNING,)), **changes)  # type: ignore[arg-type]


def edit(snapshot: Snapshot, **fields: Value) -> Snapshot:
    """Return a record after an edit."""
    return replace(snapshot, fields={**snapshot.fields, **fields})


def crm_edit(fields: dict[str, Value]) -> PersonView:
    """Return the pair after an edit in the CRM."""
    return pair(person=person({**SHOWN, **fields}, version=4))


def made(view: PersonView, *edits: tuple[str, str]) -> PersonPlan:
    """Return the plan under the default mapping, edited."""
    return plan.plan_person(view, mapping(*edits))
