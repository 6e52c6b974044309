from __future__ import annotations

from typing import Any

import pytest

from tests.sim.workbooks_caller import Caller

PEOPLE = "/crm/people.api"
TASKS = "/activity/tasks.api"
STALE = "This record cannot be saved since it has already been updated elsewhere."
GONE = "This record is no longer accessible."
PER_OBJECT = [("_per_object_transactions", "true")]


@pytest.fixture
def crm() -> Caller:
    """A database with one person, id 7001, and an hour gone by."""
    crm = Caller()
    crm.person(person_first_name="Ann", person_last_name="Lee", name=":no_value:")
    crm.app.clock.shift(3600)
    return crm


def names(crm: Caller) -> list[Any]:
    """Return the names of the living people."""
    return crm.filtered(PEOPLE, columns="name")


def test_creates_updates_and_deletes_share_a_request(crm: Caller) -> None:
    """affected_objects mirrors the order: the delete tells id and version, the update what changed, the create all."""
    crm.person(name="Bo Ray")
    reply = crm.put(
        PEOPLE,
        {"id": "7002", "lock_version": "0", "__method": "DELETE"},
        {"id": "7001", "lock_version": "0", "person_job_title": "Buyer"},
        {"name": "Cy Poe"},
    ).json()
    gone, changed, created = reply["affected_objects"]
    assert gone == {"id": 7002, "lock_version": 0}
    assert changed == {
        "id": 7001,
        "lock_version": 1,
        "updated_at": "Fri Nov 20 16:00:00 UTC 2026",
        "updated_by": 2,
        "person_job_title": "Buyer",
    }
    assert (created["id"], created["lock_version"], created["object_ref"]) == (7003, 0, "PERS-7003")
    assert created["cf_person_sequences"] is None
    assert reply["affected_object_information"] == [{"success": True, "errors": {}, "warnings": {}}] * 3
    assert (reply["success"], reply["flash"], reply["updates"]) == (True, "Updated successfully", {})


def test_a_name_is_made_of_its_parts(crm: Caller) -> None:
    """Without a name, first and last make one; changing a part changes it and the reply says so."""
    assert names(crm) == ["Ann Lee"]
    reply = crm.put(PEOPLE, {"id": "7001", "lock_version": "0", "person_last_name": "Ray"}).json()
    assert reply["affected_objects"][0]["name"] == "Ann Ray"
    assert reply["affected_objects"][0]["descriptor"] == "Ann Ray"


def test_a_person_needs_a_name(crm: Caller) -> None:
    """Neither name nor parts, or emptying them all, is refused on the field name."""
    for one in (
        {"main_location[email]": "x@example.org"},
        {"id": "7001", "lock_version": "0", "person_first_name": "", "person_last_name": ":null_value:"},
    ):
        reply = crm.put(PEOPLE, one).json()
        assert reply["success"] is False
        assert reply["affected_object_information"][0]["errors"] == {"name": ["can't be blank"]}
    assert names(crm) == ["Ann Lee"]


def test_sentinels_and_blanks_are_three_things(crm: Caller) -> None:
    """:no_value: leaves alone, :null_value: sets null, an empty text sets blank."""
    fields = "person_job_title person_job_role website"
    before = {"person_job_title": "Buyer", "person_job_role": "Staff", "website": "example.org"}
    crm.put(PEOPLE, {"id": "7001", "lock_version": "0", **before})
    after = {"person_job_title": ":no_value:", "person_job_role": ":null_value:", "website": ""}
    crm.put(PEOPLE, {"id": "7001", "lock_version": "1", **after})
    assert crm.filtered(PEOPLE, columns=fields) == [("Buyer", None, "")]


def test_values_are_tidied_by_their_type(crm: Caller) -> None:
    """Texts are trimmed, line ends unified, booleans, integers and dates read; phones stay as they are."""
    given = {
        "person_job_title": "  Buyer ",
        "cf_person_sequences": "one\r\ntwo\r\n",
        "no_email_soliciting": "True",
        "cf_person_sync_to_outreach": "",
        "cf_person_sequence_step": " 3 ",
        "cf_person_sequence_state_updated_at": "2026-11-20T14:00:00.500Z",
        "main_location[telephone]": "+44 (20) 7946-0001",
    }
    told = crm.put(PEOPLE, {"id": "7001", "lock_version": "0", **given}).json()["affected_objects"][0]
    assert told["person_job_title"] == "Buyer"
    assert told["cf_person_sequences"] == "one\ntwo"
    assert told["no_email_soliciting"] is True
    assert "cf_person_sync_to_outreach" not in told
    assert told["cf_person_sequence_step"] == 3
    assert told["cf_person_sequence_state_updated_at"] == "Fri Nov 20 14:00:00 UTC 2026"
    assert told["main_location[telephone]"] == "+44 (20) 7946-0001"


