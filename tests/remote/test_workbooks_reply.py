from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from worker.remote import workbooks
from worker.remote.workbooks import Applied, Outcome, Refused, Stale, Uncertain, Write
from worker.remote.workbooks_reply import outcomes

REF = "cf_person_outreach_id"
ELSEWHERE = "This record cannot be saved since it has already been updated elsewhere."
OK = {"success": True, "errors": {}, "warnings": {}}
ANN = Write(52, 4, {"person_first_name": "Ann"})
BO = Write(53, 0, {"person_first_name": "Bo"})
NEW = Write(0, 0, {"person_first_name": "Cy", REF: "7001"}, "7001")
ANN_OK = {"id": 52, "lock_version": 5, "person_first_name": "Ann", "updated_at": "Fri Nov 20 15:00:00 UTC 2026"}
BO_OK = {"id": 53, "lock_version": 1}
NEW_OK = {"id": 90, "lock_version": 0, REF: "7001"}


def read(document: object, *writes: Write) -> list[Outcome]:
    """Return the outcomes of a reply."""
    return outcomes(document, writes, reference_field=REF)


def kinds(document: object, *writes: Write) -> list[str]:
    """Return the names of the outcomes of a reply."""
    return [type(outcome).__name__ for outcome in read(document, *writes)]


def reply(*objects: object, infos: object = None, success: object = True, **more: object) -> dict[str, Any]:
    """Return a reply of the current shape."""
    infos = [OK] * len(objects) if infos is None else infos
    return {"success": success, "affected_objects": list(objects), "affected_object_information": infos, **more}


def test_a_receipt_holds_what_the_reply_told() -> None:
    """A proven update is applied with its new version, its time and the told fields only."""
    (outcome,) = read(reply(ANN_OK), ANN)
    assert outcome == Applied(
        52,
        5,
        {"lock_version": 5, "person_first_name": "Ann", "updated_at": "Fri Nov 20 15:00:00 UTC 2026"},
        datetime(2026, 11, 20, 15, tzinfo=UTC),
    )


def test_receipts_are_believed_by_name() -> None:
    """Objects in any order go to the writes whose id or reference they carry, with the information beside them."""
    failed = {"success": False, "errors": {"person_first_name": "is too long"}}
    found = read(reply(NEW_OK, BO_OK, ANN_OK, infos=[OK, failed, OK], success=False), ANN, BO, NEW)
    assert [type(outcome) for outcome in found] == [Applied, Refused, Applied]
    assert isinstance(found[2], Applied)
    assert found[2].id == 90
    assert found[1] == Refused({"person_first_name": "is too long"})


@pytest.mark.parametrize("missing", [0, 37, 99])
def test_one_left_out_of_a_hundred_is_uncertain(missing: int) -> None:
    """A success that leaves one object out proves the others and says nothing of that one."""
    writes = [Write(number, 1, {"person_first_name": "x"}) for number in range(1, 101)]
    objects = [{"id": write.id, "lock_version": 2} for write in writes]
    del objects[missing]
    found = kinds(reply(*objects), *writes)
    assert found[missing] == "Uncertain"
    assert found.count("Applied") == 99


def test_two_receipts_for_one_write_prove_nothing() -> None:
    """An id or a reference that comes back twice is nobody's receipt."""
    assert kinds(reply(ANN_OK, ANN_OK), ANN, BO) == ["Uncertain", "Uncertain"]
    assert kinds(reply(NEW_OK, {**NEW_OK, "id": 91}), NEW, BO) == ["Uncertain", "Uncertain"]


@pytest.mark.parametrize("empty", [{}, [], None])
@pytest.mark.parametrize("hash_", [{}, []])
def test_empty_hashes_have_two_spellings(empty: object, hash_: object) -> None:
    """An empty hash may be written as an empty list; both mean no errors."""
    infos = [{"success": True, "errors": hash_, "warnings": hash_}]
    assert kinds(reply(ANN_OK, infos=infos, errors=empty, failures=empty), ANN) == ["Applied"]
    assert kinds(reply(ANN_OK, infos=[hash_]), ANN) == ["Applied"]


