from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from worker.core import errors, records
from worker.remote import workbooks

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.remote.conftest import Vendor

    Reply = Callable[..., httpx.Response]

PERSON = records.Kind.PERSON


def rows(*data: object, success: object = True, total: object = None) -> dict[str, Any]:
    """Return a list's reply, which tells as its total the rows of this page unless another is given."""
    told = len(data) if total is None else total
    return {"success": success, "total": told, "data": list(data), "flash": "", "updates": {}}


FIELDS = [
    {"name": "id", "title": "Id", "datatype": "integer", "is_createable": False, "is_updateable": False},
    {
        "name": "cf_person_sequence_state",
        "title": "Sequence State",
        "datatype": "picklist_data",
        "is_createable": True,
        "is_updateable": True,
        "picklist": {"picklist_id": 81, "unrestricted": False, "class_name": "Private::PicklistEntry"},
    },
    {"name": "cf_person_free", "datatype": "string", "picklist": {"picklist_id": "82", "unrestricted": True}},
    {"title": "nameless"},
    7,
]


@pytest.mark.parametrize("bare", [False, True])
def test_metadata_is_read_by_class(bare: bool, vendor: Vendor, reply: Reply) -> None:
    """Fields come by class and name, from a list's reply or from the bare array that the manual describes."""
    types = [
        {"class_name": "Private::Crm::Organisation", "fields": [{"name": "x"}]},
        {"class_name": "Private::Crm::Person", "fields": FIELDS},
    ]
    vendor.says(reply(types if bare else rows(*types)))
    found = vendor.workbooks.metadata([PERSON])
    assert found == {
        PERSON: {
            "id": workbooks.FieldInfo("id", "Id", "integer", None, True, False, False, None),
            "cf_person_sequence_state": workbooks.FieldInfo(
                "cf_person_sequence_state", "Sequence State", "picklist_data", 81, False, True, True, None
            ),
            "cf_person_free": workbooks.FieldInfo(
                "cf_person_free", "cf_person_free", "string", 82, True, True, True, 255
            ),
        }
    }
    assert vendor.requests[0].url.path == "/metadata/types.api"
    assert [value for name, value in vendor.form() if name == "class_names[]"] == ["Private::Crm::Person"]


@pytest.mark.parametrize(
    "status, document",
    [
        (404, {}),
        (406, {}),
        (501, {}),
        (200, {"success": True, "data": [{"class_name": "Private::Crm::Person", "fields": []}]}),
        (200, {"success": True, "data": [{"class_name": "Private::Other", "fields": FIELDS}]}),
        (200, {"success": True, "data": {}}),
        (200, {"success": False}),
        (200, []),
        (200, "x"),
    ],
)
def test_unknown_metadata_is_none(status: int, document: object, vendor: Vendor, reply: Reply) -> None:
    """Metadata that is not there or not understood is unknown, never a record type without fields."""
    vendor.says(reply(document, status))
    assert vendor.workbooks.metadata([PERSON]) is None


def test_metadata_that_is_down_is_down(vendor: Vendor, reply: Reply) -> None:
    """Garbage is no answer about metadata either."""
    vendor.says(reply(raw="<html>"))
    with pytest.raises(errors.RemoteDown):
        vendor.workbooks.metadata([PERSON])
    with pytest.raises(errors.RemoteDown):
        vendor.workbooks.picklist(81)


def test_a_picklist_is_read_to_its_end(vendor: Vendor, reply: Reply) -> None:
    """Pages are read until one brings nothing new, for a short page proves no end."""
    vendor.says(
        reply(rows({"id": 1, "value": "Active – Running", "picklist_id": 81}, {"id": 2, "value": "Finished"}, total=9)),
        reply(rows({"id": 3, "name": "Pending", "picklist_id": "81"}, total="many")),
        reply(rows()),
    )
    assert vendor.workbooks.picklist(81) == ("Active – Running", "Finished", "Pending")
    assert [dict(vendor.form(n))["_start"] for n in range(3)] == ["0", "2", "3"]
    form = dict(vendor.form(0))
    assert (form["_ff[]"], form["_ft[]"], form["_fc[]"]) == ("picklist_id", "eq", "81")


def test_a_picklist_that_says_how_long_it_is_takes_one_call(vendor: Vendor, reply: Reply) -> None:
    """A short page that is all the list counts is the last; the count is asked for, which lists of people do without."""
    vendor.says(reply(rows({"id": 1, "value": "Finished"}, {"id": 2, "value": "Pending"}, total="2")))
    assert vendor.workbooks.picklist(81) == ("Finished", "Pending")
    assert len(vendor.requests) == 1
    assert "__skip_total_rows" not in dict(vendor.form())


def test_a_full_page_of_a_picklist_is_never_the_last(vendor: Vendor, reply: Reply) -> None:
    """A vendor that counts the rows of a page only is asked for the next one, where the page was full."""
    page = [{"id": number, "value": f"Label {number}"} for number in range(1, 101)]
    vendor.says(reply(rows(*page)), reply(rows({"id": 101, "value": "Pending"}, total=1)), reply(rows()))
    labels = vendor.workbooks.picklist(81)
    assert labels is not None
    assert len(labels) == 101


def test_a_picklist_that_repeats_itself_ends(vendor: Vendor, reply: Reply) -> None:
    """A server that ignores the window does not make us read for ever."""
    vendor.says(reply(rows({"id": 1, "value": "Finished"}, total=2)))
    assert vendor.workbooks.picklist(81) == ("Finished",)
    assert len(vendor.requests) == 2


@pytest.mark.parametrize(
    "status, document",
    [
        (404, {}),
        (406, {}),
        (200, rows()),
        (200, rows({"id": 1})),
        (200, rows({"value": "Finished"})),
        (200, rows({"id": 1, "value": "Finished", "picklist_id": 99})),
        (200, rows(1)),
        (200, rows({"id": 1, "value": "Finished"}, success=False)),
        (200, {"success": True, "data": None}),
    ],
)
def test_an_unknown_picklist_is_none(status: int, document: object, vendor: Vendor, reply: Reply) -> None:
    """A picklist that is empty, foreign or illegible is unknown, so that no label is called missing because of it."""
    vendor.says(reply(document, status))
    assert vendor.workbooks.picklist(81) is None