def test_normalising_can_be_switched_off() -> None:
    """Without normalise a text is kept to the letter."""
    crm = Caller(normalise=False)
    assert crm.person(person_job_title=" Buyer ")["person_job_title"] == " Buyer "


def test_unchanged_values_keep_the_version_unless_told_otherwise(crm: Caller) -> None:
    """An update that changes nothing is no change; with bump_unchanged it counts."""
    same = {"id": "7001", "lock_version": "0", "person_first_name": " Ann "}
    assert crm.put(PEOPLE, same).json()["affected_objects"][0] == {
        "id": 7001,
        "lock_version": 0,
        "updated_at": "Fri Nov 20 15:00:00 UTC 2026",
    }
    crm.edit(op="option", name="bump_unchanged", value=True)
    assert crm.put(PEOPLE, same).json()["affected_objects"][0]["lock_version"] == 1


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("person_job_title", "x" * 256, "is too long (maximum is 255 characters)"),
        ("cf_person_sequences", "x" * 65_536, "is too long (maximum is 65535 characters)"),
        ("cf_person_sequence_state", "Active - Running", "is not included in the list"),
        ("cf_person_sequence_step", "three", "is not a number"),
        ("cf_person_sequence_step", "1.5", "must be an integer"),
        ("cf_person_sequence_step", "2147483648", "must be less than or equal to 2147483647"),
        ("cf_person_sequence_state_updated_at", "soon", "is not a valid date"),
    ],
)
def test_values_that_do_not_fit_are_refused_in_the_vendors_words(
    crm: Caller, field: str, value: str, words: str
) -> None:
    """HTTP 200, success false, the error beside the field."""
    answer = crm.put(PEOPLE, {"id": "7001", "lock_version": "0", field: value})
    assert answer.status_code == 200
    assert answer.json()["affected_object_information"][0]["errors"] == {field: [words]}


def test_the_nine_labels_are_accepted_and_an_open_picklist_takes_any(crm: Caller) -> None:
    """Sequence State is restricted to its labels; industry is not."""
    told = crm.put(
        PEOPLE,
        {"id": "7001", "lock_version": "0", "cf_person_sequence_state": "Active – Running", "industry": "Falconry"},
    ).json()
    assert told["success"] is True


def test_unknown_attributes_are_ignored_or_refused_when_strict(crm: Caller) -> None:
    """Strict attribute checking makes an error of what is otherwise passed over."""
    one = {"id": "7001", "lock_version": "0", "cf_person_nonsense": "1", "person_job_title": "Buyer"}
    strict = crm.put(PEOPLE, one, more=[("_strict_attribute_checking", "1")]).json()
    assert strict["affected_object_information"][0]["errors"] == {
        "cf_person_nonsense": ["is not a recognised attribute"]
    }
    assert crm.put(PEOPLE, one).json()["affected_objects"][0]["person_job_title"] == "Buyer"


def test_a_batch_is_all_or_nothing(crm: Caller) -> None:
    """One refused object keeps every other from being saved."""
    reply = crm.put(PEOPLE, {"name": "Cy Poe"}, {"name": "Di Fox", "cf_person_sequence_step": "x"}).json()
    assert reply["success"] is False
    assert [one["success"] for one in reply["affected_object_information"]] == [False, False]
    assert reply["affected_objects"] == [{}, {}]
    assert names(crm) == ["Ann Lee"]


def test_per_object_transactions_save_what_can_be_saved(crm: Caller) -> None:
    """With _per_object_transactions the good objects are saved and told at their places."""
    reply = crm.put(PEOPLE, {"name": "Cy Poe"}, {"name": ""}, {"name": "Di Fox"}, more=PER_OBJECT).json()
    assert [one["success"] for one in reply["affected_object_information"]] == [True, False, True]
    assert [one.get("name") for one in reply["affected_objects"]] == ["Cy Poe", None, "Di Fox"]
    assert names(crm) == ["Ann Lee", "Cy Poe", "Di Fox"]


@pytest.mark.parametrize(
    "shape, told",
    [
        ("failures", [{"index": 1, "id": 7001, "field": None, "message": STALE}]),
        ("failure_words", [STALE]),
    ],
)
def test_a_stale_version_is_told_among_failures(crm: Caller, shape: str, told: list[Any]) -> None:
    """HTTP 200 and a failures array, of hashes or of words; the fresh neighbour is saved."""
    crm.edit(op="option", name="conflict_shape", value=shape)
    crm.edit(op="set", type="person", id=7001, fields={"person_job_title": "Buyer"})
    stale = {"id": "7001", "lock_version": "0", "name": "Late Comer"}
    answer = crm.put(PEOPLE, {"name": "Cy Poe"}, stale, more=PER_OBJECT)
    reply = answer.json()
    assert (answer.status_code, reply["success"], reply["failures"]) == (200, False, told)
    assert reply["affected_objects"][1] == {"id": 7001, "lock_version": 0}
    assert names(crm) == ["Ann Lee", "Cy Poe"]