def test_ids_and_versions_may_be_digits() -> None:
    """Numbers in quotes are numbers."""
    assert read(reply({"id": "52", "lock_version": "5"}), ANN) == [Applied(52, 5, {"lock_version": "5"}, None)]


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "Updated successfully",
        {},
        {"success": True},
        {"success": False},
        {"success": None, "affected_objects": [ANN_OK]},
        {"affected_objects": [ANN_OK], "affected_object_information": [OK]},
        {"success": 1, "affected_objects": [ANN_OK], "affected_object_information": [OK]},
        reply(),
        reply({}),
        reply({"id": 0}),
        reply({"id": None, "lock_version": 5}),
        reply({"id": 51, "lock_version": 5}),
        reply(ANN_OK, success=False, infos=[{}]),
        reply(ANN_OK, success=False, infos=[]),
        reply({"id": 52, "lock_version": 4}, success=False),
        reply(ANN_OK, infos=[{"errors": {}}]),
        reply(ANN_OK, infos=[OK, {"success": False}]),
        {"success": True, "affected_objects": {"id": 52}, "affected_object_information": {}},
        {"success": False, "flash": "An exception occurred, reference ABC123"},
    ],
)
def test_what_proves_nothing_is_uncertain(document: object) -> None:
    """Without success, our own id and no word of failure, nobody knows what became of an update."""
    assert kinds(document, ANN) == ["Uncertain"]


def test_a_vendors_remark_is_quoted() -> None:
    """What a failed reply says beside its errors is told, but blames no record."""
    (outcome,) = read({"success": False, "flash": "An exception occurred, reference ABC123"}, ANN)
    assert outcome == Uncertain("An exception occurred, reference ABC123")


REFUSALS = [
    {
        "success": False,
        "errors": {"[]": {"person_first_name": "is bad"}},
        "affected_object_errors": [{"person_first_name": ["is bad"]}],
    },
    {"success": False, "errors": {"[]": {"person_first_name": "is bad"}}},
    {"success": False, "affected_object_errors": [{"person_first_name": ["is bad"]}]},
    {"success": False, "errors": {"person_first_name": ["is bad"]}},
    {"success": False, "errors": {"52": {"person_first_name": "is bad"}}},
    {"success": False, "errors": [{"field": "person_first_name", "message": "is bad"}]},
    {"success": False, "failures": [{"id": 52, "errors": {"person_first_name": ["is bad"]}}]},
    {"success": False, "failures": {"52": {"person_first_name": "is bad"}}},
    {"success": False, "failures": [{"person_first_name": "is bad"}]},
    {"success": True, "failures": [{"attribute": "person_first_name", "error": "is bad"}]},
    reply({}, infos=[{"success": False, "errors": {"person_first_name": "is bad"}}], success=False),
    reply({}, infos=[{"success": False, "errors": {"person_first_name": ["is bad"]}}], success=True),
    reply({"id": 52, "lock_version": 4}, infos=[{"success": False, "errors": {"person_first_name": ["is bad"]}}]),
    reply({"person_first_name": "Ann"}, infos=[{"errors": {"person_first_name": ["is bad"]}}], success=False),
    reply(infos=[{"success": False, "errors": {"person_first_name": ["is bad"]}}], success=False),
]


@pytest.mark.parametrize("document", REFUSALS)
def test_every_shape_of_a_refusal(document: dict[str, Any]) -> None:
    """A refused field is told by name, wherever and however the reply puts it."""
    assert read(document, ANN) == [Refused({"person_first_name": "is bad"})]


@pytest.mark.parametrize(
    "document, errors",
    [
        ({"success": False, "failures": ["no permission"]}, {"": "no permission"}),
        ({"success": False, "failures": "no permission"}, {"": "no permission"}),
        ({"success": False, "errors": {"base": ["no permission"]}}, {"": "no permission"}),
        ({"success": False, "failures": ["one", "two", "one"]}, {"": "one; two; one"}),
        (
            reply({}, infos=[{"success": False, "errors": {}, "message": [{"title": "No", "body": "not yours"}]}]),
            {"": "No: not yours"},
        ),
        (
            reply({}, infos=[{"success": False, "errors": []}]),
            {"": "Workbooks answered that it failed and gave no reason"},
        ),
        (reply({}, infos=[{"success": False, "errors": {"a": "x", "b": ["y", "z"]}}]), {"a": "x", "b": "y; z"}),
    ],
)
def test_refusals_that_name_no_field(document: dict[str, Any], errors: dict[str, str]) -> None:
    """Words about the whole record stand under no field's name; several are kept."""
    assert read(document, ANN) == [Refused(errors)]


