"""The simulated database: its records, custom fields, picklists and users, and what people do to them by hand."""

from __future__ import annotations

import re
import threading
from datetime import UTC
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from worker.sim import seed as seeds
from worker.sim import workbooks_edit
from worker.sim.workbooks_table import Row, Table
from worker.sim.workbooks_types import (
    ADMINISTRATOR,
    CUSTOM_DATATYPES,
    CUSTOM_FIELDS,
    HUMAN_USER,
    INTEGRATION_USER,
    PICKLISTS,
    SEQUENCE_STATE,
    Field,
    Kind,
    kinds,
)

if TYPE_CHECKING:
    from datetime import tzinfo

    from worker.sim.instruments import Clock
    from worker.sim.workbooks_options import Options

MEMORY_SECONDS = 30 * 86_400
_FIRST_IDS = {"person": 7001, "task": 30001, "organisation": 501, "user": 1}
_USERS = (
    (1, "system@example.invalid", "System Test"),
    (INTEGRATION_USER, "sim@example.invalid", "Sim Integration"),
    (HUMAN_USER, "pat@example.invalid", "Pat Person"),
    (ADMINISTRATOR, "admin@example.invalid", "Alex Administrator"),
)
Pending = tuple[float, Row | None]


class World:
    """One database. Every method expects ``lock`` to be held, but those the controls call, which take it themselves."""

    def __init__(self, *, clock: Clock, options: Options, seed: str, records: int) -> None:
        """Fill a database with the seeded world's people of the CRM, aged 30 days."""
        self.clock, self.options = clock, options
        self.seed, self.records = seed, records
        self.lock = threading.RLock()
        self._fill()

    def _fill(self) -> None:
        self.kinds: dict[str, Kind] = kinds()
        self.short = {kind.short: kind for kind in self.kinds.values()}
        self.classes = {kind.class_name: kind for kind in self.kinds.values()}
        self.tables = {short: Table(_FIRST_IDS.get(short, 1)) for short in self.short}
        self.pending: dict[str, dict[int, Pending]] = {short: {} for short in self.short}
        for user, login, name in _USERS:
            self.create("user", {"login_name": login, "person_name": name, "name": name}, at=self.now(), by=user)
        for kind in ("activity_queue", "person_queue", "organisation_queue", "case_queue"):
            self.create(kind, {"name": "Unassigned", "queue_type": "Unassigned"}, at=self.now(), by=1)
            for _, _, name in _USERS:
                self.create(kind, {"name": name, "queue_type": "User"}, at=self.now(), by=1)
        self._fill_picklists()
        for class_name, title, column, data_type in CUSTOM_FIELDS:
            if column not in self.options.without_fields:
                self._default_field(class_name, title, column, data_type)
        self._fill_people()

    def _fill_picklists(self) -> None:
        for name, labels in PICKLISTS.items():
            row = self.create("picklist", {"name": name}, at=self.now(), by=1)
            for position, label in enumerate(labels):
                if name == SEQUENCE_STATE and label in self.options.without_labels:
                    continue
                spelt = self.options.label_typo.get(label, label) if name == SEQUENCE_STATE else label
                self.add_label(row.id, spelt, position)

    def _default_field(self, class_name: str, title: str, column: str, data_type: str) -> None:
        values: dict[str, Any] = {
            "title": title,
            "resource_type": class_name,
            "data_type": data_type,
            "value_column_name": column,
        }
        if data_type == "picklist":
            values |= {"picklist_id": self.picklist_id(SEQUENCE_STATE), "unrestricted": False}
        row = self.create("custom_field", {**values, "name": title}, at=self.now(), by=1)
        self.open_field(row)

    def _fill_people(self) -> None:
        start = self.now() - MEMORY_SECONDS
        for one in seeds.everyone(self.seed, self.records):
            if one.in_crm:
                self.create("person", _person(one), at=start + one.n, by=HUMAN_USER)

    def now(self) -> int:
        """Return the simulated time in whole epoch seconds, the vendor's resolution."""
        return int(self.clock.now().timestamp())

    @property
    def zone(self) -> tzinfo:
        """The user's time zone; UTC where the machine knows no such zone."""
        try:
            return ZoneInfo(self.options.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            return UTC

    def create(self, short: str, values: dict[str, Any], *, at: int, by: int) -> Row:
        """Keep a new record with the values, the kind's defaults beneath them."""
        table = self.tables[short]
        defaults = {
            "created_through": "Workbooks",
            "owner_id": by,
            "assigned_to": by + 1,
            **self.short[short].defaults(),
        }
        row = Row(table.next_id, at, by, at, by, values={**defaults, **values})
        return table.insert(row)

    def change(self, short: str, row: Row, values: dict[str, Any], *, by: int) -> None:
        """Set values of a record and count its ``lock_version`` up."""
        table = self.tables[short]
        table.put(row, values)
        row.version += 1
        table.touch(row, max(self.now(), row.created_at), by=by)

    def erase(self, short: str, row: Row, *, by: int) -> None:
        """Flag a record as deleted; ``updated_at`` moves, ``lock_version`` does not (README's delete example)."""
        row.is_deleted = True
        self.tables[short].touch(row, max(self.now(), row.created_at), by=by)

    def picklist_id(self, name: str) -> int | None:
        """Return the id of a living picklist, by name."""
        for row in self.tables["picklist"].rows.values():
            if row.values.get("name") == name and not row.is_deleted:
                return row.id
        return None

    def picklist_name(self, number: int | None) -> str | None:
        """Return the name of a picklist."""
        row = self.tables["picklist"].rows.get(number or 0)
        return row.values.get("name") if row is not None else None

    def entries(self, name: str) -> list[Row]:
        """Return the living entries of a picklist, in their order."""
        table = self.tables["picklist_entry"]
        found = (table.rows[number] for number in table.found("picklist_id", [self.picklist_id(name)]))
        living = (row for row in found if not row.is_deleted)
        return sorted(living, key=lambda row: (row.values.get("position") or 0, row.id))

    def labels(self, name: str) -> list[str]:
        """Return the living labels of a picklist, in their order."""
        return [row.values["value"] for row in self.entries(name)]

    def add_label(self, picklist: int, label: str, position: int) -> Row:
        """Give a picklist one more label."""
        values = {"picklist_id": picklist, "value": label, "name": label, "position": position}
        return self.create("picklist_entry", values, at=self.now(), by=1)

    def open_field(self, row: Row) -> Field | None:
        """Make the field that a custom field row describes; None for a class that is not simulated."""
        kind = self.classes.get(row.values["resource_type"])
        if kind is None:
            return None
        title, data_type = row.values["title"], row.values["data_type"]
        slug = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")
        column = row.values.get("value_column_name") or f"cf_{kind.short}_{slug}"
        datatype = CUSTOM_DATATYPES.get(data_type, data_type)
        kind.add(
            Field(
                column,
                datatype,
                title=title,
                default=False if datatype == "boolean" else None,
                picklist=self.picklist_name(row.values.get("picklist_id")) if datatype == "picklist_data" else None,
                unrestricted=row.values.get("unrestricted") is not False,
            )
        )
        self.tables["custom_field"].put(row, {"value_column_name": column, "name": title, "status": "Available"})
        return kind.fields[column]

    def announce_field(self, row: Row) -> None:
        """Take a new custom field up: Available at once, or Pending for ``custom_field_seconds``."""
        delay = self.options.custom_field_seconds
        if delay:
            at = self.clock.now().timestamp() + delay
            self.tables["custom_field"].put(row, {"status": "Pending", "available_at": int(at)})
        else:
            self.open_field(row)

    def settle_fields(self) -> None:
        """Make the custom fields available whose time has come."""
        for row in self.tables["custom_field"].rows.values():
            if (
                row.values.get("status") == "Pending"
                and row.values["available_at"] <= self.now()
                and not row.is_deleted
            ):
                self.open_field(row)

    def close_field(self, row: Row) -> None:
        """Take the field of a custom field row away; what records held in it is out of reach."""
        kind = self.classes.get(row.values["resource_type"])
        if kind is not None:
            kind.fields.pop(row.values["value_column_name"], None)

    def edit(self, document: object) -> dict[str, Any]:
        """Change the world as a person at the CRM's own screen would; see :mod:`worker.sim.workbooks_edit`."""
        with self.lock:
            return workbooks_edit.edit(self, document)

    def dump(self) -> dict[str, Any]:
        """Return people, organisations and tasks with what is set on them."""
        with self.lock:
            return workbooks_edit.dump(self)

    def reset(self, *, seed: str | None, records: int | None) -> None:
        """Start anew."""
        with self.lock:
            self.seed = seed if seed is not None else self.seed
            self.records = records if records is not None else self.records
            self._fill()


def _person(one: seeds.Someone) -> dict[str, Any]:
    """Return the attributes of a seeded person: no reference is set; every 7th lacks a mobile, every 11th a title."""
    values: dict[str, Any] = {
        "name": f"{one.first_name} {one.last_name}",
        "person_first_name": one.first_name,
        "person_last_name": one.last_name,
        "person_job_title": None if one.n % 11 == 0 else one.title,
        "main_location[email]": one.email,
        "main_location[telephone]": one.work_phone,
        "main_location[mobile]": None if one.n % 7 == 0 else one.mobile_phone,
        "no_email_soliciting": one.no_email,
    }
    if one.alternate_email is not None:
        values["main_location[alternate_email]"] = one.alternate_email
    return values
