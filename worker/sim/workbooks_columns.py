"""What stands in a column: from its name to a way of reading it off any row, and of writing it as the vendor does.

Columns are stored attributes, computed ones, ``<field>_date`` and ``<field>_datetime`` twins of a var_date_time, and
``association[column]``, nested as deep as one likes (``primary_contact[main_location[email]]``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.sim import workbooks_dates as dates

if TYPE_CHECKING:
    from worker.sim.workbooks_table import Row
    from worker.sim.workbooks_types import Association, Kind
    from worker.sim.workbooks_world import World

Read = Callable[["Row"], Any]
_BRACKETED = re.compile(r"(\w+)\[(.+)\]")
_PERMISSIONS = ("_can_read", "_can_modify", "_can_delete", "_can_chown", "_can_chaccess")
_SHOWN_ASSOCIATIONS = (
    "created_by_user[login_name]",
    "created_by_user[person_name]",
    "updated_by_user[login_name]",
    "updated_by_user[person_name]",
    "owner[login_name]",
    "owner[person_name]",
    "queue_entry[queue_id]",
    "queue_entry[queue[name]]",
    "queue_entry[updated_at]",
)
_NATIVE: dict[str, tuple[Read, str]] = {
    "id": (lambda row: row.id, "integer"),
    "lock_version": (lambda row: row.version, "integer"),
    "created_at": (lambda row: row.created_at, "datetime"),
    "created_by": (lambda row: row.created_by, "integer"),
    "updated_at": (lambda row: row.updated_at, "datetime"),
    "updated_by": (lambda row: row.updated_by, "integer"),
    "is_deleted": (lambda row: row.is_deleted, "boolean"),
    "queue_entry[queue_id]": (lambda row: row.values.get("assigned_to"), "integer"),
    "queue_entry[updated_at]": (lambda row: row.updated_at, "datetime"),
    **{name: (lambda _row: True, "boolean") for name in _PERMISSIONS},
}


@dataclass(frozen=True, slots=True)
class Formats:
    """How dates and datetimes are written in one answer."""

    date: str = dates.DATE_FORMAT
    datetime: str = dates.DATETIME_FORMAT


@dataclass(frozen=True, slots=True)
class Column:
    """A column of one kind: ``read`` gives the value as it is held inside, ``datatype`` tells what it means."""

    name: str
    datatype: str
    read: Read
    stored: bool = False

    def written(self, formats: Formats) -> Read:
        """Return a reader that gives the value as the vendor's JSON holds it."""
        read = self.read
        if self.datatype == "datetime":
            return lambda row: None if (at := read(row)) is None else dates.tell_datetime(at, formats.datetime)
        if self.datatype == "date":
            return lambda row: None if (day := read(row)) is None else dates.tell_date(day, formats.date)
        return read


def column(world: World, kind: Kind, name: str) -> Column | None:
    """Return a column of a kind, or None where the kind has none of that name."""
    if name in _NATIVE:
        read, datatype = _NATIVE[name]
        return Column(name, datatype, read)
    stored = kind.fields.get(name)
    if stored is not None:
        return Column(name, stored.datatype, _stored(name, stored.default), stored=True)
    return _computed(world, kind, name) or _twin(kind, name) or _associated(world, kind, name) or _anything(kind, name)


def _stored(name: str, default: object) -> Read:
    return lambda row: row.values.get(name, default)


def _anything(kind: Kind, name: str) -> Column | None:
    return Column(name, "string", _stored(name, None), stored=True) if kind.is_open else None


def _computed(world: World, kind: Kind, name: str) -> Column | None:
    if name == "type":
        return Column(name, "string", lambda _row: kind.class_name)
    if name == "object_ref":
        return Column(name, "string", lambda row: f"{kind.prefix}-{row.id}")
    if name == "object_url":
        return Column(name, "string", lambda row: f"/{kind.controller}/{row.id}")
    if name == "descriptor":
        return Column(name, "string", _descriptor(kind))
    if name in {"assigned_to_name", "queue_entry[queue[name]]", "queue[name]"}:
        queues = world.tables[kind.queue].rows

        def queue(row: Row) -> object:
            found = queues.get(row.values.get("assigned_to", 0))
            return found.values.get("name") if found is not None else None

        return Column(name, "string", queue)
    return None


def _descriptor(kind: Kind) -> Read:
    if kind.short == "task":
        return lambda row: f"{row.values.get('name')} ({row.values.get('activity_type', 'To-do')})"
    return lambda row: row.values.get("name")


def _twin(kind: Kind, name: str) -> Column | None:
    """Return the ``_date`` or ``_datetime`` twin of a var_date_time, which can be read and set like it."""
    stem, _, end = name.rpartition("_")
    source = kind.fields.get(stem)
    if source is None or source.datatype != "var_date_time":
        return None
    if end == "date":
        return Column(name, "date", lambda row: dates.var_day(row.values.get(stem)))
    if end == "datetime":
        return Column(name, "datetime", lambda row: dates.var_epoch(row.values.get(stem)))
    return None


def _associated(world: World, kind: Kind, name: str) -> Column | None:
    found = _BRACKETED.fullmatch(name)
    association = kind.associations.get(found[1]) if found else None
    if found is None or association is None:
        return None
    key = column(world, kind, association.key)
    targets = _targets(world, association, found[2])
    if key is None or not targets:
        return None
    polymorphic = association.kind not in world.short
    only = next(iter(targets)) if not polymorphic else ""

    def read(row: Row) -> object:
        target = row.values.get(association.kind) if polymorphic else only
        if target not in targets:
            return None
        other = world.tables[world.classes[target].short].rows.get(key.read(row))
        return None if other is None or other.hidden else targets[target].read(other)

    return Column(name, next(iter(targets.values())).datatype, read)


def _targets(world: World, association: Association, rest: str) -> dict[str, Column]:
    """Return, by class, the column that the association's target has under the rest of the name."""
    single = world.short.get(association.kind)
    others = [single] if single is not None else [world.short["person"], world.short["organisation"]]
    found = {kind.class_name: column(world, kind, rest) for kind in others}
    return {name: one for name, one in found.items() if one is not None}


def every(world: World, kind: Kind) -> list[Column]:
    """Return all columns of a kind that an answer without ``_select_columns[]`` holds."""
    names = [*_NATIVE, "type", "object_ref", "object_url", "descriptor", *kind.fields, *_SHOWN_ASSOCIATIONS]
    for field in kind.fields.values():
        if field.datatype == "var_date_time":
            names += [twin for twin in (f"{field.name}_date", f"{field.name}_datetime") if twin not in kind.fields]
    if kind.short == "task":
        names += [f"primary_contact[{part}]" for part in ("name", "main_location[email]", "main_location[telephone]")]
    found = (column(world, kind, name) for name in dict.fromkeys(names))
    return [one for one in found if one is not None]
