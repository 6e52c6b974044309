"""What Workbooks' lists, logins and metadata tell, and what its lists are asked with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from worker.core import records
from worker.remote import base
from worker.remote.workbooks_wire import Form, Refused, Write, encoded, parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence

OWN_COLUMNS = ("id", "lock_version", "updated_at", "is_deleted")
"""Asked for with every list, for they make the snapshot."""

_STRING_LENGTH = 255
_TRUE = {"true", "t", "on", "1", "yes", "y"}
"""The manual's own list of what is true (Datatypes, boolean)."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose database the key opens, as far as the vendor tells."""

    database_id: str | None = None
    database_name: str | None = None
    user_id: int | None = None
    login_name: str | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """One field of a record type, from the metadata (manual, Metadata). ``unrestricted``: any value may be typed in."""

    name: str
    title: str
    datatype: str
    picklist_id: int | None
    unrestricted: bool
    createable: bool
    updateable: bool
    max_length: int | None


def window(form: Form, start: int, limit: int, sort: Sequence[str], *, counted: bool = False) -> None:
    """Add the rows wanted and their order. ``_limit`` counts only beside ``_start`` (manual, Limiting your query)."""
    form.add("_start", start)
    form.add("_limit", limit)
    if not counted:
        # The count takes most of the time (manual, Counting rows; two underscores there).
        form.add("__skip_total_rows", "true")
    several = "[]" if len(sort) > 1 else ""
    for column in sort:
        form.add(f"_sort{several}", column.removeprefix("-"))
        form.add(f"_dir{several}", "DESC" if column.startswith("-") else "ASC")


def narrowed(form: Form, filters: Sequence[tuple[str, str, str]], match: str) -> None:
    """Add the filters, each as field, type, value; ``match`` only where there is something to combine."""
    if len(filters) > 1:
        form.add("_fm", match)
    for name, kind, value in filters:
        form.add("_ff[]", name)
        form.add("_ft[]", kind)
        form.add("_fc[]", value)


def snapshot(row: dict[str, Any], kind: records.Kind, wanted: frozenset[str]) -> records.Snapshot:
    """Return one row as a snapshot with the wanted columns it tells, their JSON values as they are."""
    number = base.whole(row.get("id"))
    if number is None or number <= 0:
        raise base.Unanswered("a row of the list has no usable id")
    return records.Snapshot(
        ref=records.Ref(kind, number),
        fields={name: value for name, value in row.items() if name in wanted},
        updated_at=parse_time(row.get("updated_at")),
        version=base.whole(row.get("lock_version")),
        deleted=str(row.get("is_deleted")).lower() in _TRUE,
    )


def with_reference(write: Write, reference_field: str) -> Write:
    """Return a create with its reference both beside its fields and among them, if it has one at all."""
    if write.id:
        return write
    told = write.fields.get(reference_field)
    reference = write.reference or (str(told) if isinstance(told, str | int) and told != "" else None)
    fields = write.fields if reference is None else {reference_field: reference, **write.fields}
    return replace(write, reference=reference, fields=fields)


def must_be_distinct(writes: Sequence[Write]) -> None:
    """Raise ValueError if two writes of a batch go to one record or one reference: no reply could tell them apart."""
    ids = Counter(write.id for write in writes if write.id)
    references = Counter(write.reference for write in writes if not write.id and write.reference)
    if any(count > 1 for count in (*ids.values(), *references.values())):
        raise ValueError("two writes of one batch go to one record")


def unsendable(write: Write) -> Refused | None:
    """Return the refusal of a write that holds a value the wire cannot carry, else None."""
    faults: dict[str, str] = {}
    for name, value in write.fields.items():
        try:
            encoded(value)
        except ValueError as error:
            faults[name] = str(error)
    return Refused(faults) if faults else None


def tenant(document: object) -> Tenant | None:
    """Return whose database a login opened, or None when the reply names neither a database nor a user."""
    if not isinstance(document, dict):
        return None
    ids = (base.whole(document.get(key)) for key in ("logical_database_id", "database_instance_id"))
    database = next((number for number in ids if number is not None), None)
    user = base.whole(document.get("user_id"))
    if database is None and user is None:
        return None
    return Tenant(
        database_id=None if database is None else str(database),
        database_name=_text(document.get("database_name")),
        user_id=user,
        login_name=_text(document.get("login_name")),
        timezone=_text(document.get("timezone")),
    )


def fields_of(document: object, class_name: str) -> dict[str, FieldInfo]:
    """Return the fields of one class by name; none where the metadata does not tell them in a shape known here."""
    types = document.get("data") if isinstance(document, dict) else document
    found: dict[str, FieldInfo] = {}
    for entry in types if isinstance(types, list) else []:
        fields = entry.get("fields") if isinstance(entry, dict) and entry.get("class_name") == class_name else None
        for told in fields if isinstance(fields, list) else []:
            if isinstance(told, dict) and isinstance(told.get("name"), str):
                found[told["name"]] = _field_info(told)
    return found


def _field_info(told: dict[str, Any]) -> FieldInfo:
    """Return one field of the metadata. What is not told is taken as allowed, for the vendor has the last word."""
    picklist = told.get("picklist")
    picklist = picklist if isinstance(picklist, dict) else {}
    datatype = _text(told.get("datatype")) or ""
    lengths = (base.whole(told.get(key)) for key in ("max_length", "maximum_length", "length"))
    length = next((number for number in lengths if number is not None), None)
    return FieldInfo(
        name=told["name"],
        title=_text(told.get("title")) or told["name"],
        datatype=datatype,
        picklist_id=base.whole(picklist.get("picklist_id", picklist.get("id"))),
        unrestricted=not picklist or picklist.get("unrestricted") is True,
        createable=told.get("is_createable") is not False,
        updateable=told.get("is_updateable") is not False,
        # "A string up to 255 characters" (manual, Datatypes); the metadata itself tells no length.
        max_length=_STRING_LENGTH if length is None and datatype == "string" else length,
    )


def entries(document: object, picklist_id: int) -> dict[int, str] | None:
    """Return one page of a picklist, id → value; None when it is no such page, or one of another list.

    The value stands in ``value``, where the vendor's samples set it (picklist_example.php); ``name`` is taken too.
    """
    rows = document.get("data") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        return None
    found: dict[int, str] = {}
    for row in rows:
        told = row if isinstance(row, dict) else {}
        number = base.whole(told.get("id"))
        value = next((told[key] for key in ("value", "name") if isinstance(told.get(key), str)), None)
        if number is None or value is None or base.whole(told.get("picklist_id", picklist_id)) != picklist_id:
            return None
        found[number] = value
    return found


def is_whole(document: object, read: int) -> bool:
    """Tell whether a list that was ``counted`` says that the rows ``read`` so far are all of it."""
    total = base.whole(document.get("total")) if isinstance(document, dict) else None
    return total is not None and 0 < total <= read


def _text(value: object) -> str | None:
    """Return a text as it is, anything else as None."""
    return value if isinstance(value, str) and value else None
