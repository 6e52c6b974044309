from __future__ import annotations

from tests.sim.workbooks_caller import Caller
from worker.sim import seed

PEOPLE = "/crm/people.api"
ALL = (("is_deleted", "true", ""), ("is_deleted", "false", ""))


def test_the_seeded_people_are_those_of_the_seed() -> None:
    """Whoever the seed puts into the CRM is there, found by address, without a reference, in the order of the seed."""
    crm = Caller(records=100)
    wanted = [one.email for one in seed.everyone("demo", 100) if one.in_crm]
    rows = crm.filtered(
        PEOPLE, columns="main_location[email] cf_person_outreach_id cf_person_sequence_state lock_version"
    )
    assert rows == [(email, None, None, 0) for email in wanted]
    assert len(rows) == 40


def test_seeded_people_keep_their_second_address_and_their_no_email() -> None:
    """Alternate addresses and No Email come from the seed."""
    crm = Caller(records=300)
    people = {one.email: one for one in seed.everyone("demo", 300)}
    columns = "main_location[email] main_location[alternate_email] no_email_soliciting"
    rows = crm.page(PEOPLE, *(("_select_columns[]", name) for name in columns.split()))["data"]
    for row in rows:
        one = people[row["main_location[email]"]]
        assert row["main_location[alternate_email]"] == one.alternate_email
        assert row["no_email_soliciting"] == one.no_email
    assert any(row["main_location[alternate_email]"] for row in rows)


def test_an_edit_by_hand_looks_like_one() -> None:
    """Version and time move, updated_by is another user than the integration's, parts make the name."""
    crm = Caller()
    crm.person(person_first_name="Ann", person_last_name="Lee", name=":no_value:")
    crm.app.clock.shift(60)
    answer = crm.edit(op="set", type="person", id=7001, fields={"person_last_name": "Ray", "no_email_soliciting": True})
    assert answer["effect"][0]["changes"]["person_last_name"] == ["Lee", "Ray"]
    assert crm.filtered(PEOPLE, columns="name lock_version updated_at updated_by no_email_soliciting") == [
        ("Ann Ray", 1, "Fri Nov 20 15:01:00 UTC 2026", 3, True)
    ]


def test_records_are_made_deleted_and_brought_back_by_hand() -> None:
    """create, delete and undelete, each with its time."""
    crm = Caller()
    number = crm.edit(op="create", type="person", fields={"person_first_name": "Ann", "person_last_name": "Lee"})["id"]
    assert crm.filtered(PEOPLE, columns="name created_through") == [("Ann Lee", "Workbooks")]
    crm.app.clock.shift(60)
    crm.edit(op="delete", type="person", id=number)
    assert crm.page(PEOPLE)["total"] == 0
    assert crm.filtered(PEOPLE, *ALL, fm="or", columns="is_deleted updated_at") == [
        (True, "Fri Nov 20 15:01:00 UTC 2026")
    ]
    crm.edit(op="undelete", type="person", id=number)
    assert crm.filtered(PEOPLE, columns="is_deleted lock_version") == [(False, 1)]


def test_a_merge_deletes_the_loser_and_hands_its_address_on() -> None:
    """The loser is deleted with a new time, the winner takes its address as alternate address."""
    crm = Caller()
    crm.put(
        PEOPLE,
        {"name": "A", "main_location[email]": "a@example.org"},
        {"name": "B", "main_location[email]": "b@example.org"},
    )
    crm.app.clock.shift(60)
    crm.edit(op="merge", winner=7001, loser=7002)
    columns = "id is_deleted main_location[alternate_email] updated_at"
    moved = "Fri Nov 20 15:01:00 UTC 2026"
    assert crm.filtered(PEOPLE, *ALL, fm="or", columns=columns) == [
        (7001, False, "b@example.org", moved),
        (7002, True, None, moved),
    ]


def test_a_hidden_record_is_neither_there_nor_deleted() -> None:
    """Without permission a record is not among the deleted either, until it is shown again."""
    crm = Caller()
    crm.person()
    crm.edit(op="hide", type="person", id=7001)
    assert crm.filtered(PEOPLE, *ALL, fm="or") == []
    crm.edit(op="unhide", type="person", id=7001)
    assert crm.filtered(PEOPLE, *ALL, fm="or") == [7001]