STALE = [
    {"success": False, "failures": [ELSEWHERE]},
    {"success": True, "failures": [ELSEWHERE]},
    {
        "success": True,
        "failures": [ELSEWHERE],
        "affected_objects": [{"id": 52, "lock_version": 4}],
        "affected_object_information": [OK],
    },
    {"success": False, "failures": [{"id": 52, "message": ELSEWHERE}]},
    {"success": False, "failures": {"52": ELSEWHERE}},
    {"success": False, "failures": {"message": ELSEWHERE}},
    {"success": False, "errors": {"[]": {"base": ELSEWHERE}}},
    {"success": False, "errors": {"[]": ELSEWHERE}},
    {"success": False, "errors": {"lock_version": ["is wrong"]}},
    {"success": False, "affected_object_errors": [{"lock_version": [ELSEWHERE]}]},
    reply({}, infos=[{"success": False, "errors": {"": ELSEWHERE}}], success=False),
    reply({"id": 52}, infos=[{"success": False, "errors": [ELSEWHERE]}], success=False),
    reply({}, infos=[{"success": False, "errors": {}, "message": [{"title": "Error", "body": ELSEWHERE}]}]),
    reply({"id": 52}, infos=[{"success": False, "errors": {}}], success=False, failures=[ELSEWHERE]),
]


@pytest.mark.parametrize("document", STALE)
def test_every_shape_of_a_stale_version(document: dict[str, Any]) -> None:
    """Somebody else's save is told apart from a refusal, in whatever shape."""
    assert [type(outcome) for outcome in read(document, ANN)] == [Stale]


def test_under_separate_transactions_the_others_are_saved() -> None:
    """A top-level failure does not hide the objects that were saved, if their version moved."""
    failed = {"success": False, "errors": {"person_first_name": ["is bad"]}}
    document = reply(ANN_OK, {}, NEW_OK, infos=[OK, failed, OK], success=False)
    assert kinds(document, ANN, BO, NEW) == ["Applied", "Refused", "Applied"]
    unmoved = reply({"id": 52, "lock_version": 4}, {}, infos=[OK, failed], success=False)
    assert kinds(unmoved, ANN, BO) == ["Uncertain", "Refused"]


def test_failed_objects_may_be_left_out() -> None:
    """Where only saved objects come back, information as long as the batch is read at its places."""
    failed = {"success": False, "errors": {"person_first_name": ["is bad"]}}
    assert kinds(reply(ANN_OK, NEW_OK, infos=[OK, failed, OK]), ANN, BO, NEW) == ["Applied", "Refused", "Applied"]


def test_all_or_nothing_proves_nothing_of_the_others() -> None:
    """The manual's own failure blames its record alone; the others are uncertain, and never refused for it."""
    document = {
        "success": False,
        "errors": {"[]": {"person_first_name": "is bad"}},
        "affected_object_errors": [{}, {"person_first_name": ["is bad"]}],
    }
    assert kinds(document, ANN, BO) == ["Uncertain", "Refused"]


def test_words_go_to_the_only_one_left() -> None:
    """Words that name nobody belong to the one object that is not answered for; among several they belong to none."""
    document = reply(ANN_OK, infos=[OK], success=False, failures=[ELSEWHERE])
    assert kinds(document, ANN, BO) == ["Applied", "Stale"]
    assert kinds(document, ANN, BO, NEW) == ["Applied", "Uncertain", "Uncertain"]
    assert kinds({"success": False, "failures": [ELSEWHERE]}, ANN, BO) == ["Uncertain", "Uncertain"]


