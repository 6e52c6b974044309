from __future__ import annotations

from typing import Any

import pytest

from tests.sim.workbooks_caller import Caller
from worker.sim.control import Json

PEOPLE = "/crm/people.api"
FIELDS = "/admin/custom_fields.api"
ENTRIES = "/admin/picklist_entries.api"
PERSON = "Private::Crm::Person"
STEP = {"title": "Sequence Step", "resource_type": PERSON, "data_type": "integer"}


def administrator(**options: Json) -> Caller:
    """A caller with the administrator's key."""
    crm = Caller(**options)
    crm.key = "sim-admin-key"
    return crm


def refused(crm: Caller, path: str, one: dict[str, str]) -> dict[str, Any]:
    """The errors of an object that is not taken."""
    errors: dict[str, Any] = crm.put(path, one).json()["affected_object_information"][0]["errors"]
    return errors


@pytest.mark.parametrize("status", [404, 403, 401])
def test_an_ordinary_key_makes_no_fields(status: int) -> None:
    """Custom fields, picklists and their entries are only read by it; the status can be chosen."""
    crm = Caller(without_fields=["cf_person_sequence_step"], denied_status=status)
    for path in (FIELDS, ENTRIES, "/admin/picklists.api"):
        answer = crm.put(path, STEP)
        assert (answer.status_code, answer.json()["success"]) == (status, False)
    assert crm.filtered(FIELDS, ("title", "eq", "Sequence Step")) == []
    assert len(crm.filtered(ENTRIES, ("value", "eq", "Finished"))) == 1


def test_metadata_tells_who_may() -> None:
    """Of custom fields an ordinary key may list and show, an administrator's may do everything."""
    for crm, permitted in ((Caller(), 3), (administrator(), 7)):
        pairs = [("_method", "GET"), ("class_names[]", "Private::CustomField")]
        actions = crm.form("/metadata/types.api", pairs, key=crm.key).json()["data"][0]["actions"]
        assert sum(one["permitted"] for one in actions) == permitted


def test_an_administrator_makes_a_picklist_and_its_field() -> None:
    """List, entries and field, each by its own batch; the field's name follows from its title."""
    crm = administrator(without_fields=["cf_person_sequence_state"])
    number = crm.put("/admin/picklists.api", {"name": "Outreach Actions"}).json()["affected_objects"][0]["id"]
    labels = [{"picklist_id": str(number), "value": value, "position": str(n)} for n, value in enumerate("AB")]
    assert crm.put(ENTRIES, *labels).json()["success"] is True
    field = {"title": "Outreach Action", "resource_type": PERSON, "data_type": "picklist", "picklist_id": str(number)}
    made = crm.put(FIELDS, field).json()["affected_objects"][0]
    assert (made["value_column_name"], made["status"]) == ("cf_person_outreach_action", "Available")
    assert made["updated_by"] == 4
    assert crm.person(cf_person_outreach_action="B")["cf_person_outreach_action"] == "B"


def test_what_is_there_is_not_made_twice() -> None:
    """A field's title on its kind and a label in its list are taken, whatever the case; elsewhere they are free."""
    crm = administrator()
    number = str(crm.filtered("/admin/picklists.api", ("name", "eq", "Sequence State"))[0])
    taken = ["has already been taken"]
    assert refused(crm, FIELDS, {**STEP, "title": "sequence step"}) == {"title": taken}
    assert refused(crm, ENTRIES, {"picklist_id": number, "value": "Finished"}) == {"value": taken}
    assert crm.put(FIELDS, {**STEP, "resource_type": "Private::Activity::Task"}).json()["success"] is True


@pytest.mark.parametrize(
    "change, field",
    [
        ({"data_type": "number"}, "data_type"),
        ({"resource_type": "Private::Crm::Unicorn"}, "resource_type"),
        ({"data_type": "picklist"}, "picklist_id"),
        ({"data_type": "picklist", "picklist_id": "999"}, "picklist_id"),
    ],
)
def test_a_field_that_makes_no_sense_is_refused(change: dict[str, str], field: str) -> None:
    """In the words of a validation, at the attribute."""
    assert list(refused(administrator(), FIELDS, {**STEP, "title": "New One", **change})) == [field]


