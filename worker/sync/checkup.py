"""Both vendors looked at without writing anything: who we are there, what may be read, whether the mapping fits, the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core import errors
from worker.core.checks import Check, fail, ok, warn
from worker.core.mapping import Direction
from worker.core.records import Kind
from worker.sync import fields, streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from worker.core.mapping import Mapping
    from worker.remote.base import Page
    from worker.remote.outreach import Outreach
    from worker.remote.workbooks import FieldInfo, Workbooks

SKEW_S = 60
"""So far apart two clocks may be."""
READ_FROM_OUTREACH = (Kind.SEQUENCE, Kind.STEP, Kind.PROSPECT, Kind.STATE, Kind.TASK)
NOBODY = "nobody@outbook.invalid"
"""An address that nobody has: looking it up shows whether users may be read, and brings nobody's data here."""
AGAIN = "authorise again with the scopes of the README: outbook auth outreach"
LEADS = "open sales leads are not synced: a lead is a record of its own until it is converted into a person"


def outreach(remote: Outreach, mapping: Mapping, now: Callable[[], datetime]) -> Iterator[Check]:
    """Yield what Outreach shows. A vendor that cannot be reached ends it, for all else would fail alike."""
    try:
        organisation = remote.identity()
    except errors.AuthRevoked as refusal:
        yield fail("Outreach", refusal.words, "run: outbook auth outreach")
        return
    yield ok("Outreach", f"reached as {organisation}" if organisation else "reached; it does not tell the organisation")
    server: Page | None = None
    allowed: list[str] = []
    for kind in READ_FROM_OUTREACH:
        try:
            server = remote.page(
                kind, attributes=streams.attributes(kind, mapping), relations=streams.relations(kind), size=1
            )
            allowed.append(kind.value)
        except (errors.Halt, errors.RecordFault) as refusal:
            yield fail(f"Outreach, {kind.value}", refusal.words, f"scope {kind.value}.read is needed; {AGAIN}")
    for plural, singular in _looked_up(mapping):
        try:
            remote.ids_by_email(plural, singular, [NOBODY])
            allowed.append(plural)
        except (errors.Halt, errors.RecordFault) as refusal:
            yield fail(f"Outreach, {plural}", refusal.words, f"scope {plural}.read is needed; {AGAIN}")
    if allowed:
        yield ok("Outreach, scopes", f"may read {', '.join(allowed)}; whether it may write shows with the first write")
    if server is not None:
        yield _clock("Outreach", server.server_time, now())


def _looked_up(mapping: Mapping) -> Iterator[tuple[str, str]]:
    yield "users", "user"
    if mapping.actions is not None and mapping.actions.mailbox is not None:
        yield "mailboxes", "mailbox"


def workbooks(remote: Workbooks, mapping: Mapping | None, now: Callable[[], datetime]) -> Iterator[Check]:
    """Yield what the CRM shows; without a mapping its fields are not compared."""
    fix = "make or extend the key (Configuration, Automation, API Keys), permit this address, check the user"
    try:
        tenant = remote.login()
    except errors.AuthRevoked as refusal:
        yield fail("Workbooks", refusal.words, fix)
        return
    told = {
        "database": tenant.database_name or tenant.database_id,
        "user": tenant.login_name or tenant.user_id,
        "time zone": tenant.timezone,
    }
    known = ", ".join(f"{name} {value}" for name, value in told.items() if value)
    yield ok("Workbooks", f"reached: {known}" if known else "reached; it does not tell whose database it is")
    people: Page | None = None
    for kind, name in ((Kind.PERSON, "people"), (Kind.CRM_TASK, "tasks")):
        try:
            page = remote.page(kind, columns=streams.ALWAYS, filters=[], sort=("id",), limit=1)
        except (errors.Halt, errors.RecordFault) as refusal:
            yield fail(f"Workbooks, {name}", refusal.words, f"let the key's user see and modify {name}")
            continue
        people = people or page
        yield ok(f"Workbooks, {name}", "may be read")
    if people is not None:
        yield _clock("Workbooks", people.server_time, now())
    if mapping is not None:
        yield from _mapped(remote, mapping)
    yield ok("Workbooks, sales leads", LEADS)


def _mapped(remote: Workbooks, mapping: Mapping) -> Iterator[Check]:
    metadata = remote.metadata(fields.KINDS)
    if metadata is None:
        yield warn(
            "Workbooks, fields",
            "the CRM does not show what fields it has: only reading people tells",
            "let the key's user read the metadata, so that a missing field or label is known before a write",
        )
    lacks, unread = fields.find(remote, mapping)
    for lack in lacks:
        mend = "make it (outbook crm setup)" if lack.what == fields.FIELD else "add it to the picklist"
        yield fail(f"Workbooks, {lack.field}", lack.words, f"{mend}, or change the mapping")
    stuck = list(_unwritable(mapping, metadata or {}))
    for name, what in stuck:
        yield fail(
            f"Workbooks, {name}", f"the key's user may not {what} it", "let the user do so, or change the mapping"
        )
    if metadata is not None and not lacks and not stuck:
        count = sum(len(fields.wanted(kind, mapping)) for kind in fields.KINDS)
        yield ok("Workbooks, fields", f"all {count} mapped fields are there, and their picklists have every label")
    if metadata is not None and unread:
        yield warn(
            "Workbooks, picklists",
            f"the labels of {', '.join(sorted(unread))} could not be read",
            "let the key's user read picklists; until then a label that is missing shows with the first write only",
        )


def _unwritable(mapping: Mapping, metadata: dict[Kind, dict[str, FieldInfo]]) -> Iterator[tuple[str, str]]:
    """Yield the fields that we write and may not, with what may not be done."""
    read_only = {line.crm for line in mapping.fields if line.direction is Direction.TO_OUTREACH}
    for kind, known in metadata.items():
        for name in fields.wanted(kind, mapping):
            info = known.get(name)
            if info is None or name in read_only:
                continue
            lacking = [word for word, may in (("create", info.createable), ("change", info.updateable)) if not may]
            if lacking:
                yield name, " or ".join(lacking)


def _clock(name: str, theirs: datetime, ours: datetime) -> Check:
    apart = (ours - theirs).total_seconds()
    if abs(apart) <= SKEW_S:
        return ok(f"{name}, clock", f"{abs(apart):.0f} s apart")
    which = "ahead of" if apart > 0 else "behind"
    return warn(f"{name}, clock", f"this machine is {abs(apart):.0f} s {which} it", "set the clock here (NTP)")