def test_one_failure_for_each_is_read_in_order() -> None:
    """As many failures as objects, none with an id, are taken at their places."""
    found = read({"success": False, "failures": [ELSEWHERE, {"person_first_name": "is bad"}]}, ANN, BO)
    assert found == [Stale(ELSEWHERE), Refused({"person_first_name": "is bad"})]


def test_failures_by_id_leave_the_others_alone() -> None:
    """A failure that names its object leaves the others' receipts believed."""
    for success in (True, False):
        document = reply(
            ANN_OK, {"id": 53}, infos=[OK, OK], success=success, failures=[{"id": 53, "message": ELSEWHERE}]
        )
        assert kinds(document, ANN, BO) == ["Applied", "Stale"]


def test_words_out_of_place_are_nobodys() -> None:
    """In a reply whose objects stand elsewhere than they were sent, an unnamed failure is no neighbour's."""
    failed = {"success": False, "errors": {"person_first_name": ["is bad"]}}
    assert kinds(reply({}, ANN_OK, infos=[failed, OK]), ANN, BO) == ["Applied", "Uncertain"]


def test_a_create_is_known_by_its_reference() -> None:
    """A create is applied only through an object with our reference and a new id."""
    assert kinds(reply(NEW_OK), NEW) == ["Applied"]
    assert kinds(reply({**NEW_OK, REF: 7001}), NEW) == ["Applied"]
    assert kinds(reply({**NEW_OK, REF: "7002"}), NEW) == ["Uncertain"]
    assert kinds(reply({**NEW_OK, REF: None}), NEW) == ["Uncertain"]
    assert kinds(reply({REF: "7001"}), NEW) == ["Uncertain"]
    assert kinds(reply({**NEW_OK, "id": 0}, infos=[{"success": False, "errors": {"name": "x"}}]), NEW) == ["Refused"]


def test_a_lone_create_may_go_without_its_reference() -> None:
    """A complete success with exactly one create tells its id even if the reference is not echoed."""
    silent = {"id": 90, "lock_version": 0}
    other = Write(0, 0, {REF: "7002"}, "7002")
    assert kinds(reply(silent), NEW) == ["Applied"]
    assert kinds(reply(ANN_OK, silent), ANN, NEW) == ["Applied", "Applied"]
    assert kinds(reply(silent, {"id": 91, "lock_version": 0}), NEW, other) == ["Uncertain", "Uncertain"]
    assert kinds(reply(silent), ANN, NEW) == ["Uncertain", "Uncertain"]
    assert kinds(reply(silent, success=False), NEW) == ["Uncertain"]
    assert kinds(reply(silent, failures=["something"]), ANN, NEW) == ["Uncertain", "Uncertain"]


def test_the_first_of_the_manuals_answers() -> None:
    """The manual's creation of 2009, whose information is an empty hash, is a success."""
    document = {
        "affected_object_information": [{}],
        "affected_objects": [
            {"id": 226, "lock_version": 0, "name": "New", "updated_at": "Mon Nov 23 09:35:16 UTC 2009"}
        ],
        "flash": "Updated successfully",
        "success": True,
        "updates": {},
    }
    (outcome,) = read(document, Write(0, 0, {"name": "New"}))
    assert isinstance(outcome, Applied)
    assert (outcome.id, outcome.updated_at) == (226, datetime(2009, 11, 23, 9, 35, 16, tzinfo=UTC))


def test_words_hold_nobodys_data() -> None:
    """The values we sent, addresses and the key are hidden in the vendor's words; labels and field names stay."""
    write = Write(52, 4, {"person_first_name": "Annabel", "cf_person_sequence_state": "Finished"})
    told = {
        "cf_person_sequence_state": "'Finished' is not in the list",
        "main_location[email]": "Annabel <a@x.example> key-99",
    }
    (outcome,) = outcomes({"success": False, "errors": told}, [write], reference_field=REF, hide=["key-99"])
    assert outcome == Refused(
        {
            "cf_person_sequence_state": "'Finished' is not in the list",
            "main_location[email]": "[hidden] <[address]> [hidden]",
        }
    )
    assert workbooks.Refused is Refused
