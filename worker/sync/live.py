"""A mapping held against both vendors as they are now: what is missing, of another kind, read-only, misspelt or too short."""

from __future__ import annotations

import difflib
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.core.attributes import ATTRIBUTES, LISTS, READ_ONLY
from worker.core.mapping import OPT_OUT_ATTRIBUTES, Computed, Direction
from worker.core.records import Kind
from worker.core.transforms import Compare
from worker.store import mirror
from worker.sync import fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Mapping as Dict

    import sqlalchemy as sa

    from worker.core.mapping import Field, Mapping
    from worker.core.records import Value
    from worker.remote.workbooks import FieldInfo, Workbooks
    from worker.sync.streams import Remotes

STATUS = "activity_status"
LOOKED_AT = 20
"""So many thousand prospects of the mirror are measured."""
KINDS = {
    "boolean": "a checkbox",
    "integer": "a whole number",
    "float": "a number",
    "date": "a date",
    "datetime": "a date and time",
}
FITTING = {
    Compare.FLAG: frozenset({"boolean"}),
    Compare.DATETIME: frozenset({"datetime", "var_date_time"}),
    Compare.INTEGER: frozenset({"integer", "float", "string", "text"}),
}
NEEDED = {Compare.FLAG: "a checkbox", Compare.DATETIME: "a date and time", Compare.INTEGER: "a whole number"}
LONG = frozenset({Computed.SEQUENCES, Computed.ERROR})
"""Values of several lines: a long text is needed."""


Label = tuple[tuple[str, ...], str]
"""A label and its place in the file."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not fit; ``path`` is its place in the file, at its key if ``key``."""

    path: tuple[Any, ...]
    words: str
    key: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What both vendors show: fields by kind (None where the CRM hides them), labels by field, attributes of a prospect."""

    fields: Dict[Kind, Dict[str, FieldInfo]] | None
    labels: Dict[str, tuple[str, ...]]
    attributes: frozenset[str]

    @property
    def notes(self) -> list[str]:
        """Return what could not be checked."""
        told = []
        if self.fields is None:
            told.append("Workbooks does not show its fields to this key: their kinds and labels were not checked")
        if not self.attributes:
            told.append("Outreach shows no prospect to this token: its attributes were not checked")
        return told


def see(remotes: Remotes, mapping: Mapping) -> Seen:
    """Ask both vendors what there is."""
    known = remotes.crm.metadata((Kind.PERSON, Kind.CRM_TASK))
    labels: dict[str, tuple[str, ...]] = {}
    for kind, name in _picked(mapping):
        info = known.get(kind, {}).get(name) if known else None
        if info is not None and info.picklist_id is not None and not info.unrestricted:
            labels[name] = remotes.crm.picklist(info.picklist_id) or ()
    return Seen(known, {name: found for name, found in labels.items() if found}, _shown(remotes, mapping))


def _shown(remotes: Remotes, mapping: Mapping) -> frozenset[str]:
    """Return which attributes the token is shown of one prospect: what does not exist, or may not be seen, is left out."""
    asked = sorted({*ATTRIBUTES, *READ_ONLY, *LISTS, *mapping.prospect_attributes()})
    page = remotes.outreach.page(Kind.PROSPECT, attributes=asked, relations=(), size=1)
    return frozenset(name for one in page.snapshots for name in one.fields)


def _picked(mapping: Mapping) -> Iterator[tuple[Kind, str]]:
    state = mapping.field_of(Computed.SEQUENCE_STATE)
    if state:
        yield Kind.PERSON, state.crm
    if mapping.actions:
        yield Kind.PERSON, mapping.actions.action
    yield Kind.CRM_TASK, STATUS


def findings(mapping: Mapping, seen: Seen, crm: Workbooks) -> list[Finding]:
    """Return what of the mapping does not fit, in the order in which it was looked for."""
    found = [_missing(lack, mapping) for lack in fields.find(crm, mapping)[0] if lack.what == fields.FIELD]
    people = (seen.fields or {}).get(Kind.PERSON) or {}
    for line in mapping.fields:
        info = people.get(line.crm)
        if info is not None:
            found += [Finding(("fields", line.crm), words, key=True) for words in _unfit(line, info)]
    found += _labels(mapping, seen, people)
    return found + list(_attributes(mapping, seen.attributes))


def _missing(lack: fields.Lack, mapping: Mapping) -> Finding:
    if lack.field in mapping.by_crm:
        return Finding(("fields", lack.field), lack.words, key=True)
    if lack.field == mapping.task.reference:
        return Finding(("task", "reference"), lack.words)
    told = mapping.actions
    names = {told.action: "action", told.sequence: "sequence", told.outcome: "outcome"} if told else {}
    return Finding(("sequence_actions", names.get(lack.field, "action")), lack.words)


def _unfit(line: Field, info: FieldInfo) -> Iterator[str]:
    name = f"'{line.crm}' ({info.title})"
    writes = line.direction is not Direction.TO_OUTREACH
    if writes and not info.updateable:
        yield f"{name} is read-only in Workbooks: nothing can be written there"
    elif writes and not info.createable:
        yield f"{name} cannot be set when a person is created in Workbooks"
    kind = info.datatype
    if line.compare in FITTING and kind and kind not in FITTING[line.compare]:
        yield f"{name} is {KINDS.get(kind, f'of the kind {kind}')} in Workbooks, and {NEEDED[line.compare]} is needed"
    elif line.compare not in FITTING and kind in KINDS and not _may_be(line, kind):
        yield f"{name} is {KINDS[kind]} in Workbooks, and a text is needed"
    elif line.computed in LONG and info.max_length is not None and info.max_length <= SHORT:
        yield f"{name} takes at most {info.max_length} characters in Workbooks, and a long text is needed"


SHORT = 1000


def _may_be(line: Field, kind: str) -> bool:
    """Tell whether a value copied as it is can be of a kind: Outreach's dates, numbers and custom fields can."""
    if line.computed is not None:
        return False
    name = line.attribute or ""
    if kind in {"date", "datetime"}:
        return name.endswith(("At", "Date", "OfBirth")) or name.startswith("custom")
    return kind != "boolean" and (name.startswith("custom") or name in {"score", "engagedScore", "linkedInConnections"})


