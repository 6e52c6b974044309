"""Invented records and mappings, short to write. Times are hours of one day, so that a test can be read."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis

from worker.core import mapping_file
from worker.core.records import Kind, Link, Ref, Shadow, Snapshot
from worker.core.states import SequenceView, StateView

if TYPE_CHECKING:
    from collections.abc import Mapping as Dict

    from worker.core.mapping import Mapping
    from worker.core.records import Value

SOME = hypothesis.settings(max_examples=hypothesis.settings().max_examples // 2)
QUARTER = hypothesis.settings(max_examples=hypothesis.settings().max_examples // 4)
FEW = hypothesis.settings(max_examples=hypothesis.settings().max_examples // 8)
"""Shares of the profile's examples, so that the whole of these tests stays within ten seconds; nightly runs have more."""

DEFAULT_FILE = Path(__file__).parents[2] / "mappings" / "outreach-workbooks.yaml"
DEFAULT_TEXT = DEFAULT_FILE.read_text(encoding="utf-8")


def at(hour: int, day: int = 2) -> datetime:
    """Return an hour of a day of March 2026."""
    return datetime(2026, 3, day, hour, tzinfo=UTC)


def edited(*edits: tuple[str, str], text: str = DEFAULT_TEXT) -> str:
    """Return a mapping's text after some edits, each of which must be possible at exactly one place."""
    for old, new in edits:
        assert text.count(old) == 1, f"{text.count(old)} times in the file: {old}"
        text = text.replace(old, new)
    return text


@functools.cache
def mapping(*edits: tuple[str, str]) -> Mapping:
    """Return the default mapping after some edits."""
    return mapping_file.load(edited(*edits))


def sequence(
    id: int = 1, name: str = "Cold outreach", *, enabled: bool = True, transactional: bool = False
) -> SequenceView:
    """Return a sequence."""
    return SequenceView(id, name, enabled=enabled, transactional=transactional)


def state(
    word: str = "active",
    *,
    id: int = 100,
    of: SequenceView | None = None,
    changed: datetime | None = None,
    active: datetime | None = None,
    step: int | None = None,
) -> StateView:
    """Return a state of a prospect in a sequence."""
    return StateView(id, of or sequence(), word, changed_at=changed, active_at=active, step=step)


def prospect(id: int = 7, **fields: Value) -> Snapshot:
    """Return a prospect that holds a name, a title, one of everything else, and what is given instead."""
    told: dict[str, Value] = {
        "firstName": "Ada",
        "lastName": "Byron",
        "title": "Analyst",
        "emails": ["ada@example.com"],
        "workPhones": ["+44 20 7946 0000"],
        "mobilePhones": [],
        "optedOut": False,
        "optedOutAt": None,
        "emailOptedOut": False,
        "emailsOptStatus": None,
        "emailsOptedAt": None,
    }
    return Snapshot(Ref(Kind.PROSPECT, id), {**told, **fields})


BLANK_PERSON: dict[str, Value] = {
    "person_first_name": None,
    "person_last_name": None,
    "person_job_title": None,
    "main_location[email]": None,
    "main_location[telephone]": None,
    "main_location[mobile]": None,
    "main_location[alternate_email]": None,
    "cf_person_outreach_id": None,
    "cf_person_sequence_state": None,
    "cf_person_sequence_state_updated_at": None,
    "cf_person_sequence_name": None,
    "cf_person_sequence_step": None,
    "cf_person_sequences": None,
    "no_email_soliciting": False,
    "cf_person_outreach_error": None,
}


def person(
    fields: Dict[str, Value] | None = None, *, id: int = 55, version: int | None = 3, deleted: bool = False
) -> Snapshot:
    """Return a person that holds what is given, and is blank otherwise."""
    return Snapshot(Ref(Kind.PERSON, id), {**BLANK_PERSON, **(fields or {})}, version=version, deleted=deleted)


def link(
    outreach: Dict[str, Value] | None = None,
    crm: Dict[str, Value] | None = None,
    *,
    to: int = 55,
    written: int | None = None,
    gone: bool = False,
) -> Link:
    """Return the link of prospect 7, with what both sides held when they last agreed."""
    return Link(7, to, Shadow(outreach or {}, crm or {}), written, gone)
