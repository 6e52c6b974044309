"""What people do to the simulated database by hand, as documents for ``POST /_sim/edit``; and what it looks like.

A document is one of these, or a list of them, carried out in order. ``type`` is ``person``, ``task``, ``organisation``
or any other kind's short name. The answer is ``{"ok": true, "id": …, "effect": […]}``.

* ``{"op": "create", "type", "fields"}`` · ``{"op": "set", "type", "id", "fields"}`` (a value null sets null)
* ``{"op": "delete" | "undelete" | "hide" | "unhide", "type", "id"}``; hidden is as without permission: the record is
  not to be seen, and nothing tells
  Each of these and ``merge`` may name who does it: ``"by"``, a login name or a user's id (pat@example.invalid).
* ``{"op": "merge", "winner", "loser"}``: of two people the loser becomes deleted, the winner takes its address as
  alternate address
* ``{"op": "add_label" | "remove_label", "label", "picklist"?}``, the picklist by name (Sequence State)
* ``{"op": "add_field" | "remove_field", "field", "type"?, "data_type"?, "title"?, "picklist"?}``
* ``{"op": "add_key" | "remove_key", "key", …}`` · ``{"op": "option", "name", "value"}``: see ``workbooks_options``
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.sim import workbooks_access as access
from worker.sim import workbooks_dates as dates
from worker.sim import workbooks_values as values
from worker.sim.workbooks_types import CUSTOM_FIELDS, HUMAN_USER, SEQUENCE_STATE, Field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.sim.workbooks_table import Row
    from worker.sim.workbooks_types import Kind
    from worker.sim.workbooks_world import World

Document = dict[str, Any]


def edit(world: World, document: object) -> dict[str, Any]:
    """Carry out one document or a list; ValueError, KeyError or TypeError for what cannot be done."""
    if isinstance(document, list):
        answers = [edit(world, one) for one in document]
        return {
            "ok": True,
            "ids": [one["id"] for one in answers],
            "effect": [e for one in answers for e in one["effect"]],
        }
    if not isinstance(document, dict):
        raise TypeError("an edit is an object or a list of them")
    operation = _OPERATIONS.get(document["op"])
    if operation is None:
        raise ValueError(f"no op {document['op']!r}; there are {', '.join(sorted(_OPERATIONS))}")
    number, effect = operation(world, document)
    for table in world.tables.values():
        table.generation += 1
    return {"ok": True, "id": number, "effect": effect}


Result = tuple[int | None, list[dict[str, Any]]]


def _effect(op: str, short: str, number: int, changes: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    return [{"op": op, "type": short, "id": number, "changes": dict(changes or {})}]


def _by(world: World, document: Document) -> int:
    """Return who makes an edit; ValueError for a login name that nobody has."""
    who = document.get("by", HUMAN_USER)
    number = who if isinstance(who, int) else access.user_id(world, who)
    if world.tables["user"].rows[number].values["login_name"] != who and number != who:
        raise ValueError(f"no user {who!r}")
    return number


def _row(world: World, document: Document, *, short: str | None = None, key: str = "id") -> Row:
    name = short or document["type"]
    row = world.tables[name].rows.get(int(document[key]))
    if row is None:
        raise ValueError(f"no {name} {document[key]}")
    return row


def _read(world: World, kind: Kind, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that fields given as JSON stand for, by the very rules of the API."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        stem = name.removesuffix("_date").removesuffix("_datetime")
        one = kind.fields.get(name) or kind.fields.get(stem) or (Field(name) if kind.is_open else None)
        if one is None:
            raise ValueError(f"a {kind.short} has no field {name!r}")
        text = (
            values.NULL_VALUE if value is None else ("1" if value else "0") if isinstance(value, bool) else str(value)
        )
        found[one.name] = values.accepted(world, kind, one, text)
    first, last = found.get("person_first_name"), found.get("person_last_name")
    if kind.short == "person" and "name" not in found and (first or last):
        found["name"] = " ".join(part for part in (first, last) if part)
    return found


def _create(world: World, document: Document) -> Result:
    kind = world.short[document["type"]]
    given = _read(world, kind, document.get("fields") or {})
    row = world.create(kind.short, given, at=world.now(), by=_by(world, document))
    return row.id, _effect("create", kind.short, row.id, {name: [None, value] for name, value in given.items()})


def _set(world: World, document: Document) -> Result:
    row, kind = _row(world, document), world.short[document["type"]]
    fields = dict(document["fields"])
    parts = ("person_first_name", "person_last_name")
    if kind.short == "person" and "name" not in fields and any(part in fields for part in parts):
        fields = {**{part: row.values.get(part) for part in parts}, **fields}
    given = _read(world, kind, fields)
    changes = {name: [row.values.get(name), value] for name, value in given.items()}
    world.change(kind.short, row, given, by=_by(world, document))
    return row.id, _effect("update", kind.short, row.id, changes)


def _delete(world: World, document: Document) -> Result:
    row = _row(world, document)
    world.erase(document["type"], row, by=_by(world, document))
    return row.id, _effect("delete", document["type"], row.id)


def _undelete(world: World, document: Document) -> Result:
    row = _row(world, document)
    row.is_deleted = False
    world.change(document["type"], row, {}, by=_by(world, document))
    return row.id, _effect("update", document["type"], row.id, {"is_deleted": [True, False]})


def _hide(world: World, document: Document) -> Result:
    row = _row(world, document)
    row.hidden = document["op"] == "hide"
    return row.id, _effect(document["op"], document["type"], row.id)


def _merge(world: World, document: Document) -> Result:
    winner, loser = (
        _row(world, document, short="person", key="winner"),
        _row(world, document, short="person", key="loser"),
    )
    address = loser.values.get("main_location[email]")
    held = winner.values.get("main_location[alternate_email]")
    taken = {"main_location[alternate_email]": address} if address else {}
    world.change("person", winner, taken, by=_by(world, document))
    world.erase("person", loser, by=_by(world, document))
    changes = {name: [held, value] for name, value in taken.items()}
    return winner.id, [*_effect("update", "person", winner.id, changes), *_effect("delete", "person", loser.id)]


def _add_label(world: World, document: Document) -> Result:
    name = document.get("picklist", SEQUENCE_STATE)
    number = world.picklist_id(name)
    if number is None:
        raise ValueError(f"no picklist {name!r}")
    row = world.add_label(number, document["label"], len(world.labels(name)))
    return row.id, _effect("create", "picklist_entry", row.id, {"value": [None, document["label"]]})


def _remove_label(world: World, document: Document) -> Result:
    number = world.picklist_id(document.get("picklist", SEQUENCE_STATE))
    wanted = (number, document["label"])
    table = world.tables["picklist_entry"]
    held = table.select(
        lambda row: (row.values.get("picklist_id"), row.values["value"]) == wanted and not row.is_deleted
    )
    if not held:
        raise ValueError(f"no label {document['label']!r}")
    world.erase("picklist_entry", held[0], by=HUMAN_USER)
    return held[0].id, _effect("delete", "picklist_entry", held[0].id)


def _add_field(world: World, document: Document) -> Result:
    column = document["field"]
    known = next((one for one in CUSTOM_FIELDS if one[2] == column), None)
    kind = world.short[document.get("type") or column.split("_")[1]]
    title = document.get("title") or (known[1] if known else column)
    data_type = document.get("data_type") or (known[3] if known else "string")
    given = {"title": title, "resource_type": kind.class_name, "data_type": data_type, "value_column_name": column}
    if data_type == "picklist":
        given |= {"picklist_id": world.picklist_id(document.get("picklist", SEQUENCE_STATE)), "unrestricted": False}
    row = world.create("custom_field", {**given, "status": "Available"}, at=world.now(), by=HUMAN_USER)
    world.open_field(row)
    return row.id, _effect("create", "custom_field", row.id, {name: [None, value] for name, value in given.items()})


def _remove_field(world: World, document: Document) -> Result:
    column = document["field"]
    table = world.tables["custom_field"]
    held = table.select(lambda row: row.values.get("value_column_name") == column and not row.is_deleted)
    if not held:
        raise ValueError(f"no custom field {column!r}")
    world.close_field(held[0])
    world.erase("custom_field", held[0], by=HUMAN_USER)
    return held[0].id, _effect("delete", "custom_field", held[0].id)


def _add_key(world: World, document: Document) -> Result:
    world.options.keys[document["key"]] = {name: one for name, one in document.items() if name not in {"op", "key"}}
    return None, []


def _remove_key(world: World, document: Document) -> Result:
    del world.options.keys[document["key"]]
    return None, []


def _option(world: World, document: Document) -> Result:
    world.options.choose(document["name"], document["value"])
    return None, []


_OPERATIONS: dict[str, Callable[[World, Document], Result]] = {
    "create": _create,
    "set": _set,
    "delete": _delete,
    "undelete": _undelete,
    "hide": _hide,
    "unhide": _hide,
    "merge": _merge,
    "add_label": _add_label,
    "remove_label": _remove_label,
    "add_field": _add_field,
    "remove_field": _remove_field,
    "add_key": _add_key,
    "remove_key": _remove_key,
    "option": _option,
}


def dump(world: World) -> dict[str, Any]:
    """Return the people, organisations and tasks with what is set on them, and the labels of Sequence State."""
    named = {"people": "person", "organisations": "organisation", "tasks": "task"}
    found: dict[str, Any] = {
        name: [_told(world.short[short], row) for row in world.tables[short].rows.values()]
        for name, short in named.items()
    }
    return {**found, "labels": world.labels(SEQUENCE_STATE)}


def _told(kind: Kind, row: Row) -> dict[str, Any]:
    about: dict[str, Any] = {
        "id": row.id,
        "lock_version": row.version,
        "updated_at": dates.tell_datetime(row.updated_at),
        "updated_by": row.updated_by,
        "is_deleted": row.is_deleted,
    }
    if row.hidden:
        about["hidden"] = True
    for name, value in row.values.items():
        one = kind.fields.get(name)
        if value is None or one is None:
            continue
        about[name] = dates.tell_datetime(value) if one.datatype == "datetime" else value
    return about