def test_labels_and_fields_come_and_go() -> None:
    """A removed label is refused from then on; a removed field is no column and takes no value."""
    crm = Caller()
    crm.person()
    crm.edit(op="remove_label", label="Bounced")
    state = {"id": "7001", "lock_version": "0", "cf_person_sequence_state": "Bounced"}
    assert crm.put(PEOPLE, state).json()["success"] is False
    crm.edit(op="add_label", label="Bounced")
    assert crm.put(PEOPLE, state).json()["success"] is True
    crm.edit(op="remove_field", field="cf_person_sequence_state")
    assert "cf_person_sequence_state" not in crm.page(PEOPLE)["data"][0]
    crm.edit(op="add_field", field="cf_person_sequence_state")
    assert crm.filtered(PEOPLE, columns="cf_person_sequence_state") == ["Bounced"]


def test_a_database_can_lack_fields_and_labels_from_the_start() -> None:
    """without_fields, without_labels and label_typo are how a database differs from what a mapping expects."""
    crm = Caller(
        without_fields=["cf_person_sequences"], without_labels=["Pending"], label_typo={"Opted Out": "Opted out"}
    )
    crm.person()
    assert "cf_person_sequences" not in crm.page(PEOPLE)["data"][0]
    assert crm.http.get("/_sim/state").json()["labels"] == [
        "Active – Running",
        "Active – Paused",
        "Opted out",
        "Finished",
        "Disabled",
        "Failed",
        "Bounced",
        "Not Active",
    ]


def test_keys_come_and_go() -> None:
    """A key can be issued and taken away while clients talk."""
    crm = Caller()
    crm.edit(op="add_key", key="second")
    assert crm.form(PEOPLE, [("_method", "GET")], key="second").status_code == 200
    crm.edit(op="remove_key", key="second")
    assert crm.form(PEOPLE, [("_method", "GET")], key="second").status_code == 401


def test_the_state_tells_what_is_set() -> None:
    """The dump has people and tasks with their ids, versions and values, blanks left out."""
    crm = Caller()
    crm.person(cf_person_sequence_state_updated_at="2026-11-20T15:00:00Z")
    told = crm.http.get("/_sim/state").json()
    assert told["tasks"] == []
    assert told["people"][0]["id"] == 7001
    assert told["people"][0]["name"] == "Test Person"
    assert told["people"][0]["cf_person_sequence_state_updated_at"] == "Fri Nov 20 15:00:00 UTC 2026"
    assert "person_job_title" not in told["people"][0]


def test_edits_that_cannot_be_done_say_why() -> None:
    """Unknown operations, records, fields, labels and refused values are 400 with words."""
    crm = Caller()
    crm.person()
    impossible = [
        {"op": "explode"},
        {"op": "delete", "type": "person", "id": 1},
        {"op": "set", "type": "person", "id": 7001, "fields": {"nonsense": 1}},
        {"op": "set", "type": "person", "id": 7001, "fields": {"cf_person_sequence_state": "Asleep"}},
        {"op": "remove_label", "label": "Asleep"},
        {"op": "add_label", "label": "x", "picklist": "No such list"},
        {"op": "remove_field", "field": "cf_person_nonsense"},
    ]
    answers = [crm.http.post("/_sim/edit", json=document) for document in impossible]
    assert [answer.status_code for answer in answers] == [400] * 7


def test_several_edits_go_in_one_document_and_into_the_journal() -> None:
    """A list is carried out in order; the journal has the effects."""
    crm = Caller()
    edits = [
        {"op": "create", "type": "person", "fields": {"name": "A"}},
        {"op": "delete", "type": "person", "id": 7001},
    ]
    assert crm.http.post("/_sim/edit", json=edits).json()["ids"] == [7001, 7001]
    entry = crm.http.get("/_sim/journal").json()["entries"][-1]
    assert [effect["op"] for effect in entry["effect"]] == ["create", "delete"]


def test_a_reset_starts_anew_with_another_world() -> None:
    """Seed and number of people can be chosen anew."""
    crm = Caller(records=50)
    crm.http.post("/_sim/reset", json={"seed": "other", "records": 10})
    wanted = [one.email for one in seed.everyone("other", 10) if one.in_crm]
    assert crm.filtered(PEOPLE, columns="main_location[email]") == wanted
