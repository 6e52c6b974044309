"""The mapping's file: its shape, its schema, and every problem with file:line:column and, if one is near, a better word."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import string
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pydantic

from worker.core import mapping, yaml_tree
from worker.core.attributes import ATTRIBUTES, LISTS, READ_ONLY
from worker.core.mapping import Computed, Direction, Winner
from worker.core.mapping_shape import (
    DEFAULT_WORDS,
    Brakes,
    Document,
    Example,
    FieldLine,
    NewProspects,
    SequenceActions,
    TaskSection,
    TestState,
    Words,
)
from worker.core.states import Label
from worker.core.transforms import Compare, split_path
from worker.core.yaml_tree import MappingInvalid, Problem, place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PLACEHOLDERS = frozenset({"action", "sequence", "step"})
NO_EMAIL = "no_email_soliciting"
NEAREST_FLOOR = 20
"""Below this many people the brake on deletions never trips (contract, section 5)."""


__all__ = ["DEFAULT_WORDS", "MappingInvalid", "Problem", "load", "schema"]

SECTIONS: dict[tuple[str, ...], type[pydantic.BaseModel]] = {
    ("brakes",): Brakes,
    ("new_prospects",): NewProspects,
    ("sequence_actions",): SequenceActions,
    ("sequence_actions", "words"): Words,
    ("task",): TaskSection,
    ("tests",): Example,
    ("tests", "states"): TestState,
}
DIRECTIONS = {Computed.OPTED_OUT: Direction.BOTH, Computed.SYNC_REQUEST: Direction.TO_OUTREACH}


def schema() -> str:
    """Return the JSON Schema that an editor completes and checks the file with, as text."""
    return json.dumps(Document.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True, slots=True)
class Read:
    """A mapping's file as it was read: the tree that knows its lines, the document, and the mapping that it means."""

    tree: Any
    document: Document
    mapping: mapping.Mapping


def load(text: str, name: str = "mapping") -> mapping.Mapping:
    """Return the mapping that ``text`` holds; raise :class:`MappingInvalid` with every problem in it."""
    return read(text, name).mapping


def read(text: str, name: str = "mapping") -> Read:
    """Return all that ``text`` holds; raise :class:`MappingInvalid` with every problem in it."""
    tree = yaml_tree.parse(text, name)
    try:
        document = Document.model_validate(yaml_tree.plain(tree))
    except pydantic.ValidationError as invalid:
        problems = [problem for error in invalid.errors() for problem in _problems(tree, error)]
        raise MappingInvalid(name, sorted({*problems, *_beside(tree)})) from None
    problems = list(_contradictions(tree, document))
    if problems:
        raise MappingInvalid(name, problems)
    return Read(tree, document, replace(_mapping(document), text=text))


def _near(word: object, words: Sequence[str]) -> str:
    found = difflib.get_close_matches(str(word), words, n=1, cutoff=0.6)
    return f", did you mean '{found[0]}'?" if found else ""


def _problems(tree: Any, error: Any) -> Iterator[Problem]:  # noqa: ANN401 - see yaml_tree.parse
    """Turn one finding of the validator into words for a person who has never heard of types."""
    path = [part for part in error["loc"] if part != "[key]"]
    if path[0] in {"roll_up", "brakes"}:  # the validator names the branches of a choice as well
        path = [part for part in path if not str(part).startswith(("list[", "literal[", "constrained-int", "int"))]
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        at = place(tree, path, key=True)
        yield Problem(*at, f"unknown key '{path[-1]}'{_near(path[-1], _keys_beside(path))}")
    elif kind == "missing":
        yield Problem(*place(tree, path[:-1]), f"'{path[-1]}' is missing")
    elif kind in {"enum", "literal_error"}:
        allowed = re.findall(r"'([^']*)'", str(context.get("expected", ""))) or ["1"]
        is_key = error["loc"][-1] == "[key]"
        given = error["input"]
        if (isinstance(given, list) and path == ["roll_up"]) or path[0] == "brakes":
            return  # the other branch of the choice tells it better
        hint = ": write it without quotes" if given in allowed else _near(given, allowed)
        words = f"'{given}' is not one of {', '.join(allowed)}{hint}"
        yield Problem(*place(tree, path, key=is_key), words)
    else:
        is_key = kind == "invalid_key" or error["loc"][-1] == "[key]"
        yield Problem(*place(tree, path, key=is_key), _plain_words(kind, error))