def test_a_stale_version_can_be_told_per_object(crm: Caller) -> None:
    """conflict_shape information puts the words into the object's own errors."""
    crm.edit(op="option", name="conflict_shape", value="information")
    reply = crm.put(PEOPLE, {"id": "7001", "lock_version": "9", "name": "x"}).json()
    assert reply["affected_object_information"] == [{"success": False, "errors": {"base": [STALE]}, "warnings": {}}]
    assert "failures" not in reply


def test_errors_can_be_told_as_the_manual_of_2009_shows(crm: Caller) -> None:
    """failure_shape errors2009 is the manual's sample: errors under "[]" and affected_object_errors, nothing else."""
    crm.edit(op="option", name="failure_shape", value="errors2009")
    reply = crm.put(PEOPLE, {"name": ""}).json()
    assert reply["errors"] == {"[]": {"name": "can't be blank"}}
    assert reply["affected_object_errors"] == [{"name": ["can't be blank"]}]
    assert reply["success"] is False
    assert "affected_object_information" not in reply


def test_field_errors_among_failures_carry_their_title(crm: Caller) -> None:
    """failure_shape failures names the field and puts its title before the words."""
    crm.edit(op="option", name="failure_shape", value="failures")
    reply = crm.put(PEOPLE, {"name": "Cy Poe", "main_location[email]": "x" * 300}).json()
    assert reply["failures"] == [
        {
            "index": 0,
            "id": 0,
            "field": "main_location[email]",
            "message": "Main location email is too long (maximum is 255 characters)",
        }
    ]


@pytest.mark.parametrize("op", ["delete", "hide"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_what_is_gone_cannot_be_changed(crm: Caller, op: str, method: str) -> None:
    """A deleted, hidden or unknown record is no longer accessible."""
    crm.edit(op=op, type="person", id=7001)
    for number in ("7001", "9999"):
        reply = crm.put(PEOPLE, {"id": number, "lock_version": "0", "__method": method}).json()
        assert reply["failures"][0]["message"] == GONE


def test_the_same_record_twice_is_a_conflict_the_second_time(crm: Caller) -> None:
    """Within one request a record can be changed once."""
    one = {"id": "7001", "lock_version": "0", "person_job_title": "Buyer"}
    reply = crm.put(PEOPLE, one, {**one, "person_job_title": "Seller"}, more=PER_OBJECT).json()
    assert [info["success"] for info in reply["affected_object_information"]] == [True, False]


def test_a_strict_filter_must_select_what_is_touched(crm: Caller) -> None:
    """With strict_filter a record that the request's filters do not select is not accessible."""
    crm.edit(op="option", name="strict_filter", value=True)
    one = [
        ("_method", "PUT"),
        ("__method[]", "PUT"),
        ("id[]", "7001"),
        ("lock_version[]", "0"),
        ("website[]", "x.test"),
    ]
    other = [("_ff", "id"), ("_ft", "eq"), ("_fc", "7002")]
    assert crm.form(PEOPLE, [*one, *other]).json()["failures"][0]["message"] == GONE
    assert crm.form(PEOPLE, [*one, ("_ff", "id"), ("_ft", "eq"), ("_fc", "7002,7001")]).json()["success"] is True


def test_a_hundred_objects_are_the_most(crm: Caller) -> None:
    """100 are taken, 101 are refused with 406 and none is saved."""
    assert crm.put(PEOPLE, *({"name": f"Person {n}"} for n in range(100))).json()["success"] is True
    assert crm.put(PEOPLE, *({"name": f"Person {n}"} for n in range(101))).status_code == 406
    assert crm.page(PEOPLE)["total"] == 101


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [("__method[]", "POST"), ("id[]", "0"), ("lock_version[]", "0"), ("name[]", "a"), ("name[]", "b")],
        [("id[]", "0"), ("lock_version[]", "0"), ("name[]", "a")],
        [("__method[]", "PATCH"), ("id[]", "0"), ("lock_version[]", "0")],
        [("__method[]", "PUT"), ("id[]", "x"), ("lock_version[]", "0")],
        [("__method[]", "PUT"), ("id[]", "7001"), ("lock_version[]", "")],
    ],
)
def test_arrays_that_are_not_square_are_unacceptable(crm: Caller, pairs: list[tuple[str, str]]) -> None:
    """Every attribute once for each object, with method, id and version: else 406."""
    assert crm.form(PEOPLE, [("_method", "PUT"), *pairs]).status_code == 406


