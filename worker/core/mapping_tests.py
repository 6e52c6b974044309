"""The examples inside a mapping: given this prospect and these states, Workbooks has to show these fields."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from worker.core import plan, transforms
from worker.core.attributes import ATTRIBUTES, LISTS, READ_ONLY
from worker.core.mapping import OPT_OUT_ATTRIBUTES, PERSON_ADDRESSES
from worker.core.mapping_shape import NO_PERSON
from worker.core.plan import Action, PersonView
from worker.core.records import Kind, Ref, Snapshot
from worker.core.states import SequenceView, StateView
from worker.core.transforms import Absent
from worker.core.yaml_tree import Problem, place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.core.mapping import Mapping
    from worker.core.mapping_shape import Document, Example, TestState
    from worker.core.records import Value

PROSPECT, PERSON = 1, 1
"""The ids of the two in every example."""
ONCE = datetime(2000, 1, 1, tzinfo=UTC)
"""When a state was active of which a test does not tell when it changed."""
_FLAGS = frozenset({"optedOut", "emailOptedOut"})
_NAMES = sorted(ATTRIBUTES | READ_ONLY | LISTS | set(OPT_OUT_ATTRIBUTES))


@dataclass(frozen=True, slots=True, order=True)
class Failure:
    """One field that is not as its test expects; ``why`` is the rule that decided. Line and column count from 1."""

    line: int
    column: int
    test: str
    field: str
    expected: str
    actual: str
    why: str


def mistakes(tree: Any, document: Document) -> Iterator[Problem]:  # noqa: ANN401 - see yaml_tree.parse
    """Find what a test says that cannot be."""
    known = [*document.fields, *PERSON_ADDRESSES]
    for number, example in enumerate(document.tests):
        path: list[Any] = ["tests", number]
        yield from _unknown(tree, [*path, "prospect"], example.prospect, _NAMES, "Outreach has no")
        yield from _unknown(tree, [*path, "person"], example.person or {}, known, "`fields:` has no")
        for place_of, state in enumerate(example.states):
            if state.changed is not None and transforms.parse_time(state.changed) is None:
                words = f"'{state.changed}' is no time: write it as 2026-03-02 10:15"
                yield Problem(*place(tree, [*path, "states", place_of, "changed"]), words)
        if isinstance(example.expect, dict) and example.expect:
            yield from _unknown(tree, [*path, "expect"], example.expect, known, "`fields:` has no")
        elif example.expect != NO_PERSON:
            words = f"indented lines of `field: value` are wanted here, or: {NO_PERSON}"
            yield Problem(*place(tree, [*path, "expect"]), words)
        names = [*_NAMES, *(f"{name}[0]" for name in sorted(LISTS))]
        yield from _unknown(tree, [*path, "expect_in_outreach"], example.expect_in_outreach, names, "Outreach has no")


def _unknown(
    tree: Any,  # noqa: ANN401 - see yaml_tree.parse
    path: list[Any],
    told: dict[str, Any],
    known: list[str],
    lacks: str,
) -> Iterator[Problem]:
    for name, value in told.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
            hint = f", did you mean '{near[0]}'?" if near else ""
            yield Problem(*place(tree, [*path, name], key=True), f"{lacks} '{name}'{hint}")
        elif isinstance(value, dict):
            yield Problem(*place(tree, [*path, name]), "a text, a number, true or false is wanted here")
        elif isinstance(value, list) is not (name in LISTS or name == "tags") and value is not None:
            words = f"'{name}' is a list: [first, second]" if name in LISTS else f"'{name}' is no list"
            yield Problem(*place(tree, [*path, name]), words)


def run(tree: Any, document: Document, mapping: Mapping) -> list[Failure]:  # noqa: ANN401 - see yaml_tree.parse
    """Try every test and return what is not as expected, in the order of the file."""
    return sorted(
        failure
        for number, example in enumerate(document.tests)
        for failure in _failures(tree, ["tests", number], example, mapping)
    )


def _failures(tree: Any, path: list[Any], example: Example, mapping: Mapping) -> Iterator[Failure]:  # noqa: ANN401 - see yaml_tree.parse
    view = _view(example, mapping)
    told = plan.plan_person(view, mapping)
    rules = {one.field: one.why for one in told.decisions}
    created = told.action in {Action.CREATE, Action.RECREATE}
    nobody = view.person is None and not created

    def failure(name: str, expected: object, actual: object, why: str, *below: str) -> Failure:
        at = place(tree, [*path, *below], key=len(below) > 1)
        return Failure(*at, example.name, name, _said(expected), _said(actual), why)

    if example.expect == NO_PERSON:
        if not nobody:
            yield failure("person", NO_PERSON, "a person", told.why, "expect")
        return
    if nobody:
        yield failure("person", "a person", NO_PERSON, told.why, "expect")
        return
    shown = {**(view.person.fields if view.person else {}), **told.crm}
    for name, expected in example.expect.items():
        if not transforms.same(mapping.compare_of(name), expected, shown.get(name)):
            why = told.standing.rule if told.standing and rules.get(name, "") in _PLAIN else rules.get(name, "")
            yield failure(name, expected, shown.get(name), why, "expect", name)
    held = {**(view.prospect.fields if view.prospect else {}), **told.outreach}
    for name, expected in example.expect_in_outreach.items():
        actual = transforms.read(name, held)
        actual = None if isinstance(actual, Absent) else actual
        if not (actual == expected or (transforms.is_blank(actual) and transforms.is_blank(expected))):
            yield failure(name, expected, actual, rules.get(name, ""), "expect_in_outreach", name)


_PLAIN = frozenset({"", "both sides agree", "the value changed at its source"})
"""Of these reasons nobody learns anything: the rule of the sequence state says more."""


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "blank" if value is None or value in ("", []) else str(value)


def _view(example: Example, mapping: Mapping) -> PersonView:
    blank: dict[str, Value] = {name: [] if name in LISTS else None for name in mapping.prospect_attributes()}
    blank |= dict.fromkeys(_FLAGS, False)
    person = None
    if example.person is not None:
        columns: dict[str, Value] = dict.fromkeys(mapping.person_columns())
        person = Snapshot(Ref(Kind.PERSON, PERSON), {**columns, **example.person}, version=1)
    return PersonView(
        prospect_id=PROSPECT,
        prospect=Snapshot(Ref(Kind.PROSPECT, PROSPECT), {**blank, **example.prospect}),
        states=tuple(_state(number, one, example) for number, one in enumerate(example.states, start=1)),
        person=person,
    )


def _state(number: int, told: TestState, example: Example) -> StateView:
    names = list(dict.fromkeys(one.sequence for one in example.states))
    at = transforms.parse_time(told.changed)
    sequence = SequenceView(
        names.index(told.sequence) + 1, told.sequence, enabled=told.enabled, transactional=told.transactional
    )
    active = (at or ONCE) if told.was_active else None
    return StateView(number, sequence, told.state, changed_at=at, active_at=active, step=told.step)
