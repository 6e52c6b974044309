"""Custom fields and picklist entries made with an administrator's key (facts, workbooks-api 8 and 9).

Proven by the vendor's sample (custom_field_example.php): ``admin/custom_fields.api`` takes title, resource_type and data_type,
the reply tells ``value_column_name``, ``status`` must reach Available; picklists and their entries are ordinary records. NOT
proven: the data types ``string``, ``text``, ``integer`` and ``datetime`` (the sample shows boolean, picklist, decimal,
percentage and iframe; these are the metadata's names), that a field names its picklist by ``picklist_id``, how a column's name
follows from its title, how a refusal looks. So what comes out is compared with what was wanted, nothing that exists is ever
changed, and whatever is refused is told with the way to do it by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.core import records
from worker.remote import base
from worker.remote.workbooks_wire import Applied, Uncertain, Write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.remote.workbooks import Workbooks
    from worker.remote.workbooks_wire import Outcome

FIELDS, PICKLISTS, ENTRIES = "/admin/custom_fields.api", "/admin/picklists.api", "/admin/picklist_entries.api"
PREFIXES = {records.Kind.PERSON: "cf_person_", records.Kind.CRM_TASK: "cf_task_"}
_CLASSES = {records.Kind.PERSON: "Private::Crm::Person", records.Kind.CRM_TASK: "Private::Activity::Task"}
AVAILABLE = "Available"
_SMALL = {"to", "of", "at", "in"}


class NotMade(Exception):
    """The CRM did not make it, in its own words."""


@dataclass(frozen=True, slots=True)
class Made:
    """A custom field as the CRM's reply tells of it: the name of its column, and whether it can be used already."""

    id: int
    column: str
    available: bool


def title_of(kind: records.Kind, column: str) -> str:
    """Return the title from which the CRM makes this column's name, as far as is known: ``Sync to Outreach``."""
    words = [word for word in column.removeprefix(PREFIXES[kind]).split("_") if word]
    return " ".join(word if word in _SMALL and place else word.capitalize() for place, word in enumerate(words))


def make_field(crm: Workbooks, kind: records.Kind, column: str, data_type: str, picklist_id: int | None = None) -> Made:
    """Create one custom field. Raise NotMade with the vendor's words; AuthRevoked if the key may not."""
    fields: dict[str, records.Value] = {
        "title": title_of(kind, column),
        "resource_type": _CLASSES[kind],
        "data_type": data_type,
    }
    if picklist_id is not None:
        fields |= {"picklist_id": picklist_id, "unrestricted": False}
    done = _created(crm.save(FIELDS, [_new(fields, "title")], reference_field="title")[0])
    name = done.fields.get("value_column_name")
    return Made(done.id, str(name or ""), done.fields.get("status") in {None, AVAILABLE})


def is_available(crm: Workbooks, field_id: int) -> bool:
    """Tell whether a new custom field can be used; one whose status cannot be read is taken as usable."""
    rows = crm.rows(FIELDS, columns=("id", "status"), filters=[("id", "eq", str(field_id))])
    return not rows or rows[0].get("status") in {None, AVAILABLE}


def make_picklist(crm: Workbooks, name: str) -> int:
    """Return the id of the picklist of that name, created unless there is one. Raise NotMade."""
    known = crm.rows(PICKLISTS, columns=("id", "name"), filters=[("name", "eq", name)])
    for row in known or []:
        number = base.whole(row.get("id"))
        if number is not None and row.get("name") == name:
            return number
    return _created(crm.save(PICKLISTS, [_new({"name": name}, "name")], reference_field="name")[0]).id


def add_entries(crm: Workbooks, picklist_id: int, labels: Sequence[str], *, after: int = 0) -> dict[str, str]:
    """Add entries to a picklist behind those it has; return the vendor's words for each that was refused."""
    writes = [
        _new({"picklist_id": picklist_id, "value": label, "position": place}, "value")
        for place, label in enumerate(labels, start=after)
    ]
    refused: dict[str, str] = {}
    outcomes = crm.save(ENTRIES, writes, reference_field="value") if writes else []
    for label, outcome in zip(labels, outcomes, strict=True):
        try:
            _created(outcome)
        except NotMade as words:
            refused[label] = str(words)
    return refused


def _new(fields: dict[str, records.Value], reference_field: str) -> Write:
    return Write(0, 0, fields, reference=str(fields[reference_field]))


def _created(outcome: Outcome) -> Applied:
    if isinstance(outcome, Applied):
        return outcome
    if isinstance(outcome, Uncertain):
        raise NotMade(f"it is not known whether it was made ({outcome.words})")
    told = (
        outcome.words
        if not hasattr(outcome, "errors")
        else "; ".join(f"{k} {w}".strip() for k, w in outcome.errors.items())
    )
    raise NotMade(told or "refused without a word")