def test_json_bodies_hold_arrays(crm: Caller) -> None:
    """Third parties send JSON in which each field is an array; null means null."""
    body = {
        "_method": "PUT",
        "api_key": "sim-key",
        "__method": ["PUT", "POST"],
        "id": [7001, 0],
        "lock_version": [0, 0],
        "name": [":no_value:", "Bo Ray"],
        "person_job_title": [None, "Buyer"],
        "no_email_soliciting": [True, False],
    }
    reply = crm.http.post(PEOPLE, json=body).json()
    assert reply["affected_objects"][0]["no_email_soliciting"] is True
    assert (reply["affected_objects"][1]["name"], reply["affected_objects"][1]["person_job_title"]) == (
        "Bo Ray",
        "Buyer",
    )


def test_a_body_nobody_understands_is_unacceptable(crm: Caller) -> None:
    """Broken JSON and foreign content types are 406."""
    for kind in ("application/json", "text/plain"):
        answer = crm.http.post(f"{PEOPLE}?api_key=sim-key", content=b"{", headers={"Content-Type": kind})
        assert answer.status_code == 406


def test_a_task_has_its_statuses_twins_and_contact(crm: Caller) -> None:
    """Status is a restricted list, due has two twins, the contact must once have existed."""
    task = {
        "name": "Skipped call: Cold outreach, step 3",
        "activity_status": "Cancelled",
        "due_date": "2026-11-20",
        "primary_contact_id": "7001",
        "primary_contact_type": "Private::Crm::Person",
        "cf_task_outreach_id": "501",
    }
    told = crm.put(TASKS, task).json()["affected_objects"][0]
    assert (told["id"], told["due_date"], told["due"]) == (30001, "20 Nov 2026", "2026-11-20,0,Etc/UTC")
    assert told["due_datetime"] == "Fri Nov 20 17:00:00 UTC 2026"
    assert (told["primary_contact[name]"], told["cf_task_outreach_id"]) == ("Ann Lee", "501")
    refused = crm.put(TASKS, {**task, "activity_status": "Skipped", "primary_contact_id": "123"}).json()
    assert refused["affected_object_information"][0]["errors"] == {"activity_status": ["is not included in the list"]}
    refused = crm.put(TASKS, {**task, "primary_contact_id": "123"}).json()
    assert refused["affected_object_information"][0]["errors"] == {"primary_contact_id": ["does not exist"]}


def test_a_time_without_a_zone_is_in_the_users_zone() -> None:
    """10:00 of a London summer is 09:00 UTC, as the vendor's sample remarks."""
    told = Caller().put(TASKS, {"name": "Call", "start": "2023-06-26 10:00"}).json()["affected_objects"][0]
    assert told["start"] == "2023-06-26T09:00:00Z,1,Etc/UTC"


def test_doubly_nested_names_come_back_nested() -> None:
    """a[b][c] over the wire is a[b[c]] in answers."""
    told = Caller().put("/crm/sales_leads.api", {"org_lead_party[main_location][email]": "a@example.org"}).json()
    assert told["affected_objects"][0]["org_lead_party[main_location[email]]"] == "a@example.org"


def test_the_journal_tells_every_effect(crm: Caller) -> None:
    """Calls that write are journalled as writes, with before and after."""
    crm.put(PEOPLE, {"id": "7001", "lock_version": "0", "person_job_title": "Buyer"})
    crm.put(PEOPLE, {"id": "7001", "lock_version": "1", "__method": "DELETE"})
    entries = crm.http.get("/_sim/journal", params={"path": "people"}).json()["entries"][-2:]
    assert [entry["effect"] for entry in entries] == [
        [{"op": "update", "type": "person", "id": 7001, "changes": {"person_job_title": [None, "Buyer"]}}],
        [{"op": "delete", "type": "person", "id": 7001, "changes": {}}],
    ]


def test_a_rule_of_the_customers_own_refuses_a_value() -> None:
    """Option rules stand for validations that a customer has configured."""
    rule = {"type": "person", "field": "main_location[email]", "pattern": "@blocked", "message": "is on the block list"}
    crm = Caller(rules=[rule])
    reply = crm.put(PEOPLE, {"name": "Ann Lee", "main_location[email]": "ann@blocked.example"}).json()
    assert reply["affected_object_information"][0]["errors"] == {"main_location[email]": ["is on the block list"]}


def test_api_data_keeps_long_values_and_nulls() -> None:
    """The private store takes 100,000 characters, as the vendor's sample does."""
    crm = Caller()
    crm.put(
        "/automation/api_data.api", {"key": "long", "value": "x" * 100_000}, {"key": "none", "value": ":null_value:"}
    )
    rows = crm.filtered("/automation/api_data.api", ("key", "eq", "long,none"), columns="key value")
    assert [(key, len(value or "")) for key, value in rows] == [("long", 100_000), ("none", 0)]
