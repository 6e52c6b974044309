"""``metadata/types.api`` and ``picklist_data/…``: what the database says of its kinds of record (README "Metadata")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from worker.sim.workbooks_access import needs_administrator
from worker.sim.workbooks_columns import every

if TYPE_CHECKING:
    from worker.sim.workbooks_types import Association, Field, Kind
    from worker.sim.workbooks_wire import Parameters
    from worker.sim.workbooks_world import World

_ACTIONS = ("index", "show", "edit", "new", "create", "update", "destroy")
_CHANGES = ("new", "create", "update", "destroy")
_PICKLIST_PATH = re.compile(r"/picklist_data/(\w+)/(\w+)/(\w+)\.(?:api|wbjson)")


def types(world: World, asked: Parameters, *, administrator: bool) -> dict[str, Any]:
    """Return the answer to ``metadata/types.api``: the classes asked for by ``class_names[]``, else all."""
    wanted, columns = asked.all("class_names"), asked.all("_select_columns")
    data = []
    for kind in world.kinds.values():
        if wanted and kind.class_name not in wanted:
            continue
        about = _about(world, kind, only=set(columns))
        denied = _CHANGES if needs_administrator(kind) and not administrator else ()
        about["actions"] = [{"action": action, "permitted": action not in denied} for action in _ACTIONS]
        data.append({name: value for name, value in about.items() if not columns or name in columns})
    return {"success": True, "total": len(data), "data": data, "flash": "", "updates": {}}


def _about(world: World, kind: Kind, *, only: set[str]) -> dict[str, Any]:
    about: dict[str, Any] = {
        "class_name": kind.class_name,
        "base_class_name": kind.class_name,
        "human_class_name": kind.human[0],
        "human_class_name_plural": kind.human[1],
        "human_class_description": f"{kind.human[1]} recorded in your database",
        "instances_described_by": "name",
        "icon": kind.controller.rpartition("/")[2],
        "help_url": f"https://www.workbooks.com/help/{kind.short}",
        "controller_path": kind.controller,
    }
    if not only or "fields" in only:
        about["fields"] = _fields(world, kind)
    if not only or "associations" in only:
        about["associations"] = [_association(world, name, one) for name, one in kind.associations.items()]
    return about


def _fields(world: World, kind: Kind) -> list[dict[str, Any]]:
    found = []
    for column in every(world, kind):
        stored = kind.fields.get(column.name)
        twin = column.datatype in {"date", "datetime"} and column.name.rpartition("_")[0] in kind.fields
        found.append(_field(world, column.name, column.datatype, stored, changeable=stored is not None or twin))
    return found


def _field(world: World, name: str, datatype: str, stored: Field | None, *, changeable: bool) -> dict[str, Any]:
    about: dict[str, Any] = {
        "name": name,
        "title": (stored.title if stored else "") or re.sub(r"[_\[\]]+", " ", name).strip().capitalize(),
        "datatype": datatype,
        "required": stored is not None and stored.required,
        "default_value": stored.default if stored is not None else None,
        "is_createable": changeable,
        "is_updateable": changeable,
        "is_filterable": True,
        "is_nullable": datatype != "boolean" and changeable,
    }
    if stored is not None and stored.limit is not None:
        about["maximum_length"] = stored.limit
    if stored is not None and stored.picklist is not None:
        about["picklist"] = {
            "name": stored.picklist,
            "picklist_id": world.picklist_id(stored.picklist),
            "class_name": "Private::PicklistEntry",
            "display_field": "value",
            "value_field": "value",
            "path": "/picklist_data/Private_PicklistEntry/value/value.wbjson",
            "return_fields": [],
            "find_method": None,
            "auto_create": False,
            "unrestricted": stored.unrestricted,
        }
    return about


def _association(world: World, name: str, one: Association) -> dict[str, Any]:
    single = world.short.get(one.kind)
    targets = [single] if single is not None else [world.short["person"], world.short["organisation"]]
    return {
        "name": name,
        "title": name.replace("_", " ").capitalize(),
        "description": "",
        "datatype": "belongs_to",
        "foreign_key_name": one.key,
        "class_names": [kind.class_name for kind in targets],
        "polymorphic": single is None,
        "minimum_n": 0,
        "maximum_n": 1,
        "through": None,
    }


def picklist_data(world: World, path: str, asked: Parameters) -> dict[str, Any] | None:
    """Return the entries behind a ``picklist_data`` path whose text begins with ``query``; None for another path."""
    found = _PICKLIST_PATH.fullmatch(path)
    if found is None or found[1] != "Private_PicklistEntry":
        return None
    number = asked.get("picklist_id") or ""
    name = world.picklist_name(int(number)) if number.isdigit() else None
    begin = (asked.get("query") or "").casefold()
    rows = [row for row in (world.entries(name) if name else []) if row.values["value"].casefold().startswith(begin)]
    data = [{part: row.id if part == "id" else row.values["value"] for part in (found[2], found[3])} for row in rows]
    return {"success": True, "total": len(data), "data": data}
