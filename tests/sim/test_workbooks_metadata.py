from __future__ import annotations

from typing import Any

import pytest

from tests.sim.workbooks_caller import Caller

TYPES = "/metadata/types.api"
PERSON = ("class_names[]", "Private::Crm::Person")


def fields(crm: Caller) -> dict[str, Any]:
    """Return what metadata tells of a person's fields, by name."""
    return {one["name"]: one for one in crm.page(TYPES, PERSON)["data"][0]["fields"]}


def test_types_can_be_chosen_and_their_columns_too() -> None:
    """class_names[] and _select_columns[] narrow the answer."""
    crm = Caller()
    pairs = [PERSON, ("_select_columns[]", "class_name"), ("_select_columns[]", "controller_path")]
    assert crm.page(TYPES, *pairs)["data"] == [{"class_name": "Private::Crm::Person", "controller_path": "crm/people"}]
    classes = [one["class_name"] for one in crm.page(TYPES, ("_select_columns[]", "class_name"))["data"]]
    assert {"Private::Crm::Organisation", "Private::Activity::Task"} <= set(classes)


@pytest.mark.parametrize(
    "name, datatype",
    [
        ("person_first_name", "string"),
        ("no_email_soliciting", "boolean"),
        ("main_location[email]", "string"),
        ("cf_person_outreach_id", "string"),
        ("cf_person_sequence_state", "picklist_data"),
        ("cf_person_sequence_state_updated_at", "datetime"),
        ("cf_person_sequence_step", "integer"),
        ("cf_person_sequences", "text"),
        ("cf_person_sync_to_outreach", "boolean"),
        ("cf_person_outreach_error", "text"),
    ],
)
def test_a_field_tells_its_type_and_that_it_can_be_set(name: str, datatype: str) -> None:
    """Every field of the default mapping is there, of the type that is expected, createable and updateable."""
    about = fields(Caller())[name]
    assert (about["datatype"], about["is_createable"], about["is_updateable"]) == (datatype, True, True)


def test_a_picklist_field_leads_to_its_labels() -> None:
    """The picklist's id finds its entries, in order; the list is restricted."""
    crm = Caller()
    picklist = fields(crm)["cf_person_sequence_state"]["picklist"]
    assert (picklist["name"], picklist["unrestricted"]) == ("Sequence State", False)
    number = str(picklist["picklist_id"])
    assert crm.filtered("/admin/picklist_entries.api", ("picklist_id", "eq", number), columns="value") == [
        "Active – Running",
        "Active – Paused",
        "Opted Out",
        "Finished",
        "Pending",
        "Disabled",
        "Failed",
        "Bounced",
        "Not Active",
    ]
    data = crm.page(
        "/picklist_data/Private_PicklistEntry/value/value.api", ("picklist_id", number), ("query", "active")
    )
    assert data["data"] == [{"value": "Active – Running"}, {"value": "Active – Paused"}]


def test_read_only_columns_say_so() -> None:
    """What the CRM works out by itself cannot be set."""
    about = fields(Caller())
    assert [about[name]["is_updateable"] for name in ("id", "updated_at", "object_ref")] == [False, False, False]
    assert about["name"]["required"] is True


def test_associations_name_their_key() -> None:
    """A task's contact is polymorphic, its key primary_contact_id."""
    reply = Caller().page(TYPES, ("class_names[]", "Private::Activity::Task"))
    found = {one["name"]: one for one in reply["data"][0]["associations"]}
    assert found["primary_contact"]["foreign_key_name"] == "primary_contact_id"
    assert found["primary_contact"]["polymorphic"] is True


def test_a_custom_field_can_be_created_and_used() -> None:
    """The reply names the column; from then on it is a field like any other, until deleted."""
    crm = Caller(without_fields=["cf_person_sequence_step"])
    crm.key = "sim-admin-key"
    assert "cf_person_sequence_step" not in fields(crm)
    one = {"title": "Sequence Step", "resource_type": "Private::Crm::Person", "data_type": "integer"}
    created = crm.put("/admin/custom_fields.api", one).json()["affected_objects"][0]
    assert (created["value_column_name"], created["status"]) == ("cf_person_sequence_step", "Available")
    assert crm.person(cf_person_sequence_step="4")["cf_person_sequence_step"] == 4
    crm.put("/admin/custom_fields.api", {"id": str(created["id"]), "lock_version": "0", "__method": "DELETE"})
    assert "cf_person_sequence_step" not in fields(crm)


def test_a_custom_field_can_take_its_time() -> None:
    """With custom_field_seconds it is Pending first, and no field until it is Available."""
    crm = Caller(custom_field_seconds=5)
    crm.key = "sim-admin-key"
    one = {"title": "Colour", "resource_type": "Private::Crm::Person", "data_type": "string"}
    crm.put("/admin/custom_fields.api", one)
    title = ("title", "eq", "Colour")
    assert crm.filtered("/admin/custom_fields.api", title, columns="status") == ["Pending"]
    assert "cf_person_colour" not in fields(crm)
    crm.app.clock.shift(5)
    assert crm.filtered("/admin/custom_fields.api", title, columns="status") == ["Available"]
    assert "cf_person_colour" in fields(crm)


def test_labels_can_be_added_through_the_api() -> None:
    """picklist_entries takes batches like any other record, and new labels count at once."""
    crm = Caller()
    crm.key = "sim-admin-key"
    number = crm.filtered("/admin/picklists.api", ("name", "eq", "Sequence State"))[0]
    crm.put("/admin/picklist_entries.api", {"picklist_id": str(number), "value": "Asleep"})
    assert crm.person(cf_person_sequence_state="Asleep")["cf_person_sequence_state"] == "Asleep"


def test_queues_and_users_can_be_looked_up() -> None:
    """assigned_to is the id of a queue, owner_id that of a user."""
    crm = Caller()
    assert crm.filtered("/activity/activity_queues.api", ("queue_type", "eq", "Unassigned"), columns="name") == [
        "Unassigned"
    ]
    assert crm.person()["assigned_to"] == 3
    assert crm.filtered("/crm/person_queues.api", ("id", "eq", "3"), columns="name") == ["Sim Integration"]
    assert crm.filtered("/admin/users.api", ("id", "eq", "2"), columns="login_name") == ["sim@example.invalid"]
