"""Two mappings compared by what they do, in the words of people who look at Workbooks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.core.mapping import Computed, CreatePeople, Direction, FirstSight, OnCrmDelete, OnOutreachDelete, Winner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.core.mapping import Field, Mapping, Share

NEVER, NOTHING = "no limit", "nothing"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that becomes different: ``where`` is the place in the file, ``old`` and ``new`` are None for nothing."""

    where: str
    old: str | None
    new: str | None
    words: str


CREATED = {
    CreatePeople.IN_SEQUENCE: "created if it is or was in a sequence",
    CreatePeople.ALL: "always created",
    CreatePeople.NEVER: "never created",
}
DELETED = {
    OnCrmDelete.RECREATE: "is brought back",
    OnCrmDelete.UNLINK: "stays deleted",
    OnCrmDelete.ASK: "waits in `outbook held list`",
}
GONE = {
    OnOutreachDelete.UNLINK: "stays and reads Not Active",
    OnOutreachDelete.ASK: "waits in `outbook held list`",
}
WINS = {
    Winner.CRM: "Workbooks wins",
    Winner.OUTREACH: "Outreach wins",
    Winner.NEWEST: "the newer edit wins",
    Winner.ASK: "somebody has to decide",
}
FIRST = {
    FirstSight.FILL_BLANKS: "only blanks are filled",
    FirstSight.ON_CONFLICT: "it goes as for a field that both sides changed",
}
WORKED_OUT = {
    Computed.PROSPECT_ID: "the prospect's number",
    Computed.SEQUENCE_STATE: "the sequence state",
    Computed.SEQUENCE_STATE_UPDATED_AT: "when that state was reached",
    Computed.SEQUENCE_NAME: "the sequence's name",
    Computed.SEQUENCE_STEP: "the sequence's step",
    Computed.SEQUENCES: "a line for each sequence",
    Computed.OPTED_OUT: "the opt-out",
    Computed.SYNC_REQUEST: "the wish to be in Outreach",
    Computed.ERROR: "why the person cannot be brought up to date",
}


def compare(old: Mapping, new: Mapping) -> list[Difference]:
    """Return what the new mapping does differently; notes, order and tests are nothing of that."""
    return [*_policies(old, new), *_fields(old, new), *_labels(old, new), *_brakes(old, new), *_rest(old, new)]


def _policies(old: Mapping, new: Mapping) -> Iterator[Difference]:
    told: list[tuple[str, str, str, str]] = [
        ("create_people", "a prospect without a person:", CREATED[old.create_people], CREATED[new.create_people]),
        ("on_crm_delete", "a person deleted in Workbooks", DELETED[old.on_crm_delete], DELETED[new.on_crm_delete]),
        (
            "on_outreach_delete",
            "a person whose prospect is deleted",
            GONE[old.on_outreach_delete],
            GONE[new.on_outreach_delete],
        ),
        ("first_sight", "where a new pair differs", FIRST[old.first_sight], FIRST[new.first_sight]),
        ("timezone", "dates are those of", old.timezone.key, new.timezone.key),
    ]
    yield from (_change(where, what, before, after) for where, what, before, after in told if before != after)


def _change(where: str, what: str, before: str, after: str) -> Difference:
    return Difference(where, before, after, f"{what} {after} (until now: {before})")


def _fields(old: Mapping, new: Mapping) -> Iterator[Difference]:
    for name in sorted({*old.by_crm, *new.by_crm}):
        before, after = old.by_crm.get(name), new.by_crm.get(name)
        where = f"fields.{name}"
        if before is None and after is not None:
            yield Difference(where, None, _line(after), f"{name} is synced from now on: {_line(after)}")
        elif after is None and before is not None:
            words = f"{name} is no longer touched; what stands there stays"
            yield Difference(where, _line(before), None, words)
        elif before is not None and after is not None and _line(before) != _line(after):
            yield _change(where, f"{name}:", _line(before), _line(after))


def _line(line: Field) -> str:
    """Return what one line of the mapping does."""
    source = f"Outreach's {line.outreach}" if line.outreach else WORKED_OUT[line.computed or Computed.ERROR]
    ways = {
        Direction.BOTH: f"agrees with {source}, both ways",
        Direction.TO_CRM: f"shows {source}; edits in Workbooks are put back",
        Direction.TO_OUTREACH: f"goes to {source} in Outreach" if line.computed else f"goes to {source}",
    }
    told = [ways[line.direction], f"compared as {line.compare}"]
    if line.direction is Direction.BOTH and line.computed is None:
        told.append(f"if both changed it {WINS[line.on_conflict]}")
    return ", ".join(told)


def _labels(old: Mapping, new: Mapping) -> Iterator[Difference]:
    for label, before in old.labels.items():
        after = new.labels[label]
        if before != after:
            yield _change(f"labels.{label}", f"{label} is called", f"'{before}'", f"'{after}'")
    for word in sorted({*old.words, *new.words}):
        known, meant = old.words.get(word), new.words.get(word)
        if known != meant:
            yield _change(
                f"states.{word}", f"Outreach's state '{word}' counts as", known or "unknown", meant or "unknown"
            )
    if old.roll_up != new.roll_up:
        told = [one.roll_up if isinstance(one.roll_up, str) else " before ".join(one.roll_up) for one in (old, new)]
        yield _change("roll_up", "of several sequences counts", told[0], told[1])


def _brakes(old: Mapping, new: Mapping) -> Iterator[Difference]:
    for name in ("deleted_people", "emptied_values", "new_prospects", "new_people"):
        before, after = (_limit(getattr(one.brakes, name)) for one in (old, new))
        if before != after:
            yield _change(f"brakes.{name}", f"the brake {name} stops above", before, after)


def _limit(limit: Share | int | None) -> str:
    if limit is None:
        return NEVER
    return str(limit) if isinstance(limit, int) else f"{limit.percent:g} %"


def _rest(old: Mapping, new: Mapping) -> Iterator[Difference]:
    if old.new_owner != new.new_owner:
        told = old.new_owner or NOTHING, new.new_owner or NOTHING
        yield _change("new_prospects.owner", "the owner of a new prospect, if nobody else fits, is", *told)
    for name in ("status", "name", "reference", "since"):
        before, after = (str(getattr(one.task, name) or NOTHING) for one in (old, new))
        if before != after:
            yield _change(f"task.{name}", f"a skipped task's {name} is", f"'{before}'", f"'{after}'")
    signs = [", ".join(sorted(one.task.skipped_when)) or NOTHING for one in (old, new)]
    if signs[0] != signs[1]:
        yield _change("task.skipped_when", "a task counts as skipped by", signs[0], signs[1])
    backs = [_back(one) for one in (old, new)]
    if backs[0] != backs[1]:
        yield _change("task.back_to_outreach", "tasks travel back to Outreach:", backs[0], backs[1])
    acts = [_actions(one) for one in (old, new)]
    if acts[0] != acts[1]:
        yield _change("sequence_actions", "sequence actions from Workbooks:", acts[0], acts[1])


def _back(one: Mapping) -> str:
    back = one.task.back
    if back is None:
        return "never"
    completed, cancelled = (", ".join(sorted(labels)) for labels in (back.completed, back.cancelled))
    return f"completed by {completed}, let go on by {cancelled}"


def _actions(one: Mapping) -> str:
    actions = one.actions
    if actions is None:
        return "off"
    words = ", ".join(f"{verb}: {word}" for verb, word in actions.words.items())
    return f"on, in {', '.join(actions.columns)}; from mailbox {actions.mailbox or 'none'}; {words}"
