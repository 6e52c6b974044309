"""The version of a mapping is the hash of what it means, not of how it is written."""

from __future__ import annotations

import pytest

from tests.core.makers import edited
from tests.core.test_mapping_file import FIRST_NAME, ROLL_UP, SMALL
from worker.core.mapping_file import load

STATES = (
    "states: {finished: finished, bounced: bounced, failed: failed, pending: pending, active: active, paused: paused, "
)
STATES += "disabled: disabled, opted_out: opted_out}\n"

SAME = [
    [("# How both agree.", "# Another note.")],
    [("\nbrakes:\n  deleted_people: 5%", ""), ("roll_up:", "brakes: {deleted_people: 5%}\nroll_up:")],
    [("deleted_people: 5%", "deleted_people: 5.0%")],
    [("[state_is_skipped]", '["state_is_skipped"]')],
    [("on_conflict: crm}", "compare: phone, on_conflict: crm}")],
    [("direction: both}   #", "direction: both, compare: email, on_conflict: outreach}   #")],
    [("labels:\n", STATES + "labels:\n")],
    [("task:\n", "task:\n  reference: cf_task_outreach_id\n")],
]


@pytest.mark.parametrize("edits", SAME)
def test_the_version_ignores_how_it_is_written(edits: list[tuple[str, str]]) -> None:
    """Notes, order and defaults written out do not make another version."""
    assert load(edited(*edits, text=SMALL)).version == load(SMALL).version


def test_the_version_ignores_the_order_of_lines_and_signs() -> None:
    """Neither the order of fields and labels nor that of the signs means anything."""
    lines = SMALL.splitlines(keepends=True)
    turned = "".join([*lines[:11], *reversed(lines[11:16]), lines[16], *reversed(lines[17:26]), *lines[26:]])
    assert load(turned).version == load(SMALL).version
    two = [edited(("[state_is_skipped]", f"[{signs}]"), text=SMALL) for signs in (
        "state_is_skipped, gone_while_the_step_moved_on", "gone_while_the_step_moved_on, state_is_skipped"
    )]  # fmt: skip
    assert load(two[0]).version == load(two[1]).version != load(SMALL).version


OTHER = [
    ("timezone: Europe/London", "timezone: UTC"),
    ("create_people: all", "create_people: never"),
    ("on_crm_delete: ask", "on_crm_delete: unlink"),
    ("on_outreach_delete: ask", "on_outreach_delete: unlink"),
    ("on_conflict: outreach", "on_conflict: crm"),
    ("on_conflict: crm}", "on_conflict: outreach}"),
    ("first_sight: on_conflict", "first_sight: fill_blanks"),
    ("deleted_people: 5%", "deleted_people: 6%"),
    ("deleted_people: 5%", "deleted_people: none"),
    (FIRST_NAME, "{outreach: firstName, direction: to_crm}"),
    (FIRST_NAME, "{outreach: middleName, direction: both}"),
    (FIRST_NAME, "{outreach: firstName, direction: both, compare: email}"),
    ("person_first_name", "person_last_name"),
    ("active: Active – Running", "active: Active - Running"),
    ("roll_up: [active, paused,", "roll_up: [paused, active,"),
    (f"roll_up: {ROLL_UP}", "roll_up: latest_change"),
    ("status: Cancelled", "status: Canceled"),
    ("since: 2026-01-31", "since: 2026-02-01"),
    ("  since: 2026-01-31\n", ""),
    ("[state_is_skipped]", "[]"),
    ("labels:\n", "states: {active: paused}\nlabels:\n"),
]


def test_the_version_changes_with_the_meaning() -> None:
    """Every edit that means something makes a version of its own."""
    versions = [load(edited(edit, text=SMALL)).version for edit in OTHER]
    assert len({load(SMALL).version, *versions}) == len(OTHER) + 1
    assert all(version.startswith("sha256:") and len(version) == 71 for version in versions)
