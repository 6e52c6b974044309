"""The breaker at work: a field that goes back and forth stops for its record, and on many records for everybody.

Opt-outs are never stopped, nor is what shows them: a latch cannot flip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worker.core import breaker, errors, plan, transforms
from worker.core.breaker import Turn
from worker.core.mapping import STANDING, Computed
from worker.core.plan import Action
from worker.core.records import Kind, System
from worker.core.transforms import Absent
from worker.store import links, outbox
from worker.store.links import Written
from worker.store.outbox import Lane
from worker.sync import identify, streams

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Mapping as Dict
    from datetime import datetime

    import sqlalchemy as sa

    from worker.core.mapping import Field, Mapping
    from worker.core.records import Value
    from worker.store.links import Past
    from worker.sync.case import Applier, Case

BREAKER = "breaker"
APPROVED = "approve"
EVERYBODY = 0
"""The prospect id under which the history keeps the approval of a field for everybody."""
SAVED_BY = "updated_by_user[login_name]"
"""The address of the CRM user who saved a record last (facts, workbooks-api 9)."""
_OF_RECORD = f"{BREAKER}:{Kind.PROSPECT.value}:"


@dataclass(frozen=True, slots=True)
class Stops:
    """Which CRM fields are left alone just now: of everybody, and of single prospects."""

    everybody: frozenset[str]
    single: frozenset[tuple[int, str]]

    def of(self, prospect_id: int) -> frozenset[str]:
        """Return those of one prospect."""
        return self.everybody | {name for pid, name in self.single if pid == prospect_id}


def standing(db: sa.Connection) -> Stops:
    """Return the fields that wait for an approval."""
    told = _parsed(row.key for row in outbox.holds(db, BREAKER))
    everybody = frozenset(name for pid, name in told if pid == EVERYBODY)
    return Stops(everybody, frozenset((pid, name) for pid, name in told if pid != EVERYBODY))


def _parsed(keys: Iterable[str]) -> list[tuple[int, str]]:
    """Return the prospect and the field that each entry is about."""
    found = []
    for key in keys:
        whose, _, name = key.removeprefix(_OF_RECORD).partition(":")
        found.append((int(whose), name) if key.startswith(_OF_RECORD) else (EVERYBODY, key.removeprefix(f"{BREAKER}:")))
    return found


def heed(db: sa.Connection, on: Applier, cases: Sequence[Case]) -> set[tuple[int, str]]:
    """Stop what goes back and forth, with an entry, and leave out of the plans what is stopped.

    Return what has tripped just now, by prospect and field.
    """
    writing = [
        case for case in cases if case.plan.action in {Action.UPDATE, Action.NOTHING} and _touched(case, on.mapping)
    ]
    if not writing:
        return set()
    stops = standing(db)
    found = _tripped(db, on, writing, stops)
    if found:
        _post(db, on, found, stops)
        stops = standing(db)
    for case in writing:
        _leave_out(case, on.mapping, stops.of(case.view.prospect_id))
    return set(found)


def name_users(on: Applier, cases: Sequence[Case], tripped: set[tuple[int, str]]) -> None:
    """Put the CRM user who last saved each of these people beside the entries just made, unless that was ourselves.

    One read, and only then. The name is an address (facts, workbooks-api 9), so it stays out of the words, which are logged.
    """
    pids = {pid for pid, _ in tripped}
    views = [case.view for case in cases if case.view.prospect_id in pids]
    crm_ids = [view.person.ref.id for view in views if view.person is not None]
    if not crm_ids:
        return
    try:
        seen = identify.read_by_id(on.remotes.crm, Kind.PERSON, crm_ids, (*streams.ALWAYS, SAVED_BY))
    except errors.OutbookError:
        return  # the entries stand without it; what ails the CRM is met by the next request
    users = {}
    for view in views:
        saved = seen.get(view.person.ref.id) if view.person else None
        if saved is not None and (view.link is None or not plan.is_echo(saved, view.link)):
            users[view.prospect_id] = str(saved.fields.get(SAVED_BY) or "")
    _note_users(on, tripped, users)


def _note_users(on: Applier, tripped: set[tuple[int, str]], users: Dict[int, str]) -> None:
    """Write the users down: of one record with its entry, of many with the one for everybody."""
    with on.store.write() as db:
        rows = {row.key: row for row in outbox.holds(db, BREAKER)}
        behind: dict[str, set[str]] = {}
        for pid, name in tripped:
            single = f"{_OF_RECORD}{pid}:{name}"
            behind.setdefault(single if single in rows else f"{BREAKER}:{name}", set()).add(users.get(pid, ""))
        for key, logins in behind.items():
            known = ", ".join(sorted(logins - {""}))
            if known and key in rows:
                outbox.post_hold(db, key=key, kind=BREAKER, words=rows[key].words, now=on.now(), login=known)


def _touched(case: Case, mapping: Mapping) -> list[Field]:
    """Return the fields that a plan writes on either side and that may be stopped."""
    to_outreach = {one.field for one in case.plan.decisions if not isinstance(one.to_outreach, Absent)}
    shown = {Computed.OPTED_OUT, *(STANDING if case.plan.opt_out else ())}
    return [
        line
        for line in mapping.fields
        if line.computed not in shown
        and ((case.plan.action is Action.UPDATE and line.crm in case.plan.crm) or _sent(case, line, to_outreach))
    ]


def _sent(case: Case, line: Field, to_outreach: set[str]) -> bool:
    return line.attribute in case.plan.outreach and line.crm in to_outreach


def _tripped(db: sa.Connection, on: Applier, cases: Sequence[Case], stops: Stops) -> dict[tuple[int, str], str]:
    """Return what has flipped too often, with the words for it, by prospect and field."""
    now = on.now()
    since = now - breaker.WINDOW
    busy = links.busy(db, Kind.PROSPECT, [case.view.prospect_id for case in cases], since, more_than=breaker.FLIPS)
    past = links.past(db, Kind.PROSPECT, [*busy, EVERYBODY], since) if busy else []
    found: dict[tuple[int, str], str] = {}
    for case in cases:
        pid = case.view.prospect_id
        mine = [one for one in past if one.outreach_id in {pid, EVERYBODY}] if pid in busy else []
        for line in _touched(case, on.mapping) if mine else ():
            flips = breaker.flips(_turns(line, mine), now)
            if flips > breaker.FLIPS and line.crm not in stops.of(pid):
                whose = f"prospect {pid}" + (f", person {case.view.person.ref.id}" if case.view.person else "")
                minutes = int(breaker.WINDOW.total_seconds() // 60)
                words = f"{line.crm} went back and forth {flips} times within {minutes} minutes"
                found[pid, line.crm] = f"{whose}: {words}; it is left alone until that is approved"
    return found


def _turns(line: Field, past: Iterable[Past]) -> list[Turn]:
    """Return our writes of one field since it was last approved, oldest first."""
    turns: list[Turn] = []
    for one in past:
        if one.action == APPROVED and line.crm in one.after:
            turns.clear()
        if one.action != Action.UPDATE:
            continue
        values = (one.before.get(line.crm), one.after[line.crm]) if line.crm in one.after else None
        if one.system is System.OUTREACH:
            wrote = line.outreach and line.attribute in one.after
            values = (_read(line, one.before), _read(line, one.after)) if wrote else None
        if values:
            before, after = (transforms.normal(line.compare, value) for value in values)
            turns.append(Turn(one.at, before, after))
    return turns


def _read(line: Field, fields: Dict[str, Value]) -> Value:
    value = transforms.read(line.outreach or "", fields)
    return None if isinstance(value, Absent) else value


def _post(db: sa.Connection, on: Applier, found: dict[tuple[int, str], str], stops: Stops) -> None:
    for (pid, name), words in sorted(found.items()):
        outbox.post_hold(db, key=f"{_OF_RECORD}{pid}:{name}", kind=BREAKER, words=words, now=on.now())
    whose: dict[str, set[int]] = {}
    for pid, name in {*stops.single, *found}:
        whose.setdefault(name, set()).add(pid)
    for name, pids in whose.items():
        if len(pids) <= breaker.RECORDS:
            continue
        named = ", ".join(str(pid) for pid in sorted(pids))
        words = f"{name} went back and forth on {len(pids)} records; it is left alone for everybody: prospects {named}"
        outbox.lift(db, [f"{_OF_RECORD}{pid}:{name}" for pid in pids], on.now())
        outbox.post_hold(db, key=f"{BREAKER}:{name}", kind=BREAKER, words=words, now=on.now())


def _leave_out(case: Case, mapping: Mapping, stopped: frozenset[str]) -> None:
    """Take fields out of a plan, as if the CRM lacked them; nothing of them is agreed upon."""
    if not stopped:
        return
    left = [line for line in _touched(case, mapping) if line.crm in stopped]
    if not left:
        return
    names, attributes = {line.crm for line in left}, {line.attribute for line in left if line.attribute}
    crm = {name: value for name, value in case.plan.crm.items() if name not in names}
    outreach = {name: value for name, value in case.plan.outreach.items() if name not in attributes}
    action = Action.UPDATE if case.plan.action is Action.UPDATE and crm else Action.NOTHING
    case.plan = replace(case.plan, crm=crm, outreach=outreach, action=action)
    case.view = replace(case.view, stopped=case.view.stopped | names)
    case.unwritten |= {line.crm for line in mapping.copied if line.attribute in attributes}


def approve(db: sa.Connection, keys: Iterable[str], mapping: Mapping, now: datetime) -> None:
    """Let stopped fields go on: what they did so far no longer counts, and whom that concerns is looked at."""
    written: list[Written] = []
    for pid, name in _parsed(keys):
        why = "let go on after it had gone back and forth"
        written.append(Written(Kind.PROSPECT, pid, None, System.CRM, APPROVED, {}, {name: None}, why))
        if pid == EVERYBODY:
            outbox.open_all(db, Kind.PROSPECT, now=now)
        else:
            outbox.open_changes(db, Kind.PROSPECT, [pid], lane=Lane.EDIT, now=now)
    links.remember(db, written, now=now, mapping_version=mapping.version)
