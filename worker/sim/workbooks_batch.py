"""Writes: one PUT with up to 100 creates, updates and deletes of one kind, as "square" arrays.

README "Changing Objects". First every object is planned (looked up, its ``lock_version`` compared, its values read and
tidied); then, if none was refused or with ``_per_object_transactions``, the plans are carried out. Choices where the
facts are silent: an update that changes nothing keeps its ``lock_version`` (option ``bump_unchanged``); the same id
twice in a request is a conflict the second time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.sim import workbooks_access as access
from worker.sim import workbooks_columns as columns
from worker.sim import workbooks_query as query
from worker.sim import workbooks_values as values
from worker.sim.workbooks_receipts import GONE, STALE, WHOLE, Done, Failed, Outcome, told
from worker.sim.workbooks_types import PERSON_CLASS, Field
from worker.sim.workbooks_wire import unacceptable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.sim.instruments import Fault
    from worker.sim.workbooks_sessions import Caller
    from worker.sim.workbooks_table import Row
    from worker.sim.workbooks_types import Kind
    from worker.sim.workbooks_wire import Parameters
    from worker.sim.workbooks_world import World

MOST_OBJECTS = 100
METHODS = ("POST", "PUT", "DELETE")
_CONTROLS = frozenset("_ff _ft _fc _fm _sort _dir _select_columns class_names".split())
_KEYS = ("__method", "id", "lock_version")
Effect = dict[str, Any]


@dataclass(slots=True)
class Plan:
    """What is to become of one object: ``row`` is None for a create, ``failed`` tells why nothing will."""

    method: str
    id: int
    version: int
    row: Row | None = None
    values: dict[str, Any] = field(default_factory=dict)
    failed: Failed | None = None

    def refuse(self, errors: dict[str, list[str]], *, conflict: bool = False) -> Plan:
        """Return the plan as refused."""
        self.failed = Failed(self.id, self.version, errors, conflict=conflict)
        return self


def write(
    world: World, kind: Kind, asked: Parameters, caller: Caller, fault: Fault | None
) -> tuple[dict[str, Any], list[Effect]]:
    """Carry out a batch; returns the reply and its effects. Stop with 406 for arrays that do not fit together."""
    allowed = query.selected(world, kind, asked) if world.options.strict_filter else None
    seen: set[int] = set()
    plans = [_planned(world, kind, one, caller, seen=seen, allowed=allowed) for one in _objects(asked)]
    unlucky = _unlucky(fault, plans)
    rolled_back = any(plan.failed for plan in plans) and not caller.per_object and not unlucky
    effects: list[Effect] = []
    outcomes: list[Outcome] = []
    lag = _lag(world, fault)
    for plan in plans:
        if plan.failed is not None or rolled_back:
            outcomes.append(plan.failed or Failed(plan.id, plan.version, {}))
        else:
            outcomes.append(_carried_out(world, kind, plan, caller, effects=effects, lag=lag))
    return told(outcomes, world.options, rolled_back=rolled_back), effects


def _objects(asked: Parameters) -> list[dict[str, str]]:
    """Return the objects of a request, attribute names nested as answers have them."""
    arrays = {name: many for name, many in asked.arrays() if name not in _CONTROLS}
    count = len(arrays.get("id", ()))
    if not count:
        raise unacceptable("no objects: id[] is missing")
    if count > MOST_OBJECTS:
        raise unacceptable(f"{count} objects are more than {MOST_OBJECTS}")
    uneven = [name for name, many in arrays.items() if len(many) != count]
    missing = [name for name in _KEYS if name not in arrays]
    if uneven or missing:
        raise unacceptable(f"the arrays are not square: {', '.join(f'{name}[]' for name in [*missing, *uneven])}")
    names = [(nested(name), many) for name, many in arrays.items()]
    return [{name: many[place] for name, many in names} for place in range(count)]


def nested(name: str) -> str:
    """Return ``a[b[c]]`` for the ``a[b][c]`` that goes over the wire."""
    parts = re.findall(r"[^\[\]]+", name)
    return "[".join(parts) + "]" * (len(parts) - 1)


def _planned(
    world: World, kind: Kind, one: dict[str, str], caller: Caller, *, seen: set[int], allowed: set[int] | None
) -> Plan:
    method = one["__method"].upper()
    try:
        plan = Plan(method, int(one["id"]), int(one["lock_version"]))
    except ValueError:
        raise unacceptable("id[] and lock_version[] are integers") from None
    if method not in METHODS:
        raise unacceptable(f"__method[] is one of {', '.join(METHODS)}")
    if method == "POST":
        plan.id = 0
        return _valued(world, kind, plan, one, caller)
    row = world.tables[kind.short].rows.get(plan.id)
    if row is None or row.is_deleted or row.hidden or (allowed is not None and plan.id not in allowed):
        return plan.refuse({WHOLE: [GONE]}, conflict=True)
    if row.version != plan.version or plan.id in seen:
        return plan.refuse({WHOLE: [STALE]}, conflict=True)
    seen.add(plan.id)
    plan.row = row
    return plan if method == "DELETE" else _valued(world, kind, plan, one, caller)


def _valued(world: World, kind: Kind, plan: Plan, one: Mapping[str, str], caller: Caller) -> Plan:
    """Read the values of a create or update into its plan, or refuse it."""
    errors: dict[str, list[str]] = {}
    for name, text in one.items():
        if name in _KEYS or name.startswith("_") or text == values.NO_VALUE:
            continue
        found = _settable(world, kind, name)
        if found is None:
            if caller.strict and columns.column(world, kind, name) is None:
                errors[name] = ["is not a recognised attribute"]
            continue
        try:
            plan.values[found.name] = values.accepted(world, kind, found, text)
        except ValueError as error:
            errors[name] = [str(error)]
    _completed(world, kind, plan)
    errors |= {} if errors else _checked(world, kind, plan)
    return plan.refuse(errors) if errors else plan


def _settable(world: World, kind: Kind, name: str) -> Field | None:
    """Return the field that an attribute sets; of a ``_date`` or ``_datetime`` twin, the var_date_time behind it."""
    found = kind.fields.get(name)
    if found is not None:
        return found
    stem, _, end = name.rpartition("_")
    source = kind.fields.get(stem)
    if source is not None and source.datatype == "var_date_time" and end in {"date", "datetime"}:
        return source
    if kind.is_open and columns.column(world, kind, name) is not None and not name.endswith("_at"):
        return Field(name, "text")
    return None


def _completed(world: World, kind: Kind, plan: Plan) -> None:
    """Add what the CRM works out by itself: a person's name from its parts, an employer's name."""
    given, before = plan.values, plan.row.values if plan.row is not None else {}
    parts = ("person_first_name", "person_last_name")
    if kind.short == "person" and not given.get("name") and any(part in given for part in parts):
        both = (given.get(part, before.get(part)) or "" for part in parts)
        given["name"] = " ".join(part for part in both if part)
    source = {"picklist_entry": "value", "custom_field": "title"}.get(kind.short)
    if source and source in given:
        given["name"] = given[source]
    if kind.short == "person" and given.get("employer_link"):
        employer = world.tables["organisation"].rows.get(given["employer_link"])
        given["employer_name"] = employer.values.get("name") if employer is not None else None


def _checked(world: World, kind: Kind, plan: Plan) -> dict[str, list[str]]:
    """Return what is wrong with the values taken together."""
    given = plan.values
    errors = {
        one.name: ["can't be blank"]
        for one in kind.fields.values()
        if one.required and given.get(one.name, None if plan.row is None else "kept") in {None, ""}
    }
    contact = given.get("primary_contact_id")
    of_person = given.get("primary_contact_type") in {None, "", PERSON_CLASS}
    if kind.short == "task" and contact is not None and of_person and world.options.check_contacts:
        person = world.tables["person"].rows.get(contact)
        if person is None or person.hidden:
            errors["primary_contact_id"] = ["does not exist"]
    return errors or access.wrong(world, kind, plan)


def _unlucky(fault: Fault | None, plans: list[Plan]) -> bool:
    """Refuse what ``partial_outcome`` names, or with ``half`` every second; the rest is saved in any transaction."""
    if fault is None or fault.kind not in {"partial_outcome", "half"}:
        return False
    for place in range(1, len(plans), 2) if fault.kind == "half" else fault.args.get("indices", [0]):
        if place < len(plans):
            plans[place].refuse({WHOLE: [fault.args.get("message", "This record could not be saved.")]})
    return True


def _lag(world: World, fault: Fault | None) -> float:
    if fault is not None and fault.kind in {"search_lag", "index_lag"}:
        return float(fault.args.get("seconds", 5.0))
    return world.options.search_lag


def _carried_out(world: World, kind: Kind, plan: Plan, caller: Caller, *, effects: list[Effect], lag: float) -> Done:
    before = plan.row.copy() if plan.row is not None and lag else None
    if plan.method == "POST":
        row, done = _created(world, kind, plan, caller, effects)
    else:
        assert plan.row is not None  # noqa: S101
        row = plan.row
        change = _deleted if plan.method == "DELETE" else _updated
        done = change(world, kind, plan, caller, effects)
    if lag:
        former = world.pending[kind.short].get(row.id)
        world.pending[kind.short][row.id] = (world.clock.now().timestamp() + lag, former[1] if former else before)
    return done


def _created(world: World, kind: Kind, plan: Plan, caller: Caller, effects: list[Effect]) -> tuple[Row, Done]:
    given = {"created_through": caller.application, **plan.values}
    row = world.create(kind.short, given, at=world.now(), by=caller.user)
    if kind.short == "custom_field":
        world.announce_field(row)
    changes = {name: [None, value] for name, value in plan.values.items()}
    effects.append({"op": "create", "type": kind.short, "id": row.id, "changes": changes})
    shown = columns.every(world, kind)
    if kind.is_open:
        known = {one.name for one in shown}
        more = (columns.column(world, kind, name) for name in row.values if name not in known)
        shown += [one for one in more if one is not None]
    return row, Done({one.name: one.written(caller.formats)(row) for one in shown})


def _updated(world: World, kind: Kind, plan: Plan, caller: Caller, effects: list[Effect]) -> Done:
    row = plan.row
    assert row is not None  # noqa: S101
    changed = {name: value for name, value in plan.values.items() if value != _held(kind, row, name)}
    if changed or world.options.bump_unchanged:
        changes = {name: [_held(kind, row, name), value] for name, value in changed.items()}
        world.change(kind.short, row, changed, by=caller.user)
        effects.append({"op": "update", "type": kind.short, "id": row.id, "changes": changes})
    names = ["id", "lock_version", "updated_at", *(["updated_by", *changed] if changed else [])]
    names += [twin for name in changed for twin in _twins(kind, name)]
    if "name" in changed:
        names.append("descriptor")
    shown = (columns.column(world, kind, name) for name in names)
    return Done({one.name: one.written(caller.formats)(row) for one in shown if one is not None})


def _held(kind: Kind, row: Row, name: str) -> object:
    found = kind.fields.get(name)
    return row.values.get(name, found.default if found is not None else None)


def _twins(kind: Kind, name: str) -> list[str]:
    found = kind.fields.get(name)
    is_double = found is not None and found.datatype == "var_date_time"
    return [f"{name}_date", f"{name}_datetime"] if is_double else []


def _deleted(world: World, kind: Kind, plan: Plan, caller: Caller, effects: list[Effect]) -> Done:
    row = plan.row
    assert row is not None  # noqa: S101
    if kind.short == "custom_field":
        world.close_field(row)
    world.erase(kind.short, row, by=caller.user)
    effects.append({"op": "delete", "type": kind.short, "id": row.id, "changes": {}})
    return Done({"id": row.id, "lock_version": row.version})