def test_a_key_serves_only_from_its_addresses() -> None:
    """403 from any other; status and reason can be chosen."""
    keys: dict[str, dict[str, object]] = {
        "here": {"ips": ["127.0.0.1"]},
        "there": {"ips": ["198.51.100.7"]},
        "nowhere": {"ips": [], "status": 401, "reason": "login_disabled"},
    }
    crm = Caller(keys=keys)
    answers = [crm.form(PEOPLE, [("_method", "GET")], key=key) for key in keys]
    assert [answer.status_code for answer in answers] == [200, 403, 401]
    assert [answer.json().get("failure_reason") for answer in answers[1:]] == [
        "no_permission_for_api",
        "login_disabled",
    ]


def test_a_key_expires_while_it_is_used() -> None:
    """By the simulator's clock."""
    crm = Caller()
    crm.edit(op="add_key", key="brief", expires="2026-11-20T15:00:01+00:00")
    assert crm.form(PEOPLE, [("_method", "GET")], key="brief").status_code == 200
    crm.app.clock.shift(1)
    assert crm.form(PEOPLE, [("_method", "GET")], key="brief").status_code == 401


def test_a_key_acts_as_its_user() -> None:
    """Login and records tell that user, and a session of the key keeps its rights."""
    crm = administrator()
    told = crm.form("/login.api", [("client", "api")], key="sim-admin-key").json()
    assert (told["user_id"], told["login_name"], told["person_name"]) == (
        4,
        "admin@example.invalid",
        "Alex Administrator",
    )
    assert told["my_queues"]["Private::Crm::PersonQueue"] == 5
    answer = crm.form(
        FIELDS,
        [("_method", "PUT"), ("_authenticity_token", told["authenticity_token"]), ("__method[]", "POST"),
         ("id[]", "0"), ("lock_version[]", "0"), ("title[]", "Colour"), ("resource_type[]", PERSON),
         ("data_type[]", "string")],
        key=None,
    )  # fmt: skip
    assert answer.json()["affected_objects"][0]["value_column_name"] == "cf_person_colour"


def test_the_database_behind_a_key_can_become_another() -> None:
    """login.api tells database, user and zone as they are now."""
    crm = Caller()
    for name, value in (("database_id", 8), ("database_name", "Copy"), ("timezone", "Europe/Paris")):
        crm.edit(op="option", name=name, value=value)
    crm.edit(op="add_key", key="sim-key", user="pat@example.invalid")
    told = crm.form("/login.api", [("client", "api")]).json()
    assert (told["logical_database_id"], told["database_name"], told["timezone"]) == (8, "Copy", "Paris")
    assert told["database_instance_id"] == 120_008
    assert (told["user_id"], told["login_name"]) == (3, "pat@example.invalid")


def test_who_edited_last_is_told() -> None:
    """The API's writes are its user's; an edit by hand is Pat's, or whoever is named."""
    crm = Caller()
    number = crm.person()["id"]
    column = "updated_by_user[login_name]"
    assert crm.filtered(PEOPLE, columns=column) == ["sim@example.invalid"]
    change = {"op": "set", "type": "person", "id": number, "fields": {"person_job_title": "Baker"}}
    crm.edit(**change)
    assert crm.filtered(PEOPLE, columns=column) == ["pat@example.invalid"]
    crm.edit(**change, by="admin@example.invalid")
    assert crm.filtered(PEOPLE, columns=f"{column} updated_by") == [("admin@example.invalid", 4)]
    crm.edit(op="create", type="user", fields={"login_name": "sam@example.invalid", "person_name": "Sam", "name": "S"})
    crm.edit(**change, by="sam@example.invalid")
    assert crm.filtered(PEOPLE, columns=column) == ["sam@example.invalid"]
    assert "error" in crm.edit(**change, by="nobody@example.invalid")


def test_half_a_batch_is_refused() -> None:
    """Every second object, the rest is saved without per-object transactions."""
    crm = Caller()
    crm.arm("half", message="Busy.")
    crm.put(PEOPLE, *({"name": name} for name in ("Ann", "Bo", "Cy", "Di", "Ed")))
    assert crm.filtered(PEOPLE, columns="name") == ["Ann", "Cy", "Ed"]


def test_lists_may_lag_behind_one_batch() -> None:
    """``index_lag`` is another name of ``search_lag``."""
    crm = Caller()
    crm.arm("index_lag", seconds=10)
    crm.person()
    assert crm.filtered(PEOPLE) == []
    crm.app.clock.shift(11)
    assert len(crm.filtered(PEOPLE)) == 1