def _labels(mapping: Mapping, seen: Seen, people: Dict[str, FieldInfo]) -> Iterator[Finding]:
    asked: list[tuple[str, FieldInfo | None, list[Label]]] = []
    state = mapping.field_of(Computed.SEQUENCE_STATE)
    if state is not None:
        labels = [(("labels", label.value), text) for label, text in mapping.labels.items()]
        asked.append((state.crm, people.get(state.crm), list(labels)))
    if mapping.actions is not None:
        name = mapping.actions.action
        words = [(("sequence_actions", "words", verb.value), text) for verb, text in mapping.actions.words.items()]
        asked.append((name, people.get(name), list(words)))
    info = ((seen.fields or {}).get(Kind.CRM_TASK) or {}).get(STATUS)
    asked.append((STATUS, info, [(("task", "status"), mapping.task.status)]))
    for name, known, told in asked:
        yield from _spelt(told, seen.labels.get(name, ()), known, name)


def _spelt(told: Sequence[Label], offered: Sequence[str], info: FieldInfo | None, name: str) -> Iterator[Finding]:
    title = info.title if info else name
    for path, text in told:
        longest = info.max_length if info else None
        if longest is not None and len(text) > longest:
            yield Finding(path, f"'{text}' has {len(text)} characters, and {title} takes {longest}")
        elif offered and text not in offered:
            yield Finding(path, f"'{text}' is not in {title}{_nearest(text, offered)}")


def _nearest(text: str, offered: Sequence[str]) -> str:
    alike = next((one for one in offered if folded(one) == folded(text)), None)
    if alike is not None:
        mine, theirs = next(((a, b) for a, b in zip(text, alike, strict=False) if a != b), ("", ""))
        if mine.casefold() == theirs.casefold() and mine:
            return f"; Workbooks has '{alike}': capital and small letters count"
        where = f" (U+{ord(theirs):04X} where the file has U+{ord(mine):04X})" if mine and theirs else ""
        return f"; Workbooks has '{alike}', which differs only by {_what(mine, theirs)}{where}: copy it from there"
    near = difflib.get_close_matches(text, list(offered), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


def _what(mine: str, theirs: str) -> str:
    return "a dash" if any(_is_dash(one) for one in (mine, theirs)) else "a space"


def _is_dash(one: str) -> bool:
    return bool(one) and (unicodedata.category(one) == "Pd" or one == "\u2212")


def folded(text: str) -> str:
    """Return a label as people see it: any dash, any space, any case."""
    dashes = "".join("-" if _is_dash(one) else one for one in text)
    return "".join(dashes.replace("\u200b", "").split()).casefold()


def _attributes(mapping: Mapping, shown: frozenset[str]) -> Iterator[Finding]:
    if not shown:
        return
    for line in mapping.copied:
        if line.attribute not in shown:
            names = sorted(f"{name}[0]" if name in LISTS else name for name in shown)
            near = difflib.get_close_matches(line.outreach or "", names, n=1, cutoff=0.6)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            yield Finding(("fields", line.crm, "outreach"), f"Outreach shows no '{line.attribute}' to this token{hint}")
    flag = mapping.field_of(Computed.OPTED_OUT)
    if flag is not None and not shown & set(OPT_OUT_ATTRIBUTES):
        yield Finding(
            ("fields", flag.crm), "Outreach shows no opt-outs to this token: none made there would arrive", key=True
        )


def too_long(db: sa.Connection, mapping: Mapping, seen: Seen) -> list[Finding]:
    """Return the fields that are too short for a value which the mirror holds now; the values themselves are not told."""
    people = (seen.fields or {}).get(Kind.PERSON) or {}
    room = {line: info.max_length for line in mapping.copied if (info := people.get(line.crm)) and info.max_length}
    longest: dict[Field, int] = {}
    for number, part in enumerate(mirror.portions(db, Kind.PROSPECT)):
        for one in part if room else ():
            for line in room:
                longest[line] = max(longest.get(line, 0), _length(one.fields.get(line.attribute or "")))
        if number + 1 >= LOOKED_AT or not room:
            break
    return [
        Finding(
            ("fields", line.crm),
            f"Outreach holds a {line.outreach} of {longest[line]} characters, and Workbooks takes {most}: it would be refused",
            key=True,
        )
        for line, most in room.items()
        if longest.get(line, 0) > most
    ]


def _length(value: Value) -> int:
    if isinstance(value, list):
        return max((len(item) for item in value), default=0)
    return len(value) if isinstance(value, str) else 0