def _plain_words(kind: str, error: Any) -> str:  # noqa: ANN401 - pydantic's own dict
    given = error["input"]
    if (kind == "string_type" and given is None) or kind in {"string_too_short", "too_short"}:
        return "must not be empty"
    if kind == "string_pattern_mismatch":
        return _pattern_words(given, str(error["loc"][0]), error["loc"][-1])
    if kind in {"string_type", "invalid_key"}:
        return f"a text is wanted here, not {given!r}: put it in quotes"
    if kind == "list_type":
        return "a list is wanted here: [first, second]"
    if kind in {"dict_type", "model_type", "model_attributes_type"}:
        return "indented lines of `key: value` are wanted here"
    return _unit_words(kind, given) or str(error["msg"])


def _unit_words(kind: str, given: object) -> str | None:
    if kind.startswith(("int_", "greater_than")):
        return f"'{given}' is no whole number, nor none"
    if kind.startswith("bool_"):
        return f"'{given}' is neither true nor false"
    return f"'{given}' is no date: write it as 2026-01-31" if kind.startswith("date") else None


def _pattern_words(given: object, section: str, key: object) -> str:
    if key == "owner":
        return f"'{given}' is no address of an Outreach user, nor none"
    if key == "mailbox":
        return f"'{given}' is no address of a mailbox, nor owner or none"
    return f"'{given}' is no share such as 2%, nor none" if section == "brakes" else "must not be empty"


def _keys_beside(path: Sequence[Any]) -> list[str]:
    """Return the keys that may stand where the unknown one stands."""
    above = tuple(part for part in path[:-1] if isinstance(part, str))
    model: type[pydantic.BaseModel] = FieldLine if above[:1] == ("fields",) else SECTIONS.get(above, Document)
    return list(model.model_fields)


def _beside(tree: Any) -> Iterator[Problem]:  # noqa: ANN401 - see yaml_tree.parse
    """Find what is wrong with single lines of a file whose shape is wrong elsewhere, so that nobody has to check twice."""
    lines = yaml_tree.plain(tree).get("fields")
    for crm, told in lines.items() if isinstance(lines, dict) else ():
        try:
            line = FieldLine.model_validate(told)
        except pydantic.ValidationError:
            continue
        yield from (Problem(*place(tree, ["fields", crm, key]), words) for key, words in _line_problems(line))


def _contradictions(tree: Any, document: Document) -> Iterator[Problem]:  # noqa: ANN401 - see yaml_tree.parse
    """Find what is well formed but makes no sense."""
    try:
        ZoneInfo(document.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a directory, such as Europe
        words = f"'{document.timezone}' is no time zone: write a name like Europe/London, or UTC"
        yield Problem(*place(tree, ["timezone"]), words)
    yield from _in_fields(tree, document)
    yield from _in_labels(tree, document)
    yield from _in_actions(tree, document)
    if not _is_template(document.task.name):
        words = "only {action}, {sequence} and {step} can stand in braces here"
        yield Problem(*place(tree, ["task", "name"]), words)


def _in_fields(tree: Any, document: Document) -> Iterator[Problem]:  # noqa: ANN401 - see yaml_tree.parse
    for crm, line in document.fields.items():
        yield from (Problem(*place(tree, ["fields", crm, key]), words) for key, words in _line_problems(line))
        if not crm.strip():
            yield Problem(*place(tree, ["fields", crm], key=True), "must not be empty")
    worked_out = {line.outbook for line in document.fields.values()}
    if Computed.PROSPECT_ID not in worked_out:
        words = f"no field holds `outbook: {Computed.PROSPECT_ID}`; one must, for it is the link that survives"
        yield Problem(*place(tree, ["fields"], key=True), words)
    if Computed.OPTED_OUT not in worked_out and NO_EMAIL in document.fields:
        words = "this field holds the opt-out: {outbook: opted_out, direction: both}"
        yield Problem(*place(tree, ["fields", NO_EMAIL], key=True), words)
    yield from _twice(tree, document)


def _in_labels(tree: Any, document: Document) -> Iterator[Problem]:  # noqa: ANN401 - see yaml_tree.parse
    for label in Label:
        if label not in document.labels:
            yield Problem(*place(tree, ["labels"], key=True), f"the label '{label}' is missing")
        elif not document.labels[label].strip():
            yield Problem(*place(tree, ["labels", label.value]), "must not be empty")
    yield from _doubles(tree, ["labels"], [(label, text) for label, text in document.labels.items()])
    for word, meant in document.states.items():
        if meant is Label.NOT_ACTIVE:
            words = f"'{meant}' is for people in no sequence: no state can mean it"
            yield Problem(*place(tree, ["states", word]), words)
    if isinstance(document.roll_up, list):
        yield from _doubles(tree, ["roll_up"], list(enumerate(document.roll_up)))
        for label in mapping.ROLLED_UP:
            if label.value not in document.roll_up:
                yield Problem(*place(tree, ["roll_up"]), f"'{label}' is missing from the order")


def _in_actions(tree: Any, document: Document) -> Iterator[Problem]:  # noqa: ANN401 - see yaml_tree.parse
    told = document.sequence_actions
    seen = dict.fromkeys(document.fields, "`fields:`")
    for key in ("action", "sequence", "outcome"):
        name = getattr(told, key)
        if name in seen:
            yield Problem(*place(tree, ["sequence_actions", key]), f"'{name}' is already used by {seen[name]}")
        seen.setdefault(name, f"`{key}:`")
    words = [(verb, word.strip().casefold()) for verb, word in told.words.by_verb().items()]
    yield from _doubles(tree, ["sequence_actions", "words"], words)
    task = document.task
    for number, label in enumerate(task.cancelled_labels):
        if label in task.completed_labels:
            both = f"'{label}' cannot mean both completed and cancelled"
            yield Problem(*place(tree, ["task", "cancelled_labels", number]), both)


def _is_template(text: str) -> bool:
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError:
        return False
    return all(name in PLACEHOLDERS and not form and not turned for _, name, form, turned in parts if name is not None)


def _line_problems(line: FieldLine) -> Iterator[tuple[str, str]]:
    if (line.outreach is None) == (line.outbook is None):
        yield "direction", "exactly one of `outreach:` and `outbook:` must say where the value comes from"
    if line.outbook is not None:
        wanted = DIRECTIONS.get(line.outbook, Direction.TO_CRM)
        if line.direction is not wanted:
            yield "direction", f"`outbook: {line.outbook}` goes {wanted}"
    if line.outreach is not None:
        yield from (("outreach", words) for words in _path_problems(line.outreach, line.direction))


def _path_problems(path: str, direction: Direction) -> Iterator[str]:
    name, index = split_path(path)
    if name in LISTS:
        if index is None:
            yield f"'{name}' is a list: write {name}[0] for its first element"
    elif index is not None:
        yield f"'{name}' is no list: write it without [{index}]"
    elif name in mapping.OPT_OUT_ATTRIBUTES:
        yield "opt-outs travel by `outbook: opted_out`, which goes both ways"
    elif name == "tags" and direction is not Direction.TO_CRM:
        yield "'tags' is a list that the CRM shows as one text: its direction is to_crm"
    elif name in READ_ONLY:
        if direction is not Direction.TO_CRM:
            yield f"'{name}' cannot be written in Outreach: its direction is to_crm"
    elif name not in ATTRIBUTES:
        known = sorted(ATTRIBUTES | READ_ONLY | {f"{each}[0]" for each in LISTS})
        yield f"Outreach has no '{path}'{_near(path, known)}"


def _twice(tree: Any, document: Document) -> Iterator[Problem]:  # noqa: ANN401 - see yaml_tree.parse
    seen: dict[tuple[str | None, str | None], str] = {}
    for crm, line in document.fields.items():
        source = (line.outreach, line.outbook)
        if source in seen and (line.outbook or line.direction is not Direction.TO_CRM):
            words = f"'{line.outreach or line.outbook}' is already used by {seen[source]}"
            yield Problem(*place(tree, ["fields", crm], key=True), words)
        seen.setdefault(source, crm)


def _doubles(tree: Any, path: list[Any], items: Sequence[tuple[Any, str]]) -> Iterator[Problem]:  # noqa: ANN401 - see yaml_tree.parse
    seen: set[str] = set()
    for key, text in items:
        if text in seen:
            yield Problem(*place(tree, [*path, getattr(key, "value", key)]), f"'{text}' occurs twice")
        seen.add(text)


def _mapping(document: Document) -> mapping.Mapping:
    told = dict(document.fields)
    if not any(line.outbook is Computed.OPTED_OUT for line in told.values()):
        # An opt-out reaches the CRM whatever the file forgets.
        told[NO_EMAIL] = FieldLine(outbook=Computed.OPTED_OUT, direction=Direction.BOTH)
    lines = tuple(_field(crm, line, document.on_conflict) for crm, line in told.items())
    unnamed = mapping.Mapping(
        version="",
        timezone=ZoneInfo(document.timezone),
        create_people=document.create_people,
        on_crm_delete=document.on_crm_delete,
        on_outreach_delete=document.on_outreach_delete,
        first_sight=document.first_sight,
        brakes=_brakes(document.brakes),
        new_owner=None if document.new_prospects.owner == "none" else document.new_prospects.owner,
        fields=lines,
        labels=document.labels,
        words=document.states,
        roll_up=document.roll_up if isinstance(document.roll_up, str) else tuple(Label(w) for w in document.roll_up),
        task=mapping.TaskRule(
            status=document.task.status,
            name=document.task.name,
            reference=document.task.reference,
            since=document.task.since,
            skipped_when=frozenset(document.task.skipped_when),
            back=_back(document.task),
        ),
        by_crm={line.crm: line for line in lines},
        actions=_actions(document.sequence_actions),
    )
    meaning = json.dumps(_meaning(replace(unnamed, fields=())), sort_keys=True, ensure_ascii=False)
    return replace(unnamed, version="sha256:" + hashlib.sha256(meaning.encode()).hexdigest())


def _back(told: TaskSection) -> mapping.TaskBack | None:
    if not told.back_to_outreach:
        return None
    completed, cancelled = (
        frozenset(label.strip() for label in labels) for labels in (told.completed_labels, told.cancelled_labels)
    )
    return mapping.TaskBack(completed, cancelled)


def _actions(told: SequenceActions) -> mapping.SequenceActions | None:
    if not told.enabled:
        return None
    return mapping.SequenceActions(
        action=told.action,
        sequence=told.sequence,
        outcome=told.outcome,
        mailbox=None if told.mailbox == "none" else told.mailbox,
        words={verb: word.strip() for verb, word in told.words.by_verb().items()},
    )


def _brakes(told: Brakes) -> mapping.Brakes:
    def share(text: str) -> mapping.Share | None:
        return None if text == "none" else mapping.Share(float(text.rstrip("%")), NEAREST_FLOOR)

    return mapping.Brakes(
        deleted_people=share(told.deleted_people),
        emptied_values=share(told.emptied_values),
        new_prospects=None if told.new_prospects == "none" else told.new_prospects,
        new_people=None if told.new_people == "none" else told.new_people,
    )


def _meaning(value: object) -> object:
    """Return what a value means, as JSON can hold it; what has no order in it is sorted."""
    if is_dataclass(value):
        return {field.name: _meaning(getattr(value, field.name)) for field in fields(value) if field.compare}
    if isinstance(value, dict):
        return {str(key): _meaning(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(str(item) for item in value)
    return [_meaning(item) for item in value] if isinstance(value, tuple) else str(value)


def _field(crm: str, line: FieldLine, on_conflict: Winner) -> mapping.Field:
    return mapping.Field(
        crm=crm,
        direction=line.direction,
        compare=line.compare or _compare(line),
        outreach=line.outreach,
        computed=line.outbook,
        on_conflict=line.on_conflict or on_conflict,
    )


def _compare(line: FieldLine) -> Compare:
    """Return how values are compared where the line does not say."""
    if line.outbook is not None:
        return {
            Computed.SEQUENCE_STEP: Compare.INTEGER,
            Computed.SEQUENCE_STATE_UPDATED_AT: Compare.DATETIME,
            Computed.OPTED_OUT: Compare.FLAG,
            Computed.SYNC_REQUEST: Compare.FLAG,
        }.get(line.outbook, Compare.TEXT)
    name = split_path(line.outreach or "")[0]
    if name == "emails":
        return Compare.EMAIL
    return Compare.PHONE if name in LISTS else Compare.TEXT
